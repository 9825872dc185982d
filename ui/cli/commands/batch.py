"""`terazi batch`: reviews many merge requests in one go and writes a line of JSON for each."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from review_data.errors import UserError
from review_data.jsonl import write_atomically
from service.backends.catalog import open_reviewer
from service.batch.cluster import on_ray
from service.batch.output import open_output, part_of
from service.batch.run import Spread, into_file, into_stream
from service.batch.spread import in_processes, in_threads
from service.batch.tasks import RowsFile, Task, Tasks, history, patch_task
from service.batch.totals import Totals, to_markdown
from service.settings import Settings, resolve
from ui.cli import options as option
from ui.cli.outputs import check_file
from ui.cli.progress import progress
from ui.cli.sources import standard_input

# Other files are patches.
ROWS = (".jsonl", ".ndjson")


def command(
    ctx: typer.Context,
    sources: Annotated[
        list[str] | None, typer.Argument(metavar="FILE...", help="Rows (.jsonl; - reads them in) or patches.")
    ] = None,
    commits: Annotated[
        str | None, typer.Option("--history", metavar="RANGE", help="Review each commit, a merge as one.")
    ] = None,
    repo: option.Repo = Path(),
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the results to a file.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep what the output has, review the rest.")
    ] = False,
    report: Annotated[Path | None, typer.Option(help="Write a Markdown report for people.")] = None,
    jobs: Annotated[int, typer.Option(min=0, max=10_000, help="Reviews at once; 0 fits the backend.")] = 0,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Spread over a Ray cluster: auto, local, host:port.")
    ] = None,
    threshold: option.Threshold = None,
    gate: option.Gate = None,
    backend: option.Backend = None,
    finders: option.Finders = None,
    rater: option.Rater = None,
    endpoint: option.Endpoint = None,
    model: option.Model = None,
    adapter: option.Adapter = None,
    local_model: option.LocalModel = None,
    local_adapter: option.LocalAdapter = None,
    ignore: option.Ignore = None,
    project: option.Project = None,
    deadline_s: option.Deadline = None,
) -> int:
    """Review many merge requests: a line of JSON for each, in their order.

    Exit codes: 0 none reaches its gate, 1 one does, 2 a wrong call, 3 one could not be reviewed whole.
    """
    started = time.monotonic()
    with sigterm_like_ctrl_c():
        totals = run(ctx.params)
    elapsed_s = time.monotonic() - started
    print("\n".join(f"terazi: {line}" for line in totals.lines(elapsed_s)), file=sys.stderr)
    if report is not None:
        write_atomically(report, to_markdown(totals, elapsed_s))
    return totals.exit_code


@contextmanager
def sigterm_like_ctrl_c() -> Iterator[None]:
    """A CI system that ends the job lets the batch end its processes and say how to go on."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run(options: Mapping[str, Any]) -> Totals:
    """Checks everything that was given, then reviews, with a progress bar on a terminal."""
    flags = option.given_settings(options)
    settings = resolve(flags, folder=options["repo"]).settings
    open_reviewer(settings)
    check_places(options)
    tasks = Tasks(sources_of(options["sources"] or [], options["commits"], options["repo"]))
    spread = spread_of(settings, flags, options["jobs"], options["ray"])
    with progress("Reviewing") as on_progress:
        if options["output"] is None:
            return into_stream(tasks, spread, sys.stdout.write, on_progress)
        with open_output(options["output"], resume=options["resume"]) as output:
            try:
                return into_file(tasks, spread, output, on_progress)
            except BaseException:
                part = part_of(options["output"])
                if part.exists() and part.stat().st_size:
                    print(f"terazi: what was reviewed is in {part}; go on with --resume", file=sys.stderr)
                raise


def check_places(options: Mapping[str, Any]) -> None:
    """Refuses places that can't be written, or that hold what is to be reviewed, before any work is done."""
    output, report = options["output"], options["report"]
    if output is None and options["resume"]:
        raise UserError("--resume goes on with a file; name it with --output")
    taken = [os.path.realpath(name) for name in options["sources"] or ()]
    part = part_of(output) if output is not None and output.name else None
    for flag, place in (("--output", output), ("--output", part), ("--report", report)):
        if place is None:
            continue
        check_file(flag, place)
        if os.path.realpath(place) in taken:
            raise UserError(f"{flag}: {place} is read or written by this call already; choose another file")
        taken.append(os.path.realpath(place))
    if output is not None and output.exists() and not output.is_file():
        raise UserError(f"--output: {output} is no file; leave it out to print the results")


def sources_of(names: Sequence[str], commits: str | None, repo: Path) -> list[Iterable[Task]]:
    """What the arguments name, in their order, then the history."""
    found = [source_of(name, repo) for name in names]
    if commits is not None:
        found.append(history(repo, commits.strip()))
    if not found:
        raise UserError("nothing to review is named; give files of rows or patches, or --history RANGE")
    return found


def source_of(name: str, repo: Path) -> Iterable[Task]:
    """The rows of a .jsonl file, of a pipe or of standard input; any other file is a patch."""
    if name == "-":
        rows = standard_input("pipe rows in, as in `terazi batch - < rows.jsonl`")
        return RowsFile(Path("standard input"), repo, rows)
    path = Path(name)
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name the patches in it, as in {path}/*.patch")
    if path.is_char_device() or path.is_block_device():
        raise UserError(f"{path}: is a device; name a file, or `-` for standard input")
    if path.exists() and not path.is_file():
        return RowsFile(path, repo, path.read_bytes())
    return RowsFile(path, repo) if path.suffix in ROWS else (patch_task(path, repo),)


def spread_of(settings: Settings, flags: Mapping[str, object], jobs: int, ray: str | None) -> Spread:
    """Processes for what computes here, threads for what waits for a model, Ray where it is asked for."""
    backends = {*(settings.finders or (settings.backend,)), settings.rater or settings.backend}
    if ray is not None:
        return partial(on_ray, flags=flags, count=jobs, address=ray)
    if backends == {"embedded"}:
        return partial(in_processes, flags=flags, count=jobs or len(os.sched_getaffinity(0)))
    usual = settings.endpoint_concurrency if "endpoint" in backends else 1
    return partial(in_threads, flags=flags, count=jobs or usual)
