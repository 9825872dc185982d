"""Rows that cost something to make, kept on disk one by one, so that an interruption loses none of them.

Owns appending, resuming, and the settings that say what the rows belong to; and the pool that keeps a number
of requests in flight. Knows nothing of what the rows mean.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Generic, TypeVar

from pydantic import ValidationError

from review_data.domain import Record
from review_data.errors import DataError
from review_data.jsonl import write_atomically

RowT = TypeVar("RowT", bound=Record)
ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


class KeptRows(Generic[RowT]):
    """A JSON Lines file that grows. A torn last line (a crash while writing) is dropped on opening.

    `settings` stand beside it in settings.json; opening the folder with others is a `DataError`, because rows
    made in two ways must not be mixed.
    """

    def __init__(self, path: Path, kind: type[RowT], settings: dict[str, object]) -> None:
        self._path, self._kind = path, kind
        self._check_settings(settings)
        self.rows = self._read()

    def append(self, row: RowT) -> None:
        """Writes one row through to the disk."""
        with self._path.open("ab") as file:
            file.write(row.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.rows.append(row)

    def _check_settings(self, settings: dict[str, object]) -> None:
        place = self._path.with_name("settings.json")
        text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
        if not place.exists():
            write_atomically(place, text)
        elif place.read_text(encoding="utf-8") != text:
            raise DataError(
                "this folder holds answers made with other settings; choose another --out to keep them apart",
                file=place,
            )

    def _read(self) -> list[RowT]:
        if not self._path.exists():
            return []
        data = self._path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) != len(data):
            os.truncate(self._path, len(whole))
        try:
            return [self._kind.model_validate_json(line) for line in whole.splitlines() if line.strip()]
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise DataError(f"is damaged: {reason}; remove the line", file=self._path) from None


def in_flight(
    work: Callable[[ItemT], ResultT], items: Iterable[ItemT], at_once: int
) -> Iterator[tuple[ItemT, ResultT]]:
    """Results as they come, `at_once` items being worked on in threads.

    After a failure, or the first Ctrl-C, no item is begun, what is in flight is still handed over, and the
    failure is raised last.
    """
    waiting = iter(items)
    failure: BaseException | None = None
    with _first_interrupt_noted() as stop, ThreadPoolExecutor(at_once) as pool:
        running = {pool.submit(work, item): item for item in islice(waiting, at_once)}
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                item = running.pop(future)
                if error := future.exception():
                    failure = failure or error
                    continue
                yield item, future.result()
                if failure is None and not stop.is_set():
                    running |= {pool.submit(work, item): item for item in islice(waiting, 1)}
    if stop.is_set():
        raise KeyboardInterrupt
    if failure is not None:
        raise failure


@contextmanager
def _first_interrupt_noted() -> Iterator[threading.Event]:
    """For the time of the block, the first SIGINT sets the event; the second interrupts as usual."""
    noted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return

    def note(number: int, frame: FrameType | None) -> None:
        if noted.is_set():
            raise KeyboardInterrupt
        noted.set()

    before = signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)
