"""Tasks over this machine: over processes, or over threads where a server or one loaded model works.

Owns how many are under way and what becomes of a process that dies; many machines are
`service.batch.cluster`.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache, partial
from itertools import islice
from multiprocessing.connection import Connection
from typing import Final, NamedTuple

from service.batch.tasks import Task
from service.batch.work import Result, Worker, failed

# So that a process has its next task when it is done with one.
_AHEAD: Final = 2
_DIED: Final = "the process that reviewed it died twice; is there enough memory? Review it alone to see more"


class Job(NamedTuple):
    """A task, and the key of the whole result that an earlier batch left ("" for none)."""

    task: Task
    kept: str = ""


class Done(NamedTuple):
    """A task that is over; None for a result that is there already."""

    id: str
    result: Result | None


Work = Callable[[Job], Result | None]
Flags = tuple[tuple[str, object], ...]


def in_threads(jobs: Iterable[Job], flags: Mapping[str, object], count: int) -> Iterator[Done]:
    """Reviews `count` merge requests at once in this process."""
    worker = Worker(flags)
    yield from _through(ThreadPoolExecutor(count), lambda job: worker.work(*job), iter(jobs), count)


def in_processes(jobs: Iterable[Job], flags: Mapping[str, object], count: int) -> Iterator[Done]:
    """Reviews in `count` processes. When one dies, what was under way is reviewed again, each task alone."""
    waiting, work = iter(jobs), partial(_work, tuple(flags.items()))
    while lost := (yield from _through_processes(work, waiting, count, count * _AHEAD)):
        for job in lost:
            if (yield from _through_processes(work, iter((job,)), 1, 1)):
                yield Done(job.task.id, failed(job.task.id, _DIED))


def _through_processes(
    work: Work, waiting: Iterator[Job], count: int, at_once: int
) -> Generator[Done, None, list[Job]]:
    context = multiprocessing.get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    with theirs, ours:  # closed by the end of this block or of this process: then they end, whatever they do
        pool = ProcessPoolExecutor(count, context, initializer=_begin_process, initargs=(theirs,))
        try:
            return (yield from _through(pool, work, waiting, at_once))
        finally:
            for process in multiprocessing.active_children():  # only after an interruption or an error
                process.kill()


def _through(
    pool: Executor, work: Work, waiting: Iterator[Job], at_once: int
) -> Generator[Done, None, list[Job]]:
    """Results as they come; returns the tasks that were under way when a process of the pool died."""
    begun: dict[str, Job] = {}
    running: dict[Future[Result | None], str] = {}
    orderly = False

    def begin(count: int) -> None:
        for job in islice(waiting, count):
            begun[job.task.id] = job
            running[pool.submit(work, job)] = job.task.id

    try:
        with _undisturbed():
            begin(at_once)
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                result = future.result()
                name = running.pop(future)
                del begun[name]
                yield Done(name, result)
                begin(1)
        orderly = True
    except BrokenProcessPool:
        pass
    finally:
        pool.shutdown(wait=orderly, cancel_futures=True)
    return list(begun.values())


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Interruptions come after the block, and never to the processes that start in it: the parent decides
    what one means."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin_process(lifeline: Connection) -> None:
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    lifeline.poll(None)
    os._exit(1)


def _work(flags: Flags, job: Job) -> Result | None:
    return _worker(flags).work(*job)


@cache
def _worker(flags: Flags) -> Worker:
    return Worker(dict(flags))
