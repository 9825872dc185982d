"""One seed's training: batches, loss, validation per epoch, early stopping, resume.

Random choices of an epoch derive from (seed, epoch), so a resumed run repeats an uninterrupted one exactly.
Owns no files but the seed's checkpoint (`finetune.severity.checkpoint`); averaging of seeds, calibration and
export are in `finetune.severity.run`.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from finetune.severity import checkpoint, network
from finetune.severity.augment import augment_text, drop_fields
from finetune.severity.checkpoint import ALL, Epoch
from finetune.severity.config import POLISH, TrainConfig
from finetune.severity.examples import Example
from finetune.severity_metrics import severity_scores
from review_data.rater_input import RaterInput, render
from review_data.severity import SEVERITIES, Severity
from service.backends.embedded.encoding import Encoded, Encoder
from service.backends.embedded.severity_model import Calibration, decide

Progress = Callable[[int, int], None]
Labelled = Sequence[tuple[RaterInput, Severity]]
BATCHES_PER_CHUNK = 8
# A finding comes with all its fields, as finders give them; a comment often comes with none.
FINDINGS_KEEP = 3


class Data(NamedTuple):
    """What a training reads: the base's folder, its encoder, examples, validation by part, data hash."""

    base: Path
    encoder: Encoder
    train: Sequence[Example]
    validation: dict[str, Labelled]
    data_hash: str

    def steps(self, config: TrainConfig) -> int:
        """Optimiser steps of all epochs."""
        return self.steps_before(config, config.epochs)

    def steps_before(self, config: TrainConfig, epoch: int) -> int:
        """Optimiser steps of the first `epoch` epochs; the later ones leave out most of the easy rows."""
        count = len(self.train)
        easy, kept = easy_rows(config, count)
        first, later = (math.ceil(rows / config.batch_size) for rows in (count, count - easy + kept))
        return first + (epoch - 1) * later if epoch else 0


class Passed(NamedTuple):
    """One pass: its mean loss, and each visited row's own (without any weight)."""

    loss: float
    of_rows: dict[int, float]


class Trained(NamedTuple):
    """A network with its best epoch's weights (adapter not merged yet), and all epochs' metrics."""

    network: Any
    epochs: tuple[Epoch, ...]


def train_seed(
    config: TrainConfig, seed: int, data: Data, file: Path, on_progress: Progress | None = None
) -> Trained:
    """Trains a new network until the epochs or the patience are used up; continues from `file`, if any.

    `on_progress(done, total)` counts optimiser steps.
    """
    return train_network(network.build(config, data.base, seed), config, seed, data, file, on_progress)


def train_network(
    net: Any, config: TrainConfig, seed: int, data: Data, file: Path, on_progress: Progress | None = None
) -> Trained:
    """As `train_seed`, from a network with something to train.

    The last passes are kept to their end: they are short, their rate ends at 0, and what separates their
    epochs on validation is noise.
    """
    optimizer = make_optimizer(config, net)
    run = checkpoint.Identity(config.digest(), data.data_hash, seed)
    state = checkpoint.load(file, net, optimizer, run)
    while not state.finished(config):
        began = time.monotonic()
        passed = train_epoch(
            config, seed, len(state.epochs), data, net, optimizer, on_progress, first=state.first
        )
        epoch = Epoch(
            seed=seed,
            epoch=len(state.epochs) + 1,
            loss=passed.loss,
            seconds=round(time.monotonic() - began, 1),
            kappa=kappas(config, net, data),
        )
        state = state.after(epoch, net, [passed.of_rows[row] for row in sorted(passed.of_rows)])
        checkpoint.save(file, state, net, optimizer, run)
    if seed != POLISH:
        state.restore_best(net)
    return Trained(net.eval(), state.epochs)


