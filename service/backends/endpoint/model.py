"""The language model behind an endpoint: questions as chat completions.

On vLLM replies are bound by a pattern that leaves no room for blanks between JSON tokens (vllm#38696: under
a plain JSON schema models may print white space to the token limit), and the severity is one token out of
"1" to "4" under `allowed_token_ids`, whose log-probabilities stay those of the bare model. Other servers get
JSON schemas and give a severity without probabilities.
"""

from __future__ import annotations

import contextlib
import json
import math
import threading
import time
from pathlib import Path
from typing import Any, Final

from review_data.errors import BackendError, ReplyError
from review_data.prompts import Message
from review_data.replies import (
    EXPLAIN_PATTERN,
    FIND_PATTERN,
    LABELS,
    explain_schema,
    find_schema,
    parse_rate,
    rate_schema,
)
from service.backends.adapter import temperature_of
from service.backends.asking import MAX_TOKENS, Form, Label, Question, Text
from service.backends.chunking import estimate_tokens
from service.backends.endpoint.served import Served, look, tokenize
from service.backends.endpoint.wire import Wire

# How long a failed look at the server is remembered, so that not every chunk waits for the same failure.
REMEMBERED_S: Final = 5.0
_PATTERNS: Final = {Form.FIND: FIND_PATTERN, Form.EXPLAIN: EXPLAIN_PATTERN}
_SCHEMAS: Final = {Form.FIND: find_schema, Form.RATE: rate_schema, Form.EXPLAIN: explain_schema}


class EndpointModel:
    """A model or adapter by its served name; thread-safe. Connects when first asked."""

    def __init__(
        self, wire: Wire, wanted: str, *, concurrency: int, temperature: float | None = None
    ) -> None:
        self.wire, self.wanted, self._concurrency = wire, wanted, concurrency
        self._temperature = temperature
        self._served: Served | None = None
        self._failed: tuple[float, BackendError] | None = None
        self._lock = threading.Lock()

    @property
    def served(self) -> Served:
        """The server, looked at once; `BackendError` when it can't be."""
        with self._lock:
            if self._served is None:
                if self._failed and time.monotonic() < self._failed[0] + REMEMBERED_S:
                    raise BackendError(str(self._failed[1]))
                try:
                    self._served = look(self.wire, self.wanted)
                except BackendError as error:
                    self._failed = time.monotonic(), error
                    raise
            return self._served

    def peek(self) -> Served | None:
        """The server if it answers at once; a failure here is not remembered."""
        with self._lock:
            if self._served is None:
                with contextlib.suppress(BackendError):
                    self._served = look(self.wire, self.wanted, attempts=1)
            return self._served

    @property
    def identity(self) -> str:
        """URL, model with the place of its files, and the server's version."""
        served = self.served
        asked = served.asked
        roots = sorted(model.root for model in served.models if model.name in (asked.name, asked.parent))
        how = "labels" if served.label_ids else "schema"
        return json.dumps([self.wire.address.url, asked.name, roots, served.version, how])

    @property
    def concurrency(self) -> int:
        """As many requests at once as the settings allow."""
        return self._concurrency

    @property
    def context(self) -> int:
        """The served context in tokens."""
        return self.served.context

    @property
    def temperature(self) -> float:
        """The setting, else the manifest's where the adapter's files are on this machine, else 1."""
        if self._temperature is not None:
            return self._temperature
        return temperature_of(Path(self.served.asked.root)) if self.wire.address.is_loopback else 1.0

    def count(self, text: str) -> int:
        """Tokens of `text` under the served tokenizer, an estimate from above where there is none."""
        served = self.served
        tokens = tokenize(self.wire, served.asked.name, text) if served.is_vllm else None
        return estimate_tokens(text) if tokens is None else len(tokens)

    def write(self, question: Question) -> Text:
        """One constrained reply."""
        form = question.form
        if self.served.is_vllm:
            shape: dict[str, object] = {"structured_outputs": {"regex": _PATTERNS[form]}}
        else:
            shape = _json_schema(form)
        choice = self._choice(question.sealed(), max_tokens=MAX_TOKENS[form], **shape)
        return Text(_content(choice), choice.get("finish_reason") == "length")

    def label(self, question: Question) -> Label:
        """One label; with log-probabilities where the server gives them."""
        ids = self.served.label_ids
        if ids is None:
            choice = self._choice(question.sealed(), max_tokens=30, **_json_schema(Form.RATE))
            return Label(parse_rate(_content(choice)).label)
        choice = self._choice(
            question.sealed(),
            max_tokens=MAX_TOKENS[Form.RATE],
            allowed_token_ids=list(ids),
            logprobs=True,
            logprob_token_ids=list(ids),
        )
        return Label(_content(choice), read_logprobs(choice))

    def _choice(self, messages: list[Message], **more: object) -> dict[str, Any]:
        served = self.served
        body: dict[str, object] = {"model": served.asked.name, "messages": messages, "temperature": 0, **more}
        if served.is_vllm:
            # Given in full, because a model's generation_config.json may set others; and no thinking aloud.
            body |= {"top_p": 1, "top_k": -1, "repetition_penalty": 1, "presence_penalty": 0}
            body |= {"frequency_penalty": 0, "chat_template_kwargs": {"enable_thinking": False}}
        reply = self.wire.post(f"{self.wire.address.url}/chat/completions", body)
        choices = reply.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise BackendError(f"{self.wire.address.url} answered without `choices`; is it a chat API?")
        return choices[0]


def read_logprobs(choice: dict[str, Any]) -> tuple[float, float, float, float]:
    """The labels' log-probabilities of the first token; `BackendError` when one is missing."""
    try:
        rows = choice["logprobs"]["content"][0]["top_logprobs"]
        known = {str(row["token"]).strip(): float(row["logprob"]) for row in rows}
        low, medium, high, critical = (known[label] for label in LABELS)
    except (KeyError, IndexError, TypeError, ValueError):
        raise BackendError(
            "the server gave no log-probability for each of the labels 1 to 4; "
            "`terazi endpoint check` tells more"
        ) from None
    values = (low, medium, high, critical)
    if not all(math.isfinite(value) for value in values):
        raise BackendError("the model's probabilities are not numbers; its weights or its adapter are broken")
    return values


def _content(choice: dict[str, Any]) -> str:
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, str):
        raise ReplyError("the model's reply has no text", reply=str(message)[:2000])
    return content


def _json_schema(form: Form) -> dict[str, object]:
    schema = {"name": form.value, "strict": True, "schema": _SCHEMAS[form]()}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}
