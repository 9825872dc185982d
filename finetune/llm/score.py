"""Answers of a model, with or without an adapter, on validation rows, and their score. In process.

Owns no choice: `finetune.llm.choose` picks. The scores that count for a promotion come from the served model
where there is one (`terazi evaluate`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from finetune.severity_metrics import severity_scores
from review_data.domain import Probabilities, Record
from review_data.severity import Severity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from finetune.llm.prepare import Prepared, StageRows

ANSWERS: Final = "answers.jsonl"
BASE_ANSWERS: Final = "answers.base.jsonl"
_RECORD: Final = re.compile(r"[#/].*")


class Answer(Record):
    """What a model said to one validation row. Ratings have label and severity, programs only `right`."""

    id: str
    right: bool
    label: Severity | None = None
    severity: Severity | None = None
    probabilities: Probabilities | None = None

    @property
    def record(self) -> str:
        """The record that the row belongs to: rows of one merge request are resampled together."""
        return _RECORD.sub("", self.id)


def score_name(answers: Sequence[Answer]) -> str:
    """What `score` gives for these answers."""
    return "quadratic kappa" if answers and answers[0].label is not None else "pass rate"


def score(answers: Sequence[Answer]) -> float:
    """Quadratic kappa of ratings (0 where undefined), or the share of programs that pass."""
    rated = [(one.label, one.severity) for one in answers if one.label is not None]
    if rated:
        return (
            severity_scores([label for label, _ in rated], [given for _, given in rated]).quadratic_kappa
            or 0.0
        )
    return sum(one.right for one in answers) / max(1, len(answers))


def statistic(answers: Sequence[Answer]) -> Callable[[NDArray[Any]], dict[str, float | None]]:
    """`score` as a function of row numbers, for the bootstrap."""
    return lambda rows: {"score": score([answers[row] for row in rows])}


class Scorer(Protocol):
    """Answers a task's validation rows."""

    def answers(self, model: Any, checkpoint: Path | None) -> Sequence[Answer]:
        """One answer per row, with the checkpoint's weights; None takes the adapter away."""
        ...


def scorer(prepared: Prepared, rows: StageRows) -> Scorer | None:
    """The task's scorer; None when no validation row can be scored."""
    if prepared.facts.recipe.task == "review":
        from finetune.llm.score_review import ReviewScorer

        return ReviewScorer.of(prepared, rows)
    from finetune.llm.score_codegen import CodegenScorer

    return CodegenScorer.of(prepared, rows)


def load_weights(model: Any, checkpoint: Path) -> None:
    """Puts a checkpoint's adapter weights into the model."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    set_peft_model_state_dict(model, load_file(checkpoint / "adapter_model.safetensors"))
