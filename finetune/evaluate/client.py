"""Asks an OpenAI-compatible server on behalf of evaluations: chat, bare completion, list of models.

Owns the shape of requests and replies; connections, keys and retries are the endpoint backend's. Knows
nothing of what is asked.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from review_data.domain import Record
from review_data.errors import BackendError
from service.backends.endpoint.address import api_key, parse_address
from service.backends.endpoint.served import ServedModel, list_models
from service.backends.endpoint.wire import Wire


class Sampling(Record):
    """How tokens are drawn; temperature 0 is greedy."""

    temperature: float = Field(0.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(2048, ge=1)


class Reply(Record):
    """What the server answered, raw."""

    text: str
    finish_reason: str
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Client:
    """One server, by the endpoint backend's connection: its keys, limits and retries. Thread-safe."""

    def __init__(self, url: str, *, timeout_s: float = 600, at_once: int = 32) -> None:
        address = parse_address(url)
        key = api_key(address, os.environ)
        self.url = address.url
        self._wire = Wire(address, key=key, timeout_s=timeout_s, concurrency=at_once)

    def models(self) -> tuple[ServedModel, ...]:
        """What the server offers; an adapter's `parent` is its base model."""
        return list_models(self._wire)

    def chat(
        self, model: str, messages: Sequence[Mapping[str, str]], sampling: Sampling, **more: Any
    ) -> Reply:
        """One reply to a chat. A server's separate reasoning is put back in front, in <think> tags."""
        body = {"model": model, "messages": list(messages), **sampling.model_dump(), **more}
        answer, choice = self._ask("/chat/completions", body)
        message = choice.get("message") or {}
        thought = message.get("reasoning_content") or message.get("reasoning") or ""
        text = message.get("content") or ""
        if thought:
            text = f"<think>{thought}</think>{text}" if text else f"<think>{thought}"
        return _reply(answer, choice, text)

    def complete(self, model: str, prompt: str, sampling: Sampling, **more: Any) -> Reply:
        """A continuation of a bare text."""
        body = {"model": model, "prompt": prompt, **sampling.model_dump(), **more}
        answer, choice = self._ask("/completions", body)
        return _reply(answer, choice, str(choice.get("text") or ""))

    def _ask(self, path: str, body: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The answer and its first choice."""
        try:
            answer = self._wire.post(self.url + path, body)
        except BackendError as error:
            raise BackendError(f"{error}. What was answered is kept: run again to go on") from error
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise BackendError(f"{self.url}: the answer has no choices: {str(answer)[:200]}")
        return answer, choices[0]


def _reply(answer: dict[str, Any], choice: dict[str, Any], text: str) -> Reply:
    usage = answer.get("usage") or {}
    return Reply(
        text=text,
        finish_reason=str(choice.get("finish_reason") or "stop"),
        prompt_tokens=int(usage.get("prompt_tokens") or 0),
        completion_tokens=int(usage.get("completion_tokens") or 0),
    )
