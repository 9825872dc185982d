"""`terazi review` from outside: real repositories, every way to name a change, formats, gate, bad input."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.git import GitRepo
from ui.cli.main import main

FAULT = 'import subprocess\n\n\ndef run(name):\n    subprocess.run(f"ls {name}", shell=True)\n'
KEY = 'KEY = "ghp_' + "R4nd0mT0k3nF0rT3st1ngPurp0s3s9Xy2Zw4" + '"\n'


@pytest.fixture
def repo(git_repo: GitRepo) -> GitRepo:
    """A repository with a commit on main."""
    git_repo.commit({"README": "hello\n"})
    return git_repo


def review(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `terazi review ARGS`."""
    code = main(["review", *args])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def paths_of(text: str) -> set[str]:
    """The paths that a JSON review names."""
    return {finding["path"] for finding in json.loads(text)["findings"]}


def test_every_way_to_name_a_change_finds_the_secret(
    repo: GitRepo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Work tree, index, commit, range, branch and patch give the same finding."""
    as_json = ("--repo", str(repo.path), "--format", "json")
    repo.write({"keys.py": KEY})
    assert paths_of(review(capsys, *as_json)[1]) == {"keys.py"}
    assert paths_of(review(capsys, "--worktree", *as_json)[1]) == {"keys.py"}
    repo.run("switch", "-q", "-c", "change")
    repo.run("add", "-A")
    assert paths_of(review(capsys, "--staged", *as_json)[1]) == {"keys.py"}
    repo.run("commit", "-qm", "add a key")
    for way in (["main..HEAD"], ["main...change"], ["main"], ["--commit", "HEAD"], []):
        assert paths_of(review(capsys, *way, *as_json)[1]) == {"keys.py"}, way
    patch = tmp_path / "change.patch"
    patch.write_bytes(repo.run("diff", "main", "HEAD"))
    assert paths_of(review(capsys, "--patch", str(patch), "--format", "json")[1]) == {"keys.py"}


def test_a_review_leaves_no_trace_and_asks_nobody(repo: GitRepo, tmp_path: Path) -> None:
    """Nothing is written to the home, cache and temporary folders: no library reports that it was used."""
    repo.commit({"tool.py": FAULT})
    places = {name: tmp_path / name for name in ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TMPDIR")}
    for place in places.values():
        place.mkdir()
    kept = {key: value for key, value in os.environ.items() if "TELEMETRY" not in key}
    done = subprocess.run(
        [sys.executable, "-m", "ui.cli.main", "review", "--repo", str(repo.path), "--commit", "HEAD"],
        capture_output=True,
        text=True,
        env={**kept, **{name: str(place) for name, place in places.items()}},
        check=True,
    )
    assert "tool.py:5" in done.stdout
    assert [str(left) for place in places.values() for left in place.rglob("*")] == []


def test_a_patch_comes_in_on_standard_input(
    repo: GitRepo, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`git diff | terazi review --patch -` works."""
    repo.commit({"keys.py": KEY})
    data = repo.run("show", "HEAD")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert paths_of(review(capsys, "--patch", "-", "--format", "json")[1]) == {"keys.py"}


def test_the_gate_sets_the_exit_code(repo: GitRepo, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a gate findings exit with 0; at or above it with 1; a hidden finding counts too."""
    repo.commit({"keys.py": KEY})
    where = ("--repo", str(repo.path), "--commit", "HEAD")
    assert review(capsys, *where)[0] == 0
    assert review(capsys, *where, "--gate", "high")[0] == 1
    assert review(capsys, *where, "--gate", "low", "--threshold", "critical")[0] == 1
    repo.commit({"fine.py": "x = 1\n"})
    assert review(capsys, "--repo", str(repo.path), "--commit", "HEAD", "--gate", "low")[0] == 0


def test_a_review_of_nothing_is_no_success(repo: GitRepo, capsys: pytest.CaptureFixture[str]) -> None:
    """A file above the limit alone: the review failed, 3; beside a reviewed one it is partial, 0."""
    repo.write({"big.py": b"x = 1\n" * (2 << 20)})
    where = ("--repo", str(repo.path), "--gate", "low")
    code, out, _ = review(capsys, *where)
    assert (code, out.startswith("REVIEW FAILED")) == (3, True)
    repo.write({"fine.py": "x = 1\n"})
    code, out, _ = review(capsys, *where)
    assert (code, out.startswith("INCOMPLETE REVIEW")) == (0, True)


def test_the_secret_itself_is_never_printed(repo: GitRepo, capsys: pytest.CaptureFixture[str]) -> None:
    """In no format, neither on standard output nor on standard error."""
    repo.commit({"keys.py": KEY})
    for format in ("text", "markdown", "json", "sarif", "gitlab", "rdjson"):
        where = ("--repo", str(repo.path), "--commit", "HEAD", "--format", format, "--verbose")
        _, out, err = review(capsys, *where)
        assert "R4nd0mT0k3n" not in out + err
        assert "keys.py" in out


def test_output_goes_to_a_file(repo: GitRepo, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--output writes the whole review and prints nothing."""
    repo.commit({"keys.py": KEY})
    place = tmp_path / "review.sarif"
    where = ("--repo", str(repo.path), "--commit", "HEAD", "--format", "sarif", "--output", str(place))
    code, out, _ = review(capsys, *where)
    assert (code, out) == (0, "")
    assert json.loads(place.read_text())["version"] == "2.1.0"


def test_ignored_paths_are_skips_from_flag_and_file(
    repo: GitRepo, capsys: pytest.CaptureFixture[str]
) -> None:
    """`ignore` globs leave files out, with the reason."""
    repo.commit({"terazi.toml": 'ignore = ["keys.py"]\n'})
    repo.commit({"keys.py": KEY})
    _, out, _ = review(capsys, "--repo", str(repo.path), "--commit", "HEAD", "--format", "json")
    found = json.loads(out)
    assert found["findings"] == []
    assert [(skip["path"], skip["kind"]) for skip in found["skips"]] == [("keys.py", "ignored")]


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("terazi.toml", 'ignore = ["*"]\n', "`*`"),
        (
            "terazi.toml",
            'threshold = "critical"\nignore = ["a/"]\n',
            "`threshold` critical instead of medium",
        ),
        ("pyproject.toml", '[tool.terazi]\nignore = ["a.py", "pyproject.toml"]\n', "`a.py`"),
        (".gitattributes", "*.png binary\n*.py linguist-generated\n", "`*.py`"),
        (".gitattributes", "* -diff\n", ""),
    ],
)
def test_a_change_does_not_mute_its_own_review(
    repo: GitRepo, capsys: pytest.CaptureFixture[str], name: str, text: str, named: str
) -> None:
    """What takes code out of the review is a finding that can't take itself out, or an incomplete review."""
    repo.commit({name: text, "a.py": "q = eval(input())\n"})
    code, out, _ = review(capsys, "HEAD~1..HEAD", "--repo", str(repo.path), "--gate", "low", "-f", "json")
    found = json.loads(out)
    if not named:
        assert (code, found["outcome"]) == (3, "failed")
        return
    assert code == 1
    assert main(["review", "HEAD~1..HEAD", "--repo", str(repo.path), "--threshold", "low", "-f", "json"]) == 0
    (finding,) = [one for one in json.loads(capsys.readouterr().out)["findings"] if one["path"] == name]
    assert finding["rule"] == "review/loosened"
    assert named in finding["title"]


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("terazi.toml", 'ignore = ["*.snap", "a/"]\ngate = "high"\n', 'ignore = ["a/"]\ngate = "low"\n'),
        ("pyproject.toml", "[tool.ruff]\n", '[tool.ruff]\nline-length = 100\nignore = ["*"]\n'),
        (".gitattributes", "* text=auto\n", "*.png binary\nyarn.lock -diff\n*.py linguist-generated=false\n"),
    ],
)
def test_a_stricter_review_and_other_settings_are_no_finding(
    repo: GitRepo, capsys: pytest.CaptureFixture[str], name: str, old: str, new: str
) -> None:
    """Only what leaves out more is one; so is taking a gate away."""
    repo.commit({name: old})
    repo.commit({name: new})
    where = ("--repo", str(repo.path), "--threshold", "low", "--format", "json")
    assert json.loads(review(capsys, "HEAD~1..HEAD", *where)[1])["findings"] == []
    if "gate" in old:
        repo.commit({name: None})
        assert paths_of(review(capsys, "HEAD~1..HEAD", *where)[1]) == {name}


