"""Finding the program in a model's reply: thinking, fences, truncation.

Pure functions of text. What is done with a reply is documented in docs/evaluation.md, "Reading answers".
"""

from __future__ import annotations

import ast
import re
import threading
from typing import Final, NamedTuple

from finetune.evaluate.codegen.benchmark import Answer, Sample
from finetune.sandbox.verdict import Outcome

FENCE = re.compile(r"^[ \t]*(```+|~~~+)[ \t]*([\w+#.-]*)[^\n]*$", re.MULTILINE)
PYTHON = {"", "python", "python3", "py", "py3"}
# Python 3.11 counts the depth of all threads together and raises SystemError when two are at it
# (https://github.com/python/cpython/issues/106905).
_PARSING: Final = threading.Lock()
_NO_PYTHON: Final = (SyntaxError, ValueError, RecursionError, MemoryError)


class Fence(NamedTuple):
    """One fenced block; `closed` is False when the reply ended inside it."""

    language: str
    code: str
    closed: bool


def without_thinking(reply: str) -> str | None:
    """The reply after `</think>`; None when it never leaves `<think>`."""
    before, end, after = reply.rpartition("</think>")
    if end:
        return None if "<think>" in after else after
    return None if "<think>" in before + after else reply


def fences(text: str) -> list[Fence]:
    """The fenced blocks in order; a fence is closed by one of the same kind without a language."""
    found: list[Fence] = []
    opened: re.Match[str] | None = None
    for mark in FENCE.finditer(text):
        if opened is None:
            opened = mark
        elif mark[1].startswith(opened[1]) and not mark[2]:
            found.append(Fence(opened[2].lower(), text[opened.end() + 1 : mark.start()], True))
            opened = None
    if opened is not None:
        found.append(Fence(opened[2].lower(), text[opened.end() + 1 :], False))
    return found


def parse(code: str) -> ast.Module:
    """`ast.parse`, also from several threads."""
    with _PARSING:
        return ast.parse(code)


def defines(code: str, name: str) -> bool:
    """Whether `code` parses and has the top-level function, class or variable `name`."""
    try:
        tree = parse(code)
    except _NO_PYTHON:
        return False
    return any(
        getattr(node, "name", None) == name
        or (isinstance(node, ast.Assign) and any(getattr(t, "id", None) == name for t in node.targets))
        for node in tree.body
    )


def parses(code: str) -> bool:
    """Whether `code` is Python that does something."""
    try:
        return any(
            not isinstance(node, ast.Expr) or isinstance(node.value, ast.Call) for node in parse(code).body
        )
    except _NO_PYTHON:
        return False


def read_chat(sample: Sample, name: str = "") -> Answer:
    """The faithful way: after the thinking, the last closed Python block that defines `name` (or that
    parses).

    Failing that, the last closed Python block; failing that, the whole reply when it is Python. A reply cut
    off by the token limit before its program was complete is `TRUNCATED`, one that never stopped thinking
    `OVER_REASONING`, one without a program `NO_CODE`.
    """
    text = without_thinking(sample.completion)
    if text is None:
        return Answer(outcome=Outcome.OVER_REASONING)
    blocks = fences(text)
    closed = [block.code for block in blocks if block.closed and block.language in PYTHON]
    fitting = [code for code in closed if (defines(code, name) if name else parses(code))]
    if fitting or closed:
        return Answer(code=(fitting or closed)[-1])
    if sample.finish_reason == "length":
        return Answer(outcome=Outcome.TRUNCATED)
    opened = [block.code for block in blocks if not block.closed and block.language in PYTHON]
    for code in (*opened, text):
        if defines(code, name) if name else parses(code):
            return Answer(code=code)
    return Answer(outcome=Outcome.NO_CODE)


def read_last_fence(sample: Sample) -> Answer:
    """LiveCodeBench's way: the lines between the last two lines that hold a fence."""
    lines = sample.completion.split("\n")
    marks = [number for number, line in enumerate(lines) if "```" in line]
    if len(marks) >= 2:
        return Answer(code="\n".join(lines[marks[-2] + 1 : marks[-1]]))
    if without_thinking(sample.completion) is None:
        return Answer(outcome=Outcome.OVER_REASONING)
    return Answer(outcome=Outcome.TRUNCATED if sample.finish_reason == "length" else Outcome.NO_CODE)
