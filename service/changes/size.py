"""Bounds on what is read: one file's share of a diff, and the whole diff. Beyond them, files are skips."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from review_data.domain import SkipKind
from review_data.errors import ChangeError

LARGEST_FILE: Final = 8 * 1024 * 1024
LARGEST_DIFF: Final = 32 * 1024 * 1024
_FILE: Final = re.compile(rb"^diff --git ", re.MULTILINE)
_HUNKS: Final = re.compile(rb"^(?:--- |@@ )", re.MULTILINE)


class Trimmed(NamedTuple):
    """A diff within the bounds, and the headers of the files whose hunks were cut, with their sizes."""

    data: bytes
    cut: dict[bytes, int]


def trim(data: bytes) -> Trimmed:
    """Cuts the hunks of files that are too large, and of the largest ones until the diff is not.

    In git's diffs no line of a hunk begins with `diff --git`, so the bytes can be split there unread.
    """
    if len(data) <= LARGEST_FILE:
        return Trimmed(data, {})
    around, *sections = _sections(data)
    if len(around) > LARGEST_FILE:
        raise ChangeError(
            f"the diff has {len(around) >> 20} MiB and no `diff --git` line by which to review it in "
            "parts; make it with `git diff`, or review it in smaller patches"
        )
    budget, too_long = LARGEST_DIFF, set()
    for at in sorted(range(len(sections)), key=lambda at: len(sections[at])):
        if len(sections[at]) > min(budget, LARGEST_FILE):
            too_long.add(at)
        else:
            budget -= len(sections[at])
    heads = {at: _head(sections[at]) for at in sorted(too_long)}
    kept = around + b"".join(heads.get(at, section) for at, section in enumerate(sections))
    return Trimmed(kept, {head: len(sections[at]) for at, head in heads.items()})


def too_large(size: int) -> tuple[SkipKind, str]:
    """The reason for a file, or a file's part of the diff, of `size` bytes."""
    what = f"is too large to review: {size / (1 << 20):.1f} MiB"
    limit = f"a file may have {LARGEST_FILE >> 20} MiB, a whole diff {LARGEST_DIFF >> 20} MiB"
    return SkipKind.TOO_LARGE, f"{what}; {limit}"


def _sections(data: bytes) -> Iterator[bytes]:
    starts = [match.start() for match in _FILE.finditer(data)]
    ends = [*starts, len(data)]
    yield data[: ends[0]]
    for start, end in zip(starts, ends[1:], strict=True):
        yield data[start:end]


def _head(section: bytes) -> bytes:
    hunks = _HUNKS.search(section)
    return section[: hunks.start()] if hunks else section
