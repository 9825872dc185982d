"""Untrusted text into HTML. Every text from a diff, a model or a user passes `text` or `code_lines`.

What a reader can't see (ANSI escapes, bidirectional controls, zero-width signs) is written out first, so that
it shows and acts on nothing; then HTML's own signs are escaped.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from service.render.escape import visible, visible_lines
from ui.page.texts import Said

_LONGEST: Final = 2000
_CODE: Final = re.compile(r"`([^`\n]+)`")


def text(value: str) -> str:
    """One line of untrusted text as HTML."""
    return html.escape(visible(value))


def prose(value: str) -> str:
    """Untrusted text of several lines as paragraphs; spans in backticks become code."""
    lines = [_CODE.sub(r"<code>\1</code>", html.escape(line)) for line in visible_lines(value)]
    blocks = "\n".join(lines).split("\n\n")
    return "".join(f"<p>{block.replace(chr(10), '<br>')}</p>" for block in blocks if block.strip())


def both(said: Said) -> str:
    """Both texts in one line; they are untrusted."""
    if not said.english:
        return text(said.own)
    english = f'<span lang="en">{text(said.english)}</span>'
    return f"{text(said.own.removesuffix('.'))} — {english}" if said.own else english


def code_lines(path: str, lines: Sequence[str]) -> list[str]:
    """Lines of code as HTML with classes by kind of token; as many as came in."""
    from pygments import highlight
    from pygments.formatters import HtmlFormatter

    shown = [visible(line.expandtabs(4)[:_LONGEST]) for line in lines]
    formatter: Any = HtmlFormatter(nowrap=True, classprefix="tok-")
    coloured = highlight("\n".join(shown), lexer_of(path), formatter).split("\n")
    if len(coloured) == len(shown) + 1 and not coloured[-1]:
        coloured.pop()
    return coloured if len(coloured) == len(shown) else [html.escape(line) for line in shown]


@lru_cache(maxsize=128)
def lexer_of(path: str) -> Any:
    """The lexer for a path by its name alone; plain text when none is known."""
    from pygments.lexers import TextLexer, get_lexer_for_filename
    from pygments.util import ClassNotFound

    options: dict[str, Any] = {"stripnl": False, "ensurenl": False}
    try:
        return get_lexer_for_filename(path, **options)
    except ClassNotFound:
        return TextLexer(**options)


def component(markup: str) -> str:
    """Markup for `gr.HTML`, whose templates would act on `${` and `{{` that stand in somebody's code."""
    return markup.replace("${", "&#36;{").replace("{{", "&#123;&#123;")
