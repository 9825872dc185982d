"""Bar charts as SVG, the trend with a table beside it, so that nothing depends on seeing colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape

from review_data.severity import SEVERITIES, Severity
from service.store.records import Day
from ui.page.cards import chip
from ui.page.texts import Texts

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 420, 170, 30, 24
_DAYS = 30


def trend(days: Sequence[Day], today: int, texts: Texts) -> str:
    """Stacked bars of the last 30 days; `today` counts days from 1970-01-01 (UTC)."""
    if not days:
        return f'<p class="tz-note tz-empty">{escape(texts.trend_empty)}</p>'
    by_day = {day.day: day for day in days}
    top = max(1, max(sum(day.counts.values()) for day in days))
    step = (_WIDTH - _LEFT) / _DAYS
    bars, labels = [], []
    for index in range(_DAYS):
        number, x = today - _DAYS + 1 + index, _LEFT + index * step
        if number in by_day:
            bars.append(_stack(by_day[number].counts, x, step * 0.8, top, _date(number), texts))
        if index % 7 == 1:
            anchor = "end" if index > _DAYS - 4 else "middle"
            at = x + step * 0.8 if index > _DAYS - 4 else x + step * 0.4
            labels.append(
                f'<text x="{at:.1f}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{_date(number)[5:]}</text>'
            )
    rows = [(_date(day.day), day.counts) for day in reversed(days)]
    return _figure(texts.trend, "".join((*bars, *labels)), top, rows, texts)


def histogram(counts: Mapping[Severity, int], texts: Texts) -> str:
    """One bar per severity."""
    top = max(1, *counts.values())
    step = (_WIDTH - _LEFT) / 4
    bars = []
    for index, level in enumerate(SEVERITIES):
        x, name = _LEFT + index * step, escape(texts.severities[level])
        only = {level: counts[level]}
        bars.append(_stack(only, x + step * 0.15, step * 0.7, top, name, texts))
        bars.append(
            f'<text x="{x + step / 2:.1f}" y="{_HEIGHT - 6}" text-anchor="middle">'
            f"{name} {counts[level]}</text>"
        )
    return _figure(texts.histogram, "".join(bars), top, [], texts)


def _stack(counts: Mapping[Severity, int], x: float, width: float, top: int, name: str, texts: Texts) -> str:
    scale = (_HEIGHT - _BOTTOM - 10) / top
    y, parts = float(_HEIGHT - _BOTTOM), []
    for level, count in counts.items():
        height = count * scale
        y -= height
        parts.append(
            f'<rect class="tz-{level}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}">'
            f"<title>{name}: {escape(texts.severities[level])} {count}</title></rect>"
        )
    return "".join(parts)


def _figure(
    title: str, inner: str, top: int, rows: Sequence[tuple[str, Mapping[Severity, int]]], texts: Texts
) -> str:
    base = _HEIGHT - _BOTTOM
    axis = (
        f'<line class="tz-axis" x1="{_LEFT}" y1="{base}" x2="{_WIDTH}" y2="{base}"/>'
        f'<text x="{_LEFT - 6}" y="{base}" text-anchor="end">0</text>'
        f'<text x="{_LEFT - 6}" y="18" text-anchor="end">{top}</text>'
    )
    legend = "".join(chip(level, texts) for level in reversed(SEVERITIES))
    return (
        f'<figure class="tz-chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">{axis}{inner}</svg>'
        f'<p class="tz-legend">{legend}</p>{_table(rows, texts)}</figure>'
    )


def _table(rows: Sequence[tuple[str, Mapping[Severity, int]]], texts: Texts) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{escape(texts.severities[level])}</th>" for level in reversed(SEVERITIES))
    body = "".join(
        f"<tr><td>{name}</td>{''.join(f'<td>{counts[level]}</td>' for level in reversed(SEVERITIES))}</tr>"
        for name, counts in rows
    )
    return (
        f"<details><summary>{escape(texts.table)}</summary><table><thead><tr><th></th>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></details>"
    )


def _date(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")
