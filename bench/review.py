"""Whole-process time of `terazi review`, beside `semgrep scan`, and how it grows with the diff.

    python bench/review.py                 # 500 lines in 20 files; --help; growth to 50,000 lines
    python bench/review.py --cut           # the same with an issue in every twelfth line
    python bench/review.py --semgrep PATH  # side by side with semgrep and as many local rules

The change is made of the packaged dataset's own merge requests, written into a git repository: real code in
several languages, files of about 25 lines that a merge request adds whole. With --cut it is made of the first
25 lines of what is added to any file: no programs, so that imports are unused and names undefined. That gives
41 issues to rate in 500 lines, where the dataset's merge requests have 2 or 3.

Semgrep reads the same files with one local rule for each of ours of the same language (a call pattern with a
name of its own, which is the kindest case for semgrep: most files can be passed over). Its version check and
metrics are off. Runs alternate; medians and ratios are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TERAZI = [sys.executable, "-m", "ui.cli.main"]
LINES = 25
SEMGREP_LANGUAGES = {
    "python": "python", "typescript": "typescript", "javascript": "javascript", "go": "go", "java": "java",
    "kotlin": "kotlin", "csharp": "csharp", "c": "c", "cpp": "cpp", "rust": "rust", "ruby": "ruby",
    "php": "php", "shell": "bash", "yaml": "yaml", "terraform": "hcl", "dockerfile": "dockerfile",
}  # fmt: skip


def main() -> None:
    """Prints every figure of this page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--semgrep", type=Path, help="path of the semgrep program")
    parser.add_argument("--cut", action="store_true", help="pieces of files instead of whole ones")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--growth", type=int, nargs="*", default=[1_000, 10_000, 50_000])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        repository = make_repository(Path(folder) / "repository", 500, args.cut)
        compare(repository, args.semgrep, args.runs)
        print(f"terazi --help: {median_seconds([*TERAZI, '--help'], ROOT, args.runs):.2f} s median")
        grow(Path(folder), args.growth, args.cut)


def compare(repository: Path, semgrep: Path | None, runs: int) -> None:
    """Times both programs in turn on one repository."""
    review = [*TERAZI, "review", "main..change", "--repo", str(repository), "--format", "json"]
    if semgrep is None:
        print(f"terazi review, 500 lines in 20 files: {median_seconds(review, ROOT, runs):.2f} s median")
        return
    rules = write_semgrep_rules(repository.parent / "rules.json", repository)
    scan = [str(semgrep), "scan", "--config", str(rules), "--metrics=off", "--disable-version-check",
            "--json", "--quiet", "."]  # fmt: skip
    pairs = [(seconds(review, ROOT), seconds(scan, repository)) for _ in range(runs + 1)][1:]
    ours, theirs = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs)
    print(f"terazi review, 500 lines in 20 files: {ours:.2f} s median")
    print(
        f"semgrep scan, the same files, {count_rules(rules)} rules: {theirs:.2f} s median; "
        f"{ratio:.1f} times as long"
    )


def grow(folder: Path, sizes: Sequence[int], cut: bool) -> None:
    """Time and peak memory as the diff grows."""
    base = None
    for lines in sizes:
        repository = make_repository(folder / f"grow-{lines}", lines, cut)
        review = [*TERAZI, "review", "main..change", "--repo", str(repository), "--format", "json"]
        elapsed, memory = measured(review)
        base = base or elapsed
        print(
            f"{lines:>6} lines: {elapsed:6.2f} s ({elapsed / base:5.1f} times the first), "
            f"peak {memory:.0f} MiB"
        )


