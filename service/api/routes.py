"""The addresses under /v1: reviews, verdicts, the scale."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from review_data.domain import Outcome
from review_data.errors import StoreError
from review_data.feedback import Feedback, Verdict
from review_data.severity import DEFINITIONS, SEVERITIES, Severity
from service.api.desk import Desk
from service.api.problems import documented
from service.api.schema import (
    Fingerprint,
    NewFeedback,
    NewMissed,
    NewReview,
    ReportFormat,
    ReviewId,
    ReviewList,
    ReviewOut,
    ReviewState,
    SeverityOut,
    milliseconds,
    review_out,
    state_out,
)
from service.store.records import Filters, Status

_POLL_S: Final = 0.3
_STREAM_S: Final = 900.0
_BEAT_S: Final = 15.0
_MEDIA_TYPES: Final = {
    ReportFormat.MARKDOWN: ("text/markdown", "md"),
    ReportFormat.SARIF: ("application/sarif+json", "sarif"),
    ReportFormat.JSON: ("application/json", "json"),
    ReportFormat.GITLAB: ("application/json", "gitlab.json"),
    ReportFormat.RDJSON: ("application/json", "rdjson"),
    ReportFormat.TEXT: ("text/plain", "txt"),
}


def desk_of(request: Request) -> Desk:
    """The service that this application was made for."""
    desk: Desk = request.app.state.desk
    return desk


def actor_of(request: Request) -> str:
    """Who asks: the token's name, "local" where none is needed."""
    return str(request.state.actor)


async def known_parameters(request: Request) -> None:
    """Refuses query parameters that the address does not take: a misspelt filter would filter nothing."""
    known = [field.alias for field in request.scope["route"].dependant.query_params]
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        errors = [{"loc": ("query", name), "msg": _not_known(name, known)} for name in unknown]
        raise RequestValidationError(errors)


def _not_known(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(known) or 'none'}"
    return f"is no parameter of this address; {hint}"


router = APIRouter(prefix="/v1", dependencies=[Depends(known_parameters)])
DeskIn = Annotated[Desk, Depends(desk_of)]
ActorIn = Annotated[str, Depends(actor_of)]


@router.post(
    "/reviews", status_code=202, responses=documented(415, 422), summary="Ask for a review", tags=["reviews"]
)
def create(new: NewReview, desk: DeskIn, actor: ActorIn, response: Response) -> ReviewState:
    """Accepts a patch, or a range of a configured repository. It is stored when the reply arrives, and is
    reviewed in the background: follow `Location`, or its `/events`."""
    state = state_out(desk.submit(new, actor))
    response.headers["Location"] = f"/v1/reviews/{state.id}"
    return state


@router.get("/reviews", responses=documented(422), summary="List reviews", tags=["reviews"])
def every(
    desk: DeskIn,
    status: Status | None = None,
    outcome: Outcome | None = None,
    severity: Annotated[Severity | None, Query(description="Shows a finding at least this severe.")] = None,
    repository: Annotated[str, Query(max_length=100)] = "",
    q: Annotated[str, Query(max_length=200, description="Stands in the title, a path or a finding.")] = "",
    since: Annotated[
        datetime | None, Query(description="Accepted at or after this time; UTC without a zone.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=100, description="`next` of the page before.")] = None,
) -> ReviewList:
    """The reviews, newest first."""
    filters = Filters(
        status=status,
        outcome=outcome,
        severity=severity,
        repository=repository,
        text=q,
        since=None if since is None else milliseconds(since),
    )
    page = desk.page(filters, limit, cursor)
    return ReviewList(items=tuple(state_out(item) for item in page.items), next=page.next)


@router.get("/reviews/{review_id}", responses=documented(404, 422), summary="A review", tags=["reviews"])
def one(review_id: ReviewId, desk: DeskIn, threshold: Severity | None = None) -> ReviewOut:
    """A review with its findings, filtered anew when `threshold` is given; nothing is reviewed again."""
    return review_out(desk.find(review_id), threshold)


@router.get(
    "/reviews/{review_id}/report",
    response_class=Response,
    responses={
        **documented(404, 409, 422),
        200: {"content": {kind: {} for kind, _ in _MEDIA_TYPES.values()}, "description": "The document."},
    },
    summary="A review as a document",
    tags=["reviews"],
)
def report(
    review_id: ReviewId,
    desk: DeskIn,
    format: ReportFormat = ReportFormat.MARKDOWN,
    threshold: Severity | None = None,
) -> Response:
    """A finished review in a format that other tools read."""
    text = desk.report(review_id, format, threshold)
    kind, ending = _MEDIA_TYPES[format]
    name = f"terazi-{review_id[:8]}.{ending}"
    return Response(
        text.encode("utf-8", "replace"),
        media_type=kind,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


@router.get(
    "/reviews/{review_id}/events",
    response_class=StreamingResponse,
    responses={
        **documented(404, 422),
        200: {"content": {"text/event-stream": {}}, "description": "`progress` events, then one `end`."},
    },
    summary="A review's progress",
    tags=["reviews"],
)
async def events(review_id: ReviewId, desk: DeskIn) -> StreamingResponse:
    """Server-sent events: `progress` whenever the state changes, `end` when it is final. Each carries the
    review's state as JSON."""
    first = state_out(await run_in_threadpool(desk.state, review_id))
    return StreamingResponse(
        _stream(desk, first), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
    )


async def _stream(desk: Desk, state: ReviewState) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    until, beat = loop.time() + _STREAM_S, loop.time() + _BEAT_S
    yield _event("end" if state.status.is_final else "progress", state)
    while not state.status.is_final and loop.time() < until and not desk.stopping.is_set():
        await asyncio.sleep(_POLL_S)
        try:
            now = state_out(await run_in_threadpool(desk.state, state.id))
        except StoreError:
            continue  # the database may come back before the stream's end
        if now != state:
            state = now
            yield _event("end" if state.status.is_final else "progress", state)
        elif loop.time() > beat:
            beat = loop.time() + _BEAT_S
            yield ": still there\n\n"


def _event(name: str, state: ReviewState) -> str:
    return f"event: {name}\ndata: {state.model_dump_json()}\n\n"


@router.post(
    "/reviews/{review_id}/findings/{fingerprint}/feedback",
    status_code=201,
    responses=documented(404, 409, 415, 422),
    summary="Give a verdict",
    tags=["feedback"],
)
def judge(
    review_id: ReviewId, fingerprint: Fingerprint, new: NewFeedback, desk: DeskIn, actor: ActorIn
) -> Feedback:
    """Stores what a person says of a finding; replaces what the same person said before."""
    return desk.judge(review_id, new.on(fingerprint, actor))


@router.post(
    "/reviews/{review_id}/feedback",
    status_code=201,
    responses=documented(404, 409, 415, 422),
    summary="Report a missed fault",
    tags=["feedback"],
)
def missed(review_id: ReviewId, new: NewMissed, desk: DeskIn, actor: ActorIn) -> Feedback:
    """Stores a fault that the review did not report."""
    return desk.judge(review_id, Feedback(verdict=Verdict.MISSED, missed=new, author=actor))


@router.get("/severities", responses=documented(422), summary="The severity scale", tags=["scale"])
def severities() -> tuple[SeverityOut, ...]:
    """The four levels from low to critical, and what each means."""
    return tuple(
        SeverityOut(name=level, rank=level.rank, **DEFINITIONS[level]._asdict()) for level in SEVERITIES
    )
