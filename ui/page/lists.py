"""Lists of reviews as HTML: the history and a batch. Pure functions from summaries to markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import NamedTuple

from review_data.domain import Outcome
from review_data.severity import SEVERITIES
from service.store.records import Summary
from ui.page.cards import chip, why
from ui.page.markup import both, component, text
from ui.page.texts import Said, Texts


class Row(NamedTuple):
    """One merge request of a batch: its name, and its review or why there is none."""

    name: str
    summary: Summary | None
    error: Said = Said("")


def history(items: Iterable[Summary], texts: Texts) -> str:
    """Past reviews, newest first, each a link to itself."""
    rows = "".join(
        f"<tr><td>{_link(item, item.title, texts)}</td><td>{_counts(item, texts)}</td>"
        f"<td>{_outcome(item, texts)}</td><td>{_when(item)}</td></tr>"
        for item in items
    )
    return _list(rows, (texts.title, texts.findings, texts.outcome, texts.date))


def batch(rows: Sequence[Row], texts: Texts) -> str:
    """A batch's reviews, the most severe first by how many findings of each severity there are."""
    body = "".join(
        f"<tr><td>{_link(row.summary, row.name, texts) if row.summary else text(row.name)}</td>"
        f"<td>{_counts(row.summary, texts) if row.summary else ''}</td>"
        f"<td>{_outcome(row.summary, texts) if row.summary else both(row.error)}</td></tr>"
        for row in sorted(rows, key=_weight)
    )
    return _list(body, (texts.title, texts.findings, texts.outcome))


def _weight(row: Row) -> tuple[int, ...]:
    """Sorts the most severe first; what has no result, or failed, comes last in the order given."""
    if row.summary is None or row.summary.outcome in (None, Outcome.FAILED):
        return (1,)
    return (0, *(-row.summary.counts.get(level, 0) for level in reversed(SEVERITIES)))


def _list(rows: str, heads: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    return component(
        f'<div class="tz-list"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _link(summary: Summary, name: str, texts: Texts) -> str:
    repository = f" <code>{text(summary.repository)}</code>" if summary.repository else ""
    return f'<a href="?review={summary.id}">{text(name or texts.untitled)}</a>{repository}'


def _counts(summary: Summary, texts: Texts) -> str:
    return "".join(
        f'<span class="tz-count">{chip(level, texts)} {summary.counts[level]}</span> '
        for level in reversed(SEVERITIES)
        if summary.counts.get(level)
    )


def _outcome(summary: Summary, texts: Texts) -> str:
    if not summary.status.is_final:
        return escape(texts.statuses[summary.status])
    outcome = texts.outcomes[summary.outcome] if summary.outcome else texts.statuses[summary.status]
    return both(why(summary, texts)) if summary.error else escape(outcome)


def _when(summary: Summary) -> str:
    at = datetime.fromtimestamp(summary.created_at / 1000, UTC)
    return f'<time datetime="{at.isoformat()}">{at.strftime("%Y-%m-%d %H:%M")} UTC</time>'