def make_repository(folder: Path, lines: int, cut: bool) -> Path:
    """A repository whose branch `change` adds about `lines` lines to `main`, 25 in each file."""
    folder.mkdir(parents=True)
    run = lambda *args: subprocess.run(  # noqa: E731 - one git runner, used only here
        ["git", "-C", str(folder), "-c", "user.name=bench", "-c", "user.email=bench@example.org", *args],
        check=True, capture_output=True,
    )  # fmt: skip
    run("init", "-q", "-b", "main")
    (folder / "README").write_text("bench\n")
    run("add", "-A")
    run("commit", "-qm", "base")
    run("checkout", "-qb", "change")
    for number, (name, text) in zip(range(lines // LINES), code(cut), strict=False):
        path = folder / f"part{number}" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    run("add", "-A")
    run("commit", "-qm", "change")
    return folder


def code(cut: bool) -> Iterator[tuple[str, str]]:
    """File names with texts from the dataset's merge requests, over and over."""
    sys.path.insert(0, str(ROOT))
    from review_data.dataset import merge_requests
    from review_data.diff import parse_diff

    texts = [
        (file, [line.text for hunk in file.hunks for line in hunk.lines if line.new_line])
        for request in merge_requests("train")
        for file in parse_diff(request.diff).files
        if file.language in SEMGREP_LANGUAGES and file.added >= 10
    ]
    if cut:
        shown = [(file, (rows * LINES)[:LINES]) for file, rows in texts]
    else:
        whole = [(file, rows) for file, rows in texts if file.status == "added" and 15 <= len(rows) <= 35]
        shown = [pair for start in range(3) for pair in whole[start::3]]  # neighbours are of one language
    while True:
        for file, rows in shown:
            yield Path(file.path).name, "\n".join(rows) + "\n"


def write_semgrep_rules(path: Path, repository: Path) -> Path:
    """As many semgrep rules per language as we have for the languages of the repository."""
    rules = []
    for language, count in sorted(rules_per_language().items()):
        if language in SEMGREP_LANGUAGES:
            rules += [semgrep_rule(language, number) for number in range(count)]
    path.write_text(json.dumps({"rules": rules}))
    return path


def rules_per_language() -> dict[str, int]:
    """How many rules `terazi rules` lists for each language."""
    printed = subprocess.run(
        [*TERAZI, "rules", "list", "--format", "json"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    tally: dict[str, int] = {}
    for rule in json.loads(printed):
        for language in rule.get("languages") or [rule.get("language", "")]:
            tally[language] = tally.get(language, 0) + 1
    return tally


def semgrep_rule(language: str, number: int) -> dict[str, object]:
    """One rule; languages without call syntax get a regular expression."""
    name = f"bench_call_{number}"
    pattern = {"pattern": f"{name}(...)"}
    if language in ("yaml", "terraform", "dockerfile", "shell"):
        pattern = {"pattern-regex": f"{name}\\("}
    if language == "php":
        pattern = {"pattern": f"{name}(...);"}
    return {"id": f"{language}-{number}", "languages": [SEMGREP_LANGUAGES[language]], "severity": "WARNING",
            "message": name, **pattern}  # fmt: skip


def count_rules(path: Path) -> int:
    """How many rules a rule file holds."""
    return len(json.loads(path.read_text())["rules"])


def median_seconds(command: Sequence[str], folder: Path, runs: int) -> float:
    """Median whole-process seconds after one warm-up."""
    return statistics.median([seconds(command, folder) for _ in range(runs + 1)][1:])


def seconds(command: Sequence[str], folder: Path) -> float:
    """Whole-process wall seconds; a crash ends the benchmark."""
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, env=environment())
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr.decode()[-2000:]}")
    return time.perf_counter() - started


def measured(command: Sequence[str]) -> tuple[float, float]:
    """Wall seconds, and the peak memory in MiB of the largest child so far."""
    elapsed = seconds(command, ROOT)
    return elapsed, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def environment() -> dict[str, str]:
    """The environment with the project importable from its checkout, and with bytecode as when installed."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPATH": str(ROOT), "SEMGREP_SEND_METRICS": "off"}


if __name__ == "__main__":
    main()
