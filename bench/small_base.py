"""Pretrains a small decoder on this machine's CPU, for runs where no model can be had.

usage: python bench/small_base.py FOLDER [--minutes 5] [--seed 0]

The texts are Python's standard library (source of the running interpreter) and the train split's words
without their labels: titles, comments, explanations, suggestions, project lines and diffs, and the serving
prompts answered by an explanation. The tokenizer is made from the same texts; what is constant in the
prompts is a single token in it, so that prompts are short. The model never sees a label. Prints tokens,
seconds and loss.
"""

from __future__ import annotations

import argparse
import random
import sysconfig
import time
from pathlib import Path
from typing import Any

from review_data.dataset import LabelledComment

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

    size = Size(vocabulary=4096, hidden=192, intermediate=512, layers=2, heads=6, context=4096)
    own, library = own_texts(), library_texts(seed)
    tokenizer = make_tokenizer([*own, *library[:300]], size.vocabulary)
    tokenizer.add_tokens(constant_parts())
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


def chats(tokenizer: Any) -> list[str]:
    """The rating prompts of the train split; the answer is the teacher's explanation or the issue's words.

    They teach to look from the answer at the issue. The label is in none of them.
    """
    from finetune.llm.review_examples import labelled_prompts
    from finetune.recipes import Data

    found = []
    for prompt, row in labelled_prompts("train", Data(chunk_tokens=256)):
        words = row.comment if isinstance(row, LabelledComment) else row.title
        chat = [*prompt, {"role": "assistant", "content": row.explanation or words}]
        found.append(str(tokenizer.apply_chat_template(chat, tokenize=False)))
    return found


def constant_parts() -> list[str]:
    """The texts that stand in every rating prompt: the system text, and what lies around issue and change."""
    from review_data.domain import Category, Issue
    from review_data.prompts import SYSTEM, rate_messages

    issue = Issue(path="a", line=7, category=Category.API, title="TITLE", quote="QUOTE", source="x")
    user = rate_messages("CHUNK", issue, nonce="NONCE")[1]["content"]
    before, _, rest = user.partition("NONCE")[2].partition("NONCE")
    task, _, tail = rest.partition("7: QUOTE")
    return [SYSTEM, task, tail.partition("TITLE")[2], before.partition("CHUNK")[2]]


def pretrain(
    model: Any, tokenizer: Any, own: list[str], library: list[str], minutes: float, seed: int
) -> str:
    """Next-token training on random blocks: half chats, a quarter texts, a quarter library, for `minutes`."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    sources = (chats(tokenizer), own, library[:400])
    streams = [_stream(tokenizer, texts, seed) for texts in sources]
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
        stream = streams[(0, 0, 1, 2)[number % 4]]
        at = int(torch.randint(len(stream) - BLOCK, (1,), generator=generator))
        rows.append(stream[at : at + BLOCK])
    return torch.stack(rows)


if __name__ == "__main__":
    main()
