"""Answers of a model, with or without an adapter, on validation rows, and their score. In process.

Owns no choice: `finetune.llm.choose` picks. The scores that count for a promotion come from the served model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from finetune.llm.prepare import Prepared, StageRows


class Scorer(Protocol):
    """Scores a task. An answer is whatever `score` reads: one per validation row, in order."""

    @property
    def name(self) -> str: ...

    def answers(self, model: Any, checkpoint: Path | None) -> Sequence[Any]:
        """One answer per row, with the checkpoint's weights; None takes the adapter away."""
        ...

    def score(self, answers: Sequence[Any]) -> float:
        """Higher is better."""
        ...

    def keep(self, place: Path, base: Sequence[Any], chosen: Sequence[Any]) -> None:
        """Writes the base's and the chosen checkpoint's answers into the stage's folder."""
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
