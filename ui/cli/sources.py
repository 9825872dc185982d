"""Which change the command line names: one of RANGE, --staged, --worktree, --commit, --patch, or none."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from review_data.errors import ChangeError, UserError
from service.ports import Change
from service.settings import Settings

FLAGS = {
    "range": "RANGE",
    "staged": "--staged",
    "worktree": "--worktree",
    "commit": "--commit",
    "patch": "--patch",
}


def open_source(options: Mapping[str, Any], settings: Settings) -> Change:
    """The change that `options` name, as `terazi review` takes them; `UserError` when they name two.

    None named means the work tree when it holds changes, else the branch since it left the trunk.
    """
    from service.changes import sources as changes

    named = named_sources(options)
    if len(named) > 1:
        raise UserError(f"{' and '.join(FLAGS[key] for key in named)} name two changes; give one of them")
    check_given(named, options, gated=settings.gate is not None)
    repo, ignore = Path(options["repo"]), settings.ignore
    match named:
        case ["staged"]:
            return changes.open_staged(repo, ignore=ignore)
        case ["worktree"]:
            return changes.open_worktree(repo, ignore=ignore)
        case ["commit"]:
            return changes.open_commit(repo, options["commit"], ignore=ignore)
        case ["patch"]:
            return changes.open_patch(patch_source(options["patch"]), repo_path=repo, ignore=ignore)
        case ["range"]:
            return changes.open_range(repo, options["range"], ignore=ignore)
        case _:
            return open_default(repo, ignore)


def named_sources(options: Mapping[str, Any]) -> list[str]:
    """The keys of `FLAGS` that were given, an empty text too."""
    return [key for key in FLAGS if options.get(key) not in (None, False)]


def check_given(named: Sequence[str], options: Mapping[str, Any], *, gated: bool) -> None:
    """Refuses what an unset variable leaves behind: something else would be reviewed, and pass a gate."""
    for key in named:
        if not str(options[key]).strip():
            raise UserError(f"{FLAGS[key]}: is empty; is a variable not set? Name the change or leave it out")
    text = str(options.get("range") or "").strip()
    if gated and (text.startswith("..") or text.endswith("..")):
        raise UserError(
            f"RANGE: `{text}` has an empty side, which means HEAD; is a variable not set? With a gate, write "
            "both sides out"
        )


def open_default(repo: Path, ignore: Sequence[str]) -> Change:
    """Uncommitted work if there is some, else what the branch adds; says on standard error which."""
    from service.changes import sources as changes

    try:
        change = changes.open_worktree(repo, ignore=ignore)
    except ChangeError:  # no work tree (a bare repository); whatever else is wrong, the range says too
        return changes.open_range(repo, ignore=ignore)
    if change.request.files or change.request.skips:
        print("terazi: reviewing what is not committed yet (name a RANGE for more)", file=sys.stderr)
        return change
    change = changes.open_range(repo, ignore=ignore)
    print(f"terazi: reviewing {change.request.base}...{change.request.head}", file=sys.stderr)
    return change


def patch_source(patch: str) -> Path | bytes:
    """The path, or what comes in on standard input for `-`."""
    if patch != "-":
        return Path(patch)
    return standard_input("pipe a patch in, as in `git diff | terazi review --patch -`")


def standard_input(otherwise: str) -> bytes:
    """What is piped in; `ChangeError` says what to do instead where nothing can be."""
    if sys.stdin is None or sys.stdin.isatty():
        raise ChangeError(f"standard input: is closed or a terminal; {otherwise}")
    return sys.stdin.buffer.read()
