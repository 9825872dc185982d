"""Talks to an OpenAI-compatible server on behalf of evaluations: chat, bare completion, list of models.

Retries what may pass (connection, 429, 5xx) with growing pauses, then raises `BackendError`. Knows nothing of
what is asked. Thread-safe.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import httpx
from pydantic import Field

from review_data.domain import Record
from review_data.errors import BackendError

RETRIED: Final = frozenset({408, 409, 429, 500, 502, 503, 504})
KEY_VARIABLE: Final = "OPENAI_API_KEY"


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


class Served(Record):
    """A model that the server offers; `parent` names the base model of an adapter."""

    id: str
    parent: str | None = None


class Client:
    """One server. `url` ends in /v1; the key comes from OPENAI_API_KEY and is sent nowhere else."""

    def __init__(self, url: str, *, timeout_s: float = 600, retries: int = 4, pause_s: float = 0.5) -> None:
        key = os.environ.get(KEY_VARIABLE)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.url = url.rstrip("/")
        self._http = httpx.Client(headers=headers, timeout=timeout_s, trust_env=False)
        self._retries, self._pause_s = retries, pause_s

    def models(self) -> tuple[Served, ...]:
        """What the server offers."""
        rows = self._ask("GET", "/models", None).get("data", [])
        return tuple(Served(id=str(row["id"]), parent=row.get("parent")) for row in rows)

    def chat(
        self, model: str, messages: Sequence[Mapping[str, str]], sampling: Sampling, **more: Any
    ) -> Reply:
        """One reply to a chat. A server's separate reasoning is put back in front, in <think> tags."""
        body = {"model": model, "messages": list(messages), **sampling.model_dump(), **more}
        answer = self._ask("POST", "/chat/completions", body)
        choice = self._choice(answer)
        message = choice.get("message") or {}
        thought = message.get("reasoning_content") or message.get("reasoning") or ""
        text = message.get("content") or ""
        if thought:
            text = f"<think>{thought}</think>{text}" if text else f"<think>{thought}"
        return _reply(answer, choice, text)

    def complete(self, model: str, prompt: str, sampling: Sampling, **more: Any) -> Reply:
        """A continuation of a bare text."""
        body = {"model": model, "prompt": prompt, **sampling.model_dump(), **more}
        answer = self._ask("POST", "/completions", body)
        choice = self._choice(answer)
        return _reply(answer, choice, str(choice.get("text") or ""))

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def _choice(self, answer: dict[str, Any]) -> dict[str, Any]:
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices:
            raise BackendError(f"{self.url}: the answer has no choices: {str(answer)[:200]}")
        return dict(choices[0])

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        for attempt in range(self._retries + 1):
            problem, again = "", True
            try:
                response = self._http.request(method, self.url + path, json=body)
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
            else:
                if response.is_success:
                    return self._parsed(response)
                problem = f"HTTP {response.status_code}: {response.text[:300]}"
                again = response.status_code in RETRIED
            if not again or attempt == self._retries:
                break
            time.sleep(self._pause_s * 2**attempt)
        raise BackendError(f"{self.url}{path} failed ({problem}); check the server and run again to go on")

    def _parsed(self, response: httpx.Response) -> dict[str, Any]:
        try:
            answer = response.json()
        except ValueError:
            raise BackendError(f"{self.url}: the answer is not JSON: {response.text[:200]}") from None
        if not isinstance(answer, dict):
            raise BackendError(f"{self.url}: the answer is not an object: {response.text[:200]}")
        return answer


def _reply(answer: dict[str, Any], choice: dict[str, Any], text: str) -> Reply:
    usage = answer.get("usage") or {}
    return Reply(
        text=text,
        finish_reason=str(choice.get("finish_reason") or "stop"),
        prompt_tokens=int(usage.get("prompt_tokens") or 0),
        completion_tokens=int(usage.get("completion_tokens") or 0),
    )
