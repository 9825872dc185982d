"""Loads a base model, its tokenizer and an adapter, and says which extra is missing where one is.

Only safetensors weights are read and no code that came with a model is run. A folder is used as it is; a hub
id is fetched by transformers into its own cache.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from review_data.errors import MissingExtra, SettingsError, first_line
from review_data.replies import LABELS

PACKAGES: Final = ("torch", "transformers", "peft", "xgrammar")
DTYPES: Final = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Loaded:
    """A model ready to answer: torch objects, the labels' token ids, and the context in tokens."""

    model: Any
    tokenizer: Any
    device: str
    label_ids: tuple[int, ...]
    context: int


def check_packages() -> None:
    """`MissingExtra` unless everything of the `local` extra is installed."""
    for package in PACKAGES:
        if find_spec(package) is None:
            raise MissingExtra("local", "the local backend", package)


def load(model: str, adapter: str, device: str, dtype: str) -> Loaded:
    """`SettingsError` names the setting whose value can't be loaded."""
    check_packages()
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = choose_device(device)
    kind = choose_dtype(dtype, place)
    try:
        tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left", trust_remote_code=False)
        base = AutoModelForCausalLM.from_pretrained(
            model, dtype=kind, use_safetensors=True, trust_remote_code=False
        )
    except Exception as error:  # whatever the libraries make of a foreign folder
        raise SettingsError(
            f"local_model: `{model}` can't be loaded ({first_line(error, 200)}); name a folder with "
            "config.json, tokenizer and safetensors weights, or a hub id"
        ) from None
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    ready = _with_adapter(base, adapter) if adapter else base
    ready.to(torch.device(place)).eval()
    return Loaded(ready, tokenizer, place, _label_ids(tokenizer, model), _context(base, tokenizer))


def choose_device(device: str) -> str:
    """The device asked for, or the best there is; `SettingsError` for one that is not there."""
    import torch

    there = ["cpu"]
    if torch.backends.mps.is_available():
        there.insert(0, "mps")
    if torch.cuda.is_available():
        there[:0] = ["cuda", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    if device == "auto":
        return there[0]
    if device not in there:
        raise SettingsError(f"device: there is no `{device}` here; choose auto, {', '.join(there)}")
    return device


def choose_dtype(dtype: str, device: str) -> Any:
    """A torch dtype: as asked; `auto` is bfloat16 on a GPU, float32 on a CPU."""
    import torch

    if dtype not in DTYPES:
        raise SettingsError(f"dtype: `{dtype}` is unknown; choose {', '.join(DTYPES)}")
    return getattr(torch, ("float32" if device == "cpu" else "bfloat16") if dtype == "auto" else dtype)


def _with_adapter(base: Any, adapter: str) -> Any:
    from peft import PeftModel

    folder = Path(adapter)
    if not (folder / "adapter_model.safetensors").is_file():
        raise SettingsError(
            f"local_adapter: {folder} holds no adapter_model.safetensors; name a LoRA adapter's folder"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by names of version 4
            return PeftModel.from_pretrained(base, str(folder))
    except Exception as error:  # as above
        raise SettingsError(
            f"local_adapter: {folder} does not fit the model ({first_line(error, 200)}); use the base that "
            "it was trained on"
        ) from None


def _label_ids(tokenizer: Any, model: str) -> tuple[int, ...]:
    ids = [tokenizer.encode(label, add_special_tokens=False) for label in LABELS]
    if any(len(found) != 1 for found in ids):
        raise SettingsError(
            f"local_model: the tokenizer of `{model}` has no single token for each of 1 to 4; choose another"
        )
    return tuple(found[0] for found in ids)


def _context(base: Any, tokenizer: Any) -> int:
    said = [
        getattr(base.config, "max_position_embeddings", None),
        getattr(tokenizer, "model_max_length", None),
    ]
    return min((int(value) for value in said if value and value < 10**9), default=8192)
