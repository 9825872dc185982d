"""Running the application on a socket: start, the address to print, and an orderly end on SIGTERM or Ctrl-C.

Uvicorn waits without limit for a request's headers; `PatientProtocol` does not.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from review_data.errors import SettingsError
from service.api.desk import Desk
from service.settings import Settings

CONNECTIONS: Final = 500
_DRAIN_S: Final = 5


class PatientProtocol(H11Protocol):
    """Closes a connection that has not sent a whole request head within `patience_s` seconds."""

    patience_s = 20.0

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Starts the clock."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Stops the clock when a request has begun, starts it when the next one is awaited."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clock."""
        self._stop_clock()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_clock()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.patience_s, self._too_slow)

    def _too_slow(self) -> None:
        self._timer = None
        if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
            self.transport.close()

    def _stop_clock(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Server(uvicorn.Server):
    """Uvicorn that says when it is up, tells the open streams to end, and exits with 0 on SIGTERM."""

    def __init__(self, config: uvicorn.Config, desk: Desk, on_up: Callable[[], None]) -> None:
        super().__init__(config)
        self._desk, self._on_up = desk, on_up

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts, then calls `on_up`."""
        await super().startup(sockets=sockets)
        self._on_up()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ends in order; a second signal ends at once."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._desk.stopping.set()


def bind(settings: Settings) -> socket.socket:
    """A listening socket; `SettingsError` when the address can't be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"can't listen on {settings.host} port {settings.port} ({error.strerror}); choose another --port"
        ) from None
    return listener


def url_of(listener: socket.socket) -> str:
    """The address to open in a browser."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


def run(app: FastAPI, desk: Desk, listener: socket.socket, on_up: Callable[[], None]) -> None:
    """Serves until a signal; what runs is finished before this returns."""
    protocol = type("Protocol", (PatientProtocol,), {"patience_s": desk.settings.client_timeout_s})
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=_DRAIN_S,
    )
    Server(config, desk, on_up).run(sockets=[listener])
