"""Scores the reviewer's adapter: quadratic kappa of the severities it gives to the validation issues.

The rating is read as when serving: the next token's probabilities over the labels 1 to 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from finetune.llm.score import Answer, load_weights
from finetune.llm.tokens import IGNORED, Encoded
from review_data.domain import Probabilities
from review_data.severity import Severity

if TYPE_CHECKING:
    from finetune.llm.prepare import Prepared, StageRows

ROWS_AT_ONCE: Final = 8


class ReviewScorer:
    """Rates the validation issues of a stage in process."""

    def __init__(self, prepared: Prepared, rows: Sequence[Encoded]) -> None:
        self._labels, self._pad = prepared.label_ids, prepared.tokenizer.pad_token_id
        self._rows = sorted(rows, key=lambda row: len(row.input_ids))

    @staticmethod
    def of(prepared: Prepared, rows: StageRows) -> ReviewScorer | None:
        """The scorer over the `rate` rows; None when the recipe has none."""
        rated = [row for row in rows.validation.rows if row.kind == "rate"]
        return ReviewScorer(prepared, rated) if rated else None

    def answers(self, model: Any, checkpoint: Path | None) -> Sequence[Answer]:
        """One rating per row, shortest prompt first."""
        model.eval()
        if checkpoint is None:
            with model.disable_adapter():
                return self._rate(model)
        load_weights(model, checkpoint)
        return self._rate(model)

    def _rate(self, model: Any) -> list[Answer]:
        batches = [self._rows[at : at + ROWS_AT_ONCE] for at in range(0, len(self._rows), ROWS_AT_ONCE)]
        return [rated for batch in batches for rated in self._rate_batch(model, batch)]

    def _rate_batch(self, model: Any, batch: Sequence[Encoded]) -> list[Answer]:
        probabilities = label_probabilities(model, [_prompt(row) for row in batch], self._labels, self._pad)
        return [_rated(row, self._labels, given) for row, given in zip(batch, probabilities, strict=True)]


def label_probabilities(
    model: Any, prompts: Sequence[Sequence[int]], labels: Sequence[int], pad: int
) -> list[list[float]]:
    """For each prompt the four labels' probabilities as next token, normalised over the four."""
    import torch

    longest = max(len(prompt) for prompt in prompts)
    ids = torch.tensor([[pad] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    device = next(model.parameters()).device
    with torch.no_grad():
        logits = model(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            position_ids=positions.to(device),
            logits_to_keep=1,
            use_cache=False,
        ).logits[:, -1]
    chosen = logits.float()[:, torch.tensor(list(labels), device=device)]
    found: list[list[float]] = chosen.softmax(-1).tolist()
    return found


def _prompt(row: Encoded) -> list[int]:
    boundary = next(place for place, label in enumerate(row.labels) if label != IGNORED)
    return row.input_ids[:boundary]


def _rated(row: Encoded, labels: Sequence[int], given: Sequence[float]) -> Answer:
    truth = next(label for label in row.labels if label != IGNORED)
    probabilities = Probabilities.of(given)
    label, severity = Severity.from_rank(list(labels).index(truth)), probabilities.most_likely()
    return Answer(
        id=row.id, right=label is severity, label=label, severity=severity, probabilities=probabilities
    )
