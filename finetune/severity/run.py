"""A whole training in one folder: seeds, their average, calibration, export, scores, pictures and model card.

Owns the run folder's layout:
`run.json` (configuration, data hash, environment), `seed-N/` and `polish/` (checkpoint, adapter),
`metrics.jsonl`, `model/` (what the embedded backend reads, with its card) and pictures.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from finetune.llm.run_folder import contents, locked
from finetune.severity import calibration, export, network, report, training
from finetune.severity.checkpoint import Epoch
from finetune.severity.config import POLISH, TrainConfig, sha256_of
from finetune.severity.examples import (
    Example,
    data_hash,
    finding_examples,
    packaged_examples,
    thread_examples,
    training_examples,
    wording_examples,
)
from finetune.severity_metrics import SeverityScores, severity_scores
from review_data.domain import Probabilities, Record
from review_data.errors import UserError, first_line
from review_data.jsonl import write_atomically, write_jsonl
from review_data.rater_input import RaterFields, RaterInput, render
from review_data.severity import Severity
from service.backends.embedded.encoding import Encoder
from service.backends.embedded.severity_model import SeverityModel, decide, read_manifest

MODEL_NAME = "terazi-severity"
SAMPLES = 256  # rows that the export looks at
PACKAGES = ("torch", "transformers", "peft", "onnxruntime", "tokenizers", "scikit-learn", "numpy")

Progress = Callable[[int, int], None]


class RunRecord(Record):
    """What `run.json` holds: enough to repeat the training."""

    config: TrainConfig
    data_sha256: str
    base_sha256: str
    examples: int
    environment: dict[str, str]


class Part(NamedTuple):
    """Labelled inputs that are scored together; `records` groups the rows of one merge request."""

    inputs: list[RaterInput]
    labels: list[Severity]
    records: list[str]


class Estimate(Record):
    """What a dry run expects; time for this machine as it is now."""

    examples: int
    tokens_per_example: float
    truncated: int
    trainable_weights: int
    all_weights: int
    steps: int
    seconds: float
    peak_memory_mib: float


class Outcome(NamedTuple):
    """A finished run: the exported model's figures by split and part, its parity with the network, and how
    many rows it was trained on."""

    figures: dict[str, dict[str, dict[str, float | int]]]
    parity: dict[str, float]
    examples: int


def train(
    config: TrainConfig,
    folder: Path,
    *,
    resume: bool = False,
    with_test: bool = False,
    on_progress: Progress | None = None,
) -> Outcome:
    """Trains, averages, calibrates and exports into `folder`; scores the test split only `with_test`.

    `on_progress(done, total)` counts optimiser steps over all seeds. `UserError` when the folder can't be
    written or is in use, holds another run, or any run without `resume`.
    """
    data = prepare(config)
    with locked(folder):
        record = open_run(config, data, folder, resume)
        finished = _finished(folder, len(data.train))
        if finished is not None and (not with_test or "test" in finished.figures):
            return finished
        return _train(config, data, record, folder, with_test, on_progress)


def _finished(folder: Path, examples: int) -> Outcome | None:
    """What a run that wrote everything came to: its last picture is there, and its model has scores."""
    if not (folder / report.LAST_PICTURE).exists():
        return None
    with suppress(UserError):  # a damaged model is made again
        model = SeverityModel.load(folder / "model").manifest
        if model.scores:
            return Outcome(model.scores, (model.model_extra or {})["parity"], examples)
    return None


def _train(
    config: TrainConfig,
    data: training.Data,
    record: RunRecord,
    folder: Path,
    with_test: bool,
    on_progress: Progress | None,
) -> Outcome:
    nets, epochs = _train_seeds(config, data, folder, on_progress)
    net = network.averaged(nets)
    if config.polish_epochs:
        net, more = _polish(config, data, net, folder, on_progress)
        epochs += more
    data = data._replace(encoder=Encoder.load(data.base / "tokenizer.json", config.served_tokens))
    write_jsonl(folder / "metrics.jsonl", epochs)
    parts = validation_parts()
    rated = _export(net, data, folder, record, parts)
    scores = {name: scores_of(rated[name], part.labels) for name, part in parts.items()}
    close = export.parity(
        net, data.encoder, folder / "model", [shown for part in parts.values() for shown in part.inputs]
    )
    figures = {"validation": {name: summary(score) for name, score in scores.items()}}
    if with_test:
        figures["test"] = {name: summary(score) for name, score in test_scores(folder / "model").items()}
    manifest = read_manifest(folder / "model").model_copy(update={"scores": figures, "parity": close})
    export.write_manifest(folder / "model", manifest)
    report.write_card(folder / "model", manifest)
    report.write_pictures(
        folder, epochs, scores, {name: (part.labels, rated[name]) for name, part in parts.items()}
    )
    return Outcome(figures, close, len(data.train))


def prepare(config: TrainConfig) -> training.Data:
    """Base, tokenizer and examples; `UserError` when the base is missing or not the expected one."""
    base = network.resolve_base(config)
    network.check_size(config, base)
    parts = validation_parts()
    return training.Data(
        base=base,
        encoder=Encoder.load(base / "tokenizer.json", config.max_tokens),
        train=training_examples(config),
        validation={name: list(zip(part.inputs, part.labels, strict=True)) for name, part in parts.items()},
        data_hash=data_hash(),
    )


def validation_parts() -> dict[str, Part]:
    """What early stopping, calibration and choices look at; wording and threads come without any context."""
    rows = packaged_examples("validation")
    return {
        "merge_requests": as_part([row for row in rows if row.source == "merge_requests"]),
        "comments": as_part([row for row in rows if row.source == "comments"]),
        "wording": as_part(_bare(wording_examples("validation"))),
        "threads": as_part(_bare(thread_examples("validation"))),
        "findings": as_part(finding_examples("validation")),
    }


def _bare(rows: Sequence[Example]) -> list[Example]:
    return [row.model_copy(update={"fields": RaterFields(text=row.fields.text)}) for row in rows]


def as_part(rows: Sequence[Example]) -> Part:
    """Rendered rows with their labels."""
    return Part(
        [render(row.fields) for row in rows], [row.severity for row in rows], [row.record for row in rows]
    )


def open_run(config: TrainConfig, data: training.Data, folder: Path, resume: bool) -> RunRecord:
    """Writes or checks `run.json`."""
    file = folder / "run.json"
    record = RunRecord(
        config=config,
        data_sha256=data.data_hash,
        base_sha256=sha256_of(data.base / "model.safetensors"),
        examples=len(data.train),
        environment={"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    )
    if contents(folder):
        if not resume:
            raise UserError(f"{folder} is not empty; continue it with --resume or choose another folder")
        if not file.is_file():
            raise UserError(f"{folder} holds no training to resume (no run.json); choose another folder")
        _refuse_another(_read_record(file), record, folder)
    write_atomically(file, record.model_dump_json(indent=2) + "\n")
    return record


def _read_record(file: Path) -> RunRecord:
    try:
        return RunRecord.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise UserError(
            f"{file}: can't be read as a run ({first_line(error)}); choose another folder"
        ) from None


def _refuse_another(found: RunRecord, wanted: RunRecord, folder: Path) -> None:
    for name in ("config", "data_sha256", "base_sha256"):
        if getattr(found, name) != getattr(wanted, name):
            raise UserError(
                f"{folder} was started with another {name.replace('_', ' ')}; resume it with the options "
                "that run.json shows, or choose another folder"
            )


def _train_seeds(
    config: TrainConfig, data: training.Data, folder: Path, on_progress: Progress | None
) -> tuple[list[Any], list[Epoch]]:
    nets: list[Any] = []
    epochs: list[Epoch] = []
    for number, seed in enumerate(config.seeds):
        place = folder / f"seed-{seed}"
        step = _offset(on_progress, number * data.steps(config), _steps(config, data))
        trained = training.train_seed(config, seed, data, place / "checkpoint.safetensors", step)
        nets.append(_merged(config, trained, place))
        epochs += trained.epochs
    return nets, epochs


def _polish(
    config: TrainConfig, data: training.Data, net: Any, folder: Path, on_progress: Progress | None
) -> tuple[Any, tuple[Epoch, ...]]:
    """The averaged network after some careful passes over the packaged rows and the rules' alone."""
    import torch

    short, place = config.polish, folder / "polish"
    rows = _polish_rows(data)
    step = _offset(on_progress, _steps(config, data) - rows.steps(short), _steps(config, data))
    torch.manual_seed(POLISH)
    trained = training.train_network(
        network.adapted(short, net), short, POLISH, rows, place / "checkpoint.safetensors", step
    )
    return _merged(short, trained, place), trained.epochs


