"""Where problems and ready answers come from: JSON Lines files (gzip or not), or the hub.

Owns reading and the messages about it; the rows' meaning belongs to the benchmarks.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from finetune.evaluate.codegen.benchmark import Sample
from review_data.errors import DataError, MissingExtra, ToolError
from review_data.jsonl import parse_row

RowT = TypeVar("RowT", bound=BaseModel)


def read_rows(path: Path | None, kind: type[RowT], hub: tuple[str, str]) -> Sequence[RowT]:
    """Every row of `path`, or of the hub's data set and split when there is no path."""
    if path is None:
        return [kind.model_validate(row) for row in _hub_rows(*hub)]
    rows = [parse_row(line, kind, path, number) for number, line in lines_of(path)]
    if not rows:
        raise DataError("holds no problems; give a JSON Lines file", file=path)
    return rows


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """The non-blank lines with their numbers; a file that starts with gzip's mark is unpacked."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 ({error.reason}); save it as UTF-8", file=path) from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"can't be read ({error}); check the path", file=path) from error


def read_samples(path: Path, known: Iterable[str]) -> list[Sample]:
    """Ready answers in the published form; rows of one task and system get the numbers 0, 1, 2, ...

    An answer to a task that the benchmark does not have is refused: it would silently count for nothing.
    """
    tasks, counts, samples = set(known), dict[tuple[str, str], int](), []
    for number, line in lines_of(path):
        sample = parse_row(_with_text_id(line), Sample, path, number)
        if sample.task_id not in tasks:
            message = f"`{sample.task_id}` is no task of this benchmark; check --benchmark and --problems"
            raise DataError(message, file=path, line=number, field="task_id")
        key = (sample.system, sample.task_id)
        counts[key] = counts.get(key, 0) + 1
        samples.append(sample.model_copy(update={"index": counts[key] - 1}))
    if not samples:
        raise DataError("holds no samples; rows are {task_id, completion}", file=path)
    return samples


def _with_text_id(line: str) -> str:
    """MBPP's task ids are numbers in its file and in samples of it; here they are text."""
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return line
    if isinstance(row, dict) and isinstance(row.get("task_id"), int):
        return json.dumps({**row, "task_id": str(row["task_id"])})
    return line


def _hub_rows(name: str, split: str) -> Iterator[dict[str, object]]:
    try:
        import datasets
    except ImportError:
        raise MissingExtra("train", "reading a benchmark from the hub", "datasets") from None
    try:
        yield from datasets.load_dataset(name, split=split)
    except Exception as error:
        raise ToolError(
            f"{name} could not be read from the hub ({type(error).__name__}: {str(error)[:200]}); "
            "download its JSON Lines file and pass it with --problems"
        ) from error
