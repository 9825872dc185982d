"""`terazi batch` from outside: rows, patches, histories, settings, reports, bad input, Ray."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.batches import CLEAN, COMMAND, NO_SERVER, SHELL, batch, patch, three_rows, write_rows
from tests.support.git import GitRepo
from ui.cli.main import main


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """One faulty merge request between two clean ones."""
    return three_rows(tmp_path)


def test_each_row_gets_the_review_that_terazi_review_gives(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Results stand in the order of the rows, with the object that `review --format json` prints."""
    code, found, said = batch(capsys, rows, "--gate", "high")
    assert (code, [row["id"] for row in found]) == (1, ["7", "x/1", f"{rows}:3"])
    assert [row["exit_code"] for row in found] == [0, 1, 0]
    assert found[0]["review"]["title"] == "Add"
    assert "3 merge requests" in said
    assert "1 with findings, 2 clean" in said
    alone = tmp_path / "b.patch"
    alone.write_text(patch("b.py", SHELL))
    main(["review", "--patch", str(alone), "--format", "json"])
    expected = json.loads(capsys.readouterr().out)
    for name in ("findings", "hidden", "outcome", "provenance", "skips"):
        assert found[1]["review"][name] == expected[name], name


def test_patches_and_a_pipe_are_reviewed_like_rows(tmp_path: Path, rows: Path) -> None:
    """Patch files have their name as id, `-` and a named pipe hold rows."""
    place = tmp_path / "one.patch"
    place.write_text(patch("b.py", SHELL))
    command = [*COMMAND, str(place), "-"]
    run = subprocess.run(command, input=rows.read_bytes(), capture_output=True, check=True)
    found = [json.loads(line) for line in run.stdout.splitlines()]
    assert [row["id"] for row in found] == [str(place), "7", "x/1", "standard input:3"]
    assert found[0]["review"]["findings"] == found[2]["review"]["findings"] != []


def test_a_history_is_reviewed_merge_by_merge(git_repo: GitRepo, capsys: pytest.CaptureFixture[str]) -> None:
    """Commits of the trunk from the first to the last; a merge is what its branch brought."""
    git_repo.commit({"README": "hello\n"}, "Begin")
    git_repo.run("switch", "-q", "-c", "side")
    git_repo.commit({"run.py": SHELL.replace("+", "")}, "Part of a branch")
    git_repo.commit({"more.py": "VALUE = 1\n"}, "More of it")
    git_repo.run("switch", "-q", "main")
    git_repo.run("merge", "-q", "--no-ff", "--message", "Merge side", "side")
    repo = ("--repo", git_repo.path)
    code, found, _ = batch(capsys, "--history", "main", *repo)
    assert code == 0
    assert [row["review"]["title"] for row in found] == ["Begin", "Merge side"]
    assert [len(row["review"]["findings"]) for row in found] == [0, 1]
    assert len(batch(capsys, "--history", "main~1..main", *repo)[1]) == 1
    code, _, said = batch(capsys, "--history", "main..main", *repo)
    assert (code, "holds no commit" in said) == (2, True)