def _merged(config: TrainConfig, trained: training.Trained, place: Path) -> Any:
    """The trained network with its adapter, if any, kept in `place` and folded in."""
    if config.method == "lora":
        trained.network.encoder.save_pretrained(place / "adapter")
    return network.merged(trained.network)


def _polish_rows(data: training.Data) -> training.Data:
    own = ("merge_requests", "comments", "rules")
    return data._replace(train=[row for row in data.train if row.source in own])


def _steps(config: TrainConfig, data: training.Data) -> int:
    """Optimiser steps of a whole run."""
    last = _polish_rows(data).steps(config.polish) if config.polish_epochs else 0
    return len(config.seeds) * data.steps(config) + last


def _offset(on_progress: Progress | None, before: int, total: int) -> Progress | None:
    if on_progress is None:
        return None
    return lambda done, _: on_progress(before + done, total)


def _export(
    net: Any, data: training.Data, folder: Path, record: RunRecord, parts: dict[str, Part]
) -> dict[str, list[Probabilities]]:
    """Writes `model/` with a calibration; returns the exported model's probabilities on validation."""
    target = folder / "model"
    some = data.train[:: max(1, len(data.train) // SAMPLES)]
    export.smooth(net, data.encoder, [render(row.fields) for row in some])
    manifest = export.write_folder(
        net,
        data.base,
        target,
        {
            "name": MODEL_NAME,
            "base": record.config.base,
            "base_sha256": record.base_sha256,
            "data_sha256": record.data_sha256,
            "max_tokens": record.config.served_tokens,
            "config": record.config.model_dump(mode="json"),
            "model_sha256": "",
        },
    )
    model = SeverityModel.load(target)
    logits = {name: model.logits(part.inputs) for name, part in parts.items()}
    rows = [
        row
        for name, part in parts.items()
        for row in zip(part.inputs, part.labels, logits[name], strict=True)
    ]
    # Rows in code are calibrated by themselves. The others are by all rows: written remarks are easier than
    # real ones, so that a calibration by them alone is too sure of itself.
    every, in_code = (
        calibration.fit([found for _, _, found in some], [label for _, label, _ in some])
        for some in (rows, [row for row in rows if row[0].in_code])
    )
    manifest = manifest.model_copy(
        update={"calibration": every, "calibration_in_code": in_code, "cuts": calibration.CUTS}
    )
    export.write_manifest(target, manifest)
    return {
        name: [
            manifest.calibration_of(shown).probabilities(found)
            for shown, found in zip(part.inputs, logits[name], strict=True)
        ]
        for name, part in parts.items()
    }


def test_scores(model_folder: Path) -> dict[str, SeverityScores]:
    """Scores of an exported model on the packaged test split, by part."""
    model, rows = SeverityModel.load(model_folder), packaged_examples("test")
    parts = {
        name: as_part([row for row in rows if row.source == name]) for name in ("merge_requests", "comments")
    }
    return {name: scores_of(model.probabilities(part.inputs), part.labels) for name, part in parts.items()}


def scores_of(probabilities: Sequence[Probabilities], labels: Sequence[Severity]) -> SeverityScores:
    """Scores of the decisions that the probabilities lead to with the shipped cuts."""
    return severity_scores(labels, [decide(row, calibration.CUTS) for row in probabilities], probabilities)


def summary(scores: SeverityScores) -> dict[str, float | int]:
    """The figures that manifest and model card quote."""
    names = ("n", "accuracy", "macro_f1", "quadratic_kappa", "severe_recall", "calibration_error")
    return {name: round(value, 4) for name in names if (value := getattr(scores, name)) is not None}


def estimate(config: TrainConfig, steps: int = 16) -> Estimate:
    """Memory and time that `train` expects, from a few real steps that are thrown away."""
    import random
    import resource
    import time

    data = prepare(config)
    generator = random.Random("dry run")
    encoded = data.encoder.encode([training.view(row, config, generator) for row in data.train])
    lengths = [len(row.ids) for row in encoded]
    net = network.build(config, data.base, config.seeds[0])
    optimizer = training.make_optimizer(config, net)
    stamps: list[float] = []
    training.train_epoch(
        config,
        config.seeds[0],
        0,
        data,
        net,
        optimizer,
        on_progress=lambda done, _: stamps.append(time.monotonic()),
        limit=2 + steps,  # the first two warm up
    )
    total = _steps(config, data)
    return Estimate(
        examples=len(data.train),
        tokens_per_example=round(sum(lengths) / len(lengths), 1),
        truncated=sum(length >= config.max_tokens for length in lengths),
        trainable_weights=sum(value.numel() for value in net.parameters() if value.requires_grad),
        all_weights=sum(value.numel() for value in net.parameters()),
        steps=total,
        seconds=round((stamps[-1] - stamps[1]) / max(1, len(stamps) - 2) * total, 1),
        peak_memory_mib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    )
