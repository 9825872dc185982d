"""Everything that can fail before training: base, data, lengths, memory. And what `--dry-run` prints of it.

No weights are loaded here, so that a mistake is found in seconds.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

from finetune.llm import base as bases
from finetune.llm.batches import worth_sharing
from finetune.llm.examples import StageData, stage_data
from finetune.llm.hardware import Machine, Plan, Shape, look, make_plan, shape_of
from finetune.llm.run_folder import RunFacts
from finetune.llm.sources import benchmark_problems
from finetune.llm.tokens import Coded, encode_all, prepare, show
from finetune.recipes import Recipe

PACKAGES: Final = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers", "terazi")


class StageRows(NamedTuple):
    """One stage's encoded rows and the data they came from."""

    data: StageData
    train: Coded
    validation: Coded


class Prepared(NamedTuple):
    """A training that is ready to start."""

    facts: RunFacts
    shape: Shape
    tokenizer: Any
    stages: tuple[StageRows, ...]
    label_ids: tuple[int, ...]


def prepare_run(
    recipe: Recipe, benchmarks: tuple[Path, ...] = (), machine: Machine | None = None
) -> Prepared:
    """Loads data and tokenizer, encodes and counts, and plans; `UserError` for whatever can't be trained."""
    bases.require()
    with bases.quietly():
        return _prepared(recipe, benchmarks, machine)


def _prepared(recipe: Recipe, benchmarks: tuple[Path, ...], machine: Machine | None) -> Prepared:
    config = bases.load_config(recipe.base, recipe.revision)
    tokenizer = bases.load_tokenizer(recipe.base, recipe.revision)
    prepare(tokenizer)
    problems = benchmark_problems(benchmarks)
    stages = tuple(
        _rows(recipe, tokenizer, stage_data(recipe, stage, problems), number)
        for number, stage in enumerate(recipe.stages, start=1)
    )
    shape, machine = shape_of(config), machine or look()
    facts = RunFacts(
        recipe=recipe,
        base=bases.identify(recipe, config),
        prompt_version=prompt_version(recipe),
        data_hashes=tuple(stage.data.hash for stage in stages),
        machine=machine,
        plan=make_plan(machine, recipe, shape, *_longest_and_mean(stages), sharing=_sharing(stages)),
        versions=versions(),
    )
    return Prepared(facts, shape, tokenizer, stages, label_tokens(recipe, tokenizer))


def versions() -> dict[str, str]:
    """The installed versions that decide a result."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def prompt_version(recipe: Recipe) -> str:
    """The version of the prompts that the adapter is trained on; empty where the recipe holds the prompt."""
    if recipe.task != "review":
        return ""
    from review_data.prompts import PROMPT_VERSION

    return PROMPT_VERSION


def label_tokens(recipe: Recipe, tokenizer: Any) -> tuple[int, ...]:
    """The token ids of the labels "1" to "4"; none for code generation."""
    if recipe.task != "review":
        return ()
    from finetune.llm.review_examples import label_ids

    return label_ids(tokenizer)


def describe(prepared: Prepared) -> str:
    """What `--dry-run` shows: one decoded row with its mask, lengths, truncations, steps, memory and time."""
    facts, plan = prepared.facts, prepared.facts.plan
    first = prepared.stages[0].train.rows[0]
    lines = [
        f"recipe {facts.recipe.name} on {facts.base.name} ({prepared.shape.parameters / 1e6:,.1f}M "
        "parameters)",
        f"first row `{first.id}`; what is learned stands between ⟦ and ⟧:",
        *(f"    {line}" for line in show(prepared.tokenizer, first).splitlines()),
    ]
    for number, rows in enumerate(prepared.stages, start=1):
        lines += _describe_stage(prepared, number, rows)
    batching = batching_of(plan)
    lines += [
        f"device: {facts.machine.name} × {facts.machine.processes}, {plan.dtype}, rows {batching}, "
        f"{plan.micro_batch} at a time × {plan.accumulation} per step, activation checkpointing "
        f"{'on' if plan.checkpointing else 'off'}",
        f"memory: about {plan.memory / 2**30:.2f} GiB of {facts.machine.memory / 2**30:.2f} GiB free",
        f"time: about {_minutes(prepared):.1f} minutes (from a short matrix product on this device)",
    ]
    return "\n".join(lines)


def batching_of(plan: Plan) -> str:
    """How rows meet in a micro-batch, in words."""
    if plan.packing:
        return "packed"
    return "behind their common prefix" if plan.sharing else "grouped by length"


def _rows(recipe: Recipe, tokenizer: Any, data: StageData, number: int) -> StageRows:
    return StageRows(
        data,
        encode_all(tokenizer, data.train, recipe.length, f"stage {number}, train"),
        encode_all(tokenizer, data.validation, recipe.length, f"stage {number}, validation"),
    )


def _longest_and_mean(stages: tuple[StageRows, ...]) -> tuple[int, float]:
    rows = [row for stage in stages for coded in (stage.train, stage.validation) for row in coded.rows]
    sizes = [len(row.input_ids) for row in rows]
    return max(sizes), sum(sizes) / len(sizes)


def _sharing(stages: tuple[StageRows, ...]) -> bool:
    return all(worth_sharing([row.input_ids for row in stage.train.rows]) for stage in stages)


def _describe_stage(prepared: Prepared, number: int, rows: StageRows) -> list[str]:
    facts, lengths = prepared.facts, rows.train.lengths
    recipe, plan = facts.recipe, facts.plan
    packs = lengths.tokens / recipe.length.tokens if plan.packing else lengths.kept
    steps = _steps(int(packs) or 1, plan, facts.machine, recipe.stages[number - 1].epochs)
    overlap = rows.data.decontamination
    return [
        f"stage {number}: {lengths.kept} rows to train on, {rows.validation.lengths.kept} to validate, "
        f"{steps} steps",
        f"    tokens per row: median {lengths.median}, 95% {lengths.p95}, longest {lengths.longest}; "
        f"{lengths.tokens:,} in all, {lengths.supervised:,} of them learned",
        f"    too long for {recipe.length.tokens} tokens: {lengths.too_long} of {lengths.rows} "
        f"({'cut' if recipe.length.too_long == 'cut' else 'left out'})",
        *([f"    decontamination: {overlap.summary()}"] if overlap else []),
    ]


def _steps(rows: int, plan: Plan, machine: Machine, epochs: float) -> int:
    batches = math.ceil(rows / (plan.micro_batch * machine.processes))
    return math.ceil(max(1, math.ceil(batches / plan.accumulation)) * epochs)


def _minutes(prepared: Prepared) -> float:
    """4 operations per weight and token (the base gets no gradients), 2 more when recomputing."""
    facts = prepared.facts
    tokens = sum(
        rows.train.lengths.tokens * stage.epochs
        for rows, stage in zip(prepared.stages, facts.recipe.stages, strict=True)
    )
    per_weight = 6 if facts.plan.checkpointing else 4
    operations = per_weight * prepared.shape.parameters * tokens
    return (
        operations / (0.5 * _operations_per_second(facts.machine, facts.plan) * facts.machine.processes) / 60
    )


def _operations_per_second(machine: Machine, plan: Plan) -> float:
    import torch

    size = 512 if machine.kind == "cpu" else 4096
    matrix = torch.randn(size, size, dtype=getattr(torch, plan.dtype), device=machine.kind)
    matrix @ matrix
    start = time.perf_counter()
    for _ in range(5):
        product = matrix @ matrix
    float(product.sum())
    return 5 * 2 * size**3 / (time.perf_counter() - start)
