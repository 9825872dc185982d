"""Useful training speed: our default against the published way, on the same rows and base.

usage: python bench/train.py [--rows 96] [--rounds 3] [--size auto|small|1.5b]

Rows are the packaged review examples (find, rate, explain) in their own mix of lengths; the base is a
randomly initialised Qwen2: 7M parameters on a CPU, Qwen2.5-1.5B's shape on a GPU. Useful tokens are
supervised tokens, the same in both ways. "Published" is what mcolakk/NLP-LORA-FineTuning-Project does: every
row padded to 1024, loss on all tokens, gradient checkpointing, four rows at a time. Each round runs the ways
one after another; medians and ratios of one epoch are printed, on a GPU also the share of the card's peak.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

PEAK_TFLOPS = {
    "H200": 989,
    "H100": 989,
    "A100": 312,
    "L40": 181,
    "4090": 165,
    "3090": 71,
    "T4": 65,
    "V100": 125,
}
PUBLISHED_LENGTH, PUBLISHED_ROWS = 1024, 4


class Way(NamedTuple):
    """One way to run an epoch: its batches and its loss."""

    name: str
    batches: Callable[[Sequence[Any]], list[Any]]
    loss: Callable[[Any, Any], Any]
    checkpointing: bool


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", choices=("auto", "small", "1.5b"), default="auto")
    options = parser.parse_args()
    print(measure(options.rows, options.rounds, options.size))


def measure(count: int, rounds: int, size: str) -> str:
    """The table as text."""
    import torch

    from finetune.llm.base import quietly

    cuda = torch.cuda.is_available()
    large = size == "1.5b" or (size == "auto" and cuda)
    with quietly():
        tokenizer, rows = encoded_rows(count)
        model = make_base(tokenizer, large, cuda)
    useful = sum(row.supervised for row in rows)
    real = sum(len(row.input_ids) for row in rows)
    ways = make_ways(tokenizer, cuda)
    seconds: dict[str, list[float]] = {way.name: [] for way in ways}
    for way in ways:
        epoch(model, way, rows[:8])
    for _ in range(rounds):
        for way in ways:
            seconds[way.name].append(epoch(model, way, rows))
    return table(ways, seconds, model, rows, useful, real, cuda)


def encoded_rows(count: int) -> tuple[Any, list[Any]]:
    """`count` rows drawn evenly over the packaged review examples, and a tokenizer made from their texts."""
    import random

    from finetune.llm.examples import Example
    from finetune.llm.review_examples import review_examples
    from finetune.llm.scratch import make_tokenizer
    from finetune.llm.tokens import encode, prepare
    from finetune.recipes import load

    examples: list[Example] = list(review_examples("train", load("review").data))
    texts = [message["content"] for example in examples[::5] for message in example.messages[1:]]
    tokenizer = make_tokenizer([examples[0].messages[0]["content"], *texts], 8192)
    random.Random(0).shuffle(examples)
    end = prepare(tokenizer)
    return tokenizer, [encode(tokenizer, example, end) for example in examples[:count]]


def make_base(tokenizer: Any, large: bool, cuda: bool) -> Any:
    """A random base with a LoRA adapter of the `review` recipe, on the device it is measured on."""
    import torch
    from peft import get_peft_model
    from trl.trainer.utils import add_fused_lm_head

    from finetune.llm.scratch import Size, make_model
    from finetune.llm.trainer import lora_config
    from finetune.recipes import load

    small = Size(hidden=256, intermediate=1024, layers=4, heads=4, context=8192)
    qwen = Size(hidden=1536, intermediate=8960, layers=28, heads=12, context=8192)
    base = make_model(tokenizer, qwen if large else small)
    if large:
        base.resize_token_embeddings(151_936)
    if cuda:
        base = base.to("cuda", torch.bfloat16)
    add_fused_lm_head(base)
    return get_peft_model(base, lora_config(load("review").lora)).train()


def make_ways(tokenizer: Any, cuda: bool) -> list[Way]:
    """The published way, the same without its checkpointing, plain grouping by length, and the default."""
    from finetune.llm.batches import Padded, Shared
    from finetune.llm.trainer import fused_loss, supervised_loss

    ours = fused_loss if cuda else supervised_loss
    pad = tokenizer.pad_token_id
    return [
        Way("published: pad to 1024, loss on all", lambda rows: published(rows, pad), all_tokens_loss, True),
        Way("the same without checkpointing", lambda rows: published(rows, pad), all_tokens_loss, False),
        Way("grouped by length, loss on answers", lambda rows: grouped(rows, Padded(pad)), ours, False),
        Way("default: behind the shared prefix", lambda rows: grouped(rows, Shared()), ours, False),
    ]


def published(rows: Sequence[Any], pad: int) -> list[Any]:
    """Four rows at a time, cut and padded to 1024, labels everywhere but on the padding."""
    from finetune.llm.batches import Padded

    made = []
    for at in range(0, len(rows), PUBLISHED_ROWS):
        ids = [row.input_ids[:PUBLISHED_LENGTH] for row in rows[at : at + PUBLISHED_ROWS]]
        batch = Padded(pad)([{"input_ids": one, "labels": one} for one in ids])
        more = PUBLISHED_LENGTH - batch["input_ids"].shape[1]
        fill = {"input_ids": pad, "attention_mask": 0, "labels": -100}
        made.append({name: _wider(value, more, fill[name]) for name, value in batch.items()})
    return made


def grouped(rows: Sequence[Any], collate: Callable[[Any], Any]) -> list[Any]:
    """The default's micro-batches in its order."""
    from finetune.llm.order import GroupedOrder

    size = 4
    order = list(GroupedOrder([len(row.input_ids) for row in rows], size, seed=0))
    return [
        collate([rows[number]._asdict() for number in order[at : at + size]])
        for at in range(0, len(order), size)
    ]


