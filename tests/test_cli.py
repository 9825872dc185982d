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


SEVERITY = "evaluate severity --data {absent}"
CODEGEN = "evaluate codegen --benchmark humaneval --problems {absent} --samples {absent}"
EXPLANATIONS = "evaluate explanations --data {absent} --first {absent} --second {absent} --judge-model m"


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("review --patch {absent} --output {loop}", "--output: {loop} can't be written"),
        ("rate --comments {absent} --output {loop}", "--output: {loop} can't be written"),
        ("rate --comments {absent} --output {long}", "--output: {long} can't be written"),
        (SEVERITY + " --report {loop}", "--report: {loop} is no folder"),
        (SEVERITY + " --learning-curve {file}", "--learning-curve: {file} is no folder"),
        (SEVERITY + " --learning-curve {new} --base {absent}", "base {absent} is neither a folder nor"),
        (CODEGEN + " --out {file}", "--out: {file} is no folder"),
        (CODEGEN + " --out {file}/deeper", "--out: {file} is no folder"),
        (CODEGEN + " --k 0", "--k 0: Input should be greater than or equal to 1"),
        (EXPLANATIONS + " --judge-endpoint http://127.0.0.1:9 --out {file}", "--out: {file} is no folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, option: str
) -> None:
    """The option is named before so much as the data is looked at: here it is not even there."""
    places = {name: tmp_path / name for name in ("absent", "file", "loop", "new")}
    places["long"] = tmp_path / ("x" * 300)
    places["file"].write_text("")
    places["loop"].symlink_to("loop")
    assert main([word.format(**places) for word in command.split()]) == 2
    assert option.format(**places) in capsys.readouterr().err
    assert not places["new"].exists()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("review --patch -", "standard input: is closed or a terminal; pipe a patch in"),
        ("hook run", "hook run: is called by git with the pushed refs"),
    ],
)
def test_a_closed_standard_input_is_named(command: str, words: str) -> None:
    """Nothing can come from it: the caller's mistake, not a bug."""
    program = f"{sys.executable} -c 'from ui.cli.main import run; run()'"
    done = subprocess.run(["sh", "-c", f"{program} {command} <&-"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
