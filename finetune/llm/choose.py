"""Which checkpoint to keep: the task's own score on the validation split, and what chance alone would give.

Review: quadratic kappa of the severity labels. Code generation: the share of validation problems whose sample
tests the program passes. Where no row can be scored, the validation loss decides and the report says so. The
test split is never read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from finetune.llm.run_folder import read_log, step_of, usable
from finetune.llm.score import ANSWERS, BASE_ANSWERS, Answer, score, score_name, scorer
from review_data.domain import Record
from review_data.errors import ToolError
from review_data.jsonl import write_jsonl

if TYPE_CHECKING:
    from finetune.llm.prepare import Prepared, StageRows

DRAWS: Final = 500


class Candidate(Record):
    """One checkpoint's score (None where it could not be scored) and its validation loss."""

    step: int
    score: float | None
    validation_loss: float | None


class Noise(Record):
    """What equal checkpoints would show, their answers shuffled per row.

    `best_by_chance` is the best score's mean, `spread_p` how often the scores lie as far apart as seen.
    """

    best_by_chance: float
    spread_p: float
    draws: int


class Choice(Record):
    """The chosen step of a stage and everything it was chosen from; `base_score` is the stage's start."""

    step: int
    by: str
    rows: int
    base_score: float | None
    candidates: tuple[Candidate, ...]
    noise: Noise | None

    def statement(self) -> str:
        """Two sentences for the report: what decided, and what chance would do."""
        chosen = next(candidate for candidate in self.candidates if candidate.step == self.step)
        value = chosen.validation_loss if chosen.score is None else chosen.score
        told = f"step {self.step} has the best {self.by} on {self.rows} validation rows"
        if value is not None:
            told += f" ({value:.4f})"
        if self.noise is None:
            return told + "."
        best, p = self.noise.best_by_chance, self.noise.spread_p
        verdict = "may be chance" if p > 0.05 else "is hardly chance"
        return (
            f"{told}. If all {len(self.candidates)} checkpoints were equally good, the best would still be "
            "expected to "
            f"reach {best:.4f} by chance, and a spread as wide as seen would come up in {p:.0%} of the "
            "draws: the "
            f"difference between checkpoints {verdict}."
        )


def choose(prepared: Prepared, rows: StageRows, place: Path, model: Any) -> Choice:
    """Scores every whole checkpoint of a stage and picks one; `ToolError` when there is none."""
    found = usable(place, prepared.facts.hash)
    if not found:
        raise ToolError(f"{place}: training ended without a whole checkpoint; start again")
    losses = _losses(place)
    scoring = scorer(prepared, rows)
    if scoring is None:
        return _by_loss(found, losses, len(rows.validation.rows))
    base = scoring.answers(model, None)
    answers = [scoring.answers(model, checkpoint) for checkpoint in found]
    scores = [score(given) for given in answers]
    candidates = tuple(
        Candidate(step=step_of(path), score=value, validation_loss=losses.get(step_of(path)))
        for path, value in zip(found, scores, strict=True)
    )
    best = best_candidate(candidates)
    write_jsonl(place / BASE_ANSWERS, base)
    write_jsonl(place / ANSWERS, answers[candidates.index(best)])
    return Choice(
        step=best.step,
        by=score_name(base),
        rows=len(base),
        base_score=score(base),
        candidates=candidates,
        noise=noise(answers),
    )


def best_candidate(candidates: Sequence[Candidate]) -> Candidate:
    """The highest score; on a tie the lower validation loss, then the earlier step."""
    return min(
        candidates,
        key=lambda one: (
            -(one.score if one.score is not None else float("-inf")),
            one.validation_loss if one.validation_loss is not None else float("inf"),
            one.step,
        ),
    )


def noise(answers: Sequence[Sequence[Answer]], draws: int = DRAWS, seed: int = 0) -> Noise | None:
    """What equal checkpoints would show: each row's answers are dealt anew among them, `draws` times.

    None for a single checkpoint.
    """
    import numpy as np

    if len(answers) < 2:
        return None
    seen = _spread([score(given) for given in answers])
    random = np.random.default_rng(seed)
    columns = list(zip(*answers, strict=True))
    best, wider = 0.0, 0
    for _ in range(draws):
        dealt = zip(
            *([column[place] for place in random.permutation(len(answers))] for column in columns),
            strict=True,
        )
        scores = [score(given) for given in dealt]
        best += max(scores) / draws
        wider += _spread(scores) >= seen - 1e-12
    return Noise(best_by_chance=best, spread_p=(wider + 1) / (draws + 1), draws=draws)


def _spread(scores: Sequence[float]) -> float:
    return max(scores) - min(scores)


def _by_loss(found: Sequence[Path], losses: dict[int, float], rows: int) -> Choice:
    steps = [step_of(path) for path in found]
    candidates = tuple(Candidate(step=step, score=None, validation_loss=losses.get(step)) for step in steps)
    best = best_candidate(candidates)
    by = "validation loss (no row has tests to run)"
    return Choice(step=best.step, by=by, rows=rows, base_score=None, candidates=candidates, noise=None)


def _losses(place: Path) -> dict[int, float]:
    stage = int(place.name.rpartition("-")[2])
    return {
        row["step"]: row["validation_loss"]
        for row in read_log(place.parent)
        if row["stage"] == stage and "validation_loss" in row
    }
