"""What every request passes before the API or the page sees it: name, origin, token, size, time, number.

Covers: DNS rebinding (the Host header must be one of ours), cross-site posts (Origin and Sec-Fetch-Site),
missing or ended tokens, bodies that are too large, compressed or too slow, and too many requests at once.
Does not cover: TLS (a reverse proxy's work) and slow headers (`service.api.server`).
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from review_data.errors import TeraziError
from service.api.logs import LOGGER
from service.api.metrics import Metrics
from service.api.problems import of_error, problem
from service.settings import Settings

COOKIE: Final = "terazi_token"
_OPEN_PATHS: Final = ("/healthz", "/readyz", "/login")
_LONGEST_NEXT: Final = 500
_SAFE: Final = ("GET", "HEAD", "OPTIONS")
_LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
# Gradio needs inline and evaluated scripts; everything may come from this server alone.
_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; worker-src 'self' blob:; "
    "frame-ancestors 'none'; form-action 'self'; base-uri 'self'; object-src 'none'"
)
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class Guard:
    """ASGI middleware around everything. `verify` gives the name of a valid token, else None."""

    def __init__(
        self, app: ASGIApp, settings: Settings, verify: Callable[[str], str | None], metrics: Metrics
    ) -> None:
        self._app, self._verify, self._metrics = app, verify, metrics
        self._limit = settings.request_limit_bytes
        self._patience_s = settings.client_timeout_s
        self._at_once = settings.requests_at_once
        self._needs_token = not is_loopback(settings.host)
        self._names = host_names(settings)
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await Exchange(scope, self._metrics).run(self, receive, send)

    async def admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers the request itself when it may not pass, else hands it on."""
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers) or await self._who(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, send)
        elif is_stream(scope["path"]):
            await self._app(scope, self._bounded(receive), send)
        elif self._running >= self._at_once:
            busy = problem(429, "too many requests at once; try again", headers={"Retry-After": "1"})
            await busy(scope, receive, send)
        else:
            self._running += 1
            try:
                await self._app(scope, self._bounded(receive), send)
            finally:
                self._running -= 1

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        if self._names is not None and host_name(headers.get("host", "")) not in self._names:
            return problem(421, "the server is not known by that name; add it to `public_hosts`")
        if scope["method"] not in _SAFE and is_foreign(headers):
            return problem(403, "the request comes from another site, and only this server's own pages may")
        if headers.get("content-encoding", "identity").lower() not in ("identity", ""):
            return problem(415, "compressed bodies are not taken; send the text as it is")
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._limit:
            return problem(413, f"the body is larger than {self._limit} bytes; split the change")
        return None

    async def _who(self, scope: Scope, headers: Headers) -> Response | None:
        scope.setdefault("state", {})["actor"] = "local"
        if not self._needs_token or scope["path"] in _OPEN_PATHS:
            return None
        token = token_of(headers)
        try:
            actor = await run_in_threadpool(self._verify, token) if token else None
        except TeraziError as error:
            return of_error(error)
        if actor is not None:
            scope["state"]["actor"] = actor
            return None
        if scope["method"] == "GET" and "text/html" in headers.get("accept", ""):
            return RedirectResponse(f"/login?next={quote(safe_next(address(scope)))}", 303)
        detail = "the token is not valid: it is wrong, revoked or expired" if token else "a token is missing"
        return problem(
            401,
            f"{detail}; `terazi token create NAME` makes one, sent as `Authorization: Bearer ...`",
            headers={"WWW-Authenticate": "Bearer"},
        )

    def _bounded(self, receive: Receive) -> Receive:
        """`receive` that refuses a body beyond the size or time limit, however it is framed."""
        left, until, whole = self._limit, time.monotonic() + self._patience_s, False

        async def bounded() -> Message:
            nonlocal left, whole
            if whole:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.001, until - time.monotonic()))
            except TimeoutError:
                raise HTTPException(408, f"the body did not arrive within {self._patience_s:.0f} s") from None
            if message["type"] == "http.request":
                left -= len(message.get("body", b""))
                whole = not message.get("more_body", False)
                if left < 0:
                    raise HTTPException(413, f"the body is larger than {self._limit} bytes")
            return message

        return bounded


class Exchange:
    """One request and its reply, for the log, the metrics and the headers every reply has."""

    def __init__(self, scope: Scope, metrics: Metrics) -> None:
        self._scope, self._metrics = scope, metrics
        self._id = secrets.token_hex(8)
        self._status = 0

    async def run(self, guard: Guard, receive: Receive, send: Send) -> None:
        """Passes the request on and notes how it ended."""
        started = time.monotonic()

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = self._id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await guard.admit(self._scope, receive, noting)
        finally:
            self._note(time.monotonic() - started)

    def _note(self, seconds: float) -> None:
        route = getattr(self._scope.get("route"), "path", "") or "/" + self._scope["path"].split("/")[1]
        self._metrics.requests.labels(f"{self._status // 100}xx").inc()
        if route.startswith(("/v1", "/login", "/metrics")) or self._status >= 400:
            fields = {"request_id": self._id, "method": self._scope["method"], "route": route}
            actor = self._scope.get("state", {}).get("actor", "")
            more = {"status": self._status, "ms": round(seconds * 1000), "actor": actor}
            LOGGER.info("request", extra=fields | more)


def host_names(settings: Settings) -> frozenset[str] | None:
    """The names in Host headers that are ours; None for any, where a token is needed and none are set."""
    local = is_loopback(settings.host)
    if not local and not settings.public_hosts:
        return None
    own = f"[{settings.host}]" if ":" in settings.host else settings.host
    return frozenset(name.lower() for name in (*_LOCAL_NAMES, own, *settings.public_hosts))


def host_name(header: str) -> str:
    """The Host header without its port, in lower case."""
    name, colon, port = header.rpartition(":")
    return (name if colon and port.isdigit() and name else header).lower()


def is_foreign(headers: Headers) -> bool:
    """Whether a browser says that another site made the request."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin, host = headers.get("origin"), headers.get("host", "").lower()
    return origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}")


def token_of(headers: Headers) -> str:
    """The token in the Authorization header or the page's cookie, "" without one."""
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    return cookie_parser(headers.get("cookie", "")).get(COOKIE, "")


def is_stream(path: str) -> bool:
    """Whether the reply stays open: progress events, and those of the page."""
    return path.endswith(("/events", "/queue/data")) or "/heartbeat/" in path


def address(scope: Scope) -> str:
    """The path and query that the browser asked for."""
    query: bytes = scope.get("query_string", b"")
    path: str = scope["path"]
    return path + (f"?{query.decode('latin-1')}" if query else "")


def safe_next(target: str) -> str:
    """A place on this server to go on to after signing in; "/" for anything else, and if it is long."""
    plain = target.replace("\\", "/")
    ours = plain.startswith("/") and not plain.startswith("//")
    return target if ours and target.isprintable() and len(target) <= _LONGEST_NEXT else "/"
