"""Training recipes: the packaged TOML files, their schema, and strict loading.

An unknown key, a missing one or a value out of range is a `SettingsError` that names file and key. Owns no
training: `finetune.llm` runs a recipe.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from review_data.domain import Record
from review_data.errors import SettingsError

FOLDER: Final = Path(__file__).parent
QWEN: Final = "Qwen/Qwen2.5-Coder-1.5B-Instruct"
Task = Literal["codegen", "review"]


class Section(Record):
    """A table of a recipe; unknown keys are errors and each field's docstring is its description."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Stage(Section):
    """One training after which the next goes on with the adapter that it chose."""

    data: tuple[str, ...] = ()
    """Data sets, joined: hub names or paths for `codegen`; empty means the packaged rows for `review`."""
    epochs: float = Field(gt=0, le=100)
    """How often each row is seen."""


class Data(Section):
    """What of the rows is learned."""

    target: Literal["output", "solution"] = "output"
    """`codegen`: learn the reasoning and the code, or the code alone."""
    validation_share: float = Field(default=0.0, ge=0, le=0.5)
    """`codegen`: share of train rows to set aside where a set has no validation split; 0 refuses it."""
    tasks: tuple[Literal["find", "rate", "explain"], ...] = ("find", "rate", "explain")
    """`review`: which of the reviewer's calls to learn."""
    chunk_tokens: int = Field(default=3000, ge=64)
    """`review`: how many tokens of a change are shown at once, as when serving."""
    wording: bool = True
    """`review`: also rate the project-written comments in many voices; they are never validated on."""
    label_weight: float = Field(default=1.0, ge=1, le=1000)
    """`review`: how much a severity label counts in the loss against any other token."""
    decontaminate: bool = True
    """`codegen`: leave out rows that share long passages with the benchmarks' problems."""


class Lora(Section):
    """The adapter's shape."""

    rank: int = Field(ge=1, le=512)
    """Rank of each update; vLLM serves 1, 8, 16, 32, 64, 128, 256, 320 and 512 without padding."""
    alpha: float = Field(gt=0)
    """The update is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout on the adapter's input."""
    modules: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    """Linear layers that get an update; `all-linear` leaves out the output layer."""


class Optimisation(Section):
    """How the weights move."""

    learning_rate: float = Field(gt=0, le=1)
    """Peak learning rate."""
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    """How the learning rate falls after the warm-up."""
    warmup: float = Field(default=0.03, ge=0, lt=1)
    """Share of the steps with a rising learning rate."""
    weight_decay: float = Field(default=0.0, ge=0)
    """AdamW's weight decay."""
    batch: int = Field(default=16, ge=1)
    """Rows per step, over all devices and accumulated micro-batches."""
    gradient_norm: float = Field(default=1.0, gt=0)
    """Gradients are clipped to this norm."""
    seed: int = Field(default=17, ge=0)
    """Seed of the adapter's start, the row order and dropout."""


class Length(Section):
    """How long a row may be."""

    tokens: int = Field(ge=16)
    """Rows with more tokens (prompt and completion) than this are too long."""
    too_long: Literal["drop", "cut"] = "drop"
    """Rows that are too long are left out, or cut at the end (and then lack the end token)."""
    limit: float = Field(default=0.01, ge=0, le=1)
    """Training is refused when more than this share of the rows is too long."""


class Watch(Section):
    """How often to look, keep and stop."""

    every: int = Field(default=20, ge=1)
    """Steps between two readings of train and validation loss."""
    checkpoint: int = Field(default=100, ge=1)
    """Steps between two checkpoints, a multiple of `every`."""
    patience: int = Field(default=0, ge=0)
    """Stop after this many validation readings without a new best; 0 never stops early."""
    validation_rows: int = Field(default=256, ge=1)
    """At most this many validation rows are used for a reading of the validation loss."""

    @model_validator(mode="after")
    def _checkpoints_are_read(self) -> Self:
        if self.checkpoint % self.every:
            raise ValueError(f"checkpoint ({self.checkpoint}) must be a multiple of every ({self.every})")
        return self


class Recipe(Section):
    """Everything that decides what an adapter learns; machine matters (dtype, batching) are not in it."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    """The recipe's name."""
    summary: str = Field(min_length=1)
    """One line on what it is for and where its values come from."""
    task: Task
    """`review` or `codegen`."""
    base: str = QWEN
    """Base model: a hub name or a folder."""
    revision: str = "main"
    """The base's revision on the hub; the run records the commit it resolved to."""
    system_prompt: str = ""
    """`codegen`: the system message; `review` uses the prompts that serve."""
    stages: tuple[Stage, ...] = Field(min_length=1)
    """Trainings, one after another."""
    data: Data = Data()
    lora: Lora
    optimisation: Optimisation
    length: Length
    watch: Watch = Watch()

    @model_validator(mode="after")
    def _has_data(self) -> Self:
        if self.task == "codegen" and not all(stage.data for stage in self.stages):
            raise ValueError("stages: every stage of a codegen recipe names its `data`")
        return self


def names() -> tuple[str, ...]:
    """The packaged recipes."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load(name_or_path: str) -> Recipe:
    """The packaged recipe of that name, or the recipe in that TOML file; `SettingsError` otherwise."""
    packaged = FOLDER / f"{name_or_path}.toml"
    path = packaged if name_or_path in names() else Path(name_or_path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"recipe: there is no recipe `{name_or_path}` and no readable file of that name ({error}); "
            f"choose one of {', '.join(names())}, or give a TOML file"
        ) from None
    return parse(text, str(path))


def parse(text: str, origin: str) -> Recipe:
    """A recipe from TOML text; `origin` names it in messages."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{origin}: is not valid TOML: {error}; correct the file") from None
    return _validated(values, origin)


def override(recipe: Recipe, assignments: tuple[str, ...]) -> Recipe:
    """The recipe with `key.key=value` assignments applied; the value is TOML, a bare word is a string."""
    values = recipe.model_dump(mode="json")
    for assignment in assignments:
        key, separator, raw = assignment.partition("=")
        if not separator:
            raise SettingsError(f"--set {assignment}: write it as key=value, such as lora.rank=32")
        _assign(values, key.strip().split("."), _toml_value(raw.strip()), assignment)
    return _validated(values, "--set")


def _assign(values: Any, keys: list[str], value: object, assignment: str) -> None:
    place, key = values, ""
    try:
        for key in keys[:-1]:
            place = place[_index(place, key)]
        key = keys[-1]
        place[_index(place, key)] = value
    except (LookupError, TypeError, ValueError):
        raise SettingsError(f"--set {assignment}: there is no table `{key}` in a recipe") from None


def _index(place: object, key: str) -> str | int:
    return int(key) if isinstance(place, list) else key


def _toml_value(raw: str) -> object:
    try:
        return tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return raw


def _validated(values: dict[str, Any], origin: str) -> Recipe:
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "recipe"
        hint = "remove it or correct its name" if first["type"] == "extra_forbidden" else "correct the value"
        raise SettingsError(
            f"{origin}: `{key}`: {first['msg']}; {hint} (docs/training.md lists the keys)"
        ) from None
