"""The severity model's learning curve: what shares of the training records are worth on a labelled file.

Owns one short training per share, in a folder each, so that an interrupted curve continues where it stopped.
Training is `finetune.severity.run`, scoring `finetune.evaluate.severity`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from finetune.evaluate.severity import CurvePoint, evaluate_severity
from finetune.severity.config import TrainConfig
from finetune.severity.run import train
from service.backends.embedded.rater import EmbeddedRater

SHARES: Final = (0.25, 0.5, 0.75, 1.0)

Progress = Callable[[int, int], None]


def learning_curve(
    data: Path, folder: Path, config: TrainConfig, *, seed: int = 0, on_progress: Progress | None = None
) -> tuple[CurvePoint, ...]:
    """Trains on each of `SHARES` (nested, one seed) and scores on `data`; what `folder` has is kept.

    `on_progress(done, total)` counts optimiser steps over all shares, weighted alike. `seed` is the
    bootstrap's. `UserError` when `folder` holds trainings with another configuration.
    """
    points = []
    for number, share in enumerate(SHARES):
        place = folder / f"share-{share:.0%}".rstrip("%")
        wanted = config.model_copy(update={"share": share, "seeds": config.seeds[:1]})
        trained = train(wanted, place, resume=place.exists(), on_progress=_part(on_progress, number))
        report, _ = evaluate_severity(data, EmbeddedRater(place / "model"), seed=seed)
        points.append(
            CurvePoint(
                share=share, examples=trained.examples, scores=report.scores, intervals=report.intervals
            )
        )
    return tuple(points)


def _part(on_progress: Progress | None, number: int) -> Progress | None:
    if on_progress is None:
        return None
    return lambda done, total: on_progress(number * total + done, len(SHARES) * total)
