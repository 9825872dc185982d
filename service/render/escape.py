"""Escaping of untrusted text: nothing that came from a diff or a model acts on a terminal or in Markdown.

Owns characters only: what a reader can't see is written out, and Markdown's own signs lose their meaning.
Masking of secrets is in `review_data.secrets`; which text goes where is the formats' business.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import quote

# Other (controls, format, surrogates, unassigned) and the two separators that break lines invisibly.
_UNSEEN_CATEGORIES: Final = frozenset({"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"})
# Blank although Unicode files them under letters or marks (Default_Ignorable_Code_Point, UAX #44).
_UNSEEN_RANGES: Final = (
    (0x034F, 0x034F),
    (0x115F, 0x1160),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x2800, 0x2800),
    (0x3164, 0x3164),
    (0xFE00, 0xFE0E),
    (0xFFA0, 0xFFA0),
    (0xE0100, 0xE01EF),
)
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

_PUNCTUATION: Final = re.compile(r"[\\`*_{}\[\]#|~!$^@]")
_HTML: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_LINE_START: Final = re.compile(r"^(\d{1,9})([.)])|^([-+=:/])")
# What forges turn into links or notifications outside code: mentions, URLs, references, commit ids.
_LIVE: Final = re.compile(
    r"@|://|\bwww\.|\b(?:mailto|xmpp|tel|javascript|data):|[#!$%~&^*][\w\"]|\[\w+:|\bGH-\d|\b[0-9a-f]{7,64}\b|\[\[|:\w+:",
    re.IGNORECASE,
)
_FENCE_INFO: Final = re.compile(r"^`+")
_CODE: Final = re.compile(r"`([^`\n]+)`")


def is_unseen(character: str) -> bool:
    """Whether the character is invisible or acts on its surroundings (controls, bidi, zero width)."""
    if " " <= character <= "~":
        return False
    code = ord(character)
    return unicodedata.category(character) in _UNSEEN_CATEGORIES or any(
        low <= code <= high for low, high in _UNSEEN_RANGES
    )


def visible(text: str, *, keep: str = "") -> str:
    r"""`text` with every unseen character written out (`\x1b`, `\u202e`, `\n`), except those in `keep`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character if character in keep or not is_unseen(character) else _written_out(character)
        for character in text
    )


def visible_lines(text: str) -> list[str]:
    """The lines of a text of several lines, each visible; tabs become four blanks."""
    joined = text.replace("\r\n", "\n").replace("\t", "    ")
    return [visible(line.rstrip()) for line in joined.strip("\n").split("\n")]


def visible_text(text: str) -> str:
    """A text of several lines with nothing unseen in it but its line ends."""
    return "\n".join(visible_lines(text)).strip()


def _written_out(character: str) -> str:
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def code_span(text: str) -> str:
    """`text` on one line as a Markdown code span, fenced by more backticks than any run inside."""
    inner = visible(text) or " "
    fence = "`" * (_longest_run(inner, "`") + 1)
    # CommonMark strips one blank on both sides: a span that begins or ends with one, or a backtick, gets one.
    pad = " " if inner[0] in "` " or inner[-1] in "` " else ""
    return f"{fence}{pad}{inner}{pad}{fence}"


def fenced(lines: list[str], info: str = "") -> list[str]:
    """A fenced Markdown block, fenced by more backticks than any run inside; `info` is trusted."""
    shown = [visible(line.replace("\t", "    ")) for line in lines]
    fence = "`" * max(3, max((_longest_run(line, "`") for line in shown), default=0) + 1)
    return [fence + info, *shown, fence]


def prose(text: str) -> str:
    """Untrusted prose as inert Markdown: no markup, HTML, links, mentions, references or quick actions.

    Code stays code: spans in single backticks, and blocks between a pair of three-backtick lines.
    """
    written: list[str] = []
    lines = visible_lines(text)
    while lines:
        block = _leading_block(lines)
        if block is None:
            written.append(_prose_line(lines.pop(0)))
        else:
            info = _FENCE_INFO.sub("", lines[0].strip())
            written.extend(fenced(block, info if info.isalnum() else ""))
            del lines[: len(block) + 2]
    return "\n".join(written)


def _leading_block(lines: list[str]) -> list[str] | None:
    """The lines of the fenced block that `lines` begin with; None when there is none or it has no end."""
    if not lines[0].strip().startswith("```") or "`" in lines[0].strip()[3:]:
        return None
    ends = (number for number, line in enumerate(lines) if number and line.strip() == "```")
    end = next(ends, None)
    return None if end is None else lines[1:end]


def prose_line(text: str) -> str:
    """Untrusted text as inert Markdown on one line."""
    return _prose_line(visible(text))


def _prose_line(line: str) -> str:
    pieces: list[str] = []
    for index, part in enumerate(_CODE.split(line.strip())):
        pieces.extend([code_span(part)] if index % 2 else map(_word, re.split(r"( +)", part)))
    written = ""
    for piece in pieces:
        # Two code spans side by side would read as one.
        written += f" {piece}" if written.endswith("`") and piece.startswith("`") else piece
    return _LINE_START.sub(_escape_start, written)


def _word(word: str) -> str:
    return code_span(word) if _LIVE.search(word) else _escape_word(word)


def _escape_word(word: str) -> str:
    marked = _PUNCTUATION.sub(lambda match: "\\" + match.group(), word)
    return "".join(_HTML.get(character, character) for character in marked)


def _escape_start(match: re.Match[str]) -> str:
    number, dot, sign = match.groups()
    return f"{number}\\{dot}" if number else f"\\{sign}"


def _longest_run(text: str, character: str) -> int:
    return max((len(run) for run in re.findall(re.escape(character) + "+", text)), default=0)


def uri(path: str) -> str:
    """`path` as a relative URI reference (RFC 3986): UTF-8 bytes percent-encoded, `/` kept.

    Bytes that git could not decode (surrogate escapes) come back as themselves.
    """
    try:
        raw = path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raw = path.encode("utf-8", "surrogatepass")
    encoded = quote(raw, safe="/-._~")
    # A first segment with a colon would read as a scheme; quote() has encoded it. `//x` would read as a host.
    return "." + encoded if encoded.startswith("/") else encoded
