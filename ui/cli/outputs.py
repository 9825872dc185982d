"""Whether there is a place for what a command is going to write: asked before any work is done."""

from __future__ import annotations

import os
from pathlib import Path
from stat import S_ISDIR

from review_data.errors import UserError


def check_file(option: str, file: Path) -> None:
    """`UserError` for a folder, a link to itself, and whatever else can't become a file."""
    try:
        fits = not S_ISDIR(file.stat().st_mode)
    except FileNotFoundError:
        fits = file.absolute().parent.is_dir()
    except OSError:
        fits = False
    if not fits or not os.access(_written(file), os.W_OK):
        raise UserError(
            f"{option}: {file} can't be written; name a file in a folder that exists and can be written"
        )


def _written(file: Path) -> Path:
    """What must be writable: a file is replaced in its folder, a device or a pipe takes what is written."""
    real = Path(os.path.realpath(file))
    return real if real.exists() and not real.is_file() else real.parent


def check_folder(option: str, folder: Path | None) -> None:
    """`UserError` unless the folder can be written, or made where it is not there yet; None is no folder."""
    if folder is None:
        return
    place = folder.absolute()
    there = next(one for one in (place, *place.parents) if one.exists() or one.is_symlink())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise UserError(
            f"{option}: {there} is no folder that can be written; name another, which is made if it is not "
            "there"
        )
