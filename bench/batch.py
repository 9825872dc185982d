"""Merge requests per second of `terazi batch`, beside a `terazi review` for each.

    python bench/batch.py              # the packaged dataset's 598 merge requests
    python bench/batch.py --ray        # ... and on a Ray cluster that is started for it
    python bench/batch.py --runs 3

`terazi review` is called for the first forty and counted per merge request. Runs alternate; medians and
ratios are printed. Of the largest process the peak memory is given.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TERAZI = [sys.executable, "-m", "ui.cli.main"]
ALONE = 40


def main() -> None:
    """Prints every figure of this page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--ray", action="store_true", help="a Ray cluster of this machine too")
    args = parser.parse_args()
    files = [str(path) for path in sorted((ROOT / "review_data" / "teacher").glob("merge_requests.*.jsonl"))]
    rows = [json.loads(line) for file in files for line in Path(file).read_text().splitlines()]
    batch = [*TERAZI, "batch", *files]
    ways = {"one process": [*batch, "--jobs", "1"], "a process per core": batch}
    if args.ray:
        ways["Ray, an actor per core"] = [*batch, "--ray", "local"]
    with tempfile.TemporaryDirectory() as folder:
        patches = write_patches(Path(folder), rows[:ALONE])
        seconds: dict[str, list[float]] = {name: [] for name in ("terazi review each", *ways)}
        for _ in range(args.runs):
            seconds["terazi review each"].append(timed_each(patches) / len(patches))
            for name, command in ways.items():
                seconds[name].append(timed(command) / len(rows))
    base = statistics.median(seconds["terazi review each"])
    for name, found in seconds.items():
        each = statistics.median(found)
        print(f"{name:24} {1 / each:6.1f} merge requests a second, {base / each:5.1f} times")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print(f"largest process: {peak} MiB; {len(rows)} merge requests, {ALONE} of them alone")


def write_patches(folder: Path, rows: list[dict[str, str]]) -> list[Path]:
    """A patch file per row."""
    paths = [folder / f"{number}.patch" for number in range(len(rows))]
    for path, row in zip(paths, rows, strict=True):
        path.write_text(row["diff"])
    return paths


def timed_each(patches: list[Path]) -> float:
    """Seconds for a `terazi review` of each, one after the other."""
    return sum(timed([*TERAZI, "review", "--patch", str(path), "--format", "json"]) for path in patches)


def timed(command: list[str]) -> float:
    """Seconds of a whole process."""
    begin = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
