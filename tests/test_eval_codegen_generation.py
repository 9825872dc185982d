"""Generation that is cut short: no sample is asked for twice, and none that was given is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from finetune.sandbox.machine import Sandbox
from tests.support.openai_script import scripted_server
from ui.cli.main import main

DATA = Path(__file__).parent / "data"
LIVECODEBENCH = (
    *("evaluate", "codegen", "--benchmark", "livecodebench"),
    *("--problems", str(DATA / "contest_problems.jsonl"), "--tests", "public"),
)


def test_an_interrupted_generation_asks_for_no_sample_twice(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sandbox: Sandbox
) -> None:
    """The server breaks off after 10 answers and a line is torn; the second run asks for the rest alone."""
    assert sandbox.full
    right = "```python\nprint(0)\n```"
    models = [
        {"id": "qwen"},
        {"id": "deep-checkpoint-100", "parent": "qwen"},
        {"id": "deep-200", "parent": "qwen"},
    ]
    args = [
        *(*LIVECODEBENCH, "--platform", "atcoder", "--difficulty", "easy", "--window", "2024-08:2025-02"),
        *("--adapters", "base,deep", "--checkpoints", "all", "--at-once", "4", "--format", "json"),
        *("--out", str(tmp_path), "--n", "2", "--temperature", "0.2", "--timeout", "2"),
    ]
    with scripted_server(lambda body: right if len(server.asked) < 10 else 400, models) as server:
        assert main([*args, "--endpoint", server.url]) == 3
        assert "run again to go on" in capsys.readouterr().err
        samples = tmp_path / "samples.jsonl"
        assert len(samples.read_text().splitlines()) == 10
        with samples.open("ab") as file:
            file.write(b'{"task_id": "terazi-01", "compl')
        server.answer = lambda body: right
        assert main([*args, "--endpoint", server.url]) == 0
        found = json.loads(capsys.readouterr().out)
        total = 3 * 2 * found["systems"][0]["n"]
        asked = [(body["model"], body["seed"], body["messages"][0]["content"]) for body in server.asked]
        assert len(asked) == len(set(asked)) == total
        assert main([*args, "--endpoint", server.url]) == 0
        assert len(server.asked) == total
    assert json.loads(capsys.readouterr().out) == found
    assert [one["name"] for one in found["systems"]] == ["base", "deep@100", "deep@200"]
    assert (tmp_path / "learning-curves.png").exists()
    assert 'alt="pass@1 per checkpoint' in (tmp_path / "report.html").read_text()


def test_ctrl_c_keeps_what_is_in_flight(tmp_path: Path, sandbox: Sandbox) -> None:
    """Every answer that the server gave is kept, so the next run asks for the others alone."""
    assert sandbox.full
    command = [
        *(sys.executable, "-m", "ui.cli.main", *LIVECODEBENCH),
        *("--platform", "leetcode", "--at-once", "3", "--out", str(tmp_path / "run")),
    ]
    path = os.pathsep.join([str(DATA.parents[1]), os.environ.get("PYTHONPATH", "")])
    samples = tmp_path / "run" / "samples.jsonl"
    stop = threading.Event()

    def slowly(body: dict[str, Any]) -> str:
        stop.wait(0.2)
        return "no code"

    with scripted_server(slowly, [{"id": "qwen"}]) as server:
        command += ["--endpoint", server.url]
        with subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as run:
            deadline = time.monotonic() + 60
            while not samples.exists() or samples.stat().st_size == 0:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            run.send_signal(signal.SIGINT)
            assert run.wait(60) == 130
        kept = len(samples.read_text().splitlines())
        assert kept == len(server.asked) < 14
        stop.set()
        assert main(command[3:]) == 0
        assert len(server.asked) == len({json.dumps(body) for body in server.asked}) == 14


def test_a_folder_made_with_other_settings_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sandbox: Sandbox
) -> None:
    """Greedy and sampled answers are not mixed."""
    assert sandbox.full
    args = [*LIVECODEBENCH, "--platform", "leetcode", "--difficulty", "hard", "--out", str(tmp_path)]
    with scripted_server(lambda body: "no", [{"id": "qwen"}]) as server:
        assert main([*args, "--endpoint", server.url]) == 0
        assert main([*args, "--endpoint", server.url, "--temperature", "0.5"]) == 2
    assert "other settings" in capsys.readouterr().err
