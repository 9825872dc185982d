"""Three ways to run generated code in the sandbox: as a program, as a function, and under a benchmark's test.

Owns the talk with the drivers inside the cells and the reading of how a run ended. Comparing output with what
was expected is for the benchmarks.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from finetune.sandbox.drivers import wire
from finetune.sandbox.job import Ending, Job, Limits, Ran
from finetune.sandbox.machine import PYTHON, Sandbox
from finetune.sandbox.verdict import Outcome, Verdict
from review_data.domain import Record

DRIVERS = Path(__file__).parent / "drivers"
SIGKILL_CODE = -9


class Exam(Record):
    """A benchmark's own test: `setup` makes what it needs, `names` are the functions it calls.

    The text of `test` runs after those names are bound to the generated code; then the function `call`, if
    any, is called with the first of them (HumanEval's `check(candidate)`).
    """

    setup: str
    test: str
    names: tuple[str, ...]
    call: str = ""


class Returned(Record):
    """What a function returned (`value`, decoded), or the verdict that it did not."""

    value: Any = None
    verdict: Verdict | None = None


def run_program(sandbox: Sandbox, source: str, stdin: str, limits: Limits, *, official: bool = False) -> Ran:
    """Runs `source` as a program of its own; `official` runs it in LiveCodeBench's manner instead."""
    files = {"main.py": source}
    if official:
        files["official_stdin.py"] = _driver("official_stdin")
    command = (*PYTHON, "official_stdin.py" if official else "main.py")
    return sandbox.run(Job(files, command, stdin=stdin.encode("utf-8", "surrogatepass")), limits)


def call_function(
    sandbox: Sandbox, source: str, path: tuple[str, ...], arguments: list[Any], limits: Limits
) -> Returned:
    """Calls a function or `("Class", "method")` of `source`; the value comes back decoded, never executed."""
    request = {"path": path, "args": wire.encode(arguments), "kwargs": wire.encode({})}
    job = Job(
        _candidate_files(source), (*PYTHON, "candidate.py"), channel=json.dumps(request).encode() + b"\n"
    )
    ran = sandbox.run(job, limits)
    answers = ran.channel.splitlines()
    try:
        said = [json.loads(line) for line in answers[:2]]
        failed = next((answer["raised"] for answer in said if "raised" in answer), None)
        if failed:
            return Returned(verdict=Verdict(outcome=_raised(failed[0]), detail=f"{failed[0]}: {failed[1]}"))
        return Returned(value=wire.decode(said[1]["value"]))
    except (ValueError, TypeError, LookupError, RecursionError):
        return Returned(verdict=ended_badly(ran))


def examine(sandbox: Sandbox, source: str, exam: Exam, limits: Limits) -> Verdict:
    """Puts `source` in one cell and the benchmark's test in another, and reads the test's verdict."""
    examiner_files = {
        "exam.json": exam.model_dump_json(),
        **{f"{name}.py": _driver(name) for name in ("wire", "examiner")},
    }
    judge = Job(examiner_files, (*PYTHON, "examiner.py"))
    judged = Job(_candidate_files(source), (*PYTHON, "candidate.py"))
    examiner, candidate = sandbox.run_pair(judge, judged, limits)
    if candidate.ending in (Ending.OUTPUT_LIMIT, Ending.CPU_TIME):
        return ended_badly(candidate)
    if examiner.ending in (Ending.WALL_TIME, Ending.CPU_TIME):
        detail = f"no end after {examiner.wall_s:.1f} s"
        return Verdict(outcome=Outcome.TIME_OUT, detail=detail, wall_time_out=True)
    try:
        said = json.loads(examiner.stdout)
    except ValueError:
        return Verdict(outcome=Outcome.HARNESS_ERROR, detail=_tail(examiner.stderr))
    if said["outcome"] == "gone":
        return ended_badly(candidate, said["detail"])
    outcome = Outcome(said["outcome"])
    if outcome is Outcome.EXCEPTION:
        outcome = _raised(said["detail"].partition(":")[0])
    return Verdict(outcome=outcome, detail=said["detail"])


def ended_badly(ran: Ran, detail: str = "") -> Verdict:
    """The verdict on a run that gave no usable answer."""
    if ran.ending in (Ending.CPU_TIME, Ending.WALL_TIME):
        slow = ran.ending is Ending.WALL_TIME
        return Verdict(
            outcome=Outcome.TIME_OUT, detail=f"no end after {ran.wall_s:.1f} s", wall_time_out=slow
        )
    if ran.ending is Ending.OUTPUT_LIMIT:
        return Verdict(outcome=Outcome.OUTPUT_LIMIT, detail="wrote more than the output limit")
    last = _tail(ran.stderr)
    if "MemoryError" in last:
        return Verdict(outcome=Outcome.MEMORY, detail=last)
    how = (
        f"killed by signal {-ran.code}" if ran.code is not None and ran.code < 0 else f"exit code {ran.code}"
    )
    return Verdict(outcome=Outcome.EXCEPTION, detail=f"{how}; {detail or last}".strip("; "))


def _raised(name: str) -> Outcome:
    return Outcome.MEMORY if name == "MemoryError" else Outcome.EXCEPTION


def _candidate_files(source: str) -> dict[str, str]:
    return {"main.py": source, **{f"{name}.py": _driver(name) for name in ("wire", "candidate")}}


def _driver(name: str) -> str:
    return (DRIVERS / f"{name}.py").read_text(encoding="utf-8")


def _tail(stderr: bytes) -> str:
    lines = stderr.decode(errors="replace").strip().splitlines()
    return lines[-1][:500] if lines else ""
