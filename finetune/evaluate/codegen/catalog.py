"""The code-generation benchmarks by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from finetune.evaluate.codegen import humaneval, livecodebench, mbpp
from finetune.evaluate.codegen.benchmark import Benchmark
from review_data.errors import UserError

BENCHMARKS: dict[str, Callable[..., Benchmark]] = {
    "humaneval": humaneval.load,
    "humaneval+": humaneval.load_plus,
    "mbpp": mbpp.load,
    "livecodebench": livecodebench.load,
}


def open_benchmark(name: str, problems: Path | None, **filters: str) -> Benchmark:
    """The named benchmark from a file or the hub; filters that it does not have are refused."""
    if name not in BENCHMARKS:
        raise UserError(f"--benchmark: there is no `{name}`; choose one of {', '.join(BENCHMARKS)}")
    if name != "livecodebench":
        given = [f"--{key}" for key, value in filters.items() if value and value != "full"]
        if given:
            raise UserError(f"{', '.join(given)} can't filter {name}; only livecodebench has it")
    return BENCHMARKS[name](problems, **filters)