def test_a_change_has_the_settings_of_what_it_is_compared_with(
    git_repo: GitRepo, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A change that ignores its own files is reviewed; what the target ignores is not."""
    git_repo.commit({"terazi.toml": 'ignore = ["vendor/"]\n'}, "Begin")
    fault = SHELL.replace("+", "")
    git_repo.commit(
        {"terazi.toml": 'ignore = ["*.py"]\n', "run.py": fault, "vendor/run.py": fault}, "Mute myself"
    )
    place = write_rows(
        tmp_path / "rows.jsonl",
        {"id": "range", "range": "HEAD~1..HEAD"},
        {"id": "commit", "commit": "HEAD", "repository": str(git_repo.path)},
    )
    _, found, _ = batch(capsys, place, "--repo", git_repo.path)
    for row in found:
        paths = {finding["path"] for finding in row["review"]["findings"]}
        assert "run.py" in paths, row["id"]
        assert "vendor/run.py" not in paths, row["id"]


def test_what_can_not_be_reviewed_is_a_failed_result_and_the_rest_goes_on(
    tmp_path: Path, git_repo: GitRepo, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown revision, an empty patch and a missing repository cost their own rows alone."""
    git_repo.commit({"README": "hello\n"})
    place = write_rows(
        tmp_path / "rows.jsonl",
        {"id": "gone", "range": "main..nowhere", "repository": str(git_repo.path)},
        {"id": "empty", "patch": ""},
        {"id": "nowhere", "commit": "HEAD", "repository": str(tmp_path / "none")},
        {"id": "good", "patch": patch("a.py", CLEAN)},
    )
    code, found, said = batch(capsys, place)
    assert code == 3
    assert [row["review"] is None for row in found] == [True, True, True, False]
    assert "there is no revision `nowhere`" in found[0]["error"]
    assert "is empty" in found[1]["error"]
    assert "1 clean, 3 NOT REVIEWED" in said
    assert f"gone: {git_repo.path}: there is no revision" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"id": 1}\n', "rows.jsonl:1: Value error, names no change; give one of `patch`"),
        ('{"patch": "x", "range": "a..b"}\n', "has `patch` and `range`"),
        ('{"range": "main..."}\n', "`main...` lacks a revision"),
        ('{"commit": " "}\n', "` ` lacks a revision"),
        ('{"range": "HEAD"}\n', "`HEAD` is no range; write A..B"),
        ('{"patch": "x", "diff": "y"}\n', "has `patch` and `diff`"),
        ('{"patch_file": "a\\u0000"}\n', "rows.jsonl:1, field `patch_file`: Value error, holds a NUL"),
        ('{"id": "' + 6000 * "x" + '", "patch": "x"}\n', "should have at most 5000 characters"),
        ('{"patch": "x"}\n{"patch": 3}\n', "rows.jsonl:2, field `patch`"),
        ('{"patch": "x"\n', "rows.jsonl:1: Invalid JSON"),
        ('{"id": 1, "patch": "x"}\n\n{"id": "1", "patch": "x"}\n', "rows.jsonl:3: the id `1` is that of"),
        ("", "rows.jsonl: holds no row"),
    ],
)
def test_a_malformed_row_is_refused_before_any_work(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names file and line, and nothing is printed or written."""
    place = tmp_path / "rows.jsonl"
    place.write_text(text)
    code, found, said = batch(capsys, place)
    assert (code, found) == (2, [])
    assert words in said
    assert batch(capsys, place, "--output", tmp_path / "out.jsonl")[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_wrong_calls_are_refused(tmp_path: Path, rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing named, folders, unset variables, outputs that would destroy something."""
    (tmp_path / "r.part").write_text(patch("a.py", CLEAN))
    calls: dict[tuple[str | Path, ...], str] = {
        (): "nothing to review is named",
        (tmp_path,): "is a folder",
        ("/dev/null",): "/dev/null: is a device",
        (tmp_path / "none.patch",): "there is no such file",
        (tmp_path / "none.jsonl",): "can't be read",
        ("--history", ""): "--history: `` lacks a revision",
        ("--history", "main.."): "--history: `main..` lacks a revision",
        (rows, "--resume"): "name it with --output",
        (rows, "--output", rows): "is read or written by this call already",
        (rows, "--output", tmp_path / "o", "--report", tmp_path / "o"): "--report: ",
        (rows, "--output", "/dev/null"): "is no file",
        (rows, "--output", tmp_path / "no" / "out"): "can't be written",
        (rows, "--report", tmp_path): "--report",
        (rows, "--output", tmp_path / "o", "--report", tmp_path / "o.part"): "--report: ",
        (tmp_path / "r.part", "--output", tmp_path / "r", "--resume"): "--output: ",
        (rows, "--jobs", "99999999999"): "less than or equal to 10000",
        (rows, "--backend", "none"): "there is no backend `none`",
    }
    for call, words in calls.items():
        code, found, said = batch(capsys, *call)
        assert (code, found) == (2, []), call
        assert words in said, call


def test_a_report_tells_people_what_is_worst(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Most severe first, by category, and what is missing; names and titles are inert."""
    place = write_rows(
        tmp_path / "rows.jsonl",
        {"id": "calm", "patch": patch("a.py", CLEAN)},
        {"id": "a|b", "title": "<b>Run</b> | it", "patch": patch("b.py", SHELL)},
        {"id": "c\\\\|d", "patch": patch("c.py", SHELL)},
        {"id": "empty", "patch": ""},
    )
    report = tmp_path / "report.md"
    assert batch(capsys, place, "--report", report)[0] == 3
    text = report.read_text()
    assert "| `a\\|b` | &lt;b&gt;Run&lt;/b&gt; \\| it | 1 |" in text
    assert "| `c\\\\\\|d` |  | 1 |" in text
    assert "| security |" in text
    assert "- `empty`: is empty" in text
    assert "calm" not in text


def test_a_failed_review_says_why_and_in_the_order_of_the_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server that is not there, or a device for a patch, is told of; nothing sounds as if it were clean."""
    good = ({"id": f"m{number}", "patch": patch("a.py", CLEAN)} for number in range(3))
    place = write_rows(tmp_path / "rows.jsonl", *good, {"id": "device", "patch_file": "/dev/null"})
    report = tmp_path / "report.md"
    code, found, said = batch(capsys, place, "--report", report, *NO_SERVER)
    assert (code, [row["exit_code"] for row in found]) == (3, [3, 3, 3, 2])
    assert "No findings in what was reviewed." in said
    assert "m0: a.py: endpoint failed: http://127.0.0.1:9/v1 can't be reached" in said
    assert "device: /dev/null: is a device" in said
    told = [line.split("`")[1] for line in report.read_text().splitlines() if line.startswith("- ")]
    assert told == ["m0", "m1", "m2", "device"]
    assert "can't be reached" in report.read_text()


def test_results_are_ascii_whatever_the_names_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Signs that act on a terminal, or that an encoding lacks, are escaped; names need not be UTF-8."""
    odd = tmp_path / os.fsdecode(b"odd\xff.patch")
    odd.write_text(patch("a.py", CLEAN))
    place = write_rows(tmp_path / "rows.jsonl", {"id": "\x9b\u202e\U0001f600", "patch": ""})
    assert main(["batch", str(odd), str(place), *NO_SERVER]) == 3
    printed = capsys.readouterr().out
    assert printed.isascii()
    ids = [json.loads(line)["id"] for line in printed.splitlines()]
    assert ids == [f"{tmp_path}/odd\\udcff.patch", "\x9b\u202e\U0001f600"]


def test_secrets_in_names_are_masked_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ids, errors and messages keep a token's public prefix alone."""
    token = f"ghp_{'aB3dE6gH9' * 4}"
    rows = [{"id": token, "patch": ""}, {"id": "file", "patch_file": f"{token}.patch"}]
    place, report = write_rows(tmp_path / f"{token}.jsonl", *rows, {"patch": ""}), tmp_path / "report.md"
    code, found, said = batch(capsys, place, "--report", report, *NO_SERVER)
    assert (code, found[0]["id"]) == (3, "ghp_****")
    assert token not in f"{found}{said}{report.read_text()}"
    code, _, said = batch(capsys, write_rows(place, rows[0], rows[0]))
    assert (code, "the id `ghp_****` is that of" in said, token in said) == (2, True, False)


def test_rows_that_are_not_text_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line is that which holds the wrong byte."""
    place = tmp_path / "rows.jsonl"
    place.write_bytes(b'{"patch": "x"}\n{"patch": "\xe9"}\n')
    code, found, said = batch(capsys, place)
    assert (code, found) == (2, [])
    assert "rows.jsonl:2: is not UTF-8 text" in said


def test_a_ray_cluster_gives_the_results_of_one_machine(tmp_path: Path, rows: Path) -> None:
    """The same reviews in the same order."""
    pytest.importorskip("ray")
    command = [*COMMAND, str(rows), "--jobs", "1"]
    here = subprocess.run(command, capture_output=True, check=True)
    there = subprocess.run([*command, "--ray", "local"], capture_output=True, check=False, timeout=300)
    assert there.returncode == 0, there.stderr.decode()
    both = [[json.loads(line) for line in run.stdout.splitlines()] for run in (here, there)]
    for found in both:
        for row in found:
            del row["review"]["elapsed_s"]
    assert both[0] == both[1]


def test_a_cluster_that_is_not_there_is_a_failure_of_the_tool(rows: Path) -> None:
    """Exit code 3 and Ray's own words; nothing looks reviewed."""
    pytest.importorskip("ray")
    command = [*COMMAND, str(rows), "--ray", "auto"]
    run = subprocess.run(command, capture_output=True, check=False, timeout=300)
    assert (run.returncode, run.stdout) == (3, b"")
    assert b"--ray auto: Ray failed" in run.stderr
