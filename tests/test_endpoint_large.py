"""Large and interrupted reviews: a 20,000-line diff goes on where it stopped; Ctrl-C ends at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from review_data.domain import Outcome
from service.backends.catalog import open_reviewer
from service.backends.endpoint import wire
from service.review import ReviewOptions, review
from service.settings import Settings
from tests.support.changes import change_of, file_of
from tests.support.servers import Answer, Asked, chat_server, says

EMPTY = '{"issues": []}'
PATCH = "diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1,2 @@\n import os\n+os.system(input())\n"


def test_a_long_review_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The server fails after a third of 20,000 lines; the next review asks only about the rest."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(wire, "BACKOFF_S", 0.0)
    files = [
        file_of(f"m{number}.py", "\n".join(f"+total_{row} = add({number}, {row})" for row in range(500)))
        for number in range(40)
    ]
    change = change_of(*files)
    left = 30

    def reply(_: Asked) -> Answer:
        nonlocal left
        left -= 1
        return says(EMPTY) if left >= 0 else Answer(400)

    steps: list[tuple[int, int]] = []
    with chat_server(reply) as server:
        settings = Settings(backend="endpoint", endpoint=server.url, endpoint_concurrency=1)
        first = review(change, open_reviewer(settings), ReviewOptions(), lambda *step: steps.append(step))
        assert first.outcome is Outcome.PARTIAL
        asked, left = len(server.chats()), 10**6
        second = review(change, open_reviewer(settings), ReviewOptions())
        assert second.outcome is Outcome.CLEAN
        assert len(server.chats()) - asked == asked - 30
        third = review(change, open_reviewer(settings), ReviewOptions())
        assert third.outcome is Outcome.CLEAN
        assert len(server.chats()) == 2 * asked - 30
    assert asked >= 80
    assert steps == [(number, asked) for number in range(1, asked + 1)]


def test_interrupting_ends_at_once(tmp_path: Path) -> None:
    """Ctrl-C during a request: said, exit code 130, none waits for the server, the connection is closed."""
    begun, over = threading.Event(), threading.Event()

    def never(_: Asked) -> None:
        begun.set()
        over.wait(30)

    patch = tmp_path / "a.patch"
    patch.write_text(PATCH)
    with chat_server(never) as server:
        program = [
            sys.executable,
            "-m",
            "ui.cli.main",
            "review",
            "--patch",
            str(patch),
            "--backend",
            "endpoint",
        ]
        process = subprocess.Popen(
            [*program, "--endpoint", server.url],
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
            cwd=Path(__file__).parents[1],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert begun.wait(60)
        process.send_signal(signal.SIGINT)
        output, said = process.communicate(timeout=20)
        over.set()
    assert process.returncode == 130
    assert (output, said) == ("", "terazi: interrupted\n")
