"""Tasks over many machines: Ray Data spreads them, each of its actors reviews like a process here.

Every machine needs Terazi installed, and the repositories that tasks name in the same place. Rows go to Ray
whole, so patches need not be there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from review_data.errors import MissingExtra, ToolError, first_line
from service.batch.spread import Done, Job
from service.batch.tasks import Task
from service.batch.work import Result, Worker
from service.telemetry import switch_off

# Results come block by block: many blocks keep actors evenly busy, and little is lost by an interruption.
_BLOCKS_EACH: Final = 16


class Reviewing:
    """What an actor does with a row: a task, and the key of its result if there is one already."""

    def __init__(self, flags: Mapping[str, object]) -> None:
        self._worker = Worker(flags)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row's id and the result's JSON, "" where the kept one still holds."""
        task = Task.model_validate_json(row["task"])
        result = self._worker.work(task, row["kept"])
        return {"id": task.id, "result": result.model_dump_json() if result else ""}


def on_ray(jobs: Iterable[Job], flags: Mapping[str, object], count: int, address: str) -> Iterator[Done]:
    """Reviews on the Ray cluster at `address` ("local" starts one here) with `count` actors of a core each,
    0 for as many as it has cores.

    `MissingExtra` without Ray; `ToolError` when the cluster can't be reached, or fails.
    """
    switch_off()
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingExtra("batch", "--ray", "ray") from None
    try:
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="error")
        yield from _reviewed(ray.data, jobs, flags, count or int(ray.cluster_resources().get("CPU", 1)))
    except Exception as error:  # Ray's exceptions have no public base for what fails while connecting
        raise ToolError(
            f"--ray {address}: Ray failed ({first_line(error, 300)}); look at the cluster, then run again"
        ) from error
    finally:
        ray.shutdown()


def _reviewed(data: Any, jobs: Iterable[Job], flags: Mapping[str, object], count: int) -> Iterator[Done]:
    context = data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    rows = [{"task": job.task.model_dump_json(), "kept": job.kept} for job in jobs]
    spread = data.from_items(rows, override_num_blocks=min(len(rows), count * _BLOCKS_EACH))
    actors = data.ActorPoolStrategy(size=count)
    done = spread.map(Reviewing, fn_constructor_args=(dict(flags),), compute=actors, num_cpus=1)
    for row in done.iter_rows():
        yield Done(row["id"], Result.model_validate_json(row["result"]) if row["result"] else None)
