"""`terazi adapters`: the registry of trained adapters."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from finetune.adapters import compare as comparing
from finetune.adapters import registry as registry_files
from finetune.adapters.card import card
from review_data.errors import UserError
from service.render.escape import visible

app = typer.Typer(no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="NAME, or NAME@VERSION.")]
Registry = Annotated[
    Path | None, typer.Option("--registry", envvar="TERAZI_ADAPTERS", help="The registry's folder.")
]


@app.callback()
def group() -> None:
    """List, compare, promote and merge trained adapters."""


@app.command("list")
def list_adapters(registry: Registry = None) -> int:
    """List all adapters, newest last; a star marks the promoted ones.

    Exit codes: 0 all are listed, 2 the papers of one can't be read.
    """
    place = _place(registry)
    promoted = {one.adapter for one in registry_files.promotions(place).values()}
    found = registry_files.listing(place)
    for manifest in found.manifests:
        figures = ", ".join(f"{score.name} {score.value:.3f}" for score in manifest.scores) or "no scores"
        star = "*" if manifest.id in promoted else " "
        print(visible(f"{star} {manifest.id:<32} {manifest.task:<8} {manifest.base.name}  {figures}"))
    for error in found.unreadable.values():
        print(visible(f"terazi: {error}"), file=sys.stderr)
    return UserError.exit_code if found.unreadable else 0


@app.command()
def add(
    folder: Annotated[Path, typer.Argument(help="A run's adapter/ folder.")], registry: Registry = None
) -> None:
    """Copy a trained adapter into the registry."""
    print(registry_files.add(_place(registry), folder))


@app.command()
def show(name: Name, registry: Registry = None) -> None:
    """Print an adapter's model card and where it lies."""
    folder, manifest = registry_files.find(_place(registry), name)
    print(visible(f"{folder}\n\n{card(manifest)}", keep="\n"))


@app.command()
def compare(
    candidate: Name,
    incumbent: Annotated[str, typer.Argument(help="Another adapter, or `base`.")] = comparing.BASE,
    registry: Registry = None,
) -> None:
    """Compare two adapters on the same validation rows, and record it."""
    found = comparing.compare(_place(registry), candidate, incumbent)
    print(f"{found.id}: {found.candidate} against {found.incumbent}: {comparing.describe(found)}")
    print("the candidate is better" if found.better else "the candidate is not shown to be better")


@app.command()
def promote(
    name: Name,
    comparison: Annotated[str, typer.Option(help="The id that `compare` printed.")],
    registry: Registry = None,
) -> None:
    """Make an adapter its task's own, on the strength of a recorded comparison."""
    found = comparing.promote(_place(registry), name, comparison)
    print(f"{found.adapter} is promoted")


@app.command()
def export(
    name: Name, target: Annotated[Path, typer.Argument(help="A new folder.")], registry: Registry = None
) -> None:
    """Copy an adapter in PEFT format, as vLLM loads it."""
    print(registry_files.export(_place(registry), name, target))


@app.command()
def merge(
    name: Name,
    target: Annotated[Path, typer.Argument(help="A new folder.")],
    base: Annotated[
        str | None, typer.Option(help="Where the base lies, if not where it was trained.")
    ] = None,
    registry: Registry = None,
) -> None:
    """Write base and adapter as one model, after checking that the logits stay."""
    from finetune.adapters.merge import merge as merge_adapter

    found = merge_adapter(_place(registry), name, target, base)
    print(f"{found.folder}: largest logit difference {found.largest_difference:.2e} of {found.scale:.1f}")


@app.command()
def remove(name: Name, registry: Registry = None) -> None:
    """Delete one version of an adapter that is not promoted."""
    print(f"{registry_files.remove(_place(registry), name).id} is removed")


def _place(registry: Path | None) -> Path:
    return registry or registry_files.default_registry()
