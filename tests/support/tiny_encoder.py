"""A tiny BERT encoder with random weights and its tokenizer, built from a configuration."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from review_data.dataset import comments


def write_tiny_encoder(folder: Path) -> Path:
    """Writes config.json, model.safetensors and tokenizer.json (400 common words)."""
    import torch
    from transformers import BertConfig, BertModel

    vocabulary = _write_tokenizer(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def _write_tokenizer(folder: Path) -> int:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    words = Counter(word for row in comments("train") for word in row.comment.lower().split())
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(word for word, _ in words.most_common(400))]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return len(tokens)
