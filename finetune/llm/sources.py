"""Where code-generation rows and benchmark problems come from: local files, or the hub. Reading only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from finetune.llm.decontaminate import load_problems
from finetune.llm.hub import reachable
from review_data.codegen_sets import CodegenRow, Target, check, load, with_validation
from review_data.errors import DataError, MissingExtra, UserError


class Problems(NamedTuple):
    """Benchmark problems to keep out of training: (name, text) pairs, and the files they came from."""

    texts: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] = ()


def benchmark_problems(paths: Sequence[Path]) -> Problems:
    """The problems of these files."""
    return Problems(
        tuple(problem for path in paths for problem in load_problems(path)),
        tuple(path.name for path in paths),
    )


def codegen_rows(sources: Sequence[str], target: Target, validation_share: float) -> tuple[CodegenRow, ...]:
    """Rows of all sources, each with a train and a validation split; `UserError` when one can't be had."""
    return tuple(
        row
        for source in sources
        for row in with_validation(_load_source(source, target), validation_share, source)
    )


def _load_source(source: str, target: Target) -> tuple[CodegenRow, ...]:
    path = Path(source)
    if path.exists():
        return load(path, target)
    if path.suffix or source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise DataError(
            "does not exist; give a .jsonl or .parquet file, a folder, or a hub name", file=source
        )
    return check(_from_hub(source), target, origin=source)


def _from_hub(name: str) -> Iterator[tuple[str, int, Mapping[str, object]]]:
    try:
        import datasets
    except ImportError:
        raise MissingExtra("train", "fetching a data set", "datasets") from None
    if not reachable() and not datasets.config.HF_HUB_OFFLINE:
        raise UserError(
            f"the data set `{name}` can't be fetched: the hub can't be reached; check the connection, or "
            "download it and name the file with --data"
        )
    try:
        parts = datasets.load_dataset(name)
    except Exception as error:  # every transport, cache and permission error ends here: there is no data
        raise UserError(
            f"the data set `{name}` can't be fetched from the hub ({type(error).__name__}: "
            f"{_first_line(error)}); "
            "check the connection and the name, or download it and name the file with --data"
        ) from None
    for split, rows in parts.items():
        for number, values in enumerate(rows, start=1):
            yield f"{name}:{split}", number, values if "split" in values else {**values, "split": split}


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]
