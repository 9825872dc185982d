"""The `terazi` program: registers the commands and turns errors into exit codes. Nothing else."""

from __future__ import annotations

import sys

import typer

from review_data.errors import TeraziError

app = typer.Typer(
    name="terazi",
    help="Reviews merge requests on your own machine and rates what it finds by severity.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.command()
def version() -> None:
    """Print the version."""
    from importlib.metadata import version as installed

    print(f"terazi {installed('terazi')}")


def main(args: list[str] | None = None) -> int:
    """Runs one command; returns the exit code (0, 1 gate, 2 user's error, 3 tool's failure, 130)."""
    try:
        outcome = app(args, standalone_mode=False)
    except TeraziError as error:
        print(f"terazi: {error}", file=sys.stderr)
        return error.exit_code
    return outcome if isinstance(outcome, int) else 0


if __name__ == "__main__":
    sys.exit(main())
