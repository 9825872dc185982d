"""HumanEval (Chen et al. 2021) and HumanEval+ (Liu et al. 2023) in their published JSON Lines forms.

Official: the prompt is continued as bare text up to the paper's stop strings, the completion is appended, and
the limit is 3 seconds. Faithful: a chat model is asked for the whole function. Either way the test's `check`
runs in a cell of its own with a proxy for the function, and the prompt's helper functions at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from finetune.evaluate.codegen.answers import defines, read_chat
from finetune.evaluate.codegen.benchmark import Answer, Benchmark, Message, Mode, Prompt, Sample
from finetune.evaluate.codegen.files import read_rows
from finetune.sandbox.examine import Exam, examine
from finetune.sandbox.job import Limits
from finetune.sandbox.machine import Sandbox
from finetune.sandbox.verdict import Outcome, Verdict
from review_data.domain import Record

HUB = ("openai/openai_humaneval", "test")
HUB_PLUS = ("evalplus/humanevalplus", "test")
STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
LIMITS = {Mode.OFFICIAL: Limits(cpu_s=3, wall_s=9), Mode.FAITHFUL: Limits(cpu_s=10, wall_s=20)}
ASK = (
    "Complete the Python function below. Answer with one Markdown code block that holds the whole program: "
    "the imports, any helper, and the function itself.\n\n```python\n{prompt}\n```"
)
# HumanEval+ in its own release has inputs and a reference instead of a test.
PLUS_TEST = """
def _same(out, expected):
    if isinstance(expected, float):
        return abs(out - expected) <= max(ATOL, 1e-6 * max(abs(out), abs(expected)))
    if isinstance(expected, (list, tuple)) and ATOL:
        return len(out) == len(expected) and all(map(_same, out, expected))
    return out == expected

def check(candidate):
    import copy
    for _input in INPUTS:
        expected = _reference(*copy.deepcopy(_input))
        out = candidate(*copy.deepcopy(_input))
        assert _same(out, expected), f"expected {expected!r:.100}"
"""


class HumanEvalProblem(Record):
    """One row; HumanEval+'s own release brings `base_input` and `plus_input` in the place of `test`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    task_id: str
    source: str = Field(alias="prompt")
    entry_point: str
    test: str = ""
    canonical_solution: str = ""
    base_input: tuple[Any, ...] = ()
    plus_input: tuple[Any, ...] = ()
    atol: float = 0.0

    @property
    def id(self) -> str:
        """The published task id."""
        return self.task_id

    def prompt(self, mode: Mode) -> Prompt:
        """The bare text, or a chat that asks for the whole function."""
        if mode is Mode.OFFICIAL:
            return Prompt(text=self.source, stop=STOPS)
        return Prompt(messages=(Message(role="user", content=ASK.format(prompt=self.source.strip())),))

    def answer(self, sample: Sample, mode: Mode) -> Answer:
        """Official: prompt and completion. Faithful: a whole function if the reply has one, else the same."""
        reply = sample.completion
        if mode is Mode.OFFICIAL:
            return Answer(code=self.source + reply)
        if "```" not in reply and "<think>" not in reply and "</think>" not in reply:
            whole = defines(reply, self.entry_point)
            return self._not_empty(self._preamble() + reply if whole else self.source + reply, reply, sample)
        found = read_chat(sample, self.entry_point)
        if found.outcome or defines(found.code, self.entry_point):
            return found if found.outcome else Answer(code=self._preamble() + found.code)
        return Answer(code=self.source + found.code)

    def check(self, code: str, sandbox: Sandbox, limits: Limits, mode: Mode) -> Verdict:
        """The test's `check`, with a proxy as its candidate."""
        exam = Exam(setup=self._setup(), test=self.test or PLUS_TEST, names=(self.entry_point,), call="check")
        return examine(sandbox, code, exam, limits)

    def _setup(self) -> str:
        """The prompt's helpers for the test; for HumanEval+'s own form, the reference and the inputs."""
        helpers = self.source + "\n    pass\n"
        if self.test:
            return helpers
        reference = self.source + self.canonical_solution
        inputs = [*self.base_input, *self.plus_input]
        return (
            f"{helpers}\n_space = {{}}\nexec({reference!r}, _space)\n"
            f"_reference = _space[{self.entry_point!r}]\n"
            f"from math import inf, nan\nINPUTS = {inputs!r}\nATOL = {self.atol!r}\n"
        )

    def _preamble(self) -> str:
        """The prompt's imports and helpers; the function itself is a stub that the answer replaces."""
        return self.source + "\n    pass\n\n"

    def _not_empty(self, program: str, reply: str, sample: Sample) -> Answer:
        if reply.strip():
            return Answer(code=program)
        return Answer(outcome=Outcome.TRUNCATED if sample.finish_reason == "length" else Outcome.NO_CODE)


def load(problems: Path | None, **_: object) -> Benchmark:
    """HumanEval from a file, or from the hub."""
    return _load("humaneval", problems, HUB)


def load_plus(problems: Path | None, **_: object) -> Benchmark:
    """HumanEval+ from a file in either published form, or from the hub."""
    return _load("humaneval+", problems, HUB_PLUS)


def _load(name: str, problems: Path | None, hub: tuple[str, str]) -> Benchmark:
    rows: Sequence[HumanEvalProblem] = read_rows(problems, HumanEvalProblem, hub)
    return Benchmark(name, tuple(rows), LIMITS, {"source": str(problems or hub[0])})
