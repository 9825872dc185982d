"""`terazi vllm`: starts vLLM for reviews, and changes the adapters of a running one."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from review_data.errors import UserError
from service.settings import resolve

if TYPE_CHECKING:
    from service.backends.endpoint.wire import Wire

app = typer.Typer(no_args_is_help=True)
_URL = Annotated[str | None, typer.Option(metavar="URL", help="The server's API.")]


@app.callback()
def _vllm() -> None:
    """Start vLLM for reviews, or change a running one's adapters."""


@app.command()
def serve(
    model: Annotated[str, typer.Argument(help="Base model: a folder or hub id.")],
    adapter: Annotated[
        list[str] | None, typer.Option(help="NAME=FOLDER, or a name in the registry of `terazi adapters`.")
    ] = None,
    name: Annotated[str, typer.Option(help="The name that clients ask for.")] = "",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 8000,
    context: Annotated[int, typer.Option(min=1, help="Tokens for prompt and reply together.")] = 16384,
    registry: Annotated[
        Path | None, typer.Option(envvar="TERAZI_ADAPTERS", help="The folder of `terazi adapters`.")
    ] = None,
    run: Annotated[bool, typer.Option("--run", help="Start it; otherwise the command is printed.")] = False,
) -> None:
    """Print the vLLM command line for this machine, or run it."""
    from service.backends.endpoint import vllm_command as vllm

    machine = vllm.this_machine()
    serving = vllm.Serving(model, adapters_named(adapter or (), registry), name, port, context)
    command = vllm.command_line(vllm.vllm_program() if run else ["vllm", "serve"], serving, machine)
    if run:
        os.execvpe(command[0], command, {**os.environ, **vllm.environment(machine)})
    print(" ".join(f"{key}={value}" for key, value in vllm.environment(machine).items()), shlex.join(command))


@app.command()
def load(name: str, folder: Path, endpoint: _URL = None) -> None:
    """Make a running server serve the adapter in FOLDER as NAME."""
    from service.backends.endpoint.vllm_command import load_adapter

    load_adapter(wire_to(endpoint), name, folder)
    print(f"{name} is served; review with --backend endpoint --adapter {name}")


@app.command()
def unload(name: str, endpoint: _URL = None) -> None:
    """Take the adapter NAME from a running server."""
    from service.backends.endpoint.vllm_command import unload_adapter

    unload_adapter(wire_to(endpoint), name)
    print(f"{name} is no longer served")


def wire_to(endpoint: str | None) -> Wire:
    """A connection to the server that the settings name."""
    from service.backends.catalog import open_endpoint_model

    return open_endpoint_model(resolve({"endpoint": endpoint}).settings).wire


def adapters_named(named: Sequence[str], registry: Path | None = None) -> dict[str, Path]:
    """NAME=FOLDER as it is; a bare name is looked up in the registry of trained adapters."""
    found: dict[str, Path] = {}
    for one in named:
        name, equals, given = one.partition("=")
        name = name if equals else name.partition("@")[0]
        if name in found:
            raise UserError(f"--adapter {one}: `{name}` is there already; write ANOTHER_NAME=FOLDER")
        found[name] = Path(given).absolute() if equals else _registered(one, registry)
        if not found[name].is_dir():
            raise UserError(f"--adapter: there is no folder {given}; write NAME=FOLDER")
    return found


def _registered(name: str, registry: Path | None) -> Path:
    from finetune.adapters.registry import default_registry, find

    return find(registry or default_registry(), name)[0]