def all_tokens_loss(model: Any, batch: Any) -> Any:
    """The library's own loss over full logits."""
    return model(**batch, use_cache=False).loss


def epoch(model: Any, way: Way, rows: Sequence[Any]) -> float:
    """Seconds for one epoch: batches, forward, backward, an optimiser step per four micro-batches."""
    import torch

    if way.checkpointing:
        model.enable_input_require_grads()
        model.get_base_model().gradient_checkpointing_enable()
    else:
        model.get_base_model().gradient_checkpointing_disable()
    optimizer = torch.optim.AdamW((value for value in model.parameters() if value.requires_grad), lr=1e-4)
    device = next(model.parameters()).device
    _wait(device)
    started = time.perf_counter()
    for number, batch in enumerate(way.batches(rows), start=1):
        way.loss(model, {name: value.to(device) for name, value in batch.items()}).mean().backward()
        if number % 4 == 0:
            optimizer.step()
            optimizer.zero_grad()
    _wait(device)
    return time.perf_counter() - started


def table(
    ways: Sequence[Way],
    seconds: dict[str, list[float]],
    model: Any,
    rows: Sequence[Any],
    useful: int,
    real: int,
    cuda: bool,
) -> str:
    """Medians per epoch, useful tokens per second and the ratio to the published way."""
    import torch

    weights = sum(value.numel() for value in model.parameters())
    slow = statistics.median(seconds[ways[0].name])
    name = torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads"
    lines = [
        f"{weights / 1e6:.0f}M parameters on {name}; {len(rows)} rows, {real:,} tokens, {useful:,} of them "
        "learned",
        f"{'way':<38}{'s/epoch':>9}{'useful tokens/s':>17}{'times':>8}",
    ]
    for way in ways:
        median = statistics.median(seconds[way.name])
        lines.append(f"{way.name:<38}{median:>9.2f}{useful / median:>17.0f}{slow / median:>8.2f}")
    if not cuda:
        return "\n".join([*lines, "share of a card's peak: no GPU at hand, not measured"])
    best = statistics.median(seconds[ways[2].name])
    peak = next((value for key, value in PEAK_TFLOPS.items() if key in name), None)
    flops = 4 * weights * real / best / 1e12
    share = f", {100 * flops / peak:.0f}% of its {peak} dense bf16" if peak else " (peak unknown)"
    return "\n".join([*lines, f"grouped: {real / best:,.0f} tokens/s, about {flops:.0f} TFLOP/s{share}"])


def _wider(tensor: Any, more: int, value: int) -> Any:
    from torch.nn.functional import pad

    return pad(tensor, (0, more), value=value)


def _wait(device: Any) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
