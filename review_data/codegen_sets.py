"""Code-generation rows (CodeGen-Deep-5K, CodeGen-Diverse-5K and files of their shape), read and checked.

A row has `input` (the problem), `output` (`<think>` reasoning, then the program), `solution` (the program
alone) and `split`; other fields are ignored, but every row of a file has the same fields. Reading is from
local JSONL and Parquet; fetching a set from the hub is in `finetune.llm.sources`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError

from review_data.dataset import SPLITS, Split
from review_data.domain import Record
from review_data.errors import DataError, MissingExtra

Target = Literal["output", "solution"]
SPLIT_NAMES: Final[dict[str, Split]] = {
    "train": "train",
    "training": "train",
    "valid": "validation",
    "val": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
}
SUFFIXES: Final = (".jsonl", ".parquet")


class CodegenRow(Record):
    """One problem with its reasoned answer (`output`) and its bare program (`solution`)."""

    id: str = ""
    input: str = Field(min_length=1)
    output: str = ""
    solution: str = ""
    split: Split
    difficulty: str = ""

    def completion(self, target: Target) -> str:
        """What is learned. Leading blanks go: they would merge with the prompt's last token."""
        return (self.output if target == "output" else self.solution).strip()


def load(path: Path, target: Target) -> tuple[CodegenRow, ...]:
    """Rows of a JSONL or Parquet file, or of a folder of them named by split (`train.jsonl` ...).

    `DataError` for an unreadable file, mixed fields, an unknown split, or an empty completion in `target`.
    """
    return check(
        (row for file, split in _files(path) for row in _read(file, split)), target, origin=str(path)
    )


def check(
    rows: Iterable[tuple[str, int, Mapping[str, object]]], target: Target, *, origin: str
) -> tuple[CodegenRow, ...]:
    """Typed rows from (file, row number, fields); the errors of `load`."""
    found: list[CodegenRow] = []
    fields: frozenset[str] | None = None
    for file, number, values in rows:
        keys = frozenset(values)
        fields = keys if fields is None else fields
        if keys != fields:
            odd = ", ".join(f"`{key}`" for key in sorted(keys ^ fields))
            raise DataError(
                f"has other fields than the first row ({odd}); bring all rows to one shape",
                file=file,
                line=number,
            )
        found.append(_row(values, target, file, number))
    if not found:
        raise DataError(
            "has no rows; expected problems with `input`, `output`, `solution` and `split`", file=origin
        )
    return tuple(found)


def part(rows: Iterable[CodegenRow], split: Split) -> tuple[CodegenRow, ...]:
    """The rows of one split."""
    return tuple(row for row in rows if row.split == split)


def with_validation(rows: tuple[CodegenRow, ...], share: float, origin: str) -> tuple[CodegenRow, ...]:
    """The rows with a validation split: their own, or `share` of the train rows, picked by content.

    The test split is never touched. `DataError` when train rows are missing, or validation rows are and
    `share` is 0.
    """
    present = {row.split for row in rows}
    if "train" not in present:
        raise DataError("has no rows of the split `train`; nothing to learn from", file=origin, field="split")
    if "validation" in present:
        return rows
    if not share:
        raise DataError(
            "has no rows of the split `validation`; set data.validation_share (0.05, say) to set aside "
            "a part of the train rows. The test rows are not used for choosing",
            file=origin,
            field="split",
        )
    return tuple(
        row.model_copy(update={"split": "validation"})
        if row.split == "train" and _fraction(row.input) < share
        else row
        for row in rows
    )


def rows_hash(rows: Iterable[CodegenRow]) -> str:
    """SHA-256 (hex) over all rows, in order."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(row.model_dump_json().encode() + b"\n")
    return digest.hexdigest()


def _fraction(text: str) -> float:
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


def _row(values: Mapping[str, object], target: Target, file: str, number: int) -> CodegenRow:
    missing = next((key for key in ("input", target, "split") if values.get(key) is None), None)
    if missing:
        raise DataError("is missing; every row needs it", file=file, line=number, field=missing)
    split = SPLIT_NAMES.get(str(values["split"]).strip().lower())
    if split is None:
        raise DataError(
            f"`{values['split']}` is no split; use one of {', '.join(SPLITS)}",
            file=file,
            line=number,
            field="split",
        )
    picked = {key: values.get(key) for key in ("input", "output", "solution", "difficulty")}
    identifier = values.get("unique_id") or values.get("id") or ""
    row = _validated(
        {**{key: "" if value is None else value for key, value in picked.items()}, "split": split}
        | {"id": str(identifier), "difficulty": str(picked["difficulty"] or "")},
        file,
        number,
    )
    if not row.completion(target):
        raise DataError(
            "is empty; there is nothing to learn from this row", file=file, line=number, field=target
        )
    return row


def _validated(values: dict[str, object], file: str, number: int) -> CodegenRow:
    try:
        return CodegenRow.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(
            f"{first['msg']}; correct this row", file=file, line=number, field=str(first["loc"][0])
        ) from None


def _files(path: Path) -> Iterator[tuple[Path, Split | None]]:
    if path.is_file():
        yield path, None
        return
    found = sorted(file for file in path.glob("*") if file.suffix in SUFFIXES) if path.is_dir() else []
    if not found:
        raise DataError(
            "is neither a .jsonl or .parquet file nor a folder of them; check the path", file=path
        )
    for file in found:
        yield file, SPLIT_NAMES.get(file.stem.split("-")[0].lower())


def _read(file: Path, split: Split | None) -> Iterator[tuple[str, int, Mapping[str, object]]]:
    rows = _parquet(file) if file.suffix == ".parquet" else _jsonl(file)
    for number, values in rows:
        yield str(file), number, values if split is None or "split" in values else {**values, "split": split}


def _jsonl(file: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, _object(line, file, number)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"can't be read ({error}); check the file", file=file) from None


def _object(line: str, file: Path, number: int) -> dict[str, object]:
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"is not JSON ({error}); correct this row", file=file, line=number) from None
    if not isinstance(values, dict):
        raise DataError("is not a JSON object; correct this row", file=file, line=number)
    return values


def _parquet(file: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("train", "reading Parquet", "pyarrow") from None
    try:
        table = pyarrow.parquet.read_table(file)
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"can't be read as Parquet ({error}); check the file", file=file) from None
    yield from enumerate(table.to_pylist(), start=1)
