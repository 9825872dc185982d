"""Gathers questions of several threads into batches: one worker runs what is waiting, up to a size.

Batches are of one kind (`same`), because a written reply and a label are different runs of the model.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

AskT = TypeVar("AskT")
ReplyT = TypeVar("ReplyT")


class Batcher(Generic[AskT, ReplyT]):
    """Runs `work` on lists of up to `size` asks; `ask` waits for its own reply."""

    def __init__(
        self,
        work: Callable[[Sequence[AskT]], Sequence[ReplyT]],
        *,
        size: int,
        same: Callable[[AskT], object],
    ) -> None:
        self._work, self._size, self._same = work, size, same
        self._waiting: queue.SimpleQueue[tuple[AskT, Future[ReplyT]]] = queue.SimpleQueue()
        self._held: list[tuple[AskT, Future[ReplyT]]] = []
        threading.Thread(target=self._run, daemon=True).start()

    def ask(self, one: AskT) -> ReplyT:
        """The reply to `one`; raises what `work` raised for its batch."""
        future: Future[ReplyT] = Future()
        self._waiting.put((one, future))
        return future.result()

    def _run(self) -> None:
        while True:
            batch = self._next_batch()
            try:
                replies = self._work([one for one, _ in batch])
            except Exception as error:  # every asker of the batch gets it
                for _, future in batch:
                    future.set_exception(error)
            else:
                for (_, future), reply in zip(batch, replies, strict=True):
                    future.set_result(reply)

    def _next_batch(self) -> list[tuple[AskT, Future[ReplyT]]]:
        if not self._held:
            self._held.append(self._waiting.get())
        while not self._waiting.empty():
            self._held.append(self._waiting.get())
        kind = self._same(self._held[0][0])
        batch = [entry for entry in self._held if self._same(entry[0]) == kind][: self._size]
        self._held = [entry for entry in self._held if entry not in batch]
        return batch
