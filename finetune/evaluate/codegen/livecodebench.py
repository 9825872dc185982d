"""LiveCodeBench code generation (Jain et al. 2024): its JSON Lines files, filters, tests and two ways to
score.

A window counts in months of `contest_date`, both ends included. Tests are `stdin` (a program) or `functional`
(a method of `Solution`, or a function). The private tests' packing is opened without unpickling anything
(`private_tests.py`). Prompts and limits of the official mode: LiveCodeBench, lcb_runner, MIT licence.
"""

from __future__ import annotations

import json
import re
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field

from finetune.evaluate.codegen.answers import read_chat, read_last_fence
from finetune.evaluate.codegen.benchmark import Answer, Benchmark, Message, Mode, Prompt, Sample
from finetune.evaluate.codegen.files import read_rows
from finetune.evaluate.codegen.outputs import official_printed, official_returned, printed, returned
from finetune.evaluate.codegen.private_tests import unpack
from finetune.sandbox.drivers.official_stdin import PRELUDE
from finetune.sandbox.examine import call_function, ended_badly, run_program
from finetune.sandbox.job import Limits
from finetune.sandbox.machine import Sandbox
from finetune.sandbox.verdict import Outcome, Verdict
from review_data.domain import Record
from review_data.errors import DataError, UserError

HUB = ("livecodebench/code_generation_lite", "test")
LIMITS = {
    Mode.OFFICIAL: Limits(cpu_s=6, wall_s=18, memory_mb=4096),
    Mode.FAITHFUL: Limits(cpu_s=10, wall_s=20),
}
SYSTEM = (
    "You are an expert Python programmer. You will be given a question (problem specification) and will "
    "generate a correct Python program that matches the specification and passes all tests."
)
WITH_STARTER = (
    "You will use the following starter code to write the solution to the problem and enclose your code "
    "within delimiters."
)
WITHOUT_STARTER = (
    "Read the inputs from stdin solve the problem and write the answer to stdout (do not directly test on "
    "the sample inputs). Enclose your code within delimiters as follows. Ensure that when the python program "
    "runs, it reads the inputs, runs the algorithm and writes output to STDOUT."
)
ASK_PROGRAM = (
    "Solve this problem with a Python 3 program that reads standard input and prints the answer and nothing "
    "else. End your reply with one Markdown code block that holds the whole program.\n\n{question}"
)
ASK_FUNCTION = (
    "Solve this problem by completing the Python 3 code below; keep the names. End your reply with one "
    "Markdown code block that holds the whole code.\n\n{question}\n\n```python\n{starter}\n```"
)
WINDOW = re.compile(r"(\d{4}-\d{2})?:(\d{4}-\d{2})?")


class Test(Record):
    """One test; of a functional one, input is one JSON argument per line and output is JSON."""

    __test__ = False
    model_config = ConfigDict(frozen=True, extra="ignore")

    input: str
    output: str
    testtype: Literal["stdin", "functional"] = "stdin"


