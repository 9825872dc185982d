"""The learning curve: pass@1 per checkpoint with its interval, the base as a line."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from finetune.evaluate.codegen.score import SystemScore
from finetune.evaluate.codegen.systems import BASE
from review_data.errors import MissingExtra

MARKERS = "osD^vP"


def learning_curves(systems: Sequence[SystemScore]) -> bytes | None:
    """A PNG with one curve per adapter; None when nothing has a step."""
    stepped = sorted(
        (one for one in systems if one.step is not None), key=lambda one: (one.adapter, one.step)
    )
    if not stepped:
        return None
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("evaluate", "plots", "matplotlib") from None
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for marker, (adapter, group) in zip(MARKERS * len(stepped), _groups(stepped), strict=False):
        _curve(axes, adapter, group, marker)
    for base in (one for one in systems if one.adapter == BASE):
        axes.axhline(100 * base.pass_at_1, color="black", linestyle="--", linewidth=1, label="base")
        interval = base.intervals["pass_at_1"]
        if interval.low is not None and interval.high is not None:
            axes.axhspan(100 * interval.low, 100 * interval.high, color="black", alpha=0.07, linewidth=0)
    axes.set(xlabel="step", ylabel="pass@1, %", ylim=(0, 100))
    axes.grid(alpha=0.3)
    axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()


def _groups(stepped: Sequence[SystemScore]) -> list[tuple[str, list[SystemScore]]]:
    return [(adapter, list(group)) for adapter, group in groupby(stepped, key=lambda one: one.adapter)]


def _curve(axes: Any, adapter: str, scores: Sequence[SystemScore], marker: str) -> None:
    values = [100 * one.pass_at_1 for one in scores]
    intervals = [one.intervals["pass_at_1"] for one in scores]
    lows = [
        value - 100 * (i.low if i.low is not None else value / 100)
        for value, i in zip(values, intervals, strict=True)
    ]
    highs = [
        100 * (i.high if i.high is not None else value / 100) - value
        for value, i in zip(values, intervals, strict=True)
    ]
    errors = [[max(0.0, low) for low in lows], [max(0.0, high) for high in highs]]
    axes.errorbar([one.step for one in scores], values, yerr=errors, marker=marker, capsize=3, label=adapter)
