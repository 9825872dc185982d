"""What a person reads after a training: the loss curve as a picture, and a report in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from finetune.llm.choose import Choice
from finetune.llm.run_folder import read_log
from review_data.jsonl import write_atomically

if TYPE_CHECKING:
    from finetune.llm.prepare import Prepared

SMOOTHING: Final = 0.9


def write_report(prepared: Prepared, folder: Path, choices: Sequence[Choice]) -> None:
    """`loss.png` and `report.md` in the run's folder."""
    plot(folder, choices)
    write_atomically(folder / "report.md", report(prepared, read_log(folder), choices))


def plot(folder: Path, choices: Sequence[Choice]) -> None:
    """Train loss (pale: each step; strong: smoothed), validation loss, and each stage's chosen checkpoint."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    log = read_log(folder)
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    offset = 0
    for number, choice in enumerate(choices, start=1):
        rows = [row for row in log if row["stage"] == number]
        _draw_stage(axes, rows, offset, choice.step, first=number == 1)
        offset += max((row["step"] for row in rows), default=0)
    axes.set(xlabel="step", ylabel="loss per learned token (log scale)", title=f"Loss of {folder.name}")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    picture = folder / ".loss.png.tmp"
    figure.savefig(picture, format="png", dpi=120)
    pyplot.close(figure)
    picture.replace(folder / "loss.png")


def report(prepared: Prepared, log: Sequence[dict[str, Any]], choices: Sequence[Choice]) -> str:
    """The report's text."""
    from finetune.llm.prepare import batching_of

    facts = prepared.facts
    recipe, plan = facts.recipe, facts.plan
    lines = [
        f"# {recipe.name}",
        "",
        recipe.summary,
        "",
        "![loss](loss.png)",
        "",
        f"- Base: `{facts.base.name}`, revision `{facts.base.revision}` (`{facts.base.commit[:12]}`)",
        f"- Adapter: rank {recipe.lora.rank}, alpha {recipe.lora.alpha:g}, dropout {recipe.lora.dropout:g}, "
        f"modules {_modules(recipe.lora.modules)}",
        f"- Learning rate {recipe.optimisation.learning_rate:g}, {recipe.optimisation.schedule}, warm-up "
        f"{recipe.optimisation.warmup:.0%}, batch {recipe.optimisation.batch}, seed "
        f"{recipe.optimisation.seed}",
        f"- {facts.machine.name} × {facts.machine.processes}, {plan.dtype}, "
        f"{batching_of(plan)}, {plan.micro_batch} × {plan.accumulation} rows "
        "per step",
        f"- Versions: {', '.join(f'{name} {version}' for name, version in facts.versions.items())}",
    ]
    for number, choice in enumerate(choices, start=1):
        lines += ["", *_stage_lines(prepared, number, choice, [row for row in log if row["stage"] == number])]
    return "\n".join(lines) + "\n"


def smoothed(losses: Sequence[float], factor: float = SMOOTHING) -> list[float]:
    """The exponential moving average, corrected for its start."""
    average, weight, found = 0.0, 0.0, []
    for loss in losses:
        average, weight = factor * average + (1 - factor) * loss, factor * weight + (1 - factor)
        found.append(average / weight)
    return found


def _draw_stage(axes: Any, rows: Sequence[dict[str, Any]], offset: int, chosen: int, first: bool) -> None:
    train = [(row["step"] + offset, row["loss"]) for row in rows if "loss" in row]
    valid = [(row["step"] + offset, row["validation_loss"]) for row in rows if "validation_loss" in row]
    steps = [step for step, _ in train]
    axes.plot(steps, [loss for _, loss in train], color="tab:blue", alpha=0.25, linewidth=0.8)
    axes.plot(
        steps,
        smoothed([loss for _, loss in train]),
        color="tab:blue",
        label="train (smoothed)" if first else None,
    )
    axes.plot(
        *zip(*valid, strict=True),
        color="tab:orange",
        marker="o",
        markersize=3,
        label="validation" if first else None,
    )
    axes.axvline(
        chosen + offset, color="tab:green", linestyle="--", label="chosen checkpoint" if first else None
    )


def _stage_lines(prepared: Prepared, number: int, choice: Choice, log: Sequence[dict[str, Any]]) -> list[str]:
    rows = prepared.stages[number - 1]
    train, lengths = [row["loss"] for row in log if "loss" in row], rows.train.lengths
    speeds = sorted(row["tokens_per_s"] for row in log if "tokens_per_s" in row)
    overlap = rows.data.decontamination
    table = [
        f"| {one.step}{' (chosen)' if one.step == choice.step else ''} | {_number(one.score)} | "
        f"{_number(one.validation_loss)} |"
        for one in choice.candidates
    ]
    return [
        f"## Stage {number}",
        "",
        f"- Rows: {lengths.kept} of {lengths.rows} to train on ({lengths.too_long} too long), "
        f"{rows.validation.lengths.kept} to validate; {lengths.supervised:,} of {lengths.tokens:,} tokens "
        "are learned",
        *([f"- Decontamination: {overlap.summary()}"] if overlap else []),
        f"- Train loss {_number(train[0] if train else None)} at the first step, "
        f"{_number(smoothed(train)[-1] if train else None)} at the end (smoothed)",
        f"- Speed: median {speeds[len(speeds) // 2]:,.0f} tokens/s" if speeds else "- Speed: not measured",
        f"- Choice: {choice.statement()}",
        f"- Without the adapter: {_number(choice.base_score)}",
        "",
        f"| step | {choice.by} | validation loss |",
        "| --- | --- | --- |",
        *table,
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _modules(modules: str | tuple[str, ...]) -> str:
    return modules if isinstance(modules, str) else ", ".join(modules)
