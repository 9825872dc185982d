"""Inside the cell: loads the generated code and answers calls to it, one line each, on descriptor 3.

First line out: whether the code loaded. Then, per request `{"path": [...], "args": ..., "kwargs": ...}`,
the value or what was raised. The code can tamper with everything here; nothing here knows what is right.
"""

from __future__ import annotations

import json
import os
import sys
import types
from pathlib import Path
from typing import Any

import wire  # type: ignore[import-not-found]  # lies beside this file in the cell

SOURCE = "main.py"


def load() -> types.ModuleType:
    """The code as a module whose name is not `__main__`."""
    module = types.ModuleType("candidate")
    sys.modules["candidate"] = module
    exec(compile(Path(SOURCE).read_bytes(), SOURCE, "exec"), module.__dict__)
    return module


def find(module: types.ModuleType, path: list[str]) -> Any:
    """The function of that name, or the method of a fresh instance: `["Solution", "twoSum"]`."""
    found = getattr(module, path[0])
    return found if len(path) == 1 else getattr(found(), path[1])


def raised(error: BaseException) -> str:
    """A line that says what was raised."""
    return json.dumps({"raised": [type(error).__name__, str(error)[:500]]})


def call(module: types.ModuleType, line: bytes) -> str:
    """Answers one request."""
    try:
        request = json.loads(line)
        arguments = wire.decode(request["args"])
        value = find(module, request["path"])(*arguments, **wire.decode(request["kwargs"]))
        return json.dumps({"value": wire.encode(value)})
    except BaseException as error:
        return raised(error)


def main() -> None:
    """Loads, says so, and answers until the other side hangs up."""
    with os.fdopen(3, "rb") as requests, os.fdopen(os.dup(3), "w", encoding="utf-8") as answers:
        try:
            module = load()
        except BaseException as error:
            answers.write(raised(error) + "\n")
            return
        answers.write('{"loaded": true}\n')
        answers.flush()
        for line in requests:
            answers.write(call(module, line) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
