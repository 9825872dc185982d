"""Requests to the server: one connection pool, retries, limits, and messages that say what went wrong.

They run on an event loop in a thread of its own, because only there can a request be given up wherever it
stands: a time-out of the socket starts anew with every byte that a slow server sends.

Retried with exponential back-off and full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter"):
429 and 5xx, honouring Retry-After (RFC 9110, 10.2.3), failed connections, and once a timeout. A server that
failed every attempt is left alone for some seconds, so that a dead one does not hold up a whole review. The
key is never part of a message. Redirects are not followed: they could lead to another host.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
import weakref
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, Final

import httpx

from review_data.errors import BackendError
from review_data.secrets import mask
from review_data.untrusted import one_line
from service.backends.endpoint.address import Address

REPLY_LIMIT: Final = 1_000_000
ATTEMPTS: Final = 5
BACKOFF_S: Final = 0.5
LONGEST_WAIT_S: Final = 60.0
LOOK_TIMEOUT_S: Final = 5.0  # for what a server says of itself, at once even when it is busy
CONNECT_TIMEOUT_S: Final = 5.0
LEFT_ALONE_S: Final = 5.0
_RETRIED: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})


class Refused(BackendError):
    """The server answered, and the answer is no; `status` is its code, `detail` its words."""

    def __init__(self, message: str, *, status: int, detail: str) -> None:
        self.status, self.detail = status, detail
        super().__init__(message)


class _TryAgain(Exception):
    """One attempt failed in a way that may pass; `wait_s` is what the server asked for."""

    def __init__(
        self, why: str, *, wait_s: float | None = None, lost: bool = False, late: bool = False
    ) -> None:
        self.why, self.wait_s, self.lost, self.late = why, wait_s, lost, late
        super().__init__(why)


class Wire:
    """A connection pool to one server; thread-safe. Every failure is a `BackendError`."""

    def __init__(self, address: Address, *, key: str, timeout_s: float, concurrency: int) -> None:
        self.address, self.timeout_s = address, timeout_s
        self._key = key
        self._down_until, self._down_why = 0.0, ""
        self._client = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            limits=httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
            follow_redirects=False,
            trust_env=not address.is_loopback,
        )
        self._loop = _loop()
        weakref.finalize(self, _close, self._client, self._loop).atexit = False
        self._slots = threading.BoundedSemaphore(concurrency)

    def get(self, url: str, *, attempts: int = ATTEMPTS) -> dict[str, Any]:
        """The JSON object at `url`."""
        return self._json(self._ask("GET", url, None, attempts), url)

    def get_text(self, url: str) -> str:
        """The text at `url`."""
        return self._ask("GET", url, None).decode("utf-8", "replace")

    def post(self, url: str, body: Mapping[str, object]) -> dict[str, Any]:
        """The JSON object that answers `body`; an empty or other answer is an error."""
        return self._json(self._ask("POST", url, body), url)

    def post_text(self, url: str, body: Mapping[str, object]) -> str:
        """The text that answers `body`."""
        return self._ask("POST", url, body).decode("utf-8", "replace")

    def _ask(
        self, method: str, url: str, body: Mapping[str, object] | None, attempts: int = ATTEMPTS
    ) -> bytes:
        if time.monotonic() < self._down_until:
            raise BackendError(self._down_why)
        late = 0
        for attempt in range(1, attempts + 1):
            try:
                with self._slots:
                    return self._attempt(method, url, body)
            except _TryAgain as failed:
                late += failed.late
                if attempt == attempts or late > 1 or (failed.wait_s or 0) > LONGEST_WAIT_S:
                    raise self._given_up(failed, attempt) from None
                time.sleep(self._pause(attempt, failed.wait_s))
        raise AssertionError("the last attempt returns or raises")

    def _attempt(self, method: str, url: str, body: Mapping[str, object] | None) -> bytes:
        limit_s = self.timeout_s if body is not None else min(self.timeout_s, LOOK_TIMEOUT_S)
        exchange = self._exchange(method, url, body, limit_s)
        try:
            response, content = asyncio.run_coroutine_threadsafe(exchange, self._loop).result()
        except httpx.ConnectError as error:
            if "CERTIFICATE" in str(error).upper():
                raise BackendError(
                    f"{self.address.url} has a certificate that can't be verified ({error}); correct it, or "
                    "name your own authority's file in SSL_CERT_FILE"
                ) from None
            raise _TryAgain(f"can't be reached ({_root(error)})", lost=True) from None
        except (TimeoutError, httpx.TimeoutException):
            raise _TryAgain(f"gave no answer in {limit_s:g} s", late=True) from None
        except httpx.TransportError as error:
            raise _TryAgain(f"broke the connection off ({_root(error)})", lost=True) from None
        except httpx.DecodingError as error:
            raise BackendError(
                f"{self.address.url} sent an answer that can't be unpacked ({error}); check the server and "
                "what stands before it"
            ) from None
        if response.status_code in _RETRIED:
            raise _TryAgain(
                f"answered {response.status_code}{self._words(content)}",
                wait_s=retry_after(response.headers.get("retry-after")),
            )
        if not response.is_success:
            raise self._refused(response, content)
        return content

    async def _exchange(
        self, method: str, url: str, body: Mapping[str, object] | None, limit_s: float
    ) -> tuple[httpx.Response, bytes]:
        timeout = httpx.Timeout(None, connect=min(limit_s, CONNECT_TIMEOUT_S))
        async with (
            asyncio.timeout(limit_s),
            self._client.stream(method, url, json=body, timeout=timeout) as response,
        ):
            return response, await self._read(response)

    async def _read(self, response: httpx.Response) -> bytes:
        content = bytearray()
        async for part in response.aiter_bytes():
            content += part
            if len(content) > REPLY_LIMIT:
                raise BackendError(
                    f"{self.address.url} sent more than {REPLY_LIMIT:,} bytes for one reply; is it the "
                    "server you mean?"
                )
        return bytes(content)

    def _refused(self, response: httpx.Response, content: bytes) -> Refused:
        status, detail = response.status_code, self._words(content)
        if status in (401, 403):
            state = "refuses the API key" if self._key else "wants an API key"
            text = f"{self.address.url} {state} ({status}); set TERAZI_API_KEY in the environment"
        elif response.is_redirect:
            where = one_line(response.headers.get("location", ""), 120)
            text = f"{self.address.url} redirects to {where}, which is not followed; set that as the endpoint"
        elif status == 404:
            text = (
                f"{self.address.url} does not know {response.url.path} (404{detail}); is that the API's URL?"
            )
        else:
            text = f"{self.address.url} refused the request ({status}{detail})"
        return Refused(text, status=status, detail=detail)

    def _words(self, content: bytes) -> str:
        """What the server says of an error, as `: words`; the key and secrets never come along."""
        text = content.decode("utf-8", "replace")
        try:
            found = json.loads(text)
            error = found.get("error", found.get("detail", "")) if isinstance(found, dict) else ""
            text = str(error.get("message", "")) if isinstance(error, dict) else str(error)
        except ValueError:
            text = "" if "<html" in text.lower() else text
        text = text.replace(self._key, "****") if self._key else text
        return f": {one_line(mask(text), 200)}" if text.strip() else ""

    def _json(self, content: bytes, url: str) -> dict[str, Any]:
        try:
            value = json.loads(content)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            start = one_line(content[:200].decode("utf-8", "replace"), 80)
            raise BackendError(
                f"{url} did not answer with a JSON object but “{start}”; is that the API's URL?"
            )
        return value

    def _given_up(self, failed: _TryAgain, attempts: int) -> BackendError:
        times = f" {attempts} times" if attempts > 1 else ""
        text = f"{self.address.url} {failed.why}{times}"
        if failed.wait_s is not None and failed.wait_s > LONGEST_WAIT_S:
            text += f" and asks to wait {failed.wait_s:.0f} s"
        text += "; `terazi endpoint check` tells more"
        if failed.lost:
            self._down_until, self._down_why = time.monotonic() + LEFT_ALONE_S, text
        return BackendError(text)

    def _pause(self, attempt: int, wait_s: float | None) -> float:
        backoff: float = min(8.0, BACKOFF_S * 2 ** (attempt - 1)) * random.random()
        return backoff if wait_s is None else wait_s + backoff


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="requests", daemon=True).start()
    return loop


def _close(client: httpx.AsyncClient, loop: asyncio.AbstractEventLoop) -> None:
    asyncio.run_coroutine_threadsafe(client.aclose(), loop)


def _root(error: BaseException) -> BaseException:
    """What the operating system said, beneath the libraries' words for it."""
    while (beneath := error.__cause__ or error.__context__) is not None:
        error = beneath
    return error


def retry_after(value: str | None, now: float | None = None) -> float | None:
    """Seconds that a Retry-After header asks for (a number or an HTTP date); None when it asks nothing."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        when = float(parsedate_to_datetime(value).timestamp())
    except ValueError:
        return None
    return max(0.0, when - (time.time() if now is None else now))
