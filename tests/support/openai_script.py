"""A small HTTP server on loopback that speaks the OpenAI protocol and says what a test's function tells it.

It stands for judges with known habits and for servers that break off; it stands for no model's quality.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[dict[str, Any]], str | int]


@dataclass
class Script:
    """A running server: `url` ends in /v1, `asked` has the bodies that were answered, `refused` a count.

    `answer` maps a request's body to the reply's text, or to an HTTP status that refuses it.
    """

    url: str
    answer: Answer
    models: list[dict[str, Any]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    refused: int = 0


@contextmanager
def scripted_server(answer: Answer, models: list[dict[str, Any]] | None = None) -> Iterator[Script]:
    """A server for the time of the block."""
    script = Script("", answer, models or [{"id": "judge"}])
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(200, {"object": "list", "data": script.models})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                said = script.answer(body)
                if isinstance(said, int):
                    script.refused += 1
                else:
                    script.asked.append(body)
            if isinstance(said, int):
                self.reply(said, {"error": {"message": "refused"}})
                return
            choice = {"index": 0, "finish_reason": "stop"}
            choice |= {"message": {"role": "assistant", "content": said}, "text": said}
            self.reply(200, {"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 10}})

        def reply(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    script.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
