"""The program's edge: exit codes, one-line messages, and that help needs nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ui.cli.main import COMMANDS, main

HEAVY = (
    "torch",
    "transformers",
    "onnxruntime",
    "gradio",
    "git",
    "ast_grep_py",
    "numpy",
    "sqlalchemy",
    "fastapi",
)


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Each command stands in `terazi --help`."""
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(command in printed for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`terazi COMMAND --help` works for all of them."""
    assert main([command, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


def test_the_program_ends_at_once_and_loses_nothing() -> None:
    """Exit code, buffered output and what is registered for the end survive the quick end."""
    code = (
        "import atexit; from ui.cli.main import end; atexit.register(print, 'last'); print('first'); end(3)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (3, ["first", "last"])


def test_help_imports_nothing_heavy() -> None:
    """Starting the program loads none of the packages that reviews, training or serving need."""
    code = (
        f"import sys; from ui.cli.main import main; main(['--help']); print({HEAVY!r} & sys.modules.keys())"
    )
    code = code.replace(f"{HEAVY!r}", f"set({HEAVY!r})")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["reviw"], ("reviw", "review")),
        (["review", "--nonsense"], ("--nonsense", "terazi review --help")),
        (["config", "--format", "yaml"], ("yaml", "json")),
    ],
)
def test_a_wrong_call_exits_2_with_one_line(
    args: list[str], words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """What was wrong and what to do stands on one line of standard error."""
    assert main(args) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert all(word in printed.err for word in words)


def test_config_says_where_each_value_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The JSON form holds value and origin per setting."""
    (tmp_path / "terazi.toml").write_text('gate = "high"\n')
    monkeypatch.setenv("TERAZI_THRESHOLD", "low")
    assert main(["config", "--repo", str(tmp_path), "--format", "json"]) == 0
    settings = json.loads(capsys.readouterr().out)
    assert settings["gate"] == {"value": "high", "origin": str(tmp_path / "terazi.toml")}
    assert settings["threshold"] == {"value": "low", "origin": "TERAZI_THRESHOLD"}
    assert settings["backend"]["origin"] == "default"


def test_version_names_what_it_stands_on(capsys: pytest.CaptureFixture[str]) -> None:
    """A report needs these versions."""
    assert main(["version"]) == 0
    assert "terazi" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("version > /dev/full", 3, "No space left on device"),
        ("rate --comments {rows} --format json > /dev/full", 3, "No space left on device"),
        ("rate --comments {rows} --gate low >&-", 1, ""),
        ("rate --comments {rows} --gate none >&- 2>&-", 0, ""),
        ("rate --comments {rows}/absent 2>&-", 2, ""),
    ],
)
def test_output_that_cannot_be_written_is_no_bug_and_no_verdict(
    tmp_path: Path, command: str, code: int, words: str
) -> None:
    """A full disk is a failure that says so; whoever closes the output gets the exit code alone."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"comment": "A typo."}\n' * 40)
    program = f"{sys.executable} -c 'from ui.cli.main import run; run()'"
    shell = f"{program} {command.format(rows=rows)}"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "bug in Terazi" not in done.stderr
    assert "Traceback" not in done.stderr
