"""The served rater's own documents: its card, and the pictures that its training left beside it."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from typing import Final

from ui.page.cards import note
from ui.page.texts import Texts

_PICTURES: Final = ("confusion", "reliability", "curves")


def folders(model: Path) -> tuple[Path, ...]:
    """Where a model's documents may lie: its folder, and the run's folder around it."""
    return (model, model.parent) if (model.parent / "run.json").is_file() else (model,)


def card(model: Path) -> str:
    """The model card as Markdown, "" when there is none."""
    found = _find(model, "MODEL_CARD.md")
    return found.read_text(encoding="utf-8", errors="replace") if found else ""


def pictures(model: Path, texts: Texts) -> str:
    """Confusion matrix, reliability and learning curves as HTML; says so when there are none."""
    headings = {
        "confusion": (texts.confusion, texts.confusion_note),
        "reliability": (texts.reliability, texts.reliability_note),
        "curves": (texts.learning, texts.learning_note),
    }
    figures = [
        _figure(found, *headings[name]) for name in _PICTURES if (found := _find(model, f"{name}.png"))
    ]
    if figures:
        return f'<div class="tz-pictures">{"".join(figures)}</div>'
    return "" if card(model) else note(texts.model_empty)


def _figure(picture: Path, heading: str, explanation: str) -> str:
    data = base64.b64encode(picture.read_bytes()).decode()
    label = escape(heading)
    return (
        f'<figure class="tz-chart"><figcaption>{label}</figcaption>'
        f'<div class="tz-picture" role="region" tabindex="0" aria-label="{label}">'
        f'<img alt="{label}" src="data:image/png;base64,{data}"></div><p>{escape(explanation)}</p></figure>'
    )


def _find(model: Path, name: str) -> Path | None:
    return next((place / name for place in folders(model) if (place / name).is_file()), None)
