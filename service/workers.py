"""A bounded pool of daemon threads over a list of tasks, with a deadline.

`concurrent.futures` joins its threads at exit, so that one hung request would keep a finished process (a git
hook past its deadline) from ending; these threads do not.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

TaskT = TypeVar("TaskT")
ResultT = TypeVar("ResultT")


class Done(NamedTuple, Generic[TaskT, ResultT]):
    """A finished task: its result, or the exception that ended it."""

    task: TaskT
    result: ResultT | None
    error: Exception | None


def run_all(
    tasks: Sequence[TaskT],
    work: Callable[[TaskT], ResultT],
    *,
    concurrency: int,
    deadline: float | None = None,
) -> Iterator[Done[TaskT, ResultT]]:
    """Yields tasks as they finish; stops when all have, or at `deadline` (of `time.monotonic`).

    Tasks that did not finish by then are not yielded; those not begun are never begun. Closing the iterator
    early has the same effect.
    """
    waiting: queue.SimpleQueue[TaskT] = queue.SimpleQueue()
    done: queue.SimpleQueue[Done[TaskT, ResultT]] = queue.SimpleQueue()
    stop = threading.Event()
    for task in tasks:
        waiting.put(task)
    for _ in range(min(concurrency, len(tasks))):
        threading.Thread(target=_drain, args=(waiting, done, work, stop), daemon=True).start()
    try:
        for _ in tasks:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            yield done.get(timeout=left)
    except queue.Empty:
        return
    finally:
        stop.set()


def _drain(
    waiting: queue.SimpleQueue[TaskT],
    done: queue.SimpleQueue[Done[TaskT, ResultT]],
    work: Callable[[TaskT], ResultT],
    stop: threading.Event,
) -> None:
    while not stop.is_set():
        try:
            task = waiting.get_nowait()
        except queue.Empty:
            return
        try:
            done.put(Done(task, work(task), None))
        except Exception as error:  # the pool's caller decides what a failure means
            done.put(Done(task, None, error))
