"""Comparing what a program printed, or a function returned, with what was expected.

`official_*` follow LiveCodeBench's testing_util; the others accept what the contests accept: any white space
between tokens on a line, and 1e-6 (programs) or 1e-5 (functions) of error in real numbers.
"""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from typing import Any

PRINTED_TOLERANCE = 1e-6
RETURNED_TOLERANCE = 1e-5


def official_printed(out: str, expected: str) -> bool:
    """Same number of lines; each equal after stripping, or equal as decimals token by token."""
    lines, wanted = _stripped_lines(out), _stripped_lines(expected)
    return len(lines) == len(wanted) and all(
        line == want or _as_decimals(line) == _as_decimals(want) is not None
        for line, want in zip(lines, wanted, strict=True)
    )


def printed(out: str, expected: str) -> bool:
    """Same lines once blanks are normalised and blank lines at the end dropped; reals within 1e-6."""
    lines, wanted = _token_lines(out), _token_lines(expected)
    return len(lines) == len(wanted) and all(
        len(line) == len(want) and all(map(_same_token, line, want))
        for line, want in zip(lines, wanted, strict=True)
    )


def official_returned(value: Any, expected: Any) -> bool:
    """Equality, a tuple counting as a list at the top."""
    return bool((list(value) if isinstance(value, tuple) else value) == expected)


def returned(value: Any, expected: Any) -> bool:
    """Equality of structure, tuples counting as lists everywhere, reals within 1e-5; True is not 1."""
    if isinstance(value, list | tuple) and isinstance(expected, list | tuple):
        return len(value) == len(expected) and all(map(returned, value, expected))
    if isinstance(value, bool) or isinstance(expected, bool):
        return value is expected
    if isinstance(expected, float) and isinstance(value, int | float):
        return _close(value, expected, RETURNED_TOLERANCE)
    if isinstance(expected, dict) and isinstance(value, dict):
        by_text = {str(key): item for key, item in value.items()}
        return by_text.keys() == expected.keys() and all(
            returned(by_text[key], expected[key]) for key in expected
        )
    return bool(value == expected)


def _same_token(token: str, want: str) -> bool:
    if token == want:
        return True
    if not any(mark in want for mark in ".eE"):
        return False
    try:
        return _close(float(token), float(want), PRINTED_TOLERANCE)
    except ValueError:
        return False


def _close(value: float, expected: float, tolerance: float) -> bool:
    return value == expected or math.isclose(value, expected, rel_tol=tolerance, abs_tol=tolerance)


def _token_lines(text: str) -> list[list[str]]:
    lines = [line.split() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _stripped_lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().split("\n")]


def _as_decimals(line: str) -> list[Decimal] | None:
    try:
        return [Decimal(token) for token in line.split()]
    except InvalidOperation:
        return None
