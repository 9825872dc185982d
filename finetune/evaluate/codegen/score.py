"""Runs every sample of every system in the sandbox and counts: pass@k, intervals, outcomes, examples.

All problems of the benchmark are in the denominator; one without a sample counts as `missing`. Time-outs are
tried again alone when the rest is done, because a busy machine is no fault of the code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from finetune.evaluate.codegen.benchmark import Benchmark, Mode, Problem, Sample
from finetune.evaluate.codegen.systems import System
from finetune.sandbox.job import Limits
from finetune.sandbox.machine import Sandbox
from finetune.sandbox.verdict import Outcome, Verdict
from finetune.statistics import Interval, Scores, bootstrap, pass_at_k, wilson
from review_data.domain import Record

if TYPE_CHECKING:
    from numpy.typing import NDArray

EXAMPLES = 3
EXCERPT = 1200


class Result(Record):
    """What came of one sample."""

    task_id: str
    index: int
    outcome: Outcome
    detail: str = ""
    tests_passed: int = 0


class Example(Record):
    """A failure to look at."""

    task_id: str
    outcome: Outcome
    detail: str
    code: str


class SystemScore(Record):
    """One system's scores. `n` counts problems; `outcomes` counts samples; `pass_at` has k as its keys."""

    name: str
    adapter: str = ""
    step: int | None = None
    n: int
    samples_per_problem: int
    pass_at_1: float
    pass_at: dict[int, float]
    intervals: dict[str, Interval]
    outcomes: dict[Outcome, int]
    results: tuple[Result, ...]
    examples: tuple[Example, ...]
    completion_tokens: int = 0

    def rates(self) -> list[float]:
        """The share of right samples per problem, in the benchmark's order."""
        return [correct / total for total, correct in self._counts()]

    def flags(self) -> list[bool]:
        """Whether each problem's first sample is right."""
        firsts = {result.task_id: result.outcome is Outcome.PASSED for result in reversed(self.results)}
        return list(dict(sorted(firsts.items())).values())

    def _counts(self) -> list[tuple[int, int]]:
        totals = Counter(result.task_id for result in self.results)
        right = Counter(result.task_id for result in self.results if result.outcome is Outcome.PASSED)
        return [(totals[task], right[task]) for task in sorted(totals)]


def score(
    benchmark: Benchmark,
    systems: Sequence[System],
    samples: Mapping[str, Sequence[Sample]],
    sandbox: Sandbox,
    *,
    mode: Mode = Mode.FAITHFUL,
    limits: Limits | None = None,
    ks: Sequence[int] = (1,),
    workers: int = 2,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[SystemScore, ...]:
    """Scores per system; `samples` are by system name, `ks` beyond the number of samples are left out."""
    problems = {problem.id: problem for problem in benchmark.problems}
    bounds = limits or benchmark.limits[mode]
    jobs = [(system.name, sample) for system in systems for sample in samples.get(system.name, ())]

    def one(job: tuple[str, Sample]) -> tuple[Verdict, str]:
        return check_sample(problems[job[1].task_id], job[1], sandbox, bounds, mode)

    checked: list[tuple[Verdict, str]] = []
    with ThreadPoolExecutor(max(1, workers)) as pool:
        for outcome in pool.map(one, jobs):
            checked.append(outcome)
            if on_progress:
                on_progress(len(checked), len(jobs))
    for number, (verdict, _) in enumerate(checked):
        if verdict.wall_time_out and workers > 1:
            checked[number] = one(jobs[number])
    by_system: dict[str, list[tuple[Sample, Verdict, str]]] = {system.name: [] for system in systems}
    for (name, sample), (verdict, code) in zip(jobs, checked, strict=True):
        by_system[name].append((sample, verdict, code))
    return tuple(summarise(system, benchmark.problems, by_system[system.name], ks) for system in systems)


def check_sample(
    problem: Problem, sample: Sample, sandbox: Sandbox, limits: Limits, mode: Mode
) -> tuple[Verdict, str]:
    """The verdict on one reply, and the program that was taken from it."""
    answer = problem.answer(sample, mode)
    if answer.outcome is not None:
        return Verdict(
            outcome=answer.outcome, detail=f"reply ended by {sample.finish_reason}"
        ), sample.completion
    return problem.check(answer.code, sandbox, limits, mode), answer.code


def summarise(
    system: System,
    problems: Sequence[Problem],
    checked: Sequence[tuple[Sample, Verdict, str]],
    ks: Sequence[int],
) -> SystemScore:
    """Counts and intervals of one system's verdicts."""
    results = [_result(sample, verdict) for sample, verdict, _ in checked]
    answered = {result.task_id for result in results}
    results += [
        Result(task_id=problem.id, index=0, outcome=Outcome.MISSING, detail="no sample")
        for problem in problems
        if problem.id not in answered
    ]
    results.sort(key=lambda result: (result.task_id, result.index))
    totals = Counter(result.task_id for result in results)
    right = Counter(result.task_id for result in results if result.outcome is Outcome.PASSED)
    counts = [(totals[task], right[task]) for task in sorted(totals)]
    fewest = min(totals.values(), default=0)
    known = [k for k in dict.fromkeys((1, *ks)) if k <= fewest]
    pass_at = {k: sum(pass_at_k(n, c, k) for n, c in counts) / len(counts) for k in known}
    return SystemScore(
        name=system.name,
        adapter=system.adapter,
        step=system.step,
        n=len(counts),
        samples_per_problem=fewest,
        pass_at_1=pass_at[1],
        pass_at=pass_at,
        intervals=_intervals(counts, known),
        outcomes=dict(Counter(result.outcome for result in results).most_common()),
        results=tuple(results),
        examples=_examples(checked),
        completion_tokens=sum(sample.completion_tokens for sample, _, _ in checked),
    )


def _intervals(counts: Sequence[tuple[int, int]], ks: Sequence[int]) -> dict[str, Interval]:
    """Wilson for one sample per problem; otherwise a bootstrap over problems."""
    if all(total == 1 for total, _ in counts):
        return {"pass_at_1": wilson(sum(correct for _, correct in counts), len(counts))}

    def statistic(rows: NDArray[Any]) -> Scores:
        drawn = [counts[row] for row in rows]
        return {f"pass_at_{k}": sum(pass_at_k(n, c, k) for n, c in drawn) / len(drawn) for k in ks}

    return bootstrap(statistic, range(len(counts)))


def _result(sample: Sample, verdict: Verdict) -> Result:
    return Result(
        task_id=sample.task_id,
        index=sample.index,
        outcome=verdict.outcome,
        detail=verdict.detail,
        tests_passed=verdict.tests_passed,
    )


def _examples(checked: Sequence[tuple[Sample, Verdict, str]]) -> tuple[Example, ...]:
    """The first few failures of each kind, for reading."""
    kept: Counter[Outcome] = Counter()
    found = []
    for sample, verdict, code in checked:
        if verdict.passed or kept[verdict.outcome] >= EXAMPLES:
            continue
        kept[verdict.outcome] += 1
        found.append(
            Example(
                task_id=sample.task_id, outcome=verdict.outcome, detail=verdict.detail, code=code[-EXCERPT:]
            )
        )
    return tuple(found)
