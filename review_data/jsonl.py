"""Typed JSON Lines: one validated record per line, written atomically.

Every error names file, line and field. Owns no schema: the caller brings the pydantic type.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from review_data.errors import DataError

RecordT = TypeVar("RecordT", bound=BaseModel)


def read_jsonl(path: Path, kind: type[RecordT]) -> Iterator[RecordT]:
    """Each non-blank line of `path` as a `kind`; `DataError` with file, line and field otherwise."""
    return (row for _, row in numbered_rows(read_data(path), kind, path))


def numbered_rows(data: bytes, kind: type[RecordT], path: Path) -> Iterator[tuple[int, RecordT]]:
    """As `read_jsonl`, of bytes that are read already, and each row with the number of its line (from 1)."""
    for number, line in numbered_lines(data, path):
        yield number, parse_row(line, kind, path, number)


def numbered_lines(data: bytes, path: Path) -> Iterator[tuple[int, str]]:
    """The non-blank lines of a text with their numbers; only line feeds and carriage returns end one."""
    for number, line in enumerate(io.StringIO(decoded(data, path), newline=None), start=1):
        if line.strip():
            yield number, line


def read_data(path: Path) -> bytes:
    """The file's bytes, read once: a pipe has no second time; `DataError` when it can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"can't be read ({error.strerror}); check the path", file=path) from error


def decoded(data: bytes, path: Path) -> str:
    """The bytes as UTF-8, a byte order mark removed; `DataError` when they are none."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"is not UTF-8 text ({error.reason}); unpack it if it is packed, or save it as UTF-8", file=path
        ) from error


def parse_row(line: str, kind: type[RecordT], path: Path | str, number: int) -> RecordT:
    """One line as a `kind`; `DataError` names the first field that is wrong."""
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or None
        # The parser counts within this line, which is named already.
        words = first["msg"].replace(" at line 1 column ", " at column ")
        raise DataError(f"{words}; correct this row", file=path, line=number, field=field) from None


def write_jsonl(path: Path, rows: Iterable[BaseModel]) -> None:
    """Writes all rows to `path` in one atomic step."""
    write_atomically(path, "".join(row.model_dump_json() + "\n" for row in rows))


def write_atomically(path: Path, content: str | bytes | Iterable[bytes]) -> None:
    """Writes `content` beside `path`, then renames: readers see the old file or the new one, never half.

    A link stays, what it points to is replaced. A device or a named pipe is written to as it is.
    """
    data = content.encode() if isinstance(content, str) else content
    parts = (data,) if isinstance(data, bytes) else data
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:
            stream.writelines(parts)
        return
    path = Path(os.path.realpath(path))  # a link to itself is no error yet, as it is to resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
