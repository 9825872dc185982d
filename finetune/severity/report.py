"""A run's pictures and its model card, from figures that others computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from finetune.severity.checkpoint import Epoch
from finetune.severity.config import POLISH, Method, TrainConfig
from finetune.severity_metrics import SeverityScores, reliability
from review_data.domain import Probabilities
from review_data.jsonl import write_atomically
from review_data.severity import SEVERITIES, Severity
from service.backends.embedded.severity_model import Manifest

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAST_PICTURE: Final = "reliability.png"
Titles = dict[str, str]
PART_TITLES: Titles = {
    "merge_requests": "merge requests",
    "comments": "comments",
    "wording": "comments in other wording, without context",
    "threads": "remarks as in real threads, without context",
    "findings": "findings written for this project",
}
TRAINED: dict[Method, str] = {
    "full": "every weight",
    "lora": "a LoRA adapter (folded in)",
    "head": "the head alone",
}
COLUMNS: Titles = {
    "n": "rows",
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "quadratic_kappa": "quadratic kappa",
    "severe_recall": "recall of high+critical",
    "calibration_error": "calibration error",
}


def write_pictures(
    folder: Path,
    epochs: Sequence[Epoch],
    scores: dict[str, SeverityScores],
    rated: dict[str, tuple[Sequence[Severity], Sequence[Probabilities]]],
) -> None:
    """`curves.png` (loss and kappa per epoch), `confusion.png` and `reliability.png` (a panel per part)."""
    _save(folder / "curves.png", 2, lambda axes: _curves(axes, epochs))
    _save(folder / "confusion.png", len(scores), lambda axes: _confusions(axes, scores))
    _save(folder / LAST_PICTURE, len(rated), lambda axes: _reliabilities(axes, rated))


def model_card(manifest: Manifest) -> str:
    """The card as Markdown: what it is, what it is for, its origin, and every score in the manifest."""
    facts = {
        "base": f"{manifest.base}, SHA-256 `{manifest.base_sha256}`",
        **({"training": _training(manifest.config)} if manifest.config else {}),
        "data": f"training and validation rows, hash `{manifest.data_sha256}`",
        "model": f"`model.onnx`, int8, SHA-256 `{manifest.model_sha256}`",
        "input": "the issue's words, then category, place, project line and diff lines; "
        f"{manifest.max_tokens} tokens",
    }
    cuts = ", ".join(str(cut) for cut in manifest.cuts)
    lines = [
        f"# {manifest.name}",
        "",
        "Rates the severity of a code review issue as low, medium, high or critical, with probabilities. A "
        "small tuned sentence encoder with an ordinal head of three thresholds.",
        "",
        *(f"- {name}: {text}" for name, text in facts.items()),
        "",
        "**Use.** Sorting and filtering of review findings. It sees a few lines, not the program: what it "
        "calls low may be severe. Don't let it alone decide that a change is safe.",
        "",
        "**Limits.** English. The labels are a language model's under the project's rubric; merge requests "
        "and comments are invented. Comments of other people score lower than the packaged test rows.",
        "",
        "**Probabilities** are calibrated per threshold on the validation rows; the severity is the highest "
        f"level that is reached with probability {cuts} or more (for medium, high, critical).",
        "",
    ]
    for split, parts in manifest.scores.items():
        lines += [f"## Scores: {split}", "", *_table(_score_rows(parts)), ""]
    for part, rows in manifest.comparison.items():
        lines += [f"## Beside other raters: {part}", "", *_table(rows), ""]
    return "\n".join(lines)


def _training(config: dict[str, Any]) -> str:
    """What was trained, in words."""
    trained = TrainConfig.model_validate(config)
    above = f" above layer {trained.frozen_layers} of the encoder"
    first = TRAINED[trained.method] + (above if trained.method == "full" and trained.frozen_layers else "")
    passes = [f"{first} over all rows"]
    if trained.polish_epochs:
        passes.append(f"{TRAINED[trained.polish.method]} over the teacher's and the rules' rows")
    return "; then ".join(passes)


def write_card(folder: Path, manifest: Manifest) -> None:
    """Writes `MODEL_CARD.md`."""
    write_atomically(folder / "MODEL_CARD.md", model_card(manifest))


def _score_rows(parts: dict[str, dict[str, Any]]) -> list[dict[str, str]]:
    return [
        {
            "part": PART_TITLES.get(part, part),
            **{words: str(figures.get(name, "n/a")) for name, words in COLUMNS.items()},
        }
        for part, figures in parts.items()
    ]


def _table(rows: Sequence[dict[str, str]]) -> list[str]:
    head = list(rows[0])
    lines = ["| " + " | ".join(head) + " |", "| --- |" + " --- |" * (len(head) - 1)]
    return lines + ["| " + " | ".join(row[name] for name in head) + " |" for row in rows]


def _save(file: Path, panels: int, draw: Callable[[Any], None]) -> None:
    import io

    from matplotlib.figure import Figure

    figure: Figure = Figure(figsize=(4.5 * panels, 4), layout="constrained")
    draw(figure.subplots(1, panels, squeeze=False)[0])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_atomically(file, buffer.getvalue())


def _curves(axes: Any, epochs: Sequence[Epoch]) -> None:
    for seed in dict.fromkeys(epoch.seed for epoch in epochs):
        rows = [epoch for epoch in epochs if epoch.seed == seed]
        numbers = [epoch.epoch for epoch in rows]
        label = "last passes" if seed == POLISH else f"seed {seed}"
        axes[0].plot(numbers, [epoch.loss for epoch in rows], marker="o", label=label)
        axes[1].plot(numbers, [epoch.score for epoch in rows], marker="o", label=label)
    for panel, title in zip(axes, ("training loss", "validation kappa, all rows"), strict=True):
        panel.set(title=title, xlabel="epoch", xticks=range(1, 1 + max(epoch.epoch for epoch in epochs)))
        panel.legend()


def _confusions(axes: Any, scores: dict[str, SeverityScores]) -> None:
    for panel, (part, found) in zip(axes, scores.items(), strict=True):
        cells = [row[: len(SEVERITIES)] for row in found.confusion]
        panel.imshow(cells, cmap="Blues")
        for row, counts in enumerate(cells):
            for column, count in enumerate(counts):
                panel.text(column, row, count, ha="center", va="center")
        names = [str(level) for level in SEVERITIES]
        panel.set_xticks(range(len(names)), names)
        panel.set_yticks(range(len(names)), names)
        panel.set(title=PART_TITLES.get(part, part), xlabel="rated", ylabel="label")


def _reliabilities(axes: Any, rated: dict[str, tuple[Sequence[Severity], Sequence[Probabilities]]]) -> None:
    for panel, (part, (labels, probabilities)) in zip(axes, rated.items(), strict=True):
        bars = reliability(labels, probabilities, bins=10)
        panel.bar(
            [bar.low for bar in bars], [bar.accuracy for bar in bars], width=0.1, align="edge", alpha=0.6
        )
        panel.plot([bar.confidence for bar in bars], [bar.accuracy for bar in bars], "ko", markersize=4)
        panel.plot([0, 1], [0, 1], "k--", linewidth=1)
        panel.set(
            title=PART_TITLES.get(part, part),
            xlabel="confidence",
            ylabel="accuracy",
            xlim=(0, 1),
            ylim=(0, 1),
        )
