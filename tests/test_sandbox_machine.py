"""Opening the sandbox: as root and as an ordinary user, refused loudly, or weaker on request."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from finetune.sandbox.drivers import wire
from finetune.sandbox.machine import Sandbox, open_sandbox
from review_data.errors import UserError
from tests.support.marked import mark, marked_processes

ORDINARY = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
RUN = """
import sys
from finetune.sandbox.examine import run_program
from finetune.sandbox.machine import open_sandbox
from finetune.sandbox.job import Limits
{before}
with open_sandbox(allow_weaker={weaker}) as sandbox:
    print(sandbox.describe()["strength"])
    ran = run_program(sandbox, {code!r}, "21", Limits(cpu_s=2, wall_s={wall}, memory_mb=512))
    print(ran.ending, ran.code, ran.stdout.decode())
    print(ran.stderr.decode(), file=sys.stderr)
"""


def run(
    code: str, *, weaker: bool = False, before: str = "", wall: int = 8, prefix: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """A process of its own that opens the sandbox and runs `code` in it."""
    script = RUN.format(weaker=weaker, code=code, before=before, wall=wall)
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [*prefix, sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )


def needs_ordinary_user() -> tuple[str, ...]:
    """A prefix that makes the process an ordinary user: nothing for one, a user namespace for root."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("unshare") is None or subprocess.run([*ORDINARY, "true"]).returncode:
        pytest.skip("util-linux's `unshare --map-user` does not work here, so root can't become ordinary")
    return ORDINARY


def needs_another_user() -> tuple[str, ...]:
    """Like `needs_ordinary_user`, but not root in disguise: the kernel exempts root's number from limits."""
    if os.geteuid() != 0:
        return ()
    prefix = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    if shutil.which("setpriv") is None:
        pytest.skip("util-linux's setpriv is not installed")
    script = f"import pydantic, os, sys; os.listdir({str(Path(__file__).parent)!r}); print(sys.version)"
    probe = subprocess.run([*prefix, sys.executable, "-c", script], capture_output=True, text=True)
    if probe.returncode or probe.stdout.strip() != sys.version:
        pytest.skip("another user can't reach this Python or this checkout")
    return prefix


@pytest.fixture(scope="module")
def full() -> None:
    """Skips where the machine refuses the full sandbox."""
    try:
        with open_sandbox():
            pass
    except UserError as error:
        pytest.skip(str(error))


def broken_jail(tmp_path: Path) -> str:
    """The jail as on a machine that refuses namespaces: its unshare is refused."""
    source = Path("finetune/sandbox/jail.py").read_text()
    path = tmp_path / "jail.py"
    path.write_text(source.replace('checked("unshare", ', 'checked("unshare", -1 or '))
    assert path.read_text() != source
    return (
        f"from pathlib import Path\nfrom finetune.sandbox import process\nprocess.JAIL = Path({str(path)!r})"
    )


@pytest.mark.usefixtures("full")
def test_an_ordinary_user_gets_the_full_sandbox() -> None:
    """No root is needed: same strength, same unprivileged inside."""
    code = "import os; print(int(input()) * 2, os.getuid(), os.path.exists('/etc/passwd'))"
    done = run(code, prefix=needs_ordinary_user())
    assert done.stdout.split() == ["full", "exited", "0", "42", "65534", "False"], done.stderr


@pytest.mark.usefixtures("full")
def test_an_ordinary_users_cell_bounds_a_fork_bomb() -> None:
    """The process limit binds there too."""
    code = "import os, time\nwhile True:\n    if os.fork() == 0: time.sleep(30)"
    done = run(code, prefix=needs_another_user())
    assert done.stdout.split()[:3] == ["full", "exited", "1"], done.stderr
    assert "BlockingIOError" in done.stderr


def test_a_machine_that_refuses_namespaces_is_refused_loudly(tmp_path: Path) -> None:
    """The error names the refused step and the way out; nothing runs."""
    done = run("print('ran')", before=broken_jail(tmp_path))
    assert done.returncode != 0
    assert "does not allow the full sandbox (unshare:" in done.stderr
    assert "--allow-weaker" in done.stderr
    assert "ran" not in done.stdout


def test_the_weaker_sandbox_runs_on_request_and_says_what_is_missing(tmp_path: Path) -> None:
    """With --allow-weaker the code runs, still limited and scrubbed."""
    code = "import os; print(int(input()) * 2, sorted(os.environ)[:1], len(os.listdir('.')))"
    done = run(code, weaker=True, before=broken_jail(tmp_path), prefix=needs_ordinary_user())
    assert done.stdout.split() == ["weaker", "exited", "0", "42", "['HOME']", "1"], done.stderr
    weak = Sandbox(full=False, folder=tmp_path, refused="unshare: refused").describe()
    assert any("network" in line for line in weak["missing"])


def test_the_weaker_sandbox_still_limits_memory_and_time(tmp_path: Path) -> None:
    """rlimits need no namespaces; what the code leaves behind is ended."""
    before, prefix = broken_jail(tmp_path), needs_ordinary_user()
    assert "MemoryError" in run("x = bytearray(1 << 30)", weaker=True, before=before, prefix=prefix).stderr
    code = f"import os, time\n{mark('left')}\nif os.fork() == 0:\n    os.setsid()\ntime.sleep(60)"
    done = run(code, weaker=True, before=before, prefix=prefix, wall=2)
    assert done.stdout.split()[:2] == ["weaker", "wall-time"], done.stderr
    assert marked_processes("left") == []


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(10**5000, id="a long number"),
        None,
        True,
        -3,
        2.5,
        "naïve \ud800",
        b"\x00\xff",
        [1, [2, (3, "x")]],
        {1: {2, 3}, (4, 5): frozenset({6})},
        1 + 2j,
        Decimal("1.10"),
        Fraction(1, 3),
    ],
)
def test_values_cross_the_wire_unchanged(value: object) -> None:
    """Every built-in value comes back equal and of the same type."""
    back = wire.decode(wire.encode(value))
    assert back == value
    assert type(back) is type(value)


def test_the_wire_carries_infinities_numpy_and_iterators() -> None:
    """Numbers of numpy become plain, iterators can be walked, and neither equals a list."""
    import numpy as np

    assert wire.decode(wire.encode(float("inf"))) == float("inf")
    assert wire.decode(wire.encode(np.int64(7))) == 7
    items = wire.decode(wire.encode(zip([1, 2], "ab", strict=True)))
    assert list(items) == [(1, "a"), (2, "b")]
    assert items != [(1, "a"), (2, "b")]


@pytest.mark.parametrize(
    "line", ["{}", '{"t": "code", "v": "1"}', "[", '{"t": "int", "v": 3}', '{"t": [], "v": 0}']
)
def test_a_line_that_is_no_value_is_refused(line: str) -> None:
    """Whatever the code writes on its channel, decoding gives a value or a ValueError."""
    with pytest.raises(ValueError):
        wire.decode(line)
