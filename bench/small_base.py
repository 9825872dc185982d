"""Pretrains a small decoder on this machine's CPU, for runs where no model can be had.

usage: python bench/small_base.py FOLDER [--minutes 5] [--seed 0]

The texts are Python's standard library (source of the running interpreter) and the train split's words
without their labels: titles, comments, explanations, suggestions, project lines and diffs, and the serving
prompts around them with no answer. The tokenizer is made from the same texts; the prompts' constant lines
are single tokens in it, so that a small context holds a prompt. The model never sees a label. Prints
tokens, seconds and loss.
"""

from __future__ import annotations

import argparse
import random
import sysconfig
import time
from collections import Counter
from pathlib import Path
from typing import Any

BLOCK, ROWS = 256, 16


def main() -> None:
    """Makes the base and prints what it cost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(make_base(options.folder, options.minutes, options.seed))


def make_base(folder: Path, minutes: float, seed: int) -> str:
    """Tokenizer, random Qwen2, `minutes` of next-token training, saved to `folder`; one line of figures."""
    from finetune.llm.scratch import Size, make_model, make_tokenizer, save

    size = Size(vocabulary=4096, hidden=128, intermediate=384, layers=3, heads=4, context=4096)
    own, library = own_texts(), library_texts(seed)
    tokenizer = make_tokenizer([*own, *library[:300]], size.vocabulary)
    tokenizer.add_tokens(constant_lines())
    model = make_model(tokenizer, size, seed)
    figures = pretrain(model, tokenizer, own, library, minutes, seed)
    save(model, tokenizer, folder)
    weights = sum(parameter.numel() for parameter in model.parameters())
    return f"{weights / 1e6:.1f}M parameters, {figures}"


def own_texts() -> list[str]:
    """The train split's words without labels: each issue's and answer's, and the diffs."""
    from finetune.llm.review_examples import wording_comments
    from review_data.dataset import comments, merge_requests

    said = (*comments("train"), *wording_comments())
    said = (*comments("train"), *wording_comments())
    texts = [f"{row.category}: {row.comment} {row.explanation}".strip() for row in said]
    for request in merge_requests("train"):
        texts.append(f"{request.project}\n{request.title}\n{request.description}")
        texts.append(request.diff)
        texts += [
            f"{f.category}: {f.title}. {f.explanation} {f.suggestion}".strip() for f in request.findings
        ]
    return texts


def library_texts(seed: int) -> list[str]:
    """The standard library's modules, shuffled."""
    root = Path(sysconfig.get_paths()["stdlib"])
    foreign = {"site-packages", "test", "tests"}
    paths = sorted(path for path in root.rglob("*.py") if not foreign & set(path.parts))
    random.Random(seed).shuffle(paths)
    return [path.read_text(encoding="utf-8", errors="replace") for path in paths]


def prompts() -> list[str]:
    """The rating prompts of the train split, as chats without an answer."""
    from finetune.llm.review_examples import review_examples
    from finetune.recipes import Data

    return [example.messages[1]["content"] for example in review_examples("train", Data(tasks=("rate",)))]


def constant_lines() -> list[str]:
    """Lines that stand in every prompt, longest first."""
    from review_data.prompts import SYSTEM

    shown = prompts()
    common = Counter(line for prompt in shown for line in set(prompt.splitlines()))
    lines = {line for line in SYSTEM.splitlines() if len(line) > 20}
    lines |= {line for line, count in common.items() if count == len(shown) and len(line) > 8}
    return sorted(lines, key=len, reverse=True)


def pretrain(
    model: Any, tokenizer: Any, own: list[str], library: list[str], minutes: float, seed: int
) -> str:
    """Next-token training on random blocks, half from the own texts, until the time is up."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    streams = [_stream(tokenizer, [*own, *prompts()], seed), _stream(tokenizer, library[:400], seed)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.05, betas=(0.9, 0.95))
    start, step, last = time.monotonic(), 0, 0.0
    model.train()
    while (spent := (time.monotonic() - start) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 50) * (1 - spent)
        batch = _blocks(streams, generator)
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step, last = step + 1, 0.95 * last + 0.05 * float(loss.detach()) if step else float(loss.detach())
    model.eval()
    return f"{step * BLOCK * ROWS / 1e6:.2f}M tokens in {time.monotonic() - start:.0f} s, loss {last:.3f}"


def _stream(tokenizer: Any, texts: list[str], seed: int) -> Any:
    import torch

    texts = list(texts)
    random.Random(seed).shuffle(texts)
    end = tokenizer.eos_token_id
    encoded = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return torch.tensor([token for ids in encoded for token in (*ids, end)])


def _blocks(streams: list[Any], generator: Any) -> Any:
    import torch

    rows = []
    for number in range(ROWS):
        stream = streams[number % 4 == 3]
        at = int(torch.randint(len(stream) - BLOCK, (1,), generator=generator))
        rows.append(stream[at : at + BLOCK])
    return torch.stack(rows)


if __name__ == "__main__":
    main()
