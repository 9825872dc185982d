"""What the page's buttons do: from the form's values to markup, through the service. No Gradio in here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import ValidationError

from review_data.errors import TeraziError, UserError
from review_data.severity import SEVERITIES, Severity
from service.api.desk import Desk
from service.api.schema import NewReview
from service.changes.text import decode_diff
from service.store.records import Filters
from service.store.values import now_ms
from ui.page import cards, charts, lists
from ui.page.texts import Said, Texts

_POLL_S: Final = 0.25
_PATIENCE_S: Final = 900.0
_PAGE: Final = 25
_DAY_MS: Final = 86_400_000


class FormError(UserError):
    """What the form lacks, in the page's language."""


class Form(NamedTuple):
    """What the Review tab holds; empty texts and None are "not given". `upload` is a file's path."""

    patch: str
    upload: str | None
    repository: str | None
    range: str
    title: str
    backend: str | None
    adapter: str


def run(desk: Desk, form: Form, author: str, texts: Texts) -> Iterator[str]:
    """Asks for a review and follows it to its result; what is wrong is shown, never raised."""
    try:
        summary = desk.submit(request_of(form, texts), author)
        yield from follow(desk, summary.id, texts)
    except (TeraziError, ValidationError) as error:
        yield cards.refusal(_said(error, texts), texts)


def follow(desk: Desk, review_id: str, texts: Texts) -> Iterator[str]:
    """The review's progress until it is final, then its result."""
    until, shown = time.monotonic() + _PATIENCE_S, None
    while time.monotonic() < until and not desk.stopping.is_set():
        summary = desk.state(review_id)
        if summary.status.is_final:
            break
        now = (summary.status, summary.done, summary.total)
        if now != shown:
            shown = now
            yield cards.waiting(summary, texts)
        time.sleep(_POLL_S)
    yield show(desk, review_id, texts)


def show(desk: Desk, review_id: str, texts: Texts) -> str:
    """A stored review as it is now."""
    stored = desk.find(review_id)
    if not stored.summary.status.is_final:
        return cards.waiting(stored.summary, texts)
    return cards.result(stored, texts)


def open_link(desk: Desk, review_id: str | None, texts: Texts) -> Iterator[str]:
    """What the address `?review=ID` shows; the empty state without one."""
    if not review_id:
        yield cards.note(texts.empty)
        return
    try:
        yield from follow(desk, review_id, texts)
    except UserError:
        yield cards.refusal(Said(texts.not_found), texts)
    except TeraziError as error:
        yield cards.refusal(_said(error, texts), texts)


def request_of(form: Form, texts: Texts) -> NewReview:
    """The form as a request; `FormError` unless exactly one source is given."""
    given = [bool(form.patch.strip()), bool(form.upload), bool(form.repository and form.range.strip())]
    if sum(given) != 1:
        raise FormError(texts.two_given if sum(given) else texts.nothing_given)
    common = {"title": form.title.strip(), "backend": form.backend or None, "adapter": form.adapter or None}
    if given[2]:
        values = {"repository": form.repository, "range": form.range.strip()}
        return NewReview.model_validate(common | values)
    patch, name = (form.patch, "") if given[0] else take(Path(form.upload or ""), texts)
    return NewReview.model_validate(common | {"patch": patch, "title": common["title"] or name})


def take(upload: Path, texts: Texts) -> tuple[str, str]:
    """An uploaded file's text and name; the copy that the upload left on disk is deleted."""
    try:
        return decode_diff(upload.read_bytes()) or "\n", upload.stem[:300]
    except OSError:
        raise FormError(texts.upload_lost) from None
    finally:
        upload.unlink(missing_ok=True)


def batch(
    desk: Desk, uploads: Sequence[str], repository: str | None, ranges: str, author: str, texts: Texts
) -> Iterator[str]:
    """Asks for all of them, then shows the table again whenever one more is done."""
    forms = [(Path(path).name, Form("", path, None, "", "", None, "")) for path in uploads]
    named = [line.strip() for line in ranges.splitlines() if line.strip()]
    forms += [(line, Form("", None, repository, line, "", None, "")) for line in named]
    if not forms:
        yield cards.refusal(Said(texts.nothing_given), texts)
        return
    rows = [_begin(desk, name, form, author, texts) for name, form in forms]
    until, shown = time.monotonic() + _PATIENCE_S, ""
    while True:
        rows = [_again(desk, row) for row in rows]
        markup = _batch(rows, texts)
        if markup != shown:
            shown = markup
            yield markup
        if all(_is_over(row) for row in rows) or time.monotonic() > until or desk.stopping.is_set():
            return
        time.sleep(_POLL_S)


def _begin(desk: Desk, name: str, form: Form, author: str, texts: Texts) -> lists.Row:
    try:
        return lists.Row(name, desk.submit(request_of(form, texts), author))
    except (TeraziError, ValidationError) as error:
        return lists.Row(name, None, _said(error, texts))


def _again(desk: Desk, row: lists.Row) -> lists.Row:
    if row.summary is None or row.summary.status.is_final:
        return row
    try:
        return row._replace(summary=desk.state(row.summary.id))
    except TeraziError:
        return row


def _is_over(row: lists.Row) -> bool:
    return row.summary is None or row.summary.status.is_final


def _batch(rows: Sequence[lists.Row], texts: Texts) -> str:
    done = sum(map(_is_over, rows))
    counts = dict.fromkeys(SEVERITIES, 0)
    for row in rows:
        for level, count in (row.summary.counts if row.summary else {}).items():
            counts[level] += count
    say = texts.batch_done.format(done=done, total=len(rows))
    progress = f'<progress aria-label="{say}" value="{done}" max="{len(rows)}"></progress>'
    return (
        f'<div class="tz-note tz-wait" role="status">{say}{progress}</div>'
        f"{charts.histogram(counts, texts)}{lists.batch(rows, texts)}"
    )


class Listed(NamedTuple):
    """A page of the history: list, trend, and the cursor of what comes next ("" at the end)."""

    markup: str
    trend: str
    cursor: str


def history(
    desk: Desk, search: str, severity: str | None, repository: str | None, cursor: str, texts: Texts
) -> Listed:
    """Past reviews that match, and their trend."""
    filters = Filters(
        text=search.strip()[:200],
        severity=Severity(severity) if severity else None,
        repository=repository or "",
    )
    try:
        page = desk.page(filters, _PAGE, cursor or None)
        days = desk.trend(filters, 30)
    except TeraziError as error:
        return Listed(cards.refusal(_said(error, texts), texts), "", "")
    markup = lists.history(page.items, texts) if page.items else cards.note(texts.history_empty)
    return Listed(markup, charts.trend(days, now_ms() // _DAY_MS, texts), page.next or "")


def _said(error: TeraziError | ValidationError, texts: Texts) -> Said:
    if isinstance(error, FormError):
        return Said(str(error))
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return Said(texts.invalid, f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
    return Said(texts.errors.get(error.kind, "") if error.kind else "", str(error))
