"""The `terazi` program: finds the command's file, turns errors into exit codes. Nothing else.

Only the file of the command that is called is imported, so that `terazi --help` and the hook start fast.
"""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import Final, NamedTuple, NoReturn

import typer

from review_data.errors import TeraziError
from service.telemetry import switch_off


class Command(NamedTuple):
    """A command: the module that holds it, and its line in `terazi --help`."""

    module: str
    help: str


COMMANDS: Final[dict[str, Command]] = {
    "review": Command("review", "Review a change and rate what is found by severity."),
    "rate": Command("rate", "Rate findings of other tools: SARIF, rdjson, Code Quality, comments."),
    "batch": Command("batch", "Review many merge requests: rows, patches, or a history."),
    "evaluate": Command("evaluate", "Score models and reviewers on labelled data."),
    "train": Command("train", "Train a model: the severity rater, or a language model's adapter."),
    "adapters": Command("adapters", "List, compare, promote and merge trained adapters."),
    "hook": Command("hook", "Review what is pushed: install, uninstall, status, run."),
    "rules": Command("rules", "List what the embedded finders look for; explain one rule."),
    "endpoint": Command("endpoint", "Ask the language model's server what it can do."),
    "vllm": Command("vllm", "Start vLLM for reviews, or change a running one's adapters."),
    "cache": Command("cache", "Look at or clear the kept replies of language models."),
    "config": Command("config", "Show the effective settings and where each came from."),
    "serve": Command("serve", "Serve the review page and the HTTP API."),
    "token": Command("token", "Make, list and revoke the server's access tokens."),
    "feedback": Command("feedback", "Export people's verdicts as training rows."),
    "version": Command("version", "Print the versions of Terazi and of what it stands on."),
}


def main(args: list[str] | None = None) -> int:
    """Runs one command; returns 0, 1 (gate), 2 (user's error), 3 (tool's failure) or 130 (interrupted)."""
    args = sys.argv[1:] if args is None else args
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # the caller closed it and wants the exit code alone
            setattr(sys, stream, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    if isinstance(sys.stdout, io.TextIOWrapper):  # code in a language that the terminal can't show
        sys.stdout.reconfigure(errors="backslashreplace")
    switch_off()
    try:
        code = build(next((arg for arg in args if not arg.startswith("-")), None))(
            args, prog_name="terazi", standalone_mode=False
        )
        sys.stdout.flush()
    except TeraziError as error:
        return _complain(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _complain("interrupted", 130)
    except (BrokenPipeError, SystemExit):  # typer's answer to a reader that has gone is to exit with 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        return _usage_or_bug(error)
    if code == 130:  # typer's answer to Ctrl-C
        return _complain("interrupted", 130)
    return code if isinstance(code, int) else 0


def build(name: str | None) -> typer.Typer:
    """The program with the command `name` loaded and the others as lines of help."""
    app = typer.Typer(
        name="terazi",
        help="Reviews merge requests on your own machine and rates what it finds by severity.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for command, (module, text) in COMMANDS.items():
        if command != name:
            app.command(command, help=text)(_not_loaded)
            continue
        loaded = import_module(f"ui.cli.commands.{module}")
        if hasattr(loaded, "app"):
            app.add_typer(loaded.app, name=command, help=text)
        else:
            app.command(command, help=text)(loaded.command)
    app.callback()(_program)
    return app


def _program() -> None:
    """Reviews merge requests on your own machine and rates what it finds by severity."""


def _not_loaded() -> None:
    raise AssertionError("a command that was not named can't be called")


def _usage_or_bug(error: Exception) -> int:
    exit_code = getattr(error, "exit_code", None)
    message = getattr(error, "format_message", None)
    if message is not None:
        context = getattr(error, "ctx", None)
        hint = f"; see `{context.command_path} --help`" if context is not None else ""
        return _complain(f"{message().rstrip('.')}{hint}", 2)
    if isinstance(exit_code, int):
        return exit_code
    if os.environ.get("TERAZI_DEBUG"):
        raise error
    if isinstance(error, OSError):
        return _complain(f"{error}; check where the output goes, the disk and the permissions", 3)
    return _complain(
        f"internal error: {type(error).__name__}: {error}; this is a bug in Terazi: run again with "
        "TERAZI_DEBUG=1 and report the traceback",
        3,
    )


def _complain(message: str, code: int) -> int:
    from review_data.secrets import mask
    from service.render.escape import visible

    shown = visible(mask(message), keep="\n")  # a row or name that is quoted here is not trusted
    with suppress(OSError):  # nobody can be told; the exit code stays
        print(f"terazi: {shown}", file=sys.stderr)
    return code


def run() -> None:
    """The entry point of the `terazi` program."""
    # Starting makes some hundred thousand objects that stay: looking for garbage among them finds none.
    gc.set_threshold(200_000, 20, 20)
    end(main())


def end(code: int) -> NoReturn:
    """Ends the process without taking the interpreter apart, which costs a tenth of a small review's time.

    Whatever is registered for the end is run first (temporary folders, running git processes).
    """
    try:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # what was printed is lost
        code = code or 3
    os._exit(code)


if __name__ == "__main__":
    run()
