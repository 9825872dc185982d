"""Inside the other cell: runs a benchmark's own test, with a proxy in the place of the generated code.

The proxy sends each call's arguments as values and gets values back, so the test's expected values and its
comparisons never share a process with the code they judge. Writes one line of verdict on its real stdout.
"""

from __future__ import annotations

import builtins
import json
import os
import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import wire  # type: ignore[import-not-found]  # lies beside this file in the cell

LONGEST_ANSWER = 64 << 20


class Gone(BaseException):
    """The code's process ended, or said something that is no answer; no test may swallow this."""


class Raised(Exception):
    """The code raised something that is no built-in exception."""


class Link:
    """The channel to the generated code; remembers the last call for the verdict's detail."""

    def __init__(self) -> None:
        self.answers = os.fdopen(3, "rb")
        self.requests = os.fdopen(os.dup(3), "w", encoding="utf-8")
        self.last_call = ""
        self.raised = ""

    def answer(self) -> dict[str, Any]:
        """The next line from the code."""
        line = self.answers.readline(LONGEST_ANSWER)
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            raise Gone(line[:200].decode(errors="replace")) from None
        if not isinstance(answer, dict):
            raise Gone("not an answer")
        return answer

    def call(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Calls the code's function `name` and returns its value, or raises what it raised."""
        self.last_call = f"{name}({', '.join(shown(arg) for arg in args)})"[:300]
        request = {"path": [name], "args": wire.encode(list(args)), "kwargs": wire.encode(kwargs)}
        try:
            self.requests.write(json.dumps(request) + "\n")
            self.requests.flush()
        except OSError:
            raise Gone("hung up") from None
        answer = self.answer()
        if "raised" in answer:
            self.fail(answer["raised"])
        try:
            value = wire.decode(answer["value"])
        except (KeyError, ValueError, TypeError, RecursionError) as error:
            raise Gone(f"no value: {error}") from None
        self.last_call += f" -> {shown(value)}"
        return value

    def fail(self, raised: Any) -> None:
        """Raises the built-in exception of that name, or `Raised`."""
        name, message = str(raised[0]), str(raised[1])
        self.raised = f"{name}: {message}"
        kind = getattr(builtins, name, None)
        if isinstance(kind, type) and issubclass(kind, Exception):
            raise kind(message)
        raise Raised(self.raised)


def shown(value: Any) -> str:
    """A value for the verdict's detail, shortened."""
    try:
        return reprlib.repr(value)
    except ValueError:
        return "<a very long number>"


def proxy(link: Link, name: str) -> Callable[..., Any]:
    """Stands in for the code's function `name`."""

    def candidate(*args: Any, **kwargs: Any) -> Any:
        return link.call(name, args, kwargs)

    return candidate


def judge(link: Link, exam: dict[str, Any]) -> dict[str, Any]:
    """Loads the code, runs the test, and says what came of it."""
    answer = link.answer()
    if "raised" in answer:
        return {"outcome": "exception", "detail": ": ".join(map(str, answer["raised"]))}
    names = exam["names"]
    namespace: dict[str, Any] = {"__name__": "examiner"}
    exec(compile(exam["setup"], "setup.py", "exec"), namespace)
    namespace.update({name: proxy(link, name) for name in names})
    try:
        exec(compile(exam["test"], "test.py", "exec"), namespace)
        if exam["call"]:
            namespace[exam["call"]](namespace[names[0]])
    except AssertionError as error:
        outcome = "exception" if link.raised else "wrong-answer"
        return {"outcome": outcome, "detail": link.raised or f"{link.last_call} {str(error)[:200]}".strip()}
    except Exception as error:
        if link.raised:
            return {"outcome": "exception", "detail": f"{link.raised} in {link.last_call}"}
        return {"outcome": "wrong-answer", "detail": f"{link.last_call}; comparing it: {error!r}"[:500]}
    return {"outcome": "passed", "detail": ""}


def verdict(link: Link, exam: dict[str, Any]) -> dict[str, Any]:
    """The judgement; a lost candidate and a broken exam are told apart."""
    try:
        return judge(link, exam)
    except Gone as gone:
        return {"outcome": "gone", "detail": f"{link.last_call} {gone}".strip()}
    except BaseException as error:
        return {
            "outcome": "harness-error",
            "detail": f"the benchmark's own test failed to run: {error!r}"[:500],
        }


def main() -> None:
    """Keeps its real stdout for the verdict; what the test prints goes nowhere."""
    out: IO[str] = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    exam = json.loads(Path("exam.json").read_text(encoding="utf-8"))
    out.write(json.dumps(verdict(Link(), exam)) + "\n")
    out.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
