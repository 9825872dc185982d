"""The small interface that every code-generation benchmark fills, and the values that cross it.

A benchmark is a name and its problems; a problem makes its prompt, takes the code out of a reply, and checks
it in the sandbox. Each benchmark is a file of its own; `catalog.py` lists them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from pydantic import ConfigDict, Field

from finetune.sandbox.job import Limits
from finetune.sandbox.machine import Sandbox
from finetune.sandbox.verdict import Outcome, Verdict
from review_data.domain import Record


class Mode(StrEnum):
    """How prompts are written, answers read and programs run.

    `OFFICIAL` keeps to the benchmark's own prompts, extraction, time limits and comparison, for numbers that
    can be set beside published ones. `FAITHFUL` asks a chat model properly, finds the code wherever it
    stands, runs real programs, and compares as the contest does. Expected values stay outside in both.
    """

    FAITHFUL = "faithful"
    OFFICIAL = "official"


class Message(Record):
    """One message of a chat."""

    role: str
    content: str


class Prompt(Record):
    """What a model is asked: a chat, or a bare text to be continued up to a stop string."""

    messages: tuple[Message, ...] = ()
    text: str = ""
    stop: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """16 hex digits that change with the prompt, so that a kept answer is never taken for another's."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:16]


class Sample(Record):
    """One answer, kept raw. `index` counts the samples of one task; the published form has the first two."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    task_id: str
    completion: str
    system: str = ""
    index: int = Field(0, ge=0)
    finish_reason: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_digest: str = ""


class Answer(Record):
    """The program in a reply, or the outcome that there is none."""

    code: str = ""
    outcome: Outcome | None = None


class Problem(Protocol):
    """One task of a benchmark."""

    @property
    def id(self) -> str: ...

    def prompt(self, mode: Mode) -> Prompt:
        """What to ask."""
        ...

    def answer(self, sample: Sample, mode: Mode) -> Answer:
        """The program that the reply amounts to."""
        ...

    def check(self, code: str, sandbox: Sandbox, limits: Limits, mode: Mode) -> Verdict:
        """Runs the program against the tests."""
        ...


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A named set of problems; `limits` per mode, `facts` go into the report (source, filter, scoring)."""

    name: str
    problems: tuple[Problem, ...]
    limits: Mapping[Mode, Limits]
    facts: Mapping[str, str] = field(default_factory=dict)
