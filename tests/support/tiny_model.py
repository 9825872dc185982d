"""A tiny Qwen2 and two LoRA adapters, built from a configuration: real files that transformers and vLLM load.

The tokenizer is a byte-level BPE trained on this repository's own source with Qwen2's pre-tokenizer, so that
"1" to "4" are single tokens as in the real one. Weights are random; no test may expect sense from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

BASE = "tiny"
ADAPTERS = ("strict", "lenient")
MAX_LENGTH = 8192
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


def build(folder: Path) -> dict[str, Path]:
    """Writes the base model and its adapters below `folder`; returns name -> path."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = train_tokenizer()
    torch.manual_seed(20)
    # vLLM on a CPU wants heads of 32 or more dimensions.
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    paths = {name: folder / name for name in (BASE, *ADAPTERS)}
    model = Qwen2ForCausalLM(config)
    model.save_pretrained(paths[BASE])
    tokenizer.save_pretrained(paths[BASE])
    for name in ADAPTERS:
        base = Qwen2ForCausalLM.from_pretrained(paths[BASE])
        lora = LoraConfig(
            r=8, lora_alpha=64, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False
        )
        get_peft_model(base, lora).save_pretrained(paths[name])
    return paths


def train_tokenizer() -> Any:
    """A byte-level BPE of about 3000 tokens with Qwen2's pre-tokenizer, specials and chat template."""
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
        vocab_size=3000,
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


def _sources() -> Iterator[str]:
    for package in ("review_data", "service"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.read_text(encoding="utf-8")
