"""Errors as `application/problem+json` (RFC 9457). A reply never quotes what the client sent."""

from __future__ import annotations

import http
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from review_data.errors import StoreError, TeraziError, UserError
from service.api.schema import Problem
from service.store.reviews import QueueFull

MEDIA_TYPE: Final = "application/problem+json"
MEANINGS: Final = {
    400: "The request is not well-formed.",
    401: "A valid token is missing.",
    403: "The request comes from another site.",
    404: "There is no such thing.",
    405: "The address does not take this method.",
    408: "The request did not arrive in time.",
    409: "The review is not in the state for it.",
    413: "The request is too large.",
    415: "The body's type or encoding is not taken.",
    421: "The server is not known by that name.",
    422: "A value can't be used.",
    429: "Too many reviews or requests; try again after `Retry-After` seconds.",
    503: "The database does not answer; try again after `Retry-After` seconds.",
}
_ALWAYS: Final = (400, 401, 403, 408, 413, 421, 429, 503)


def documented(*codes: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's `responses` for these status codes and those that any request may meet."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        code: {"description": MEANINGS[code], "content": {MEDIA_TYPE: {"schema": schema}}}
        for code in sorted({*codes, *_ALWAYS})
    }


def problem(
    status: int,
    detail: str,
    *,
    errors: tuple[dict[str, str], ...] = (),
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    """The reply for an error."""
    body = Problem(title=http.HTTPStatus(status).phrase, status=status, detail=detail, errors=errors)
    return JSONResponse(body.model_dump(), status, headers=headers, media_type=MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Makes every error of the application a problem."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(TeraziError, _terazi)
    app.add_exception_handler(Exception, _bug)


def of_error(error: TeraziError) -> JSONResponse:
    """The reply for an error that was raised on purpose."""
    if isinstance(error, QueueFull):
        return problem(429, str(error), headers={"Retry-After": str(min(60, 2 + error.waiting // 4))})
    if isinstance(error, StoreError):
        return problem(503, str(error), headers={"Retry-After": "5"})
    return problem(422 if isinstance(error, UserError) else 503, str(error))


async def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers) if error.headers else None
    return problem(error.status_code, str(error.detail), headers=headers)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    if request.method == "POST" and request.url.path.startswith("/v1/") and not _is_json(request):
        return problem(415, "the body is not taken; send JSON with `Content-Type: application/json`")
    rows = tuple(
        {"field": ".".join(str(part) for part in row["loc"]), "message": str(row["msg"])}
        for row in error.errors()
    )
    first = rows[0] if rows else {"field": "request", "message": "is not valid"}
    return problem(422, f"{first['field']}: {first['message']}", errors=rows)


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


async def _terazi(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, TeraziError)
    return of_error(error)


async def _bug(_request: Request, error: Exception) -> JSONResponse:
    return problem(500, f"internal error ({type(error).__name__}); the server's log has the place")
