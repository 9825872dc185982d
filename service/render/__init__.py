"""Reviews out: terminal, Markdown, JSON, SARIF, GitLab Code Quality, reviewdog.

`render` masks secrets and hands the review to one function per format; each format escapes what it prints.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from review_data.domain import FileChange, Review
from review_data.errors import SettingsError
from service.render.excerpt import Excerpts
from service.render.gitlab import to_gitlab
from service.render.json_format import to_json
from service.render.markdown import to_markdown
from service.render.rdjson import to_rdjson
from service.render.redact import masked
from service.render.sarif import to_sarif
from service.render.terminal import to_text
from service.render.view import Renderer, Screen, View

__all__ = ["FORMATS", "Screen", "render"]

FORMATS: Final[dict[str, Renderer]] = {
    "text": to_text,
    "markdown": to_markdown,
    "json": to_json,
    "sarif": to_sarif,
    "gitlab": to_gitlab,
    "rdjson": to_rdjson,
}


def render(
    review: Review,
    format: str,
    *,
    excerpts: Iterable[FileChange] = (),
    verbose: bool = False,
    screen: Screen | None = None,
) -> str:
    """The review in `format` (a key of `FORMATS`), ending with a line end.

    `excerpts` are the change's files, quoted from around each finding. `verbose` lists hidden findings and
    skips in the readable formats. `screen` is `Screen.of(sys.stdout)` for a terminal; without it the text
    is plain. Raises `SettingsError` for an unknown format.
    """
    if format not in FORMATS:
        raise SettingsError(f"format: there is no format `{format}`; choose one of {', '.join(FORMATS)}")
    view = View(Excerpts(excerpts), verbose, screen or Screen())
    return FORMATS[format](masked(review), view)
