"""A seed's progress on disk: weights, best weights, optimiser, losses and metrics in one safetensors file.

The file appears whole or not at all (written beside, then renamed), so its presence is the mark of a complete
checkpoint. One of another configuration, other data or another seed is refused, never silently used.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter

from finetune.severity.config import TrainConfig
from finetune.severity.network import trainable_state
from review_data.domain import Record
from review_data.errors import UserError
from review_data.jsonl import write_atomically

ALL: Final = "all"


class Epoch(Record):
    """One epoch's metrics: mean training loss, and quadratic kappa per validation part and over all rows."""

    seed: int
    epoch: int
    loss: float
    kappa: dict[str, float]
    seconds: float

    @property
    def score(self) -> float:
        """What early stopping looks at: kappa over all validation rows (small parts are mostly noise)."""
        return self.kappa[ALL]


class Identity(NamedTuple):
    """What a checkpoint belongs to."""

    config: str
    data: str
    seed: int


class State(NamedTuple):
    """Finished epochs, the trainable weights of the best one, and the rows' losses in the first.

    The last two are empty before the first epoch.
    """

    epochs: tuple[Epoch, ...]
    best: dict[str, Any]
    first: list[float]

    def after(self, epoch: Epoch, net: Any, losses: list[float]) -> State:
        """With one more epoch; its weights are kept when its score is the best so far."""
        is_best = all(epoch.score > earlier.score for earlier in self.epochs)
        best = trainable_state(net) if is_best else self.best
        return State((*self.epochs, epoch), best, self.first or losses)

    def finished(self, config: TrainConfig) -> bool:
        """Whether the epochs or the patience are used up."""
        if len(self.epochs) >= config.epochs:
            return True
        scores = [epoch.score for epoch in self.epochs]
        return bool(scores) and len(scores) - 1 - scores.index(max(scores)) >= config.patience

    def restore_best(self, net: Any) -> None:
        """Puts the best epoch's weights into the network."""
        net.load_state_dict(self.best, strict=False)


def save(file: Path, state: State, net: Any, optimizer: Any, run: Identity) -> None:
    """Writes the checkpoint in one atomic step."""
    import torch
    from safetensors.torch import save as to_bytes

    tensors = {f"now/{name}": value for name, value in trainable_state(net).items()}
    tensors |= {f"best/{name}": value for name, value in state.best.items()}
    for index, slots in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": value.contiguous() for name, value in slots.items()}
    tensors["first"] = torch.tensor(state.first, dtype=torch.float64)
    epochs = TypeAdapter(tuple[Epoch, ...]).dump_json(state.epochs).decode()
    metadata = {"epochs": epochs, "run": json.dumps(run)}
    write_atomically(file, to_bytes({name: value.contiguous() for name, value in tensors.items()}, metadata))


def load(file: Path, net: Any, optimizer: Any, run: Identity) -> State:
    """Fills network and optimiser from `file`; an empty state when there is none.

    `UserError` when the file belongs to another run or is damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not file.exists():
        return State((), {}, [])
    try:
        with safe_open(str(file), framework="pt") as stored:
            metadata = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise UserError(f"{file} is damaged ({error}); delete it to train this seed again") from error
    if metadata.get("run") != json.dumps(run):
        raise UserError(
            f"{file} belongs to a training with another configuration, data or seed; choose another folder"
        )
    net.load_state_dict(_part(tensors, "now"), strict=False)
    _fill(optimizer, _part(tensors, "optimizer"))
    epochs = TypeAdapter(tuple[Epoch, ...]).validate_json(metadata["epochs"])
    return State(epochs, _part(tensors, "best"), tensors["first"].tolist())


def _part(tensors: dict[str, Any], prefix: str) -> dict[str, Any]:
    start = f"{prefix}/"
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def _fill(optimizer: Any, slots: dict[str, Any]) -> None:
    state: dict[int, dict[str, Any]] = {}
    for key, value in slots.items():
        index, name = key.split("/")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
