"""Escaping: nothing from a diff or a model acts on a terminal, in Markdown, or as a URI."""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from review_data.domain import Finding, Review
from service.render import Screen, render
from service.render.escape import code_span, fenced, is_unseen, prose, prose_line, uri, visible, visible_lines
from service.render.markdown import finding_message
from tests.support.hostile_reviews import SAMPLE_FILES, findings, reviews, texts

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
LIVE = re.compile(r"@\w|://|\bwww\.\w|#\d|(?<!\w)!\d|\[\w+:|:\w+:")
PLAIN_TOKENS = {"text", "softbreak", "hardbreak", "code_inline"}
BLOCK_TOKENS = {"paragraph_open", "paragraph_close", "inline", "fence"}

many = settings(max_examples=150, deadline=None)


def inline(tokens: list[Token]) -> list[Token]:
    """The inline tokens of a document, in order."""
    return [child for token in tokens for child in token.children or []]


def squeezed(text: str) -> str:
    """The text without blanks, line ends and backticks, which escaping may move."""
    return re.sub(r"[\s`]", "", text)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u202eb", "a\\u202eb"),
        ("a\u200bb\ufeff", "a\\u200bb\\ufeff"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\u2028", "\\u2028"),
        ("naïve 日本 👍🏽", "naïve 日本 👍🏽"),
    ],
)
def test_unseen_characters_are_written_out(text: str, written: str) -> None:
    """Controls, bidirectional marks and zero-width characters show; ordinary text stays."""
    assert visible(text) == written


@many
@given(text=st.text())
def test_visible_text_has_nothing_unseen(text: str) -> None:
    """Whatever goes in, each line that comes out is printable and encodes as UTF-8."""
    for line in visible_lines(text):
        assert not any(map(is_unseen, line))
        line.encode("utf-8")


@many
@given(text=texts)
def test_prose_is_inert_markdown(text: str) -> None:
    """Prose gives paragraphs and code only: no markup, HTML, link, image or live reference."""
    tokens = MARKDOWN.parse(prose(text))
    assert {token.type for token in tokens} <= BLOCK_TOKENS
    assert {token.type for token in inline(tokens)} <= PLAIN_TOKENS
    for token in inline(tokens):
        assert token.type != "text" or not LIVE.search(token.content)


@many
@given(text=texts.filter(lambda text: "```" not in text))
def test_prose_keeps_the_words(text: str) -> None:
    """Rendered prose says what the text said."""
    said = "".join(token.content for token in inline(MARKDOWN.parse(prose(text))))
    assert squeezed(said) == squeezed("".join(visible_lines(text)))


@many
@given(text=texts)
def test_no_line_of_prose_is_a_quick_action(text: str) -> None:
    """GitLab runs lines that begin with a slash; outside code blocks none does."""
    fence = ""
    for line in prose(text).split("\n"):
        if fence or line.startswith("```"):
            fence = "" if line == fence else fence or line.rstrip("abcdefghijklmnopqrstuvwxyz0123456789")
            continue
        assert not line.lstrip().startswith("/")


@many
@given(text=texts)
def test_prose_on_one_line_stays_on_one_line(text: str) -> None:
    """A title can't break out of its heading."""
    tokens = MARKDOWN.parse(f"### {prose_line(text)}")
    assert [token.type for token in tokens] == ["heading_open", "inline", "heading_close"]


@many
@given(text=texts)
def test_a_code_span_holds_its_text(text: str) -> None:
    """Any text becomes one code span, backticks and line ends and all."""
    (paragraph,) = [token for token in MARKDOWN.parse(f"x {code_span(text)} y") if token.type == "inline"]
    (code,) = [token for token in paragraph.children or [] if token.type == "code_inline"]
    assert code.content.strip() == visible(text).strip()


@many
@given(lines=st.lists(texts.map(lambda text: text.replace("\n", " ")), max_size=5))
def test_a_fenced_block_holds_its_lines(lines: list[str]) -> None:
    """No line inside closes the block."""
    tokens = MARKDOWN.parse("\n".join(fenced([f"+ {line}" for line in lines], "diff")))
    assert [token.type for token in tokens] == ["fence"]
    assert tokens[0].content.count("\n") == len(lines)


