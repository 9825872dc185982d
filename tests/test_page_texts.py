"""The page's texts and the model's documents, without a browser."""

from __future__ import annotations

from pathlib import Path
from string import Formatter

import pytest

from review_data.domain import SkipKind
from review_data.errors import ErrorKind
from ui.page import markup, model_tab
from ui.page.languages import ENGLISH, TURKISH, preferred


def fields(text: object) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name} if isinstance(text, str) else set()


def test_both_languages_fill_in_the_same() -> None:
    """Every Turkish text has the fields of the English one, and none was left untranslated."""
    english, turkish = ENGLISH.model_dump(), TURKISH.model_dump()
    assert {name: fields(value) for name, value in english.items()} == {
        name: fields(value) for name, value in turkish.items()
    }
    same = {name for name in english if english[name] == turkish[name]}
    assert same == {"tab_model"}
    assert set(TURKISH.skips) == set(SkipKind)
    assert set(TURKISH.errors) == set(ErrorKind)


@pytest.mark.parametrize(
    ("header", "language"),
    [("tr", "tr"), ("tr-TR,tr;q=0.9,en;q=0.8", "tr"), ("de,tr;q=0.5,en;q=0.1", "tr"), ("en-US", "en"),
     ("de", "en"), ("", "en"), (";;,,", "en")],
)  # fmt: skip
def test_the_browsers_first_known_language_is_taken(header: str, language: str) -> None:
    """Unknown languages fall back to English."""
    assert preferred(header) == language


@pytest.mark.parametrize("path", ["a.py", "x.ts", "Main.java", "unknown.zzz", "", "a\x00b.py", "Dockerfile"])
def test_coloured_code_keeps_its_lines_and_its_text(path: str) -> None:
    """As many lines come out as go in, nothing is lost, and no tag but our spans is made."""
    import html
    import re

    lines = ['"""open string', "<b>&amp;</b>", "", "x = '''", "\ttab \x1b[0m \u202e", "# {{ ${x} }}", ""]
    coloured = markup.code_lines(path, lines)
    assert len(coloured) == len(lines)
    plain = [html.unescape(re.sub(r"</?span[^>]*>", "", line)) for line in coloured]
    assert plain[1] == "<b>&amp;</b>"
    assert plain[4] == r"    tab \x1b[0m \u202e"
    assert plain[5] == "# {{ ${x} }}"
    assert all("<b>" not in line for line in coloured)


def test_prose_is_escaped_and_keeps_paragraphs_and_code() -> None:
    """Markup shows as text; blank lines make paragraphs; backticks make code."""
    shown = markup.prose("<i>a</i> `x < y`\nb\n\nc \x1b[1m")
    assert shown == "<p>&lt;i&gt;a&lt;/i&gt; <code>x &lt; y</code><br>b</p><p>c \\x1b[1m</p>"


def test_the_models_documents_come_from_its_folder_or_its_run(tmp_path: Path) -> None:
    """Pictures beside the model or around it in the run's folder; another parent's are not taken."""
    model = tmp_path / "run" / "model"
    model.mkdir(parents=True)
    assert ENGLISH.model_empty[:20] in model_tab.pictures(model, ENGLISH)
    (model / "MODEL_CARD.md").write_text("# A card")
    (tmp_path / "run" / "confusion.png").write_bytes(b"\x89PNG")
    assert model_tab.pictures(model, ENGLISH) == ""
    (tmp_path / "run" / "run.json").write_text("{}")
    assert ENGLISH.confusion in model_tab.pictures(model, ENGLISH)
    assert model_tab.card(model) == "# A card"