def test_an_empty_range_is_clean_and_says_that_there_was_nothing(
    repo: GitRepo, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing changed, nothing found, exit 0; the headline is not that of a change that was looked at."""
    code, out, _ = review(capsys, "HEAD..HEAD", "--repo", str(repo.path), "--format", "json")
    assert (code, json.loads(out)["outcome"]) == (0, "clean")
    assert review(capsys, "..HEAD", "--repo", str(repo.path))[1].startswith("Nothing to review: the change")
    repo.commit({"poetry.lock": "x\n"})
    _, out, _ = review(capsys, "--commit", "HEAD", "--repo", str(repo.path))
    assert out.startswith("Nothing to review: every file of the change is left out.")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--repo", "{empty}"], ("not in a git repository", "--repo")),
        (["--repo", "{empty}/absent"], ("absent",)),
        (["no-such-branch..HEAD"], ("no-such-branch",)),
        (["--commit", "--output=x"], ("--output=x",)),
        (["--patch", "{empty}/absent.patch"], ("absent.patch", "no such")),
        (["--patch", "{empty}"], ("folder",)),
        (["--patch", "{text}"], ("text.txt", "diff")),
        (["--patch", "{broken}"], ("broken.patch", "line")),
        (["--threshold", "severe"], ("severe", "critical")),
        (["--gate", "severe"], ("severe", "critical")),
        (["--backend", "cloud"], ("terazi: backend: there is no backend `cloud`", "embedded")),
        (["--format", "pdf"], ("pdf", "sarif")),
        (["--output", "{empty}/absent/file"], ("--output", "folder")),
        (["--staged", "--worktree"], ("--staged and --worktree",)),
        ([""], ("RANGE", "empty", "variable")),
        (["--commit", " "], ("--commit", "empty", "variable")),
        (["--patch", ""], ("--patch", "empty", "variable")),
        (["--gate", ""], ("`gate` can't be ''", "critical")),
        (["..HEAD", "--gate", "low"], ("..HEAD", "empty side", "variable")),
        (["HEAD...", "--gate", "low"], ("HEAD...", "empty side", "variable")),
        (["--deadline", "-1"], ("deadline_s", "greater than 0")),
        (["--deadline", "inf"], ("deadline_s", "less than or equal")),
        (["--deadline", "1e12"], ("deadline_s", "less than or equal")),
        (["--deadline", "soon"], ("deadline_s", "soon")),
    ],
)
def test_bad_input_exits_2_with_one_helpful_line(
    repo: GitRepo, tmp_path: Path, capsys: pytest.CaptureFixture[str], args: list[str], words: tuple[str, ...]
) -> None:
    """What is wrong, where, and what to do: on one line of standard error, and nothing else."""
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "text.txt").write_text("hello\nworld\n")
    (tmp_path / "broken.patch").write_text("--- a/x\n+++ b/x\n@@ -1,9 +1,9 @@\n a\n")
    places = {"empty": empty, "text": tmp_path / "text.txt", "broken": tmp_path / "broken.patch"}
    filled = [arg.format(**places) for arg in args]
    if "--repo" not in filled:
        filled += ["--repo", str(repo.path)]
    code, out, err = review(capsys, *filled)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert all(word in err for word in words), err


@pytest.mark.parametrize("text", ["threshold = 'severe'\n", "threshold = \n", "unknown = 1\n"])
def test_a_broken_configuration_exits_2_and_names_the_file(
    repo: GitRepo, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    """A repository with a wrong terazi.toml is not reviewed with other settings than it asks for."""
    repo.commit({"terazi.toml": text})
    code, _, err = review(capsys, "--repo", str(repo.path))
    assert code == 2
    assert "terazi.toml" in err


def test_a_closed_pipe_is_no_traceback(repo: GitRepo) -> None:
    """`terazi review | head -0` ends quietly."""
    repo.commit({"keys.py": KEY})
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "ui.cli.main", "review", "--repo", str(repo.path), "--commit", "HEAD"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("sign", ["\r", "\x0b", "\x1c", "\u2028", "\x0c"])
def test_a_control_character_hides_no_code(
    repo: GitRepo, capsys: pytest.CaptureFixture[str], sign: str
) -> None:
    """What ends a line for a compiler or an editor, but not for git, makes the line a finding."""
    repo.commit(
        {"n.js": f"// note{sign}eval(location.hash)\n", "n.py": f"x = 1\n# note{sign}q = eval(input())\n"}
    )
    _, out, _ = review(capsys, "--repo", str(repo.path), "--commit", "HEAD", "--format", "json", "-v")
    findings = json.loads(out)["findings"]
    assert {(finding["path"], finding["line"]) for finding in findings} == {("n.js", 1), ("n.py", 2)}
    assert {finding["category"] for finding in findings} == {"security"}
    repo.commit({"crlf.py": "x = 1\r\n\x0c\r\n\ty = 'é'\r\n"})
    _, out, _ = review(capsys, "--repo", str(repo.path), "--commit", "HEAD", "--format", "json")
    assert json.loads(out)["findings"] == []


def test_a_carriage_return_is_a_line_end_to_the_finders(
    repo: GitRepo, capsys: pytest.CaptureFixture[str]
) -> None:
    """The code after it is judged on the line that git gives it, and lines below keep their numbers."""
    repo.commit({"n.py": "import pickle\n# note\rq = eval(input())\n\n\nr = eval(input())\n"})
    _, out, _ = review(capsys, "--repo", str(repo.path), "--commit", "HEAD", "--format", "sarif")
    results = json.loads(out)["runs"][0]["results"]
    lines = [result["locations"][0]["physicalLocation"]["region"]["startLine"] for result in results]
    assert lines == [2, 5]


def test_a_rename_alone_and_a_binary_file_are_not_faults(
    repo: GitRepo, capsys: pytest.CaptureFixture[str]
) -> None:
    """Moving a faulty file is not introducing its fault, and a binary file is skipped with its reason."""
    repo.commit({"old.py": FAULT + KEY})
    repo.run("mv", "old.py", "new.py")
    repo.write({"blob.bin": b"\0\1\2"})
    repo.run("add", "-A")
    repo.run("commit", "-qm", "move")
    _, out, _ = review(capsys, "--repo", str(repo.path), "--commit", "HEAD", "--format", "json")
    found = json.loads(out)
    assert found["findings"] == []
    assert ("blob.bin", "binary") in [(skip["path"], skip["kind"]) for skip in found["skips"]]
