"""Merging an adapter into its base, with proof that the merged model answers as the pair did."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from finetune.adapters.registry import appearing, check_weights, find
from finetune.llm.base import (
    LONGEST_REASON,
    BaseId,
    folder_hash,
    load_model,
    load_tokenizer,
    quietly,
    refuse_bad_folder,
)
from review_data.domain import Record
from review_data.errors import ToolError, UserError, first_line

PROBES: Final = (
    "Read the change below and say what could go wrong.",
    "def add(a, b):\n    return a - b",
    "1 low, 2 medium, 3 high, 4 critical",
)
TOLERANCE: Final = 1e-3


class Merged(Record):
    """The merged model's folder, and the largest difference of any logit before and after."""

    folder: Path
    largest_difference: float
    scale: float


def merge(registry: Path, name: str, target: Path, base: str | None = None) -> Merged:
    """Writes base + adapter as one model to `target` after comparing logits on `PROBES` in fp32.

    `UserError` for a base that is not the adapter's or a target that exists; `ToolError`, with nothing left
    behind, when the logits differ by more than 0.1% of their largest value.
    """
    folder, manifest = find(registry, name)
    check_weights(folder, manifest)
    if target.exists():
        raise UserError(f"{target}: exists already; name a folder that does not")
    place = base or manifest.base.name
    _check_base(place, manifest.base)
    with quietly():
        merged, tokenizer, difference, scale = _merged(folder, place, manifest.base.revision)
        if difference > TOLERANCE * scale:
            raise ToolError(
                f"{manifest.id}: merging changes the answers (a logit moves by {difference:.2e}); serve the "
                "adapter beside its base instead"
            )
        _write(merged, tokenizer, target)
    return Merged(folder=target, largest_difference=difference, scale=scale)


def _check_base(place: str, known: BaseId) -> None:
    refuse_bad_folder(place)
    if Path(place).is_dir() and folder_hash(Path(place)) != known.commit:
        raise UserError(
            f"base: {place} is not the base that the adapter was trained on ({known.name}, "
            f"{known.commit[:12]}); "
            "give that one with --base"
        )


def _merged(folder: Path, base: str, revision: str) -> tuple[Any, Any, float, float]:
    tokenizer = load_tokenizer(base, revision)
    model = _with_adapter(load_model(base, revision, "float32"), folder).eval()
    before = [probe_logits(model, tokenizer, probe) for probe in PROBES]
    merged = model.merge_and_unload().eval()
    after = [probe_logits(merged, tokenizer, probe) for probe in PROBES]
    difference = max(float((one - two).abs().max()) for one, two in zip(before, after, strict=True))
    return merged, tokenizer, difference, max(float(one.abs().max()) for one in before)


def _with_adapter(base: Any, folder: Path) -> Any:
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(base, str(folder))
    except Exception as error:  # whatever the library makes of foreign files
        raise UserError(
            f"{folder}: does not fit its base ({first_line(error, LONGEST_REASON)}); train the adapter again"
        ) from None


def probe_logits(model: Any, tokenizer: Any, text: str) -> Any:
    """Logits of every position of `text`, fp32, (length, vocabulary)."""
    import torch

    ids = torch.tensor([tokenizer.encode(text, add_special_tokens=False)])
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits[0].float()


def _write(model: Any, tokenizer: Any, target: Path) -> None:
    from safetensors import SafetensorError

    try:
        with appearing(target) as whole:
            model.save_pretrained(whole)
            tokenizer.save_pretrained(whole)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{target}: can't be written ({reason}); free or choose another") from None
