"""A whole batch: from checked tasks to results in their order, and the totals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from service.batch.output import Output
from service.batch.spread import Done, Job
from service.batch.tasks import Tasks
from service.batch.totals import Totals
from service.batch.work import Result

Spread = Callable[[Iterable[Job]], Iterator[Done]]
Progress = Callable[[int, int], None]


def into_file(tasks: Tasks, spread: Spread, output: Output, on_progress: Progress | None = None) -> Totals:
    """Reviews what `output` does not have yet, and completes the file."""
    totals = Totals()
    jobs = (Job(task, output.keys.get(task.id, "")) for task in tasks)
    for done in spread(jobs):
        if done.result is not None:
            output.add(done.result)
        totals.add(done.result or output.get(done.id))
        if on_progress is not None:
            on_progress(len(totals.rows), len(tasks.ids))
    output.finish(tasks.ids)
    totals.put_in_order(tasks.ids)
    return totals


def into_stream(
    tasks: Tasks, spread: Spread, write: Callable[[str], object], on_progress: Progress | None = None
) -> Totals:
    """Reviews everything and writes each result's line as soon as those before it are written."""
    totals = Totals()
    early: dict[str, Result] = {}
    names = iter(tasks.ids)
    awaited = next(names, None)
    for done in spread(map(Job, tasks)):
        if done.result is not None:
            early[done.id] = done.result
        while awaited in early:
            result = early.pop(awaited)
            write(result.line())
            totals.add(result)
            awaited = next(names, None)
        if on_progress is not None:
            on_progress(len(totals.rows) + len(early), len(tasks.ids))
    return totals