class LiveCodeBenchProblem(Record):
    """One row, tests still packed."""

    model_config = ConfigDict(frozen=True, extra="ignore", ignored_types=(cached_property,))

    question_id: str
    question_title: str = ""
    question_content: str
    platform: str
    difficulty: str
    contest_date: str = Field(min_length=7)
    starter_code: str = ""
    public_test_cases: str
    private_test_cases: str = "[]"
    metadata: str = "{}"
    full: bool = True

    @property
    def id(self) -> str:
        """The published question id."""
        return self.question_id

    @cached_property
    def tests(self) -> tuple[Test, ...]:
        """The tests to pass: public ones, and private ones unless scoring is public-only."""
        where = f"question {self.question_id}"
        try:
            rows = json.loads(self.public_test_cases)
            if self.full:
                rows = rows + unpack(self.private_test_cases, where)
            tests = tuple(Test.model_validate(row) for row in rows)
        except (ValueError, TypeError) as error:
            raise DataError(f"its tests can't be read: {error}", file=where) from None
        if not tests:
            raise DataError("has no tests; a problem without tests would pass everything", file=where)
        return tests

    @property
    def path(self) -> tuple[str, ...]:
        """The function to call: of a class `Solution` when the starter code has one."""
        name = str(json.loads(self.metadata or "{}").get("func_name", ""))
        if not name:
            found = re.findall(r"def\s+(\w+)\s*\(", self.starter_code)
            if not found:
                raise DataError("names no function in metadata", file=f"question {self.question_id}")
            name = found[-1]
        return ("Solution", name) if "class Solution" in self.starter_code else (name,)

    def prompt(self, mode: Mode) -> Prompt:
        """LiveCodeBench's own chat prompt, or a plainer one."""
        if mode is Mode.FAITHFUL:
            ask = ASK_FUNCTION if self.starter_code else ASK_PROGRAM
            text = ask.format(question=self.question_content, starter=self.starter_code)
            return Prompt(messages=(Message(role="user", content=text),))
        way, code = (
            (WITH_STARTER, self.starter_code) if self.starter_code else (WITHOUT_STARTER, "# YOUR CODE HERE")
        )
        text = (
            f"### Question:\n{self.question_content}\n\n### Format: {way}\n```python\n{code}\n```\n\n"
            "### Answer: (use the provided format with backticks)\n\n"
        )
        return Prompt(messages=(Message(role="system", content=SYSTEM), Message(role="user", content=text)))

    def answer(self, sample: Sample, mode: Mode) -> Answer:
        """Official: between the last two fences. Faithful: the last block with the function or a program."""
        if mode is Mode.OFFICIAL:
            return read_last_fence(sample)
        return read_chat(sample, self.path[0] if self.starter_code else "")

    def check(self, code: str, sandbox: Sandbox, limits: Limits, mode: Mode) -> Verdict:
        """Each test in a process of its own, up to the first failure."""
        for number, test in enumerate(self.tests):
            run = self._call if test.testtype == "functional" else self._program
            verdict = run(code, test, sandbox, limits, mode)
            if not verdict.passed:
                detail = f"test {number + 1} of {len(self.tests)}: {verdict.detail}"
                return verdict.model_copy(update={"detail": detail, "tests_passed": number})
        return Verdict(outcome=Outcome.PASSED, tests_passed=len(self.tests))

    def _program(self, code: str, test: Test, sandbox: Sandbox, limits: Limits, mode: Mode) -> Verdict:
        official = mode is Mode.OFFICIAL
        ran = run_program(sandbox, code, test.input, limits, official=official)
        if not ran.succeeded:
            return ended_badly(ran)
        out = ran.stdout.decode("utf-8", "replace")
        same = official_printed if official else printed
        return _compared(same(out, test.output), out, test.output)

    def _call(self, code: str, test: Test, sandbox: Sandbox, limits: Limits, mode: Mode) -> Verdict:
        arguments = [json.loads(line) for line in test.input.split("\n") if line.strip()]
        result = call_function(sandbox, f"{PRELUDE}\n{code}", self.path, arguments, limits)
        if result.verdict:
            return result.verdict
        expected = json.loads(test.output)
        same = official_returned if mode is Mode.OFFICIAL else returned
        return _compared(same(result.value, expected), repr(result.value), test.output)


def load(
    problems: Path | None,
    *,
    window: str = "",
    platform: str = "",
    difficulty: str = "",
    tests: str = "full",
    **_: object,
) -> Benchmark:
    """The rows of a file or of the hub that fit the filters; `UserError` when none does."""
    rows = read_rows(problems, LiveCodeBenchProblem, HUB)
    chosen = [row for row in rows if fits(row, window, platform, difficulty)]
    if not chosen:
        found = f"{len(rows)} problems of {', '.join(sorted({row.platform for row in rows}))}"
        raise UserError(f"no problem fits --window, --platform and --difficulty; the file has {found}")
    if tests not in ("full", "public"):
        raise UserError(f"--tests: `{tests}` is not a way to score; choose full or public")
    scored = tuple(row.model_copy(update={"full": tests == "full"}) for row in chosen)
    filters = {"window": window, "platform": platform, "difficulty": difficulty, "tests": tests}
    facts = {"source": str(problems or HUB[0]), **{name: value for name, value in filters.items() if value}}
    return Benchmark("livecodebench", scored, LIMITS, facts)


def fits(row: LiveCodeBenchProblem, window: str, platform: str, difficulty: str) -> bool:
    """Whether the row's month lies in the window (`2024-08:2025-02`, either end may be open) and so on."""
    found = WINDOW.fullmatch(window) if window else None
    if window and found is None:
        raise UserError(f"--window: `{window}` is not two months; write 2024-08:2025-02")
    month = row.contest_date[:7]
    inside = found is None or (found[1] or "") <= month <= (found[2] or "9999-99")
    return inside and _among(row.platform, platform) and _among(row.difficulty, difficulty)


def _among(value: str, wanted: str) -> bool:
    return not wanted or value.lower() in [part.strip().lower() for part in wanted.split(",")]


def _compared(same: bool, got: str, expected: str) -> Verdict:
    if same:
        return Verdict(outcome=Outcome.PASSED)
    return Verdict(outcome=Outcome.WRONG_ANSWER, detail=f"expected {_short(expected)}, got {_short(got)}")


def _short(value: Any) -> str:
    text = str(value).strip()
    return repr(text if len(text) <= 80 else text[:77] + "...")
