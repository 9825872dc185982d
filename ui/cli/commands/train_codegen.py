"""`terazi train codegen`: the Deep and Diverse code-generation adapters, by recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from finetune import recipes
from review_data.errors import SettingsError

Out = Annotated[Path, typer.Option(help="Run folder; must be empty unless --resume.")]
Recipe = Annotated[str, typer.Option(help="A packaged recipe, or a TOML file.")]
Base = Annotated[str | None, typer.Option(help="Base model: hub name or folder.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Change a recipe's value: lora.rank=16.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show rows, steps, memory and time; train nothing.")]


def command(
    out: Out = Path("runs/codegen"),
    recipe: Recipe = "deep",
    base: Base = None,
    data: Annotated[list[str] | None, typer.Option(help="Rows to use in place of the recipe's.")] = None,
    benchmark: Annotated[
        list[Path] | None, typer.Option(help="Benchmark JSONL whose problems are kept out of training.")
    ] = None,
    set_: Set = None,
    resume: Resume = False,
    dry_run: DryRun = False,
) -> None:
    """Train a code-generation adapter by a recipe."""
    print(
        adapter_text("codegen", out, recipe, base, data or (), benchmark or (), set_ or [], resume, dry_run)
    )


def adapter_text(
    task: recipes.Task,
    out: Path,
    recipe: str,
    base: str | None,
    data: Sequence[str],
    benchmarks: Sequence[Path],
    assignments: Sequence[str],
    resume: bool,
    dry_run: bool,
) -> str:
    """Prepares and trains; returns what to print."""
    from finetune.llm.prepare import describe, prepare_run

    chosen = pick(task, recipe, base, data, assignments)
    prepared = prepare_run(chosen, tuple(benchmarks))
    if dry_run:
        return describe(prepared)
    from finetune.llm.train import train

    trained = train(prepared, out, resume)
    chosen_lines = "\n".join(choice.statement() for choice in trained.choices)
    return f"{trained.adapter}\n{chosen_lines}\nreport: {trained.folder / 'report.md'}"


def pick(
    task: recipes.Task, name: str, base: str | None, data: Sequence[str], assignments: Sequence[str]
) -> recipes.Recipe:
    """The recipe with the command line's changes; `SettingsError` when it is for another task."""
    recipe = recipes.override(recipes.load(name), tuple(assignments))
    if recipe.task != task:
        raise SettingsError(
            f"--recipe {name} is for `terazi train {recipe.task}`, not for `terazi train {task}`"
        )
    if data:
        stages = tuple(stage.model_copy(update={"data": tuple(data)}) for stage in recipe.stages)
        recipe = recipe.model_copy(update={"stages": stages})
    return recipe.model_copy(update={"base": base}) if base else recipe
