"""A review as HTML: headline, threshold slider, finding cards with their diff, skips, verdicts.

All findings are drawn; the slider hides those below it in the browser (`page.js`), so that nothing is asked
again. Pure functions from records to markup.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from review_data.domain import Category, Finding, LineKind, Outcome, Probabilities, Review, Side, Skip
from review_data.domain import counts as tally
from review_data.feedback import Feedback, Verdict, latest
from review_data.severity import SEVERITIES, Severity
from service.store.records import Excerpt, Status, Stored, Summary
from ui.page.markup import both, code_lines, component, prose, text
from ui.page.texts import Said, Texts

DRAWN: Final = 300
_SIGNS: Final = {LineKind.ADDED: "+", LineKind.REMOVED: "−", LineKind.CONTEXT: " "}


def note(message: str) -> str:
    """A message in place of a result."""
    return component(f'<div class="tz-note tz-empty" role="status">{prose(message)}</div>')


def refusal(said: Said, texts: Texts) -> str:
    """Why there is no result; untrusted."""
    english = f'<div class="tz-english" lang="en">{prose(said.english)}</div>' if said.english else ""
    return component(
        f'<div class="tz-note tz-error" role="alert"><strong>{escape(texts.error)}</strong>'
        f"{prose(said.own)}{english}</div>"
    )


def waiting(summary: Summary, texts: Texts) -> str:
    """How far a review is."""
    done, total, status = summary.done, summary.total, summary.status
    say = texts.running if status is Status.RUNNING else texts.waiting
    value = f' value="{done}" max="{total}"' if total else ""
    parts = texts.chunks.format(done=done, total=total) if total else ""
    return component(
        f'<div class="tz-note tz-wait" role="status" data-id="{summary.id}">'
        f"<strong>{escape(say)}</strong> {escape(parts)}"
        f'<progress aria-label="{escape(say)}"{value}></progress></div>'
    )


def result(stored: Stored, texts: Texts) -> str:
    """A finished review, or why there is none."""
    summary, review = stored.summary, stored.review
    if review is None:
        return refusal(why(summary, texts), texts)
    every = sorted((*review.findings, *review.below), key=lambda row: -row.severity.rank)
    judged = latest(stored.feedback)
    cards = "".join(
        card(row, stored.excerpts.get(row.fingerprint), judged.get(row.fingerprint), review.threshold, texts)
        for row in every[:DRAWN]
    )
    more = texts.more.format(n=len(every) - DRAWN) if len(every) > DRAWN else ""
    shown = any(row.severity >= review.threshold for row in every)
    return component(
        f'<section class="tz-review" data-id="{summary.id}" data-says="{_says(texts)}">'
        f"{_head(stored, review, texts)}{_threshold(review, every, texts) if every else ''}"
        f'<p class="tz-none"{" hidden" if shown or not every else ""}>{escape(texts.none_shown)}</p>'
        f'<ol class="tz-cards">{cards}</ol>{f"<p>{escape(more)}</p>" if more else ""}'
        f"{_skips(review.skips, texts)}{_missed(stored, texts)}</section>"
    )


def why(summary: Summary, texts: Texts) -> Said:
    """Why a review that ended has no result."""
    if summary.status is Status.INTERRUPTED:
        return Said(texts.interrupted)
    return Said(texts.failed, summary.error or "")


def _head(stored: Stored, review: Review, texts: Texts) -> str:
    says = {Outcome.PARTIAL: texts.partial, Outcome.FAILED: texts.failed}.get(review.outcome, "")
    count = len(review.findings) + len(review.below)
    nothing = texts.unchanged if review.files == 0 else texts.clean
    headline = texts.found.format(n=count) if count else ("" if says else nothing)
    kind = review.outcome if says else "clean" if not count else "findings"
    span = f"{review.base}..{review.head}" if review.base else ""
    about = [stored.summary.repository, span, review.backend, f"{review.elapsed_s:.1f} s"]
    role = ' role="alert"' if says else ""
    return (
        f'<header class="tz-head"><h2>{text(stored.summary.title or texts.untitled)}</h2>'
        f'<p class="tz-headline tz-is-{kind}"{role}>{escape(" ".join(filter(None, (says, headline))))}</p>'
        f'<p class="tz-meta">{" · ".join(text(part) for part in about if part)}</p>'
        f"{_links(stored.summary.id, review.threshold, texts)}</header>"
    )


def _links(review_id: str, threshold: Severity, texts: Texts) -> str:
    links = "".join(
        f'<a class="tz-button" download data-format="{kind}" '
        f'href="/v1/reviews/{review_id}/report?format={kind}&amp;threshold={threshold}">{name}</a>'
        for kind, name in (("markdown", "Markdown"), ("sarif", "SARIF"), ("json", "JSON"))
    )
    copy = f'<button type="button" class="tz-button tz-copy">{escape(texts.copy_link)}</button>'
    return f'<p class="tz-links"><span>{escape(texts.downloads)}</span>{links}{copy}</p>'


def _threshold(review: Review, every: Sequence[Finding], texts: Texts) -> str:
    found, rank = tally(every), review.threshold.rank
    name = texts.severities[review.threshold]
    chips = "".join(
        f'<span class="tz-count" data-rank="{level.rank}" data-n="{found[level]}"'
        f"{' data-off' if level.rank < rank else ''}>{chip(level, texts)} {found[level]}</span>"
        for level in reversed(SEVERITIES)
    )
    ticks = "".join(f"<span>{escape(texts.severities[level])}</span>" for level in SEVERITIES)
    hidden = len([row for row in every if row.severity.rank < rank])
    suppressed = texts.suppressed.format(n=len(review.suppressed)) if review.suppressed else ""
    return (
        f'<div class="tz-threshold"><label for="tz-range-{rank}">{escape(texts.threshold)} '
        f'<output class="tz-level">{escape(name)}</output></label>'
        f'<input id="tz-range-{rank}" class="tz-range" type="range" min="0" max="3" step="1" value="{rank}" '
        f'aria-label="{escape(texts.threshold_hint)}" aria-valuetext="{escape(name)}">'
        f'<div class="tz-ticks" aria-hidden="true">{ticks}</div>'
        f'<p class="tz-counts" aria-live="polite">{chips} '
        f'<span class="tz-hidden">{escape(texts.hidden.format(n=hidden))}</span> '
        f"<span>{escape(suppressed)}</span></p></div>"
    )


def chip(severity: Severity, texts: Texts) -> str:
    """The severity as a coloured label; what it means is its tooltip."""
    meaning = escape(texts.meanings[severity])
    return (
        f'<span class="tz-chip tz-{severity}" title="{meaning}">{escape(texts.severities[severity])}</span>'
    )


def card(
    finding: Finding, excerpt: Excerpt | None, verdict: Feedback | None, threshold: Severity, texts: Texts
) -> str:
    """One finding: severity, place, probabilities, explanation, fix, diff, verdict."""
    side = f" ({escape(texts.removed_line)})" if finding.side is Side.OLD else ""
    off = " hidden" if finding.severity < threshold else ""
    fix = (
        f'<div class="tz-fix"><strong>{escape(texts.fix)}</strong>{prose(finding.suggestion)}</div>'
        if finding.suggestion.strip()
        else ""
    )
    sources = ", ".join(finding.sources or (finding.source,))
    return (
        f'<li class="tz-card tz-edge-{finding.severity}" data-rank="{finding.severity.rank}" '
        f'data-fingerprint="{escape(finding.fingerprint)}"{off}><article>'
        f"<header>{chip(finding.severity, texts)}<h3>{text(finding.title)}</h3></header>"
        f'<p class="tz-place"><code>{text(finding.path)}:{finding.line}</code>{side} '
        f"<span>{escape(texts.categories[finding.category])} · {text(sources)}</span></p>"
        f"{_bar(finding.probabilities, texts)}{prose(finding.explanation)}{fix}"
        f"{_diff(finding, excerpt, texts)}{_verdict(finding, verdict, texts)}</article></li>"
    )


def _bar(probabilities: Probabilities | None, texts: Texts) -> str:
    if probabilities is None:
        return ""
    pairs = list(zip(SEVERITIES, probabilities.values(), strict=True))
    said = ", ".join(
        f"{texts.severities[level]} {texts.percent.format(n=round(value * 100))}"
        for level, value in reversed(pairs)
    )
    parts = "".join(
        f'<span class="tz-{level}" style="width:{value * 100:.1f}%"></span>' for level, value in pairs
    )
    label = escape(f"{texts.probabilities}: {said}")
    return (
        f'<div class="tz-bar" role="img" aria-label="{label}" title="{label}">{parts}</div>'
        f'<p class="tz-said" aria-hidden="true">{escape(said)}</p>'
    )


def _diff(finding: Finding, excerpt: Excerpt | None, texts: Texts) -> str:
    if excerpt is None or not excerpt.lines:
        return ""
    code = code_lines(finding.path, [line.text for line in excerpt.lines])
    rows = []
    for index, (line, shown) in enumerate(zip(excerpt.lines, code, strict=True)):
        mark = f' data-marked aria-label="{escape(texts.marked)}"' if index == excerpt.marked else ""
        old, new = line.old_line or "", line.new_line or ""
        rows.append(
            f'<tr class="tz-{line.kind}"{mark}><td class="tz-no">{old}</td><td class="tz-no">{new}</td>'
            f'<td class="tz-sign">{_SIGNS[line.kind]}</td><td class="tz-code">{shown or " "}</td></tr>'
        )
    label = escape(f"{texts.diff}: {finding.path}")
    return (
        f'<div class="tz-diff" role="region" tabindex="0" aria-label="{text(label)}">'
        f"<table><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _verdict(finding: Finding, given: Feedback | None, texts: Texts) -> str:
    pressed = given.verdict if given else None
    levels = [level for level in reversed(SEVERITIES) if level is not finding.severity]
    options = "".join(
        f'<option value="{level}"{" selected" if given and given.severity is level else ""}>'
        f"{escape(texts.severities[level])}</option>"
        for level in levels
    )
    label = escape(texts.verdict)
    return (
        f'<footer class="tz-verdict" role="group" aria-label="{label}">'
        f"{_choice(Verdict.RIGHT, texts.right, pressed)}"
        f"{_choice(Verdict.NOT_AN_ISSUE, texts.not_issue, pressed)}"
        f'<select class="tz-wrong" aria-label="{escape(texts.wrong)}"'
        f"{' data-chosen' if pressed is Verdict.WRONG_SEVERITY else ''}>"
        f'<option value="">{escape(texts.wrong)}</option>{options}</select>'
        f'<span class="tz-status" role="status">{escape(texts.saved) if given else ""}</span></footer>'
    )


def _choice(verdict: Verdict, name: str, pressed: Verdict | None) -> str:
    state = "true" if verdict is pressed else "false"
    return (
        f'<button type="button" class="tz-button" data-verdict="{verdict}" aria-pressed="{state}">'
        f"{escape(name)}</button>"
    )


def _skips(skips: Sequence[Skip], texts: Texts) -> str:
    return _skip_list(skips, texts, failed=True) + _skip_list(skips, texts, failed=False)


def _skip_list(every: Sequence[Skip], texts: Texts, *, failed: bool) -> str:
    skips = [skip for skip in every if skip.is_failure == failed]
    if not skips:
        return ""
    heading, kind, is_open = (
        (texts.not_reviewed, "failed", " open") if failed else (texts.skipped, "passed", "")
    )
    rows = "".join(
        f"<li><code>{text(skip.path)}{f':{skip.line}' if skip.line else ''}</code> "
        f"{both(Said(texts.skips.get(skip.kind, ''), skip.reason))}</li>"
        for skip in skips[:DRAWN]
    )
    summary = escape(heading.format(n=len(skips)))
    return (
        f'<details class="tz-skips tz-{kind}"{is_open}><summary>{summary}</summary><ul>{rows}</ul></details>'
    )


def _missed(stored: Stored, texts: Texts) -> str:
    known = [row.missed for row in stored.feedback if row.missed]
    rows = "".join(
        f"<li>{chip(row.severity, texts)} <code>{text(row.path)}:{row.line}</code> {text(row.title)}</li>"
        for row in known
    )
    listed = f"<p>{escape(texts.missed_known.format(n=len(known)))}</p><ul>{rows}</ul>" if known else ""
    levels = _options((level, texts.severities[level]) for level in SEVERITIES)
    kinds = _options((category, texts.categories[category]) for category in Category)
    e = {name: escape(getattr(texts, name)) for name in _FORM_TEXTS}
    return (
        f'<details class="tz-missed"><summary>{e["missed"]}</summary>{listed}<form class="tz-form">'
        f"<p>{e['missed_hint']}</p>"
        f'<label>{e["file"]}<input name="path" required maxlength="1000"></label>'
        f'<label>{e["line"]}<input name="line" type="number" min="1" max="10000000" required></label>'
        f'<label>{e["category"]}<select name="category">{kinds}</select></label>'
        f'<label>{e["severity"]}<select name="severity">{levels}</select></label>'
        f'<label class="tz-wide">{e["what"]}<input name="title" required maxlength="300"></label>'
        f'<button class="tz-button">{e["send"]}</button><span class="tz-status" role="status"></span>'
        f"</form></details>"
    )


_FORM_TEXTS: Final = ("missed", "missed_hint", "file", "line", "category", "severity", "what", "send")


def _options(pairs: Iterable[tuple[str, str]]) -> str:
    return "".join(f'<option value="{value}">{escape(name)}</option>' for value, name in pairs)


def _says(texts: Texts) -> str:
    """The words that the browser needs when it changes something."""
    words = {
        "levels": [texts.severities[level] for level in SEVERITIES],
        "hidden": texts.hidden,
        "saved": texts.saved,
        "not_saved": texts.not_saved,
        "missed_saved": texts.missed_saved,
        "copied": texts.copied,
    }
    return escape(json.dumps(words, ensure_ascii=False))
