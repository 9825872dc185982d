"""An adapter's model card: its manifest as a page that model hubs read."""

from __future__ import annotations

from collections.abc import Sequence

from finetune.adapters.manifest import Manifest, Score


def card(manifest: Manifest) -> str:
    """Markdown with the metadata block that the hub knows."""
    calibration = (
        f"divide the label logits by {manifest.calibration.temperature:.3f} (fitted on "
        f"{manifest.calibration.rows} {manifest.calibration.split} rows)"
        if manifest.calibration
        else "none"
    )
    return "\n".join(
        [
            "---",
            f"base_model: {manifest.base.name}",
            "library_name: peft",
            "tags: [lora, code-review]" if manifest.task == "review" else "tags: [lora, code-generation]",
            "---",
            "",
            f"# {manifest.name}",
            "",
            manifest.summary,
            "",
            f"- Version `{manifest.version}`, {manifest.created}",
            f"- Task: {manifest.task}; prompts: {manifest.prompt_version or 'in the recipe'}",
            f"- Base: `{manifest.base.name}`, revision `{manifest.base.revision}`, `{manifest.base.commit}`",
            f"- Recipe `{manifest.recipe}`, rank {manifest.rank}, step {manifest.step}, chosen by "
            f"{manifest.chosen_by}",
            f"- {manifest.noise}",
            f"- Data: {', '.join(f'`{digest[:16]}`' for digest in manifest.data_hashes)}",
            f"- Calibration: {calibration}",
            "",
            "## Scores",
            "",
            *_table(manifest.scores, manifest.base_scores),
            "",
            "## Limits",
            "",
            "Scores hold for the data named above and its authors' style; measure on your own merge requests "
            "before "
            "you rely on them. An adapter fits only the base revision and the prompt version it was trained "
            "with.",
            "",
        ]
    )


def _table(scores: Sequence[Score], base: Sequence[Score]) -> list[str]:
    if not scores:
        return ["None are recorded yet."]
    before = {(score.name, score.split, score.served): score for score in base}
    rows = [
        f"| {score.name} | {score.split}, {score.rows} rows, {'served' if score.served else 'in process'} | "
        f"{_number(score)} | {_number(before.get((score.name, score.split, score.served)))} |"
        for score in scores
    ]
    return ["| score | measured on | adapter | base alone |", "| --- | --- | --- | --- |", *rows]


def _number(score: Score | None) -> str:
    if score is None:
        return "–"
    limits = "" if score.low is None or score.high is None else f" [{score.low:.3f}, {score.high:.3f}]"
    return f"{score.value:.3f}{limits}"
