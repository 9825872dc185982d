"""What the machine allows: opens the sandbox at full strength, refuses, or opens a weaker one on request.

Owns the probe, the list of what a cell shows of the machine, and running jobs one by one or in pairs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from finetune.sandbox.job import Job, Limits, Ran, SandboxFailed
from finetune.sandbox.process import BOX_ENVIRONMENT, finish, start
from review_data.errors import UserError

SYSTEM_FOLDERS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
SYSTEM_FILES = ("/etc/ld.so.cache",)
PYTHON = (sys.executable, "-s", "-B")
WEAKNESSES = (
    "the machine's files can be read",
    "the network can be reached",
    "other processes can be seen",
    "a process that detaches itself may outlive its test when the test is cut short",
)


@dataclass(frozen=True, slots=True)
class Sandbox:
    """An open sandbox: `full` or weaker (then `refused` is the step that the machine did not allow)."""

    full: bool
    folder: Path
    refused: str = ""

    def run(self, job: Job, limits: Limits) -> Ran:
        """Runs one job in a cell of its own; `SandboxFailed` when the cell can't be built."""
        with self._place() as orders:
            return finish([start(job, limits, orders)])[0]

    def run_pair(self, judge: Job, judged: Job, limits: Limits) -> tuple[Ran, Ran]:
        """Runs two jobs in a cell each, their channels joined; the second ends with the first."""
        with self._place() as first, self._place() as second:
            ends = socket.socketpair()
            runs = [
                start(replace(job, channel=end), limits, orders)
                for job, end, orders in zip((judge, judged), ends, (first, second), strict=True)
            ]
            one, other = finish(runs)
            return one, other

    def describe(self) -> dict[str, Any]:
        """For reports: the strength, and what is missing."""
        if self.full:
            return {"strength": "full"}
        return {"strength": "weaker", "refused": self.refused, "missing": list(WEAKNESSES)}

    @contextlib.contextmanager
    def _place(self) -> Iterator[dict[str, Any]]:
        """A folder to mount the cell on (or to work in), and the orders that go with it."""
        place = Path(tempfile.mkdtemp(dir=self.folder))
        environment = (
            BOX_ENVIRONMENT if self.full else {**BOX_ENVIRONMENT, "HOME": str(place), "TMPDIR": str(place)}
        )
        try:
            yield {
                "full": self.full,
                "as_root": os.geteuid() == 0,
                "mountpoint": str(place),
                "binds": _shown(),
                "links": _system_links(),
                "environment": environment,
            }
        finally:
            shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def open_sandbox(*, allow_weaker: bool = False) -> Iterator[Sandbox]:
    """A sandbox that has been tried out; `UserError` when only the weaker one works and it is not allowed."""
    with tempfile.TemporaryDirectory(prefix="terazi-cells-") as name:
        # The weaker sandbox's other user has to pass through.
        Path(name).chmod(0o711)
        yield _probed(Path(name), allow_weaker)


def _probed(folder: Path, allow_weaker: bool) -> Sandbox:
    if sys.platform != "linux":
        raise UserError(f"generated code is run in a sandbox that needs Linux, and this is {sys.platform}")
    full = Sandbox(full=True, folder=folder)
    refused = _try(full)
    if not refused:
        return full
    if not allow_weaker:
        raise UserError(
            f"this machine does not allow the full sandbox ({refused}), and generated code must not run "
            "without it. Run on a Linux machine that allows user namespaces, or pass --allow-weaker to run "
            f"with limits and a scrubbed environment only: {'; '.join(WEAKNESSES)}"
        )
    weaker = Sandbox(full=False, folder=folder, refused=refused)
    if also := _try(weaker):
        raise SandboxFailed(also)
    return weaker


def _try(sandbox: Sandbox) -> str:
    """Empty when a trivial program runs, or why it does not."""
    try:
        ran = sandbox.run(Job({"main.py": "print(6 * 7)"}, (*PYTHON, "main.py")), Limits(wall_s=20))
    except SandboxFailed as error:
        return error.step
    except OSError as error:
        return str(error)
    if ran.stdout != b"42\n":
        return (
            f"a trivial program printed {ran.stdout[:80]!r}, {ran.ending} {ran.code}: {ran.stderr[-200:]!r}"
        )
    return ""


def _shown() -> list[str]:
    """What a cell shows of the machine: system programs, Python and its packages; no path inside another."""
    wanted = {Path(sys.base_prefix), Path(sys.prefix), Path(sys.executable).resolve().parent.parent}
    folders = {str(path) for path in wanted} | {
        name for name in SYSTEM_FOLDERS if Path(name).is_dir() and not Path(name).is_symlink()
    }
    outer = [
        one
        for one in folders
        if not any(one != other and Path(one).is_relative_to(other) for other in folders)
    ]
    return sorted(outer) + [name for name in SYSTEM_FILES if Path(name).is_file()]


def _system_links() -> dict[str, str]:
    """The top-level links of a merged /usr, to be repeated in the cell."""
    return {name: str(Path(name).readlink()) for name in SYSTEM_FOLDERS if Path(name).is_symlink()}
