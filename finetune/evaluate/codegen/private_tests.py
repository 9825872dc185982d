"""LiveCodeBench's private tests: base64 around zlib around a pickle of one JSON string.

A pickle is a program, so it is never run: its instructions are read one by one, and only those that a single
string needs are accepted. Anything else, and anything too large, is refused with the instruction's name.
"""

from __future__ import annotations

import base64
import binascii
import json
import pickletools
import zlib
from typing import Any, Final

from review_data.errors import DataError

LARGEST_BYTES: Final = 1 << 30
TEXT: Final = frozenset({"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"})
HARMLESS: Final = frozenset({"PROTO", "FRAME", "MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT", "STOP"})


def unpack(packed: str, where: str) -> list[Any]:
    """The tests as JSON rows; plain JSON is taken as it is. `DataError` names what is wrong."""
    text = packed if packed.lstrip().startswith("[") else pickled_text(_inflate(packed, where), where)
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"the private tests are not JSON ({error.msg})", file=where) from None
    if not isinstance(rows, list):
        raise DataError("the private tests are not a list", file=where)
    return rows


def pickled_text(data: bytes, where: str) -> str:
    """The one string in a pickle; every other kind of pickle is refused unread."""
    found: list[str] = []
    try:
        for instruction, argument, _ in pickletools.genops(data):
            if instruction.name in TEXT:
                found.append(str(argument))
            elif instruction.name not in HARMLESS:
                raise DataError(
                    f"the private tests hold the pickle instruction {instruction.name}, which one string "
                    "does not need; this file is not LiveCodeBench's, don't use it",
                    file=where,
                )
    except ValueError as error:
        raise DataError(f"the private tests are no pickle ({error})", file=where) from None
    if len(found) != 1:
        raise DataError(f"the private tests hold {len(found)} strings, not one", file=where)
    return found[0]


def _inflate(packed: str, where: str) -> bytes:
    """base64 and zlib undone, up to a bound."""
    try:
        inflater = zlib.decompressobj()
        data = inflater.decompress(base64.b64decode(packed, validate=True), LARGEST_BYTES)
    except (binascii.Error, zlib.error) as error:
        raise DataError(f"the private tests can't be unpacked ({error})", file=where) from None
    if inflater.unconsumed_tail or not inflater.eof:
        raise DataError(f"the private tests are cut off or larger than {LARGEST_BYTES} bytes", file=where)
    return data