def make_optimizer(config: TrainConfig, net: Any) -> Any:
    """AdamW over the trainable weights; vectors (biases, norms, thresholds) are not decayed."""
    import torch

    trainable = [value for value in net.parameters() if value.requires_grad]
    groups = [
        {"params": [value for value in trainable if value.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [value for value in trainable if value.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def train_epoch(
    config: TrainConfig,
    seed: int,
    epoch: int,
    data: Data,
    net: Any,
    optimizer: Any,
    on_progress: Progress | None = None,
    limit: int | None = None,
    first: Sequence[float] = (),
) -> Passed:
    """One pass (or `limit` steps); `first` are the rows' losses in the first one, for the later ones."""
    import torch

    generator = random.Random(f"{seed}/{epoch}")
    torch.manual_seed(generator.getrandbits(32))
    factors = loss_factors(config, len(data.train), first, generator)
    chosen = list(factors)
    encoded = data.encoder.encode([view(data.train[row], config, generator) for row in chosen])
    weights = class_weights([row.severity for row in data.train], config.class_weighting)
    before, total = data.steps_before(config, epoch), data.steps(config)
    weighted = 0.0
    of_rows: dict[int, float] = {}
    net.train()
    for number, places in enumerate(batches(encoded, config.batch_size, generator)):
        if number == limit:
            break
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * rate_at(before + number, total, config.warmup)
        rows = [chosen[place] for place in places]
        with arithmetic(config):
            logits = net(*network.pad([encoded[place] for place in places]))
        each = row_losses(logits.float(), [data.train[row] for row in rows])
        of_rows.update(zip(rows, each.detach().tolist(), strict=True))
        factor = [weights[data.train[row].severity] * factors[row] for row in rows]
        loss = (each * torch.tensor(factor)).mean()
        weighted += float(loss.detach()) * len(rows)
        take_step(net, optimizer, loss)
        if on_progress is not None:
            on_progress(before + number + 1, total)
    return Passed(weighted / sum(factors[row] for row in of_rows), of_rows)


def easy_rows(config: TrainConfig, count: int) -> tuple[int, int]:
    """How many of `count` rows are easy, and how many of these a later pass takes."""
    easy = int(config.easy_share * count)
    return easy, math.ceil(config.easy_kept * easy)


def loss_factors(
    config: TrainConfig, count: int, first: Sequence[float], generator: random.Random
) -> dict[int, float]:
    """What each of a pass's rows weighs: 1, or more for the few easy ones that stand for all of them.

    Without losses of a `first` pass this is the first one, which takes all `count` rows.
    """
    easy, kept = easy_rows(config, count)
    if not first or not easy:
        return dict.fromkeys(range(count), 1.0)
    by_loss = sorted(range(count), key=lambda row: first[row])
    drawn = generator.sample(by_loss[:easy], kept)
    return {**dict.fromkeys(sorted(by_loss[easy:]), 1.0), **dict.fromkeys(sorted(drawn), easy / kept)}


def arithmetic(config: TrainConfig) -> Any:
    """The context in which the network computes in the configured precision."""
    import torch

    return torch.autocast("cpu", torch.bfloat16, enabled=config.precision == "bfloat16")


def row_losses(logits: Any, rows: Sequence[Example]) -> Any:
    """Binary cross entropy of each row, summed over the thresholds: (batch, 3) to (batch,)."""
    import torch

    above = torch.tensor([targets(row) for row in rows])
    return torch.nn.functional.binary_cross_entropy_with_logits(logits, above, reduction="none").sum(1)


def take_step(net: Any, optimizer: Any, loss: Any) -> None:
    """One optimiser step; the gradient's norm is clipped to 1."""
    import torch

    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_([value for value in net.parameters() if value.requires_grad], 1.0)
    optimizer.step()


def targets(example: Example) -> list[float]:
    """Per threshold 1 above it and 0 below, or one half where two opinions disagree."""
    labels = (example.severity, example.second or example.severity)
    return [sum(label.rank > rank for label in labels) / len(labels) for rank in range(len(SEVERITIES) - 1)]


def view(example: Example, config: TrainConfig, generator: random.Random) -> RaterInput:
    """One random view of an example: fields left out, style disturbed."""
    kept_rather = FINDINGS_KEEP if example.fields.lines else 1
    fields = drop_fields(example.fields, config.field_dropout / kept_rather, generator)
    if generator.random() < config.augment:
        fields = fields.model_copy(update={"text": augment_text(fields.text, generator)})
    return render(fields)


def batches(encoded: Sequence[Encoded], size: int, generator: random.Random) -> Iterator[list[int]]:
    """Row numbers in shuffled batches of similar length, so that little time goes into padding."""
    order = list(range(len(encoded)))
    generator.shuffle(order)
    grouped = []
    chunk = size * BATCHES_PER_CHUNK
    for start in range(0, len(order), chunk):
        rows = sorted(order[start : start + chunk], key=lambda row: len(encoded[row].ids))
        grouped += [rows[first : first + size] for first in range(0, len(rows), size)]
    generator.shuffle(grouped)
    yield from grouped


def rate_at(step: int, total: int, warmup: float) -> float:
    """The learning rate's factor: linear up over the warm-up, then linear down to 0."""
    rising = max(1, int(warmup * total))
    return min((step + 1) / rising, (total - step) / max(1, total - rising), 1.0)


def class_weights(labels: Sequence[Severity], power: float) -> dict[Severity, float]:
    """Weight per level: (mean count / count) to the power; 1 for a level that does not occur."""
    mean = len(labels) / len(SEVERITIES)
    return {level: (mean / max(1, labels.count(level))) ** power for level in SEVERITIES}


def predict(
    net: Any, encoder: Encoder, inputs: Sequence[RaterInput], batch_size: int = 32
) -> list[list[float]]:
    """The thresholds' logits per input, without dropout."""
    import torch

    encoded = encoder.encode(inputs)
    order = sorted(range(len(encoded)), key=lambda row: len(encoded[row].ids))
    found: list[list[float]] = [[] for _ in encoded]
    net.eval()
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            for row, logits in zip(rows, net(*network.pad([encoded[row] for row in rows])), strict=True):
                found[row] = [float(value) for value in logits]
    return found


def kappas(config: TrainConfig, net: Any, data: Data) -> dict[str, float]:
    """Quadratic kappa of the network's uncalibrated decisions, per part and over `ALL` rows; 0 where it is
    undefined."""
    parts = {**data.validation, ALL: [row for rows in data.validation.values() for row in rows]}
    shown = [row for row, _ in parts[ALL]]
    with arithmetic(config):
        logits = predict(net, data.encoder, shown)
    decided = {
        row: decide(Calibration().probabilities(found)) for row, found in zip(shown, logits, strict=True)
    }
    scores = {
        part: severity_scores([label for _, label in rows], [decided[row] for row, _ in rows])
        for part, rows in parts.items()
    }
    return {part: round(score.quadratic_kappa or 0.0, 6) for part, score in scores.items()}
