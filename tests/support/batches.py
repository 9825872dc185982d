"""Batches as a user starts them: rows to review, `terazi batch` here or in a process, and its processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ui.cli.main import main

SHELL = "+import subprocess\n+def run(name):\n+    subprocess.run(f'ls {name}', shell=True)\n"
CLEAN = "+def add(left, right):\n+    return left + right\n+\n"
NO_SERVER = ("--backend", "endpoint", "--endpoint", "http://127.0.0.1:9/v1")
COMMAND = (sys.executable, "-m", "ui.cli.main", "batch")


def patch(name: str, added: str) -> str:
    """A patch that adds a file of three lines."""
    head = f"diff --git a/{name} b/{name}\nnew file mode 100644\n--- /dev/null\n+++ b/{name}\n"
    return f"{head}@@ -0,0 +1,3 @@\n{added}"


def write_rows(path: Path, *rows: dict[str, Any]) -> Path:
    """A JSON Lines file of rows."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def many_rows(folder: Path, count: int, added: str) -> Path:
    """Rows with the ids 0 to `count` - 1, each adding a file of its own."""
    rows = ({"id": number, "patch": patch(f"f{number}.py", added)} for number in range(count))
    return write_rows(folder / "rows.jsonl", *rows)


def three_rows(folder: Path) -> Path:
    """One faulty merge request between two clean ones."""
    return write_rows(
        folder / "mrs.jsonl",
        {"id": 7, "patch": patch("a.py", CLEAN), "title": "Add"},
        {"id": "x/1", "diff": patch("b.py", SHELL), "author": "somebody"},
        {"patch": patch("c.py", CLEAN)},
    )


def batch(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, results and error stream of `terazi batch ARGS`."""
    code = main(["batch", *map(str, args)])
    printed = capsys.readouterr()
    return code, [json.loads(line) for line in printed.out.splitlines()], printed.err


def begin(*args: str | Path) -> subprocess.Popen[bytes]:
    """`terazi batch ARGS` in a group of its own, so that a whole terminal's Ctrl-C can be sent to it."""
    pipe = subprocess.PIPE
    return subprocess.Popen([*COMMAND, *map(str, args)], stdout=pipe, stderr=pipe, start_new_session=True)


def wait_for_results(process: subprocess.Popen[bytes], part: Path, count: int) -> None:
    """Until FILE.part holds that many results."""
    while not part.exists() or part.read_bytes().count(b"\n") < count:
        assert process.poll() is None
        time.sleep(0.01)


def children_of(parent: int) -> list[int]:
    """The processes that review: not multiprocessing's tracker, nor a process that is only about to start."""
    found = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in found if b"spawn_main" in command_of(int(child))]


def command_of(process: int) -> bytes:
    """A process's command line; nothing when it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def is_alive(process: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
