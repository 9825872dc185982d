"""Turns a finished run's chosen checkpoint into an adapter with its papers: manifest, answers, model card."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.adapters.manifest import WEIGHTS, Calibration, Manifest, Score, write_manifest
from finetune.llm.choose import Choice
from finetune.llm.run_folder import file_hash
from finetune.llm.score import ANSWERS, BASE_ANSWERS, Answer, score_name, statistic
from finetune.statistics import bootstrap, mean
from review_data.jsonl import read_jsonl

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finetune.llm.prepare import Prepared


def publish(prepared: Prepared, stage: Path, choices: Sequence[Choice], adapter: Path) -> Manifest:
    """Writes the adapter's folder from the last stage's chosen checkpoint."""
    checkpoint = stage / f"checkpoint-{choices[-1].step}"
    adapter.mkdir(exist_ok=True)
    for source in (*(checkpoint / name for name in WEIGHTS), stage / ANSWERS, stage / BASE_ANSWERS):
        if source.exists():
            shutil.copyfile(source, adapter / source.name)
    manifest = make_manifest(prepared, choices[-1], adapter)
    write_manifest(adapter, manifest)
    return manifest


def make_manifest(prepared: Prepared, choice: Choice, adapter: Path) -> Manifest:
    """The manifest of the weights and answers in `adapter`."""
    facts = prepared.facts
    digest = file_hash(adapter / WEIGHTS[0])
    answers, base = _answers(adapter / ANSWERS), _answers(adapter / BASE_ANSWERS)
    return Manifest(
        name=facts.recipe.name,
        version=digest[:12],
        task=facts.recipe.task,
        base=facts.base,
        prompt_version=facts.prompt_version,
        data_hashes=facts.data_hashes,
        recipe=facts.recipe.name,
        summary=facts.recipe.summary,
        rank=facts.recipe.lora.rank,
        step=choice.step,
        chosen_by=choice.by,
        noise=choice.statement(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=facts.versions,
        scores=scores(answers),
        base_scores=scores(base),
        calibration=calibration(answers),
        weights_sha256=digest,
    )


def scores(answers: Sequence[Answer], split: str = "validation", served: bool = False) -> tuple[Score, ...]:
    """The task's score and the share of right answers, with bootstrap limits by record."""
    if not answers:
        return ()
    names = {score_name(answers): statistic(answers), "accuracy": _right(answers)}
    groups = [answer.record for answer in answers]
    found = []
    for name, figure in names.items():
        interval = bootstrap(figure, groups, resamples=1000)["score"]
        found.append(
            Score(
                name=name,
                value=interval.value or 0.0,
                low=interval.low,
                high=interval.high,
                rows=len(answers),
                split=split,
                served=served,
            )
        )
    return tuple(found)


def calibration(answers: Sequence[Answer], split: str = "validation") -> Calibration | None:
    """The temperature with the lowest log loss of the labels; None without probabilities."""
    known = [
        (row.label.rank, [math.log(max(p, 1e-12)) for p in row.probabilities.values()])
        for row in answers
        if row.label is not None and row.probabilities is not None
    ]
    if not known:
        return None
    from scipy.optimize import minimize_scalar

    best = minimize_scalar(lambda power: _log_loss(known, math.exp(power)), bounds=(-3, 3), method="bounded")
    return Calibration(temperature=math.exp(float(best.x)), rows=len(known), split=split)


def _log_loss(known: Sequence[tuple[int, Sequence[float]]], temperature: float) -> float:
    return sum(_surprise(rank, [logit / temperature for logit in logits]) for rank, logits in known)


def _surprise(rank: int, logits: Sequence[float]) -> float:
    top = max(logits)
    return top + math.log(sum(math.exp(logit - top) for logit in logits)) - logits[rank]


def _right(answers: Sequence[Answer]) -> Callable[[NDArray[Any]], dict[str, float | None]]:
    return lambda rows: {"score": mean(answers[row].right for row in rows)}


def _answers(path: Path) -> list[Answer]:
    return list(read_jsonl(path, Answer)) if path.exists() else []
