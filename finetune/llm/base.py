"""The base model: its configuration, tokenizer, weights and identity, with errors a user can act on.

Weights are read from safetensors alone, and no code of a model repository is run.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from finetune.llm.hardware import DType
from finetune.llm.hub import reachable
from finetune.recipes import Recipe
from review_data.domain import Record
from review_data.errors import MissingExtra, UserError, first_line

_T = TypeVar("_T")
LONGEST_REASON: Final = 300


class BaseId(Record):
    """Which base an adapter belongs to. `commit` is the hub's, or the SHA-256 of a folder's weights."""

    name: str
    revision: str
    commit: str


def require() -> None:
    """`MissingExtra` unless the training libraries are installed."""
    try:
        import peft
        import trl  # noqa: F401
    except ImportError as error:
        raise MissingExtra("train", "training", error.name or "trl") from None
    del peft


@contextmanager
def quietly() -> Iterator[None]:
    """Hides the libraries' bars, advice and warnings of coming removals: they are not the user's business."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def load_config(name: str, revision: str) -> Any:
    """The base's configuration."""
    from transformers import AutoConfig

    return _loaded(
        name, lambda here: AutoConfig.from_pretrained(name, revision=revision, local_files_only=here)
    )


def load_tokenizer(name: str, revision: str) -> Any:
    """The base's tokenizer."""
    from transformers import AutoTokenizer

    return _loaded(
        name, lambda here: AutoTokenizer.from_pretrained(name, revision=revision, local_files_only=here)
    )


def load_model(name: str, revision: str, dtype: DType, attention: str = "sdpa") -> Any:
    """The base's weights in `dtype`, on the CPU; whoever trains moves them."""
    import torch
    from transformers import AutoModelForCausalLM

    return _loaded(
        name,
        lambda here: AutoModelForCausalLM.from_pretrained(
            name,
            revision=revision,
            dtype=getattr(torch, dtype),
            attn_implementation=attention,
            use_safetensors=True,
            local_files_only=here,
        ),
    )


def identify(recipe: Recipe, config: Any) -> BaseId:
    """The base's identity; a folder's weights are hashed."""
    folder = Path(recipe.base)
    commit = folder_hash(folder) if folder.is_dir() else (getattr(config, "_commit_hash", None) or "unknown")
    return BaseId(name=recipe.base, revision=recipe.revision, commit=commit)


def folder_hash(folder: Path) -> str:
    """SHA-256 (hex) over the weights and configuration of a model's folder."""
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), folder / "config.json"]):
        with path.open("rb") as file:
            digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _loaded(name: str, load: Callable[[bool], _T]) -> _T:
    """What `load` gives; it is told whether to use local files alone."""
    refuse_bad_folder(name)
    here = Path(name).exists() or not reachable()
    try:
        return load(here)
    except Exception as error:  # whatever the libraries make of a foreign folder
        reason = first_line(error, LONGEST_REASON)
        if here and not Path(name).exists():
            reason = "the hub can't be reached, and the model is not in the local cache"
        raise UserError(
            f"the base model `{name}` can't be loaded: {reason}; check the connection and the name, or "
            "download the model and give its folder with --base"
        ) from None


def refuse_bad_folder(name: str) -> None:
    """`UserError` for what looks like a path and is no model's folder."""
    looks_local = name.startswith((".", "/", "~", os.sep)) or Path(name).exists()
    if looks_local and not (Path(name) / "config.json").is_file():
        raise UserError(f"base: {name} is not a model's folder (no config.json); give a folder or a hub name")