@many
@given(review=reviews())
def test_a_markdown_review_holds_only_our_own_markup(review: Review) -> None:
    """A whole review has as many headings as it should, and no HTML, link or image."""
    tokens = MARKDOWN.parse(render(review, "markdown", excerpts=SAMPLE_FILES))
    kinds = [token.type for token in tokens]
    assert kinds.count("heading_open") == 1 + len(review.findings)
    assert not {"html_block", "table_open", "blockquote_open", "code_block", "hr"} & set(kinds)
    assert {t.type for t in inline(tokens)} <= PLAIN_TOKENS | {"strong_open", "strong_close"}


@many
@given(found=findings)
def test_a_comment_on_a_line_is_inert(found: Finding) -> None:
    """The message for reviewdog and SARIF has our bold words, paragraphs and code, nothing else."""
    tokens = MARKDOWN.parse(finding_message(found))
    assert {token.type for token in tokens} <= BLOCK_TOKENS
    assert {t.type for t in inline(tokens)} <= PLAIN_TOKENS | {"strong_open", "strong_close"}


def test_code_beside_code_stays_two_spans() -> None:
    """Two spans without a blank between them would read as one."""
    tokens = inline(MARKDOWN.parse(prose("`a`@b")))
    assert [token.content for token in tokens if token.type == "code_inline"] == ["a", "@b"]


def test_code_in_a_model_s_answer_stays_code() -> None:
    """Spans and closed blocks survive; an unclosed fence is text."""
    tokens = MARKDOWN.parse(prose("Use `a[0]`:\n```python\nx = a[0]\n```\n```unclosed"))
    assert [token.content for token in tokens if token.type == "fence"] == ["x = a[0]\n"]
    assert "a[0]" in [token.content for token in inline(tokens) if token.type == "code_inline"]


@pytest.mark.parametrize(
    ("path", "reference"),
    [
        ("app/db.py", "app/db.py"),
        ("a b/ü#?.go", "a%20b/%C3%BC%23%3F.go"),
        ("c:/x.cs", "c%3A/x.cs"),
        ("//host/x", ".//host/x"),
        ("\udcff.rb", "%FF.rb"),
        ("line\nend", "line%0Aend"),
    ],
)
def test_a_path_becomes_a_relative_uri(path: str, reference: str) -> None:
    """Bytes are percent-encoded, also those that are not UTF-8; nothing reads as a scheme or a host."""
    assert uri(path) == reference


@many
@given(path=st.text(min_size=1).filter(lambda path: not path.startswith("/")))
def test_a_uri_gives_the_path_s_bytes_back(path: str) -> None:
    """Percent-decoding is the inverse."""
    try:
        raw = path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raw = path.encode("utf-8", "surrogatepass")
    assert unquote_to_bytes(uri(path)) == raw


class Terminal:
    """A stream that says it is a terminal."""

    def __init__(self, tty: bool) -> None:
        self.tty = tty

    def isatty(self) -> bool:
        """Whether it is one."""
        return self.tty

    def fileno(self) -> int:
        """No real file stands behind it."""
        raise OSError


@pytest.mark.parametrize(
    ("tty", "env", "color"),
    [
        (True, {}, True),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
        (False, {"FORCE_COLOR": "1"}, False),
    ],
)
def test_colours_only_where_they_are_welcome(tty: bool, env: dict[str, str], color: bool) -> None:
    """A pipe, NO_COLOR and a dumb terminal get none."""
    assert Screen.of(Terminal(tty), env).color is color  # type: ignore[arg-type]


@many
@given(review=reviews(), width=st.integers(40, 120))
def test_colours_are_the_only_escape_sequences(review: Review, width: int) -> None:
    """On a colour terminal only colour codes of our own are printed, and no excerpt line is wrapped."""
    printed = render(
        review,
        "text",
        excerpts=SAMPLE_FILES,
        screen=Screen(color=True, width=width),
    )
    plain = re.sub(r"\x1b\[[0-9;]*m", "", printed)
    assert not {c for c in plain if c != "\n" and is_unseen(c)}
