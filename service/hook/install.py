"""Installs, removes and describes the hook file. Owns the hooks folder; what the hook does is `run`'s.

A hook that was there before is kept as `pre-push.terazi-previous`, called first with the same arguments and
input, and put back on removal.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Final, Literal

from review_data.domain import Record
from review_data.errors import SettingsError, UserError
from review_data.severity import Severity
from service.changes.git import open_repository
from service.settings import check_layer, flag_layer, resolve

HOOK_ID: Final = "terazi-hook-5f2c9a71"
PREVIOUS: Final = "pre-push.terazi-previous"
_FLAGS: Final = {"--block": "hook_block", "--deadline": "hook_deadline_s", "--fail": "hook_fail"}


class HookOptions(Record):
    """What is written into the hook file; None leaves it to the settings at the time of the push."""

    block: Severity | None = None
    deadline_s: float | None = None
    fail: Literal["open", "closed"] | None = None

    def flags(self) -> str:
        """As flags of `terazi hook run`; no value can hold a blank."""
        given = ((flag, self.settings()[name]) for flag, name in _FLAGS.items())
        return " ".join(f"{flag} {value}" for flag, value in given if value is not None)

    def settings(self) -> dict[str, object]:
        """By the settings' names."""
        return {"hook_block": self.block, "hook_deadline_s": self.deadline_s, "hook_fail": self.fail}


def hooks_folder(repo: Path) -> Path:
    """Where git looks for hooks: honours `core.hooksPath`; worktrees share the main one's."""
    repository = open_repository(repo)
    told = os.fsdecode(repository.ask("rev-parse", "--git-path", "hooks")).removesuffix("\n")
    return Path(os.path.normpath((repository.root or repository.where) / told))


def script(options: HookOptions, fail: str = "open", python: str = sys.executable) -> str:
    """The hook file's text; `fail` is what the file itself does when Terazi can't even start."""
    template = files("service.hook").joinpath("pre-push.sh").read_text(encoding="utf-8")
    filled = {"@PYTHON@": shlex.quote(python), "@OPTIONS@": options.flags(), "@FAIL@": fail}
    for mark, value in filled.items():
        template = template.replace(mark, value)
    return template


def install(repo: Path, options: HookOptions) -> list[str]:
    """Writes the hook and says what was done; a foreign hook is kept. Raises `UserError`."""
    check_layer(flag_layer(options.settings()))
    folder = hooks_folder(repo)
    hook, previous = folder / "pre-push", folder / PREVIOUS
    said = [f"Installed {hook}: {_manner(options)}."]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(hook) and not is_ours(hook):
            _keep(hook, previous)
            said.append(f"The hook that was there is kept as {previous.name} and runs first.")
        _write(hook, script(options, options.fail or resolve(folder=repo).settings.hook_fail))
    except OSError as error:
        raise UserError(
            f"{hook}: can't be written ({error.strerror}); check the folder (core.hooksPath?)"
        ) from None
    if _is_shared(repo, folder):
        said.append(f"{folder} is shared (core.hooksPath): the hook runs for every repository that uses it.")
    return said


def uninstall(repo: Path) -> list[str]:
    """Removes the hook if it is Terazi's, and puts the one from before back. Raises `UserError`."""
    folder = hooks_folder(repo)
    hook, previous = folder / "pre-push", folder / PREVIOUS
    if not os.path.lexists(hook):
        return [f"There is no hook at {hook}."]
    if not is_ours(hook):
        raise UserError(
            f"{hook}: is not Terazi's hook, so it was left alone; remove it yourself if you want to"
        )
    if not os.path.lexists(previous):
        hook.unlink()
        return [f"Removed {hook}."]
    previous.replace(hook)
    return [f"Removed {hook}.", "The hook that was there before is back."]


def status(repo: Path) -> list[str]:
    """What stands in the hooks folder."""
    folder = hooks_folder(repo)
    hook, previous = folder / "pre-push", folder / PREVIOUS
    if not os.path.lexists(hook):
        return [f"Not installed: there is no {hook}; `terazi hook install` writes it."]
    if not is_ours(hook):
        return [f"Not installed: {hook} is another hook; `terazi hook install` keeps and calls it."]
    said = [f"Installed: {hook}"]
    if not os.access(hook, os.X_OK):
        said.append("It is not executable, so git ignores it; `terazi hook install` corrects that.")
    python = _python_of(hook)
    if not os.access(python, os.X_OK):
        said.append(f"Its Python {python} is gone; `terazi hook install` names the present one.")
    if os.path.lexists(previous):
        said.append(f"Calls first: {previous}")
    return [*said, *_effective(hook, repo)]


def is_ours(hook: Path) -> bool:
    """Whether Terazi wrote the file."""
    try:
        return HOOK_ID in hook.read_bytes()[:1000].decode("utf-8", "replace")
    except OSError:
        return False


def _manner(options: HookOptions) -> str:
    if options.block is None:
        return "it warns and never stops a push for what it finds, unless `hook_block` is set"
    return f"it stops a push with a finding of {options.block} or above"


def _effective(hook: Path, repo: Path) -> list[str]:
    """What the hook would do now, by its own flags and the settings of this moment."""
    found = re.search(r"hook run (.*?) ?-- ", hook.read_text(encoding="utf-8", errors="surrogateescape"))
    words = found[1].split() if found else []
    flags = dict(zip(words[::2], words[1::2], strict=False))
    try:
        settings = resolve({name: flags.get(flag) for flag, name in _FLAGS.items()}, folder=repo).settings
    except SettingsError as error:
        return [f"It can't review: {error}"]
    return [
        f"Stops a push at: {settings.hook_block or 'nothing that it finds'}",
        f"Takes at most: {settings.hook_deadline_s:g} s",
        f"When it can't review: {'stops the push' if settings.hook_fail == 'closed' else 'the push goes on'}",
    ]


def _keep(hook: Path, previous: Path) -> None:
    if os.path.lexists(previous):
        raise UserError(
            f"{hook}: is another hook, and {previous.name} beside it is one as well; remove one of the two, "
            "then run `terazi hook install` again"
        )
    hook.rename(previous)


def _write(hook: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=hook.parent, prefix=".terazi-")
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        file.write(text)
    Path(name).chmod(0o755)
    Path(name).replace(hook)


def _is_shared(repo: Path, folder: Path) -> bool:
    repository = open_repository(repo)
    common = os.fsdecode(repository.ask("rev-parse", "--git-common-dir")).removesuffix("\n")
    root = repository.root or repository.where
    inside = [(root / common).resolve(), root.resolve()]
    return not any(folder.resolve().is_relative_to(place) for place in inside)


def _python_of(hook: Path) -> str:
    text = hook.read_text(encoding="utf-8", errors="surrogateescape")
    line = next((line for line in text.split("\n") if line.startswith("python=")), "python=")
    return "".join(shlex.split(line.removeprefix("python=")))
