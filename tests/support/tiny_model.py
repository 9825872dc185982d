"""A tiny Qwen2 and two LoRA adapters, built from a configuration: real files that transformers and vLLM load.

The tokenizer is a byte-level BPE trained on this repository's own source with Qwen2's pre-tokenizer, so that
"1" to "4" are single tokens as in the real one. The base learns for some seconds what a reply looks like, so
that it ends its strings and lists; the adapters are random. No test may expect sense from any of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from review_data.dataset import merge_requests
from review_data.domain import Category
from review_data.replies import FoundIssue, explain_completion, find_completion

BASE = "tiny"
ADAPTERS = ("strict", "lenient")
MAX_LENGTH = 8192
CONTEXT_TOKENS = 200
REPLY_TOKENS = 80
STEPS = 110
LORA_ALPHA = 4
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
ROOT = Path(__file__).parents[2]
# Qwen2's pre-tokenizer: words, single digits, runs of punctuation, line breaks, blanks.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build(folder: Path, *, width: int = 64, layers: int = 2) -> dict[str, Path]:
    """Writes the base model and its adapters below `folder`; returns name -> path."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = train_tokenizer()
    torch.manual_seed(20)
    # vLLM on a CPU wants heads of 32 or more dimensions.
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        num_key_value_heads=1,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.set_num_threads(1)
    paths = {name: folder / name for name in (BASE, *ADAPTERS)}
    model = Qwen2ForCausalLM(config)
    learn_replies(model, tokenizer)
    model.save_pretrained(paths[BASE])
    tokenizer.save_pretrained(paths[BASE])
    for name in ADAPTERS:
        base = Qwen2ForCausalLM.from_pretrained(paths[BASE])
        lora = LoraConfig(
            r=8,
            lora_alpha=LORA_ALPHA,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
            init_lora_weights=False,
        )
        get_peft_model(base, lora).save_pretrained(paths[name])
    return paths


def learn_replies(model: Any, tokenizer: Any) -> None:
    """Trains on replies after stretches of source code, until they begin and end as they should."""
    import torch

    order = random.Random(0)
    source = tokenizer("\n".join(_sources())[:200_000], verbose=False).input_ids
    replies = [tokenizer(text).input_ids[:REPLY_TOKENS] for text in _replies()]
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    model.train()
    for _ in range(STEPS):
        batch = [(order.randrange(len(source) - CONTEXT_TOKENS), reply) for reply in order.sample(replies, 8)]
        longest = max(len(reply) for _, reply in batch)
        rows = [source[at : at + CONTEXT_TOKENS] + _padded(reply, longest, 0) for at, reply in batch]
        wanted = torch.tensor([_padded(reply, longest, -100) for _, reply in batch])
        hidden = model.model(input_ids=torch.tensor(rows)).last_hidden_state
        logits = model.lm_head(hidden[:, CONTEXT_TOKENS - 1 : -1])
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


def _padded(ids: list[int], length: int, filler: int) -> list[int]:
    return ids + [filler] * (length - len(ids))


def train_tokenizer() -> Any:
    """A byte-level BPE of 2000 tokens with Qwen2's pre-tokenizer, specials and chat template."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_sources(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>"],
        chat_template=CHAT_TEMPLATE,
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
    )


def _replies() -> Iterator[str]:
    """Short made-up replies of all three kinds, each with the turn's markers around it."""
    order = random.Random(1)
    words = [
        "the",
        "query",
        "is",
        "built",
        "from",
        "input",
        "a",
        "caller",
        "reaches",
        "every",
        "row",
        "unchecked",
    ]
    for number in range(600):
        texts = [" ".join(order.choices(words, k=order.randint(2, 5))) for _ in range(6)]
        issues = [
            FoundIssue(
                line=order.randint(1, 60),
                quote=texts[at],
                category=order.choice(list(Category)),
                title=texts[at + 3],
            )
            for at in range(order.randint(0, 2))
        ]
        for reply in (
            find_completion(issues),
            explain_completion(texts[0], texts[1]),
            str(number % 4 + 1),
        ):
            yield f"<|im_end|>\n<|im_start|>assistant\n{reply}<|im_end|>\n"


def _sources() -> Iterator[str]:
    """The prompts' own text and the dataset's code: texts that other changes of the project leave alone."""
    for name in ("prompts.py", "replies.py", "severity.py"):
        yield (ROOT / "review_data" / name).read_text(encoding="utf-8")
    for request in merge_requests("train"):
        yield request.diff
