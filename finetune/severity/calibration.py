"""Calibration: Platt's scaling of each ordinal threshold, fitted on validation logits, and the cuts.

A temperature alone can't undo the shift that class weights put on the thresholds. Applying it is in
`service.backends.embedded.severity_model`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from review_data.severity import SEVERITIES, Severity
from service.backends.embedded.severity_model import Calibration, Cuts

LEAST_SLOPE: Final = 0.05
# A severe finding taken for a lesser one costs more than the reverse, so high begins a little earlier.
CUTS: Final[Cuts] = (0.5, 0.35, 0.5)


def fit(logits: Sequence[Sequence[float]], labels: Sequence[Severity]) -> Calibration:
    """Slope and shift per threshold by logistic regression (L2, C = 1); identity where one side is empty."""
    found = [
        _fit_threshold([row[rank] for row in logits], [label.rank > rank for label in labels])
        for rank in range(len(SEVERITIES) - 1)
    ]
    slopes, shifts = zip(*found, strict=True)
    return Calibration(slopes=slopes, shifts=shifts)


def _fit_threshold(logits: Sequence[float], above: Sequence[bool]) -> tuple[float, float]:
    from sklearn.linear_model import LogisticRegression

    if len(set(above)) < 2:
        return 1.0, 0.0
    model = LogisticRegression().fit([[value] for value in logits], above)
    return max(LEAST_SLOPE, round(float(model.coef_[0][0]), 6)), round(float(model.intercept_[0]), 6)
