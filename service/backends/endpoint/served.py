"""What a server serves: models and adapters by name, its context, and which of vLLM's extras it has.

Asked once, when the first question comes. Owns no questions about code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from review_data.errors import BackendError
from review_data.replies import LABELS
from service.backends.endpoint.wire import ATTEMPTS, Refused, Wire

# What is assumed of a server that does not say how long its context is.
USUAL_CONTEXT = 8192


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One name that can be asked for; `parent` is an adapter's base, `root` where its files are."""

    name: str
    parent: str | None
    root: str
    context: int | None
    owner: str


@dataclass(frozen=True, slots=True)
class Served:
    """The server as far as the reviewer needs to know; `version` is vLLM's, "" for other servers.

    `label_ids` are the tokens of "1" to "4" under the model asked for, None where they can't be had.
    """

    models: tuple[ServedModel, ...]
    asked: ServedModel
    context: int
    version: str
    label_ids: tuple[int, ...] | None

    @property
    def is_vllm(self) -> bool:
        """Whether vLLM's own request fields are understood."""
        return self.version != ""


def look(wire: Wire, wanted: str, *, attempts: int = ATTEMPTS) -> Served:
    """Asks the server; `BackendError` when it is down, no such API, or does not serve `wanted`."""
    models = list_models(wire, attempts=attempts)
    asked = choose(models, wanted, wire.address.url)
    version = vllm_version(wire, models)
    base = next((model for model in models if model.name == asked.parent), asked)
    context = asked.context or base.context or USUAL_CONTEXT
    return Served(models, asked, context, version, label_ids(wire, asked.name) if version else None)


def list_models(wire: Wire, *, attempts: int = ATTEMPTS) -> tuple[ServedModel, ...]:
    """What /models lists; `BackendError` unless it lists something."""
    rows = wire.get(f"{wire.address.url}/models", attempts=attempts).get("data")
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "id" in row for row in rows):
        raise BackendError(
            f"{wire.address.url}/models does not list models; is that the URL of an OpenAI-compatible API?"
        )
    if not rows:
        raise BackendError(f"{wire.address.url} serves no model; start the server with one")
    return tuple(_model(row) for row in rows)


def choose(models: Sequence[ServedModel], wanted: str, url: str) -> ServedModel:
    """The model of that name; without a name the only base model there is."""
    names = ", ".join(model.name for model in models)
    if wanted:
        found = next((model for model in models if model.name == wanted), None)
        if found is None:
            raise BackendError(f"{url} serves no model or adapter `{wanted}`; it serves {names}")
        return found
    bases = [model for model in models if model.parent is None]
    if len(bases) != 1:
        raise BackendError(f"{url} serves several models: {names}; name one with --model or TERAZI_MODEL")
    return bases[0]


def vllm_version(wire: Wire, models: Sequence[ServedModel]) -> str:
    """vLLM's version, "" for another server."""
    if models[0].owner != "vllm":
        return ""
    try:
        return str(wire.get(f"{wire.address.root}/version").get("version", ""))
    except Refused:
        return ""


def label_ids(wire: Wire, model: str) -> tuple[int, ...] | None:
    """The tokens of "1" to "4"; None when one is not a single token or the server does not say."""
    ids = [tokenize(wire, model, label) for label in LABELS]
    if any(found is None or len(found) != 1 for found in ids):
        return None
    return tuple(found[0] for found in ids if found)


def tokenize(wire: Wire, model: str, text: str) -> list[int] | None:
    """vLLM's tokens of `text`; None where the server has no such call."""
    body = {"model": model, "prompt": text, "add_special_tokens": False}
    try:
        tokens = wire.post(f"{wire.address.root}/tokenize", body).get("tokens")
    except Refused:
        return None
    return tokens if isinstance(tokens, list) and all(isinstance(token, int) for token in tokens) else None


def _model(row: dict[str, Any]) -> ServedModel:
    context = row.get("max_model_len")
    parent = row.get("parent")
    return ServedModel(
        name=str(row["id"]),
        parent=str(parent) if parent else None,
        root=str(row.get("root") or row["id"]),
        context=context if isinstance(context, int) and context > 0 else None,
        owner=str(row.get("owned_by", "")),
    )
