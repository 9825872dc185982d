"""A small Qwen2 and its tokenizer made from nothing: for tests, and for runs where no model can be had.

The tokenizer is byte-level BPE trained on the texts given; the chat template and special tokens are Qwen2.5's
shape (ChatML). Owns no training of adapters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from review_data.domain import Record

END: Final = "<|im_end|>"
PAD: Final = "<|endoftext|>"
SPECIAL: Final = (PAD, "<|im_start|>", END)
CHATML: Final = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


class Size(Record):
    """A decoder's size: the most tokens that BPE may make, and the spread of random weights."""

    vocabulary: int = 512
    hidden: int = 64
    intermediate: int = 128
    layers: int = 2
    heads: int = 2
    context: int = 2048
    spread: float = 0.02


def make_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """A byte-level BPE tokenizer in transformers' shape: pad is not the end token, digits stand alone."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"\d"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=["<|im_start|>"],
        chat_template=CHATML,
    )


def make_model(tokenizer: Any, size: Size, seed: int = 0) -> Any:
    """A Qwen2 with random weights, its embeddings tied, in fp32."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        initializer_range=size.spread,
        num_attention_heads=size.heads,
        num_key_value_heads=max(1, size.heads // 2),
        max_position_embeddings=size.context,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        tie_word_embeddings=True,
        use_cache=False,
    )
    return Qwen2ForCausalLM(config)


def save(model: Any, tokenizer: Any, folder: Path) -> Path:
    """Writes model and tokenizer as a folder that transformers and vLLM load."""
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return folder


def make(folder: Path, texts: Sequence[str], size: Size, seed: int = 0) -> Path:
    """A random small model in `folder`."""
    tokenizer = make_tokenizer(texts, size.vocabulary)
    return save(make_model(tokenizer, size, seed), tokenizer, folder)
