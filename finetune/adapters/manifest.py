"""What is known of an adapter: base, task, data, scores, calibration. One `manifest.json` beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from finetune.llm.base import BaseId
from finetune.recipes import Task
from review_data.domain import Record
from review_data.errors import UserError
from review_data.jsonl import write_atomically

NAME: Final = r"^[a-z0-9][a-z0-9._-]{0,63}$"
MANIFEST: Final = "manifest.json"
CARD: Final = "README.md"
WEIGHTS: Final = ("adapter_model.safetensors", "adapter_config.json")


class Score(Record):
    """One figure: what was measured, on how many rows of which split, with its 95% limits where known."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    rows: int
    split: str
    served: bool
    """Whether the answers came from a server, or from the training's own process."""


class Calibration(Record):
    """Divide the label logits by `temperature` before the softmax; fitted on `rows` rows of `split`."""

    temperature: float = Field(gt=0)
    rows: int
    split: str


class Manifest(Record):
    """An adapter's papers. `version` is the start of the weights' SHA-256, so a version never changes."""

    name: str = Field(pattern=NAME)
    version: str = Field(pattern=r"^[0-9a-f]{12}$")
    task: Task
    base: BaseId
    prompt_version: str
    data_hashes: tuple[str, ...]
    recipe: str
    summary: str
    rank: int
    step: int
    chosen_by: str
    noise: str
    created: str
    versions: dict[str, str]
    scores: tuple[Score, ...] = ()
    base_scores: tuple[Score, ...] = ()
    calibration: Calibration | None = None
    weights_sha256: str

    @property
    def id(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"


def read_manifest(folder: Path) -> Manifest:
    """The manifest in an adapter's folder; `UserError` when there is none or it can't be read."""
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{folder}: is no adapter of this registry (no {MANIFEST}); check the path") from None
    except (OSError, ValidationError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{path}: can't be read as a manifest ({reason}); restore it or remove its folder"
        ) from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes `manifest.json` and the model card in one step each."""
    from finetune.adapters.card import card

    write_atomically(folder / MANIFEST, manifest.model_dump_json(indent=2) + "\n")
    write_atomically(folder / CARD, card(manifest))
