"""A real `terazi serve` in a process of its own, on a free loopback port."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx

ROOT = Path(__file__).parents[2]


class Served:
    """A running server: its address, its process, and what it has written so far."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.errors: list[str] = []
        self._lines: list[str] = []
        self._up = threading.Event()
        assert process.stdout is not None
        assert process.stderr is not None
        for stream, keep in ((process.stdout, self._lines), (process.stderr, self.errors)):
            threading.Thread(target=self._read, args=(stream, keep), daemon=True).start()
        self.url = self._wait_for_url()

    def client(self, **options: object) -> httpx.Client:
        """A client of this server."""
        values: dict[str, object] = {"base_url": self.url, "timeout": 30.0} | options
        return httpx.Client(**values)  # type: ignore[arg-type]

    def end(self, sign: signal.Signals = signal.SIGTERM, seconds: float = 60) -> int:
        """Sends a signal and waits for the end; returns the exit status."""
        self.process.send_signal(sign)
        return self.process.wait(seconds)

    def log(self) -> str:
        """What went to standard error."""
        return "".join(self.errors)

    def _read(self, stream: IO[bytes], keep: list[str]) -> None:
        for line in stream:
            keep.append(line.decode("utf-8", "replace"))
            self._up.set()
        self._up.set()

    def _wait_for_url(self) -> str:
        until = time.monotonic() + 90
        while time.monotonic() < until and self.process.poll() is None:
            found = re.search(r"http://\S+", "".join(self._lines))
            if found:
                return found.group()
            self._up.wait(0.1)
            self._up.clear()
        raise AssertionError(f"the server did not start: {self.log()}")


@contextmanager
def serving(store: Path | str, *flags: str, env: dict[str, str] | None = None) -> Iterator[Served]:
    """`terazi serve` with that store and these flags; killed at the end if it still runs."""
    command = [sys.executable, "-m", "ui.cli.main", "serve", "--port", "0", "--store", str(store), *flags]
    values = {key: value for key, value in os.environ.items() if not key.startswith("TERAZI_")}
    values |= {"PYTHONPATH": str(ROOT), "TERAZI_CLIENT_TIMEOUT_S": "5"} | (env or {})
    process = subprocess.Popen(
        command, env=values, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        served = Served(process)
        yield served
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def wait_done(client: httpx.Client, review_id: str, seconds: float = 60) -> dict[str, object]:
    """The review once it is final."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        reply = client.get(f"/v1/reviews/{review_id}")
        if reply.status_code == 200 and reply.json()["status"] in ("done", "failed", "interrupted"):
            return dict(reply.json())
        time.sleep(0.05)
    raise AssertionError(f"review {review_id} did not finish in {seconds} s")
