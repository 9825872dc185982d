"""`terazi train severity`: trains, calibrates and exports the embedded rater's model into a run folder."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from finetune.severity.config import TrainConfig
from review_data.errors import MissingExtra, SettingsError
from ui.cli.progress import progress

_DEFAULT = TrainConfig()


def command(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option(help="Run folder; must be empty unless --resume.")] = Path(
        "runs/severity"
    ),
    base: Annotated[str, typer.Option(help="Encoder: hub id or folder.")] = _DEFAULT.base,
    base_sha256: Annotated[str, typer.Option(help="Expected digest of model.safetensors.")] = "",
    method: Annotated[
        str, typer.Option(help="full, lora or head, for the passes over all rows.")
    ] = _DEFAULT.method,
    frozen_layers: Annotated[
        int, typer.Option(help="First layers that full leaves as they are, with the embeddings.")
    ] = _DEFAULT.frozen_layers,
    rank: Annotated[int, typer.Option(help="LoRA rank.")] = _DEFAULT.rank,
    learning_rate: Annotated[float, typer.Option(help="Peak rate.")] = _DEFAULT.learning_rate,
    weight_decay: Annotated[float, typer.Option(help="Decay of matrices.")] = _DEFAULT.weight_decay,
    dropout: Annotated[float, typer.Option(help="Dropout in the encoder.")] = _DEFAULT.dropout,
    epochs: Annotated[int, typer.Option(help="Passes at most.")] = _DEFAULT.epochs,
    easy_share: Annotated[
        float, typer.Option(help="Share of the rows, the best known, that later passes mostly leave out.")
    ] = _DEFAULT.easy_share,
    polish_epochs: Annotated[
        int, typer.Option(help="Passes over the packaged and the rules' rows alone, at the end.")
    ] = _DEFAULT.polish_epochs,
    polish_rate: Annotated[float, typer.Option(help="Peak rate of these.")] = _DEFAULT.polish_rate,
    patience: Annotated[int, typer.Option(help="Epochs without gain before it stops.")] = _DEFAULT.patience,
    batch_size: Annotated[int, typer.Option(help="Examples per step.")] = _DEFAULT.batch_size,
    max_tokens: Annotated[int, typer.Option(help="Longest input in training.")] = _DEFAULT.max_tokens,
    served_tokens: Annotated[int, typer.Option(help="Longest input in service.")] = _DEFAULT.served_tokens,
    augment: Annotated[float, typer.Option(help="Share of texts with disturbed style.")] = _DEFAULT.augment,
    field_dropout: Annotated[
        float, typer.Option(help="Chance that a field is left out.")
    ] = _DEFAULT.field_dropout,
    wording: Annotated[bool, typer.Option(help="Train on the rows in other wording.")] = _DEFAULT.wording,
    findings: Annotated[
        bool, typer.Option(help="Train on the project-written findings.")
    ] = _DEFAULT.findings,
    share: Annotated[float, typer.Option(help="Share of the training records.")] = _DEFAULT.share,
    sources: Annotated[str, typer.Option(help="merge_requests, comments.")] = ",".join(_DEFAULT.sources),
    precision: Annotated[str, typer.Option(help="bfloat16 or float32.")] = _DEFAULT.precision,
    seeds: Annotated[str, typer.Option(help="One run each; averaged.")] = "1",
    with_test: Annotated[bool, typer.Option("--with-test", help="Score the test split at the end.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show memory and time, train nothing.")] = False,
) -> None:
    """Train the severity model: the weights, then a LoRA adapter on the teacher's rows; calibrated ONNX."""
    require_extra()
    config = make_config(ctx.params)
    print(dry_run_text(config) if dry_run else train_text(config, out, resume=resume, with_test=with_test))


def require_extra() -> None:
    """`MissingExtra` when a package that training needs is not installed."""
    for package in ("torch", "peft", "sklearn", "matplotlib", "onnx"):
        if find_spec(package) is None:
            raise MissingExtra("train", "training the severity model", package)


def make_config(params: dict[str, object]) -> TrainConfig:
    """The options as a configuration; `SettingsError` names the first wrong one."""
    values = {name: value for name, value in params.items() if name in TrainConfig.model_fields}
    for name in ("seeds", "sources"):
        values[name] = tuple(part.strip() for part in str(values[name]).split(",") if part.strip())
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        given = ",".join(first["input"]) if isinstance(first["input"], tuple) else first["input"]
        raise SettingsError(f"--{option} {given}: {first['msg'].removeprefix('Value error, ')}") from None


def train_text(config: TrainConfig, out: Path, *, resume: bool, with_test: bool) -> str:
    """Trains with a progress bar; returns the model's place, scores and parity as JSON."""
    from finetune.severity.run import train

    with progress("training") as on_progress:
        outcome = train(config, out, resume=resume, with_test=with_test, on_progress=on_progress)
    return json.dumps({"model": str(out / "model"), **outcome.figures, "parity": outcome.parity}, indent=2)


def dry_run_text(config: TrainConfig) -> str:
    """The expected memory and time as JSON."""
    from finetune.severity.run import estimate

    return estimate(config).model_dump_json(indent=2)
