"""MBPP (Austin et al. 2021): short tasks with three asserts each, full or sanitized form.

Official: the paper's prompt, with the task and its asserts, continued up to `[DONE]`; the asserts run in
order. Faithful: a chat model is asked the same. The asserts run in a cell of their own; every function that
they call and nobody else defines is a proxy for the generated one.
"""

from __future__ import annotations

import ast
import builtins
from pathlib import Path

from pydantic import AliasChoices, ConfigDict, Field

from finetune.evaluate.codegen.answers import parse, read_chat
from finetune.evaluate.codegen.benchmark import Answer, Benchmark, Message, Mode, Prompt, Sample
from finetune.evaluate.codegen.files import read_rows
from finetune.sandbox.examine import Exam, examine
from finetune.sandbox.job import Limits
from finetune.sandbox.machine import Sandbox
from finetune.sandbox.verdict import Outcome, Verdict
from review_data.domain import Record

HUB = ("google-research-datasets/mbpp", "test")
LIMITS = {Mode.OFFICIAL: Limits(cpu_s=10, wall_s=20), Mode.FAITHFUL: Limits(cpu_s=10, wall_s=20)}
OFFICIAL = (
    "You are an expert Python programmer, and here is your task: {task} Your code should pass these tests:"
)
ASK = (
    "Write a Python function for this task. Answer with one Markdown code block that holds the whole "
    "program.\n\nTask: {task}\n\nThese must hold:\n```python\n{tests}\n```"
)


class MbppProblem(Record):
    """One row of the full (`text`) or the sanitized (`prompt`, `test_imports`) file."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    task_id: int | str
    task: str = Field(validation_alias=AliasChoices("text", "prompt"))
    code: str = ""
    test_list: tuple[str, ...]
    test_setup_code: str = ""
    test_imports: tuple[str, ...] = ()
    challenge_test_list: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The published number."""
        return str(self.task_id)

    @property
    def names(self) -> tuple[str, ...]:
        """The functions that the asserts call and that neither Python nor the set-up defines."""
        tests = parse("\n".join(self.test_list))
        known = set(dir(builtins)) | _defined(self._setup())
        called = [node.func for node in ast.walk(tests) if isinstance(node, ast.Call)]
        return tuple(dict.fromkeys(f.id for f in called if isinstance(f, ast.Name) and f.id not in known))

    def prompt(self, mode: Mode) -> Prompt:
        """The paper's text, or a chat."""
        tests = "\n".join(self.test_list)
        if mode is Mode.OFFICIAL:
            return Prompt(text=f"{OFFICIAL.format(task=self.task)}\n\n{tests}\n[BEGIN]\n", stop=("[DONE]",))
        return Prompt(messages=(Message(role="user", content=ASK.format(task=self.task, tests=tests)),))

    def answer(self, sample: Sample, mode: Mode) -> Answer:
        """Official: all of the completion up to `[DONE]`. Faithful: the program in the reply."""
        if mode is Mode.FAITHFUL:
            return read_chat(sample, self.names[0] if self.names else "")
        text = sample.completion.split("[DONE]")[0].removeprefix("[BEGIN]")
        return Answer(code=text) if text.strip() else Answer(outcome=Outcome.NO_CODE)

    def check(self, code: str, sandbox: Sandbox, limits: Limits, mode: Mode) -> Verdict:
        """The asserts, in order."""
        exam = Exam(setup=self._setup(), test="\n".join(self.test_list), names=self.names)
        return examine(sandbox, code, exam, limits)

    def _setup(self) -> str:
        return "\n".join([*self.test_imports, self.test_setup_code])


def load(problems: Path | None, **_: object) -> Benchmark:
    """MBPP from a file, or its 500 test tasks from the hub."""
    rows = read_rows(problems, MbppProblem, HUB)
    return Benchmark("mbpp", tuple(rows), LIMITS, {"source": str(problems or HUB[0])})


def _defined(source: str) -> set[str]:
    """Names that a piece of code binds at its top level."""
    names = set()
    for node in parse(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names
