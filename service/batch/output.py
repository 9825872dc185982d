"""The output file of a batch: a line per merge request, in the order that they were given in.

While a batch runs, each result goes to FILE.part and through to the disk; at the end they are put in order
and FILE is replaced in one step. Owns taking over what an earlier batch left.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, NamedTuple

from pydantic import ValidationError

from review_data.errors import UserError
from review_data.jsonl import write_atomically
from service.batch.work import Result


class Line(NamedTuple):
    """Where a result's line lies."""

    file: BinaryIO
    start: int
    size: int

    def read(self) -> bytes:
        """The line with its line feed."""
        self.file.seek(self.start)
        return self.file.read(self.size)


class Output:
    """Results by id. `keys` are those of the whole results that were there before."""

    def __init__(self, path: Path, part: BinaryIO) -> None:
        self._path, self._part = path, part
        self._lines: dict[str, Line] = {}
        self.keys: dict[str, str] = {}

    def take_over(self, file: BinaryIO) -> None:
        """Adds the whole results among the lines of `file`; a torn or foreign line is none."""
        file.seek(0)
        start = 0
        for line in file:
            try:
                result = Result.model_validate_json(line)
            except ValidationError:
                result = None
            if result is not None and result.is_whole and line.endswith(b"\n"):
                self._lines[result.id] = Line(file, start, len(line))
                self.keys[result.id] = result.key
            start += len(line)

    def add(self, result: Result) -> None:
        """Writes a result through to the disk."""
        start = self._part.seek(0, os.SEEK_END)
        self._part.write(line := result.line().encode())
        self._part.flush()
        os.fsync(self._part.fileno())
        self._lines[result.id] = Line(self._part, start, len(line))

    def get(self, name: str) -> Result:
        """The result with that id."""
        return Result.model_validate_json(self._lines[name].read())

    def finish(self, ids: Iterable[str]) -> None:
        """Replaces FILE by the results of `ids`, in that order."""
        write_atomically(self._path, (self._lines[name].read() for name in ids))
        part_of(self._path).unlink(missing_ok=True)


def part_of(path: Path) -> Path:
    """Where the results are while the batch runs."""
    return path.with_name(f"{path.name}.part")


@contextmanager
def open_output(path: Path, *, resume: bool) -> Iterator[Output]:
    """Holds FILE.part for this process; with `resume` it and FILE give what is whole in them.

    `UserError` when another batch holds it, or when it has results that nobody wants to go on with.
    """
    with ExitStack() as stack:
        part = stack.enter_context(_locked(path))
        output = Output(path, part)
        if resume:
            if path.exists():
                output.take_over(stack.enter_context(path.open("rb")))
            output.take_over(part)
        elif part.seek(0, os.SEEK_END):
            raise UserError(
                f"{part_of(path)}: holds the results of a batch that did not end; go on with --resume, or "
                "delete the file"
            )
        _end_torn_line(part)
        try:
            yield output
        finally:
            if not part.seek(0, os.SEEK_END):
                part_of(path).unlink(missing_ok=True)


def _locked(path: Path) -> BinaryIO:
    place = part_of(path)
    try:
        # No link is followed: what it points to would be taken for results, and added to.
        handle = os.open(place, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        if not S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise UserError(f"--output: {place} is in the way and no file; delete it or choose another")
        part = os.fdopen(handle, "a+b")
    except OSError as error:
        reason = "it is a link" if place.is_symlink() else error.strerror
        raise UserError(f"--output: {place} can't be written ({reason}); choose another") from None
    try:
        fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        part.close()
        raise UserError(
            f"{place}: another batch is writing it; wait for it or choose another --output"
        ) from None
    return part


def _end_torn_line(part: BinaryIO) -> None:
    size = part.seek(0, os.SEEK_END)
    part.seek(max(0, size - 1))
    if part.read(1) not in (b"", b"\n"):
        part.write(b"\n")
