"""Divides a change into chunks that a language model's context holds, and finds an issue's chunk again.

One file per chunk: a re-push then asks again only about files that changed, and more context has made
reviewing models worse, not better (SWE-PRBench, arXiv 2603.26130). A file over the budget is divided by
hunks, an oversized hunk at line boundaries; a line that still does not fit is a recorded skip.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from review_data.domain import DiffLine, FileChange, Hunk, Issue, LineKind, Skip, SkipKind
from review_data.errors import BackendError
from review_data.prompts import SYSTEM, render_file
from service.backends.asking import MAX_TOKENS, Form, LanguageModel
from service.backends.enclosing import enclosing
from service.ports import Change, Chunk, Plan

# What a prompt holds besides system text and chunk: fence, project line, task, chat template; and the
# explain turn's earlier task.
OVERHEAD_TOKENS: Final = 700
SMALLEST_BUDGET: Final = 256
_KEPT: Final = 8
Count = Callable[[str], int]


def estimate_tokens(text: str) -> int:
    """An estimate from above where no tokenizer is at hand: a token per three bytes of UTF-8.

    Code has 3.2 to 4 bytes per token under the vocabularies of current code models.
    """
    return -(-len(text.encode("utf-8", "surrogatepass")) // 3)


@dataclass(frozen=True, slots=True)
class Layout:
    """A change's chunks with their texts as the prompts show them."""

    change: Change
    plan: Plan
    texts: dict[str, str]

    def text_for(self, issue: Issue) -> str | None:
        """The text of the chunk that shows the issue's line; None when no chunk does."""
        holding = (chunk for chunk in self.plan.chunks if chunk.files[0].path == issue.path)
        return next(
            (
                self.texts[chunk.id]
                for chunk in holding
                if chunk.files[0].line(issue.line, issue.side) is not None
            ),
            None,
        )


class Layouts:
    """Layouts of the changes in work, made once and shared by the finder and the rater of a model."""

    def __init__(self, model: LanguageModel, name: str, chunk_tokens: int) -> None:
        self._model, self._name, self._chunk_tokens = model, name, chunk_tokens
        self._kept: OrderedDict[int, Layout] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, change: Change) -> Layout:
        """The layout of `change`; `BackendError` when the model's context is too small for any."""
        with self._lock:
            layout = self._kept.get(id(change))
            if layout is None:
                layout = lay_out(change, self._model.count, self._budget(), self._name)
                self._kept[id(change)] = layout
                if len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            return layout

    def _budget(self) -> int:
        fixed = self._model.count(SYSTEM) + OVERHEAD_TOKENS + MAX_TOKENS[Form.FIND]
        budget = min(self._chunk_tokens, self._model.context - fixed)
        if budget < SMALLEST_BUDGET:
            raise BackendError(
                f"{self._name}: the model takes {self._model.context} tokens, the prompts need {fixed} "
                f"besides the code; serve it with a context of {fixed + SMALLEST_BUDGET} or more"
            )
        return budget


def lay_out(change: Change, count: Count, budget: int, name: str) -> Layout:
    """Chunks of at most `budget` tokens of rendered text each, in the order of the change."""
    chunks: list[Chunk] = []
    texts: dict[str, str] = {}
    skips: list[Skip] = []
    for file in change.request.files:
        if file.binary or not file.hunks:
            continue
        places = enclosing(file, change.snapshot)
        for part in parts_of(file, partial(_fits, places, count, budget), skips, budget):
            chunk = Chunk(f"{name}-{len(chunks) + 1}", (part,), change)
            chunks.append(chunk)
            texts[chunk.id] = render_file(part, places)
    return Layout(change, Plan(tuple(chunks), tuple(skips)), texts)


def parts_of(
    file: FileChange, fits: Callable[[FileChange], bool], skips: list[Skip], budget: int
) -> Iterator[FileChange]:
    """The file in as few parts as fit; what can't fit is added to `skips`."""
    if fits(file):
        yield file
        return
    gathered: list[Hunk] = []
    for piece in (piece for hunk in file.hunks for piece in pieces_of(file, hunk, fits, skips, budget)):
        if gathered and not fits(_with(file, [*gathered, piece])):
            yield _with(file, gathered)
            gathered = []
        gathered.append(piece)
    if gathered:
        yield _with(file, gathered)


def pieces_of(
    file: FileChange, hunk: Hunk, fits: Callable[[FileChange], bool], skips: list[Skip], budget: int
) -> Iterator[Hunk]:
    """The hunk, halved at line boundaries until it fits; pieces without a changed line are left out."""
    if all(line.kind is LineKind.CONTEXT for line in hunk.lines):
        return
    if fits(_with(file, [hunk])):
        yield hunk
    elif len(hunk.lines) == 1:
        line = hunk.lines[0]
        reason = f"one line is longer than the {budget} tokens that a prompt has room for"
        number = line.new_line or line.old_line
        skips.append(Skip(path=file.path, reason=reason, kind=SkipKind.TOO_LARGE, line=number))
    else:
        middle = len(hunk.lines) // 2
        for lines in (hunk.lines[:middle], hunk.lines[middle:]):
            yield from pieces_of(file, part_of(hunk, lines), fits, skips, budget)


def part_of(hunk: Hunk, lines: Sequence[DiffLine]) -> Hunk:
    """A hunk of some of a hunk's consecutive lines, with starts and counts of its own."""
    old = [line.old_line for line in lines if line.old_line is not None]
    new = [line.new_line for line in lines if line.new_line is not None]
    return Hunk(
        old_start=old[0] if old else hunk.old_start,
        old_count=len(old),
        new_start=new[0] if new else hunk.new_start,
        new_count=len(new),
        section=hunk.section,
        lines=tuple(lines),
    )


def _fits(places: Mapping[int, str], count: Count, budget: int, part: FileChange) -> bool:
    """Counts only where the bytes don't tell: a token has at least one, and on average far fewer than 12."""
    text = render_file(part, places)
    size = len(text.encode("utf-8", "surrogatepass"))
    return size <= budget or (size <= 12 * budget and count(text) <= budget)


def _with(file: FileChange, hunks: Sequence[Hunk]) -> FileChange:
    return file.model_copy(update={"hunks": tuple(hunks)})
