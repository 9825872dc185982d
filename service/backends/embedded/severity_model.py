"""The exported severity model: an ONNX encoder with an ordinal head, its tokenizer and its manifest.

Owns the manifest, and turning the network's logits into calibrated probabilities and severities; running the
network is in `inference`. Training and export are in `finetune.severity`; what is shown of an issue in
`review_data.rater_input`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from review_data.domain import Probabilities
from review_data.errors import UserError
from review_data.rater_input import RaterInput
from review_data.severity import Severity
from service.backends.embedded.apart import Apart
from service.backends.embedded.encoding import Segments
from service.backends.embedded.inference import Network

PACKAGED: Final = Path(__file__).parent / "model"
Cuts = tuple[float, float, float]
MEDIAN: Final[Cuts] = (0.5, 0.5, 0.5)


class Calibration(BaseModel):
    """Per threshold between levels: probability of being above it = sigmoid(slope x logit + shift)."""

    model_config = ConfigDict(frozen=True)

    slopes: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shifts: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def probabilities(self, logits: Sequence[float]) -> Probabilities:
        """Four probabilities from the three thresholds' logits (at least medium, high, critical)."""
        above = [1.0]
        for logit, slope, shift in zip(logits, self.slopes, self.shifts, strict=True):
            above.append(min(above[-1], _sigmoid(slope * logit + shift)))
        above.append(0.0)
        return Probabilities.of(above[rank] - above[rank + 1] for rank in range(4))


class Manifest(BaseModel):
    """What a model folder says of itself; fields beyond these are kept for readers and ignored here.

    `fused` says that the export joined the operators, so that loading has nothing to optimise. What is shown
    with its line of code has a calibration of its own, if any.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    base: str
    base_sha256: str
    data_sha256: str
    model_sha256: str
    max_tokens: int = Field(ge=8)
    fused: bool = False
    calibration: Calibration = Calibration()
    calibration_in_code: Calibration | None = None
    cuts: Cuts = MEDIAN
    config: dict[str, Any] = {}
    scores: dict[str, Any] = {}
    comparison: dict[str, list[dict[str, str]]] = {}

    def calibration_of(self, shown: RaterInput) -> Calibration:
        """The calibration for inputs of this kind."""
        return self.calibration_in_code if self.calibration_in_code and shown.in_code else self.calibration


class Logits(Protocol):
    """The network, wherever it runs: per input the three thresholds' logits."""

    def logits(self, inputs: Sequence[Segments]) -> list[list[float]]: ...


class SeverityModel:
    """A model folder: its manifest's calibration over its network. Thread-safe."""

    def __init__(self, manifest: Manifest, network: Logits) -> None:
        self.manifest, self.network = manifest, network

    @classmethod
    def load(cls, folder: Path = PACKAGED, *, threads: int = 1) -> SeverityModel:
        """From `manifest.json`, `tokenizer.json` and `model.onnx`; `UserError` when one is wrong."""
        said = read_manifest(folder)
        return cls(said, Network.load(folder, said.max_tokens, fused=said.fused, threads=threads))

    @classmethod
    def apart(cls, folder: Path) -> SeverityModel:
        """The same with the network in a process of its own, which begins to load; `UserError`, `OSError`."""
        said = read_manifest(folder)
        return cls(said, Apart(folder, said.max_tokens, fused=said.fused))

    def logits(self, inputs: Sequence[RaterInput]) -> list[list[float]]:
        """Per input the three thresholds' logits."""
        return self.network.logits(inputs)

    def probabilities(self, inputs: Sequence[RaterInput]) -> list[Probabilities]:
        """Per input the calibrated probabilities."""
        rows = zip(inputs, self.logits(inputs), strict=True)
        return [self.manifest.calibration_of(shown).probabilities(row) for shown, row in rows]

    def rate(self, inputs: Sequence[RaterInput]) -> list[tuple[Severity, Probabilities]]:
        """Per input the severity and the calibrated probabilities it was decided by."""
        return [(decide(row, self.manifest.cuts), row) for row in self.probabilities(inputs)]


def decide(probabilities: Probabilities, cuts: Cuts = MEDIAN) -> Severity:
    """The highest level that is reached: the probability of it or a higher one exceeds its cut.

    `cuts` are for medium, high and critical. At one half each this is the distribution's median, which
    minimises the expected distance in levels where the likeliest level would ignore their order.
    """
    values = probabilities.values()
    reached = [rank for rank, cut in enumerate(cuts, start=1) if sum(values[rank:]) > cut]
    return Severity.from_rank(max(reached, default=0))


def read_manifest(folder: Path) -> Manifest:
    """The folder's manifest; `UserError` says what to do when it is missing or wrong."""
    path = folder / "manifest.json"
    try:
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path} can't be read ({error.strerror}); give a folder made by `terazi train severity`"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{path}: `{where}`: {first['msg']}; export the model again") from None


def _sigmoid(value: float) -> float:
    if value >= 0:
        return 1.0 / (1.0 + math.exp(-value))
    return math.exp(value) / (1.0 + math.exp(value))
