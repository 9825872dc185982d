"""Inside the cell: runs a stdin program the way LiveCodeBench's own harness does, its quirks included.

LiveCodeBench does not start a program: it wraps the source in a function and replaces `sys.stdin` by an
object that has `read`, `readline` and `readlines`, but can't be iterated; its `buffer.readline` always gives
the first line, and descriptor 0 is empty. Correct programs that rely on the rest fail there, and so here.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

PRELUDE = "\n".join(
    [
        f"from {name} import *"
        for name in ("string", "re", "datetime", "collections", "heapq", "bisect", "copy")
    ]
    + [
        f"from {name} import *"
        for name in ("math", "random", "statistics", "itertools", "functools", "operator")
    ]
    + [f"from {name} import *" for name in ("io", "sys", "json", "builtins", "typing")]
    + ["import string, re, datetime, collections, heapq, bisect, copy, math, random, statistics"]
    + ["import itertools, functools, operator, io, sys, json", "sys.setrecursionlimit(50000)"]
)


class Buffer:
    """`sys.stdin.buffer` as that harness has it."""

    def __init__(self, text: str) -> None:
        self.data = text.encode()

    def read(self, *_: Any) -> bytes:
        return self.data

    def readline(self, *_: Any) -> bytes:
        return self.data.split(b"\n")[0] + b"\n"


class Stdin:
    """`sys.stdin` as that harness has it."""

    def __init__(self, text: str) -> None:
        self._lines = io.StringIO(text)
        self._text = text
        self.buffer = Buffer(text)

    def read(self, *_: Any) -> str:
        return self._text

    def readline(self, *_: Any) -> str:
        return self._lines.readline()

    def readlines(self, *_: Any) -> list[str]:
        return self._text.split("\n")


def wrapped(source: str) -> Callable[[], Any]:
    """The program as one function: imports stay outside, a `__main__` block is unwrapped."""
    tree = ast.parse(source)
    last = tree.body[-1] if tree.body else None
    if isinstance(last, ast.If) and ast.unparse(last.test) == "__name__ == '__main__'":
        tree.body[-1:] = last.body
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    rest = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    body = "\n".join("    " + line for node in rest for line in ast.unparse(node).splitlines())
    text = "\n".join(
        [PRELUDE, *(ast.unparse(node) for node in imports), "def program():", body or "    pass"]
    )
    namespace: dict[str, Any] = {"__name__": "solution"}
    exec(compile(text, "main.py", "exec"), namespace)
    return namespace["program"]  # type: ignore[no-any-return]


def main() -> None:
    """Reads the input, then hands it over in that harness's manner."""
    stand_in: Any = Stdin(sys.stdin.read())
    sys.stdin = stand_in

    def ask(*_: Any) -> str:
        line: str = stand_in.readline()
        if not line:
            raise EOFError
        return line.removesuffix("\n")

    builtins.input = ask
    program = wrapped(Path("main.py").read_text(encoding="utf-8"))
    with contextlib.suppress(SystemExit):
        program()


if __name__ == "__main__":
    main()
