"""The review for a terminal: severity colours, the diff lines, why and how to fix.

Everything from outside goes through `rich.text.Text` (no markup is interpreted) after its unseen characters
were written out.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from review_data.domain import Finding, Review, Side, Skip
from review_data.severity import Severity
from service.render import summary
from service.render.escape import visible, visible_lines
from service.render.excerpt import ExcerptLine
from service.render.view import View

if TYPE_CHECKING:
    from rich.console import Console

STYLES: Final = {
    Severity.CRITICAL: "bold white on red",
    Severity.HIGH: "bold red",
    Severity.MEDIUM: "bold yellow",
    Severity.LOW: "bold blue",
}
_ALARM: Final = "bold white on red"
_SIGN_STYLES: Final = {"+": "green", "-": "red", " ": ""}


def to_text(review: Review, view: View) -> str:
    """The review as text; ANSI colours only where the view's screen has them."""
    console = _console(view)
    if summary.incomplete(review):
        _print(console, summary.headline(review), _ALARM)
        _skips(console, summary.failures(review))
    for finding in review.findings:
        _finding(console, finding, view)
    if view.verbose:
        _more(console, "Hidden by the threshold", review.below, view)
        _more(console, "Suppressed", review.suppressed, view)
    _footer(console, review, view)
    return _without_blank_ends(console.file.getvalue())  # type: ignore[attr-defined]


def _console(view: View) -> Console:
    from rich.console import Console

    return Console(
        file=io.StringIO(),
        width=view.screen.width,
        force_terminal=view.screen.color,
        color_system="standard" if view.screen.color else None,
        no_color=not view.screen.color,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
        _environ={},  # the screen decides, not COLUMNS or FORCE_COLOR behind its back
    )


def _finding(console: Console, finding: Finding, view: View) -> None:
    from rich.text import Text

    level = f" {finding.severity.upper()} "
    title = Text.assemble((level, STYLES[finding.severity]), " ", (visible(finding.title.strip()), "bold"))
    console.print(title)
    _print(console, _whereabouts(finding), "dim", indent=2)
    for line in view.excerpts.around(finding):
        _excerpt(console, line)
    for label, text in (("Why", finding.explanation), ("Fix", finding.suggestion)):
        if text.strip():
            first, *rest = visible_lines(text.strip())
            _print(console, f"{label}: {first}", indent=2)
            for line_text in rest:
                _print(console, line_text, indent=2)
    console.print()


def _whereabouts(finding: Finding) -> str:
    removed = " (removed line)" if finding.side is Side.OLD else ""
    by = ", ".join(finding.sources or (finding.source,))
    rule = f" {finding.rule}" if finding.rule else ""
    return visible(f"{summary.place(finding.path, finding.line)}{removed}  {finding.category}  [{by}{rule}]")


def _excerpt(console: Console, line: ExcerptLine) -> None:
    from rich.text import Text

    number = "" if line.number is None else str(line.number)
    style = _SIGN_STYLES[line.sign] + (" bold" if line.flagged else "")
    text = Text.assemble(
        (f"  {'>' if line.flagged else ' '}{number:>6} ", "bold" if line.flagged else "dim"),
        (f"{line.sign} {visible(line.text.replace(chr(9), '    '))}", style.strip()),
    )
    console.print(text, no_wrap=True, overflow="ellipsis", crop=True)


def _more(console: Console, heading: str, findings: tuple[Finding, ...], view: View) -> None:
    if findings:
        _print(console, f"{heading}:", "bold underline")
        for finding in findings:
            _finding(console, finding, view)


def _skips(console: Console, skips: Iterable[Skip]) -> None:
    for skip in skips:
        _print(
            console,
            f"{visible(summary.place(skip.path, skip.line))}: {skip.kind}: {visible(skip.reason)}",
            indent=2,
        )
    console.print()


def _footer(console: Console, review: Review, view: View) -> None:
    style = _ALARM if summary.incomplete(review) else "bold"
    _print(console, summary.headline(review), style)
    for sentence in summary.notes(review):
        _print(console, sentence)
    if view.verbose and summary.passed_over(review):
        _skips(console, summary.passed_over(review))
    elif review.below:
        _print(console, "Show them with --verbose, or lower --threshold.", "dim")
    _print(console, visible(summary.about(review)), "dim")


def _print(console: Console, text: str, style: str = "", indent: int = 0) -> None:
    from rich.padding import Padding
    from rich.text import Text

    console.print(Padding(Text(text, style=style), (0, 0, 0, indent), expand=False))


def _without_blank_ends(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.rstrip("\n").split("\n")) + "\n"
