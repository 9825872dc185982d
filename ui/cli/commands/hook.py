"""`terazi hook`: install, uninstall, status, and run, which is what git calls."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from review_data.errors import TeraziError, UserError
from review_data.severity import Severity
from service.hook.install import HookOptions, install, status, uninstall
from service.hook.pushes import Update, from_pre_commit, parse_updates

app = typer.Typer(no_args_is_help=True)


class Fail(StrEnum):
    """What becomes of a push that could not be reviewed."""

    OPEN = "open"
    CLOSED = "closed"


Repo = Annotated[Path, typer.Option(help="A folder of the repository.")]
Block = Annotated[Severity | None, typer.Option(help="Stop a push with a finding of this severity or above.")]
Deadline = Annotated[float | None, typer.Option(min=0.1, help="Seconds until the push goes on anyway.")]
OnFail = Annotated[Fail | None, typer.Option(help="open: push what could not be reviewed; closed: don't.")]


@app.command("install")
def install_command(
    repo: Repo = Path(), block: Block = None, deadline: Deadline = None, fail: OnFail = None
) -> None:
    """Install the pre-push hook; a hook that is there is kept and called first."""
    options = HookOptions(block=block, deadline_s=deadline, fail=fail.value if fail else None)
    print("\n".join(install(repo, options)))


@app.command("uninstall")
def uninstall_command(repo: Repo = Path()) -> None:
    """Remove the hook and put the one from before back."""
    print("\n".join(uninstall(repo)))


@app.command("status")
def status_command(repo: Repo = Path()) -> None:
    """Say whether the hook is installed, and how."""
    print("\n".join(status(repo)))


@app.command("run")
def run_command(
    remote: Annotated[str, typer.Argument(help="The remote's name.")] = "",
    url: Annotated[str, typer.Argument(help="The remote's URL.")] = "",
    block: Block = None,
    deadline: Deadline = None,
    fail: OnFail = None,
    pre_commit: Annotated[
        bool, typer.Option("--pre-commit", help="Called by the pre-commit framework.")
    ] = False,
) -> int:
    """Review what git says on standard input is being pushed; git calls this."""
    options = HookOptions(block=block, deadline_s=deadline, fail=fail.value if fail else None)
    return review_push(read_updates(pre_commit), options.settings())


def read_updates(pre_commit: bool) -> tuple[Update, ...]:
    """What is pushed, from where git or pre-commit says it."""
    if pre_commit:
        return from_pre_commit(os.environ)
    if sys.stdin is None or sys.stdin.isatty():
        raise UserError("hook run: is called by git with the pushed refs; `terazi review` reviews by hand")
    return parse_updates(sys.stdin.buffer.read().decode("utf-8", "surrogateescape"))


def review_push(updates: tuple[Update, ...], flags: dict[str, object]) -> int:
    """Runs the hook; nothing that fails here stops a push, unless it shall."""
    from service.hook import run

    if os.environ.get("TERAZI_SKIP", "0") not in ("", "0"):
        return run.skipped(updates, say)
    from service.backends.catalog import open_reviewer
    from service.render.view import Screen
    from service.settings import Settings, raw_value, resolve

    try:
        settings = resolve(flags, folder=Path()).settings
    except TeraziError as error:
        run.not_reviewed(say, run.reason_of(error))
        closed = raw_value("hook_fail", flags, Path()) not in (None, "open")
        return run.decide([run.FAILED], Settings(hook_fail="closed" if closed else "open"), say)
    return run.run_hook(Path(), updates, settings, open_reviewer, say, Screen.of(sys.stderr))


def say(text: str) -> None:
    """To the terminal, past git's own output."""
    print(text, file=sys.stderr, flush=True)
