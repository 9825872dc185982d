"""`terazi cache`: what is kept of language models' replies."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from service.backends.cache import CacheInfo

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _cache() -> None:
    """Look at or clear the kept replies of language models."""


@app.command()
def info() -> None:
    """Show where the replies are kept, how many there are, and their size."""
    from service.backends.cache import default_path, info

    print(as_text(info(default_path())))


@app.command()
def clear() -> None:
    """Remove all kept replies."""
    from service.backends.cache import clear, default_path

    held = clear(default_path())
    print(f"removed {held.replies} replies ({held.size / 1e6:.1f} MB) from {held.path}")


def as_text(held: CacheInfo) -> str:
    """Place, number, size and age."""
    lines = [f"file     {held.path}", f"replies  {held.replies}", f"size     {held.size / 1e6:.1f} MB"]
    if held.oldest is not None:
        lines.append(f"oldest   used {(time.time() - held.oldest) / 86400:.1f} days ago")
    return "\n".join(lines)
