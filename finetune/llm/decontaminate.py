"""N-gram overlap between training problems and benchmark problems.

The protocol of GPT-3's appendix C with the 13-word window: a training row that shares a run of 13 words with
a benchmark problem is contaminated. Owns no data: problems come as (name, text).
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from review_data.codegen_sets import CodegenRow
from review_data.domain import Record
from review_data.errors import DataError

WINDOW: Final = 13
_WORD: Final = re.compile(r"\w+")
_TEXTS: Final = (("question_content",), ("prompt", "canonical_solution"), ("problem",), ("input",))


class Overlap(Record):
    """A training row and the benchmark problem with which it shares `shared` windows of words."""

    row: str
    problem: str
    shared: int
    example: str


class Decontamination(Record):
    """What was compared and what was left out."""

    benchmarks: tuple[str, ...]
    problems: int
    rows: int
    overlaps: tuple[Overlap, ...]

    def summary(self) -> str:
        """One sentence for logs and reports."""
        if not self.benchmarks:
            return "not done: no benchmark problems were given (--benchmark FILE)"
        return (
            f"{len(self.overlaps)} of {self.rows} rows share {WINDOW} words in a row with one of "
            f"{self.problems} problems of {', '.join(self.benchmarks)} and were left out"
        )


def decontaminate(
    rows: Sequence[CodegenRow], problems: Sequence[tuple[str, str]], benchmarks: Sequence[str] = ()
) -> tuple[tuple[CodegenRow, ...], Decontamination]:
    """The rows without overlap, and the report."""
    known: dict[tuple[str, ...], str] = {}
    for name, text in problems:
        known.update(dict.fromkeys(windows(text), name))
    found = {index: overlap for index, row in enumerate(rows) if (overlap := _overlap(row, index, known))}
    kept = tuple(row for index, row in enumerate(rows) if index not in found)
    report = Decontamination(
        benchmarks=tuple(benchmarks), problems=len(problems), rows=len(rows), overlaps=tuple(found.values())
    )
    return kept, report


def windows(text: str, size: int = WINDOW) -> Iterator[tuple[str, ...]]:
    """Every run of `size` words, lower case; a shorter text is one window by itself."""
    words = _WORD.findall(text.lower())
    if len(words) < size:
        if len(words) >= size // 2:
            yield tuple(words)
        return
    for start in range(len(words) - size + 1):
        yield tuple(words[start : start + size])


def load_problems(path: Path) -> Iterator[tuple[str, str]]:
    """(name, text) of HumanEval (`prompt`, `canonical_solution`) or LiveCodeBench (`question_content`) JSONL.

    A `.gz` is read too. `DataError` names the line that is neither.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for number, line in enumerate(data.decode("utf-8").splitlines(), start=1):
            if line.strip():
                yield _problem(line, path, number)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"can't be read ({error}); check the path", file=path) from None


def _problem(line: str, path: Path, number: int) -> tuple[str, str]:
    try:
        values = json.loads(line)
        keys = next(keys for keys in _TEXTS if keys[0] in values)
    except (json.JSONDecodeError, StopIteration, TypeError):
        raise DataError(
            "is no benchmark problem: expected `prompt` (HumanEval) or `question_content` (LiveCodeBench)",
            file=path,
            line=number,
        ) from None
    name = values.get("task_id") or values.get("question_id") or values.get("id") or f"{path.name}:{number}"
    return str(name), "\n".join(str(values.get(key, "")) for key in keys)


def _overlap(row: CodegenRow, index: int, known: dict[tuple[str, ...], str]) -> Overlap | None:
    texts = (row.input, row.output, row.solution)
    hits = [window for text in texts for window in windows(text) if window in known]
    if not hits:
        return None
    return Overlap(
        row=row.id or f"row {index + 1}", problem=known[hits[0]], shared=len(hits), example=" ".join(hits[0])
    )
