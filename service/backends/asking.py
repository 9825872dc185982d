"""What the language-model backends have in common: a question, a model's answers, and the fence's nonce.

A `Question` is written with a placeholder for the nonce, so that equal questions are equal (the cache keys
them) while what a model reads carries a word that nobody could foresee. Owns no transport and no weights.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from review_data.domain import Probabilities
from review_data.prompts import Message, nonce_for
from review_data.replies import parse_rate
from review_data.severity import Severity

PLACEHOLDER: Final = "\0nonce\0"  # no prompt can hold it: control characters are shown as escapes
_SECRET: Final = secrets.token_bytes(32)


class Form(StrEnum):
    """What shape of reply a question asks for."""

    FIND = "find"
    RATE = "rate"
    EXPLAIN = "explain"


MAX_TOKENS: Final = {Form.FIND: 1200, Form.RATE: 1, Form.EXPLAIN: 320}


@dataclass(frozen=True, slots=True)
class Question:
    """One conversation that waits for its reply; its messages hold `PLACEHOLDER` for the nonce."""

    form: Form
    messages: tuple[Message, ...]

    def sealed(self) -> list[Message]:
        """The messages with a nonce: the same for find, rate and explain of one text within this process."""
        body = self.messages[1]["content"].partition(f"END {PLACEHOLDER}")[0]
        nonce = nonce_for(body, _SECRET)
        return [
            Message(role=message["role"], content=message["content"].replace(PLACEHOLDER, nonce))
            for message in self.messages
        ]


class Text(NamedTuple):
    """A written reply; `cut` when the model ran out of tokens before it was done."""

    text: str
    cut: bool = False


class Label(NamedTuple):
    """A severity label ("1" to "4") and the labels' log-probabilities, low to critical, where known."""

    label: str
    logprobs: tuple[float, float, float, float] | None = None


class LanguageModel(Protocol):
    """A model that answers questions; thread-safe. Raises `BackendError` when it can't."""

    @property
    def identity(self) -> str:
        """Everything of model, adapter and settings that an answer depends on."""
        ...

    @property
    def concurrency(self) -> int:
        """How many questions may be asked at once."""
        ...

    @property
    def context(self) -> int:
        """Tokens that prompt and reply may have together."""
        ...

    @property
    def temperature(self) -> float:
        """Calibration: log-probabilities are divided by it before the softmax."""
        ...

    def count(self, text: str) -> int:
        """How many tokens `text` has (or an estimate from above)."""
        ...

    def write(self, question: Question) -> Text:
        """The reply to a find or explain question, in the form's shape."""
        ...

    def label(self, question: Question) -> Label:
        """The reply to a rate question."""
        ...


def severity_of(label: Label, temperature: float) -> tuple[Severity, Probabilities | None]:
    """The calibrated most likely severity with all probabilities; the bare label where there are none."""
    if label.logprobs is None:
        return parse_rate(label.label), None
    probabilities = Probabilities.of(softmax(label.logprobs, temperature))
    return probabilities.most_likely(), probabilities


def softmax(logprobs: Sequence[float], temperature: float) -> list[float]:
    """Probabilities that sum to 1, from log-probabilities divided by `temperature`."""
    highest = max(logprobs)
    weights = [math.exp((value - highest) / temperature) for value in logprobs]
    total = sum(weights)
    return [weight / total for weight in weights]
