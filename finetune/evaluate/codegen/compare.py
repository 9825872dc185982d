"""Comparisons between systems: paired tests with Holm's correction, and what "best checkpoint" is worth.

With one sample per problem the test is McNemar's, exact; with more, a paired permutation test on the
per-problem rates. Two families are corrected apart: every system against the base, and adapters against each
other at the same step (their last one where the steps differ).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, groupby

from finetune.evaluate.codegen.score import SystemScore
from finetune.evaluate.codegen.systems import BASE
from finetune.statistics import Flips, expected_maximum, flips, holm, scipy_stats
from review_data.domain import Record

RESAMPLES = 9999


class Comparison(Record):
    """First against second. `p_holm` is corrected over its family."""

    family: str
    first: str
    second: str
    difference: float
    test: str
    flips: Flips | None = None
    p_value: float
    p_holm: float


class BestCheckpoint(Record):
    """The best of an adapter's checkpoints beside what the best of equal ones would score by noise alone."""

    adapter: str
    best: str
    score: float
    checkpoints: int
    mean: float
    expected_maximum: float


def compare(scores: Sequence[SystemScore]) -> tuple[Comparison, ...]:
    """Both families; nothing for a single system."""
    base = next((one for one in scores if one.adapter == BASE), None)
    others = [one for one in scores if one is not base]
    against_base = [(one, base) for one in others] if base else []
    return (*_family("against base", against_base), *_family("between adapters", _rivals(others)))


def best_checkpoints(scores: Sequence[SystemScore]) -> tuple[BestCheckpoint, ...]:
    """For each adapter with more than one checkpoint."""
    found = []
    stepped = sorted((one for one in scores if one.step is not None), key=lambda one: (one.adapter, one.step))
    for adapter, group in groupby(stepped, key=lambda one: one.adapter):
        checkpoints = list(group)
        if len(checkpoints) < 2:
            continue
        best = max(checkpoints, key=lambda one: one.pass_at_1)
        mean = sum(one.pass_at_1 for one in checkpoints) / len(checkpoints)
        found.append(
            BestCheckpoint(
                adapter=adapter,
                best=best.name,
                score=best.pass_at_1,
                checkpoints=len(checkpoints),
                mean=mean,
                expected_maximum=expected_maximum(mean, best.n, len(checkpoints)),
            )
        )
    return tuple(found)


def _rivals(others: Sequence[SystemScore]) -> list[tuple[SystemScore, SystemScore]]:
    """Pairs of different adapters at the same step; adapters without a common step meet at their last one."""
    by_adapter: dict[str, dict[int | None, SystemScore]] = {}
    for one in others:
        by_adapter.setdefault(one.adapter or one.name, {})[one.step] = one
    pairs = []
    for first, second in combinations(by_adapter.values(), 2):
        common = [step for step in first if step in second]
        if common:
            pairs += [(first[step], second[step]) for step in common]
        else:
            pairs.append((list(first.values())[-1], list(second.values())[-1]))
    return pairs


def _family(name: str, pairs: Sequence[tuple[SystemScore, SystemScore]]) -> list[Comparison]:
    tested = [_test(first, second) for first, second in pairs]
    adjusted = holm([p_value for _, _, p_value in tested])
    return [
        Comparison(
            family=name,
            first=first.name,
            second=second.name,
            difference=first.pass_at_1 - second.pass_at_1,
            test=test,
            flips=counted,
            p_value=p_value,
            p_holm=p_holm,
        )
        for (first, second), (test, counted, p_value), p_holm in zip(pairs, tested, adjusted, strict=True)
    ]


def _test(first: SystemScore, second: SystemScore) -> tuple[str, Flips | None, float]:
    if len(first.results) == first.n and len(second.results) == second.n:
        counted = flips(first.flags(), second.flags())
        return "McNemar, exact", counted, counted.p_value
    differences = [one - other for one, other in zip(first.rates(), second.rates(), strict=True)]
    if not any(differences):
        return "paired permutation", None, 1.0
    found = scipy_stats().permutation_test(
        (differences,),
        lambda values, axis: values.mean(axis=axis),
        permutation_type="samples",
        n_resamples=RESAMPLES,
        rng=0,
        vectorized=True,
    )
    return "paired permutation", None, float(found.pvalue)
