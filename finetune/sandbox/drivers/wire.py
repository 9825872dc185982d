"""How values cross from one cell to another: JSON with tags for what JSON lacks; nothing is ever executed.

Subclasses travel as the built-in they extend, so an `__eq__` or `__repr__` of the sender's has no say.
Iterators and views arrive as `Items` (can be walked, equals nothing), other objects as `Opaque`. Runs inside
the cells, standard library only, and in the parent.
"""

from __future__ import annotations

import importlib
import itertools
import json
import math
from collections import deque
from types import GeneratorType
from typing import Any

MOST_ITEMS = 1_000_000
SMALL_INT = 1 << 62
# Their modules take longer to import than a short program to run.
NUMBERS = {"Decimal": "decimal", "Fraction": "fractions"}
WALKED: tuple[type, ...] = (
    range,
    map,
    filter,
    zip,
    enumerate,
    reversed,
    GeneratorType,
    deque,
    type({}.keys()),
    type({}.values()),
    type({}.items()),
)


class Items:
    """What an iterator or view held."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __iter__(self) -> Any:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


class Opaque:
    """A value that can't travel; equals nothing but itself."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"<a value of type {self.kind}>"


def encode(value: Any) -> str:
    """One line of text for a value."""
    return json.dumps(_plain(value))


def decode(text: str | bytes) -> Any:
    """The value of a line; `ValueError` (or `RecursionError`) for anything `encode` can't have written."""
    try:
        return _value(json.loads(text))
    except (KeyError, TypeError, IndexError, AttributeError, ZeroDivisionError, ArithmeticError) as error:
        raise ValueError(f"not a value: {error}") from None


def _plain(value: Any) -> Any:
    if value is None or value is True or value is False:
        return value
    if hasattr(value, "dtype") and hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, int):
        number = int(value)
        return number if abs(number) < SMALL_INT else _tagged("int", hex(number))
    if isinstance(value, float):
        real = float(value)
        return real if math.isfinite(real) else _tagged("float", repr(real))
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return _tagged_value(value)


def _tagged_value(value: Any) -> dict[str, Any]:
    for kind in (tuple, frozenset, set):
        if isinstance(value, kind):
            return _tagged(kind.__name__, [_plain(item) for item in value])
    if isinstance(value, dict):
        return _tagged("dict", [[_plain(key), _plain(item)] for key, item in value.items()])
    if isinstance(value, (bytes, bytearray)):
        return _tagged("bytes", bytes(value).decode("latin-1"))
    if isinstance(value, complex):
        return _tagged("complex", [repr(value.real), repr(value.imag)])
    if type(value).__name__ in NUMBERS:
        return _tagged(type(value).__name__, str(value))
    walked: Any = value
    if isinstance(value, WALKED):
        return _tagged("items", [_plain(item) for item in itertools.islice(walked, MOST_ITEMS)])
    return _tagged("opaque", type(value).__name__)


def _tagged(tag: str, content: Any) -> dict[str, Any]:
    return {"t": tag, "v": content}


def _value(plain: Any) -> Any:
    if isinstance(plain, list):
        return [_value(item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    return READERS[plain["t"]](plain["v"])


def _number(kind: str, text: str) -> Any:
    return getattr(importlib.import_module(NUMBERS[kind]), kind)(text)


READERS: dict[str, Any] = {
    "int": lambda text: int(text, 16),
    "float": float,
    "tuple": lambda items: tuple(_value(item) for item in items),
    "set": lambda items: {_value(item) for item in items},
    "frozenset": lambda items: frozenset(_value(item) for item in items),
    "dict": lambda pairs: {_value(key): _value(item) for key, item in pairs},
    "bytes": lambda text: text.encode("latin-1"),
    "complex": lambda parts: complex(float(parts[0]), float(parts[1])),
    "Decimal": lambda text: _number("Decimal", text),
    "Fraction": lambda text: _number("Fraction", text),
    "items": lambda items: Items([_value(item) for item in items]),
    "opaque": lambda kind: Opaque(str(kind)),
}
