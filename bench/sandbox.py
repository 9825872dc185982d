"""How long the sandbox takes: one empty program, and HumanEval's canonical solutions, two cells each.

    python bench/sandbox.py [--problems HumanEval.jsonl.gz] [--workers 2] [--rounds 20]

Prints medians of a bare Python start, of the same program in a cell, and the whole of HumanEval.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path


def main() -> None:
    """Measures side by side in one run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--problems", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    from finetune.sandbox.examine import run_program
    from finetune.sandbox.job import Limits
    from finetune.sandbox.machine import open_sandbox

    with open_sandbox() as sandbox:
        bare = median(options.rounds, lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))
        cell = median(options.rounds, lambda: run_program(sandbox, "pass", "", Limits()))
        print(f"bare start {1000 * bare:.0f} ms, in a cell {1000 * cell:.0f} ms, ratio {cell / bare:.1f}")
        if options.problems:
            humaneval(sandbox, options.problems, options.workers)


def median(rounds: int, work: Callable[[], object]) -> float:
    """The median seconds of one call."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def humaneval(sandbox: object, path: Path, workers: int) -> None:
    """All canonical solutions, scored as `terazi evaluate codegen --samples` scores them."""
    import gzip
    import json

    from finetune.evaluate.codegen.benchmark import Sample
    from finetune.evaluate.codegen.catalog import open_benchmark
    from finetune.evaluate.codegen.score import score
    from finetune.evaluate.codegen.systems import System
    from finetune.sandbox.machine import Sandbox

    assert isinstance(sandbox, Sandbox)
    data = path.read_bytes()
    lines = (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()
    rows = [json.loads(line) for line in lines]
    samples = [Sample(task_id=row["task_id"], completion=row["canonical_solution"]) for row in rows]
    benchmark, system = open_benchmark("humaneval", path), System(name="canonical", model="")
    start = time.perf_counter()
    (found,) = score(benchmark, [system], {"canonical": samples}, sandbox, workers=workers)
    seconds = time.perf_counter() - start
    passed = round(found.pass_at_1 * found.n)
    print(f"HumanEval: {passed} of {found.n} pass, {seconds:.1f} s with {workers} workers")


if __name__ == "__main__":
    main()
