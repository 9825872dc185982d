"""Small real HTTP servers on loopback that misbehave on purpose, for tests of failures."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple


class Answer(NamedTuple):
    """What to send: a status, a body (a dict goes as JSON), and headers."""

    status: int = 200
    body: object = b""
    headers: Mapping[str, str] = MappingProxyType({})


class Asked(NamedTuple):
    """A request as it arrived; `body` is parsed JSON or None."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class Server:
    """A running server: its API's URL, and what it was asked so far."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[Asked] = []

    def chats(self) -> list[Asked]:
        """The chat completions among the requests."""
        return [one for one in self.asked if one.path.endswith("/chat/completions")]


MODELS = {"data": [{"id": "base", "owned_by": "someone", "max_model_len": 16384}]}


@contextlib.contextmanager
def serving(answer: Callable[[Asked], Answer | None]) -> Iterator[Server]:
    """Serves what `answer` returns for each request; None closes the connection without a word."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, format: str, *args: object) -> None:
            """Silence."""

        def _answer(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            asked = Asked(self.command, self.path, dict(self.headers), json.loads(raw) if raw else None)
            server.asked.append(asked)
            given = answer(asked)
            if given is None:
                self.close_connection = True
                return
            body = given.body if isinstance(given.body, bytes) else json.dumps(given.body).encode()
            self.send_response(given.status)
            for name, value in {"content-length": str(len(body)), **given.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server = Server(f"http://127.0.0.1:{http.server_address[1]}/v1")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


@contextlib.contextmanager
def chat_server(reply: Callable[[Asked], Answer | None]) -> Iterator[Server]:
    """A server that lists one model properly; `reply` answers the chats."""
    with serving(lambda asked: Answer(body=MODELS) if asked.path == "/v1/models" else reply(asked)) as server:
        yield server


def says(text: str, finish: str = "stop") -> Answer:
    """A well-formed chat completion with that text."""
    return Answer(body={"choices": [{"message": {"content": text}, "finish_reason": finish}]})


@contextlib.contextmanager
def dripping_server() -> Iterator[str]:
    """The URL of a server that sends a header of 400 bytes, one every 50 ms, and then nothing more."""
    listener = socket.create_server(("127.0.0.1", 0))

    def drip(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.sendall(b"HTTP/1.1 200 OK\r\nx-drops: ")
            for _ in range(400):
                time.sleep(0.05)
                client.sendall(b".")

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=drip, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


class Gate:
    """A TCP relay to another server that can be shut: to its clients the server is then killed."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def shut(self) -> None:
        """Ends all connections and refuses new ones."""
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                upstream = socket.create_connection(("127.0.0.1", self._target))
                self._open += [client, upstream]
                for source, target in ((client, upstream), (upstream, client)):
                    threading.Thread(target=_pump, args=(source, target), daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
