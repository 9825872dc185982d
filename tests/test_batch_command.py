"""`terazi batch` from outside: rows, patches and histories, resuming, bad input, processes that die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.git import GitRepo
from ui.cli.main import main

SHELL = "+import subprocess\n+def run(name):\n+    subprocess.run(f'ls {name}', shell=True)\n"
CLEAN = "+def add(left, right):\n+    return left + right\n+\n"


def patch(name: str, added: str) -> str:
    """A patch that adds a file of three lines."""
    head = f"diff --git a/{name} b/{name}\nnew file mode 100644\n--- /dev/null\n+++ b/{name}\n"
    return f"{head}@@ -0,0 +1,3 @@\n{added}"


def write_rows(path: Path, *rows: dict[str, Any]) -> Path:
    """A JSON Lines file of rows."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def batch(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, results and error stream of `terazi batch ARGS`."""
    code = main(["batch", *map(str, args)])
    printed = capsys.readouterr()
    return code, [json.loads(line) for line in printed.out.splitlines()], printed.err


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """One faulty merge request between two clean ones."""
    return write_rows(
        tmp_path / "mrs.jsonl",
        {"id": 7, "patch": patch("a.py", CLEAN), "title": "Add"},
        {"id": "x/1", "diff": patch("b.py", SHELL), "author": "somebody"},
        {"patch": patch("c.py", CLEAN)},
    )


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
    command = [sys.executable, "-m", "ui.cli.main", "batch", str(place), "-"]
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


def test_an_interrupted_batch_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a kill nothing is reviewed twice; the end is as if nothing had happened, and ordered."""
    place = write_rows(
        tmp_path / "rows.jsonl",
        *({"id": number, "patch": patch(f"f{number}.py", SHELL)} for number in range(40)),
    )
    output, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    command = [sys.executable, "-m", "ui.cli.main", "batch", str(place), "-o", str(output), "--jobs", "1"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not part.exists() or part.read_bytes().count(b"\n") < 3:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    lines = part.read_bytes().splitlines(keepends=True)
    part.write_bytes(b"".join(lines[:3]) + lines[0][:20])  # as a crash tears a line
    code, _, said = batch(capsys, place, "-o", output)
    assert (code, "--resume" in said) == (2, True)
    assert batch(capsys, place, "-o", output, "--resume")[0] == 0
    assert not part.exists()
    found = output.read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["id"] for line in found] == [str(number) for number in range(40)]
    assert set(lines[:3]) <= set(found)


def test_resuming_reviews_only_what_is_not_whole_or_not_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kept results are the old lines, byte by byte; changed rows and settings are reviewed again."""
    place, output = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    same, gone = {"id": "same", "patch": patch("a.py", SHELL)}, tmp_path / "gone.patch"
    changed = {"id": "changed", "patch": patch("b.py", CLEAN)}
    write_rows(place, same, changed, {"id": "gone", "patch_file": str(gone)})
    assert batch(capsys, place, "-o", output)[0] == 3
    first = output.read_bytes().splitlines()
    gone.write_text(patch("c.py", CLEAN))
    write_rows(
        place, same, {"id": "changed", "patch": patch("b.py", SHELL)}, {"id": "gone", "patch_file": str(gone)}
    )
    assert batch(capsys, place, "-o", output, "--resume")[0] == 0
    second = output.read_bytes().splitlines()
    assert second[0] == first[0]
    assert [len(json.loads(line)["review"]["findings"]) for line in second] == [1, 1, 0]
    assert batch(capsys, place, "-o", output, "--resume", "--threshold", "critical")[0] == 0
    third = [json.loads(line)["review"] for line in output.read_bytes().splitlines()]
    assert [review["threshold"] for review in third] == ["critical"] * 3


def test_two_batches_do_not_share_an_output(
    tmp_path: Path, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second is told, and the first one's results stay."""
    from service.batch.output import open_output

    output = tmp_path / "out.jsonl"
    with open_output(output, resume=False):
        code, _, said = batch(capsys, rows, "-o", output)
        assert (code, "another batch is writing it" in said) == (2, True)
    assert batch(capsys, rows, "-o", output)[0] == 0


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


def test_a_process_that_dies_costs_at_most_its_own_row(tmp_path: Path) -> None:
    """A killed worker's rows are reviewed again by another, and the batch ends as ever."""
    place = write_rows(
        tmp_path / "rows.jsonl",
        *({"id": number, "patch": patch(f"f{number}.py", SHELL)} for number in range(30)),
    )
    output, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    command = [sys.executable, "-m", "ui.cli.main", "batch", str(place), "-o", str(output), "--jobs", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    while not part.exists() or part.read_bytes().count(b"\n") < 2:
        assert process.poll() is None
        time.sleep(0.01)
    workers = children_of(process.pid)
    os.kill(workers[0], signal.SIGKILL)
    said = process.communicate(timeout=120)[1].decode()
    assert (process.returncode, "30 with findings" in said) == (0, True), said
    assert len(output.read_bytes().splitlines()) == 30


NO_SERVER = ("--backend", "endpoint", "--endpoint", "http://127.0.0.1:9/v1")


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


@pytest.mark.parametrize("output", [True, False])
def test_rows_that_change_under_way_are_no_clean_end(output: bool, tmp_path: Path) -> None:
    """A row that is there no more when its turn comes stops the batch, and what was reviewed is kept."""
    trap = tmp_path / "trap"
    os.mkfifo(trap)  # whoever opens it to write knows that the first row is under way
    rest = [{"id": number, "patch": patch("a.py", CLEAN), "more": "." * 9000} for number in range(64)]
    place = write_rows(tmp_path / "rows.jsonl", {"id": "trap", "patch_file": str(trap)}, *rest)
    into = ("-o", str(tmp_path / "out.jsonl")) if output else ()
    command = [sys.executable, "-m", "ui.cli.main", "batch", str(place), *NO_SERVER, "--jobs", "1", *into]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with trap.open("w") as writing:
        write_rows(place, {"id": "trap", "patch": "x"}, *rest[:-1])
        writing.write(patch("b.py", CLEAN))
    said = process.communicate(timeout=120)[1].decode()
    assert process.returncode == 2, said
    assert "rows.jsonl:64: the rows are not those that were checked" in said
    assert ("go on with --resume" in said) is output
    assert (tmp_path / "out.jsonl.part").exists() is output


def test_a_reader_or_a_disk_that_fails_is_never_a_gate(tmp_path: Path) -> None:
    """Exit code 1 is the gate's alone: a closed pipe is 141, an error stream that is full is 3."""
    place = write_rows(tmp_path / "rows.jsonl", *({"id": number, "patch": "x" * 20} for number in range(200)))
    command = [sys.executable, "-m", "ui.cli.main", "batch", str(place), *NO_SERVER]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=120) == 141
    with Path("/dev/full").open("wb") as full:
        assert subprocess.run(command, stdout=subprocess.DEVNULL, stderr=full, check=False).returncode == 3


def test_a_full_disk_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What fitted is kept, and the message says how to go on."""
    place = write_rows(
        tmp_path / "rows.jsonl",
        *({"id": number, "patch": patch(f"f{number}.py", CLEAN)} for number in range(12)),
    )
    output, part = tmp_path / "out.jsonl", tmp_path / "out.jsonl.part"
    command = f"ulimit -f 4; exec {sys.executable} -m ui.cli.main batch {place} -o {output} --jobs 1"
    run = subprocess.run(["bash", "-c", command], capture_output=True, check=False)
    assert (run.returncode, b"go on with --resume" in run.stderr) == (3, True), run.stderr
    kept = part.read_bytes().splitlines(keepends=True)[:-1]
    assert kept
    assert batch(capsys, place, "-o", output, "--resume")[0] == 0
    found = output.read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["id"] for line in found] == [str(number) for number in range(12)]
    assert set(kept) <= set(found)


def test_an_edited_result_is_reviewed_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A kept line that has no review, or none that can be counted, passes for nothing."""
    names = ("null", "outcome", "failed", "severity")
    place = write_rows(
        tmp_path / "rows.jsonl", *({"id": name, "patch": patch("a.py", SHELL)} for name in names)
    )
    output = tmp_path / "out.jsonl"
    assert batch(capsys, place, "-o", output, "--jobs", "1")[0] == 0
    whole = [json.loads(line) for line in output.read_text().splitlines()]
    edited = json.loads(json.dumps(whole))
    edited[0]["review"] = None
    edited[1]["review"]["outcome"] = "fine"
    edited[2]["review"]["outcome"] = "failed"
    edited[3]["review"]["findings"][0]["severity"] = 3
    write_rows(output, *edited)
    code, _, said = batch(capsys, place, "-o", output, "--resume", "--jobs", "1")
    assert (code, "4 with findings" in said) == (0, True), said
    found = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["review"]["findings"] for row in found] == [row["review"]["findings"] for row in whole]


def test_only_a_file_of_its_own_holds_the_results_under_way(
    tmp_path: Path, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A link or a pipe in the place of FILE.part is refused, and what a link points to stays as it was."""
    other = tmp_path / "other"
    other.write_text("mine\n")
    (tmp_path / "a.part").symlink_to(other)
    os.mkfifo(tmp_path / "b.part")
    for name, words in {"a": "it is a link", "b": "is in the way and no file"}.items():
        code, _, said = batch(capsys, rows, "-o", tmp_path / name, "--resume")
        assert (code, words in said) == (2, True), said
    assert other.read_text() == "mine\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_place_that_can_not_be_written_is_found_before_any_work(
    tmp_path: Path, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A report is not lost at the end for want of a permission."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    for flag in ("--output", "--report"):
        code, found, said = batch(capsys, rows, flag, folder / "new")
        assert (code, found, f"{flag}: " in said) == (2, [], True)


def test_ctrl_c_while_the_processes_start_is_one_line(tmp_path: Path, rows: Path) -> None:
    """The processes say nothing of their own, and no file is named that holds nothing."""
    command = [sys.executable, "-m", "ui.cli.main", "batch", str(rows), "-o", str(tmp_path / "out.jsonl")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    while not children_of(process.pid):
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=120)[1]
    assert (process.returncode, said) == (130, b"terazi: interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == ["mrs.jsonl"]


def test_a_row_that_kills_its_process_again_is_a_failed_result(tmp_path: Path) -> None:
    """A row on which two processes died is given up; those that were under way beside it are reviewed."""
    trap = tmp_path / "trap"
    os.mkfifo(trap)  # whoever reads it waits, and can be killed there
    good = ({"id": name, "patch": patch(f"{name}.py", CLEAN)} for name in "abc")
    place = write_rows(tmp_path / "rows.jsonl", {"id": "trap", "patch_file": str(trap)}, *good)
    command = [sys.executable, "-m", "ui.cli.main", "batch", str(place), "--jobs", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    killed: list[int] = []
    while len(killed) < 2:
        assert process.poll() is None
        for child in children_of(process.pid):
            if child not in killed:
                os.kill(child, signal.SIGKILL)
                killed.append(child)
        time.sleep(0.01)
    try:
        printed, said = process.communicate(timeout=120)
    finally:
        process.kill()
    found = [json.loads(line) for line in printed.splitlines()]
    assert process.returncode == 3, said
    assert [(row["id"], row["exit_code"]) for row in found] == [("trap", 3), ("a", 0), ("b", 0), ("c", 0)]
    assert "died twice" in found[0]["error"]


def test_ctrl_c_ends_every_process_and_says_how_to_go_on(tmp_path: Path) -> None:
    """Exit code 130, what was reviewed is kept, and no worker lives on."""
    place = write_rows(
        tmp_path / "rows.jsonl",
        *({"id": number, "patch": patch(f"f{number}.py", SHELL)} for number in range(200)),
    )
    part = tmp_path / "out.jsonl.part"
    command = [sys.executable, "-m", "ui.cli.main", "batch", str(place), "-o", str(part.with_suffix(""))]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)
    while not part.exists() or not part.read_bytes():
        assert process.poll() is None
        time.sleep(0.01)
    workers = children_of(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[1].decode()
    assert (process.returncode, "go on with --resume" in said) == (130, True), said
    assert part.read_bytes()
    until = time.monotonic() + 30
    while any(is_alive(worker) for worker in workers):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_ray_cluster_gives_the_results_of_one_machine(tmp_path: Path, rows: Path) -> None:
    """The same reviews in the same order."""
    pytest.importorskip("ray")
    command = [sys.executable, "-m", "ui.cli.main", "batch", str(rows), "--jobs", "1"]
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
    command = [sys.executable, "-m", "ui.cli.main", "batch", str(rows), "--ray", "auto"]
    run = subprocess.run(command, capture_output=True, check=False, timeout=300)
    assert (run.returncode, run.stdout) == (3, b"")
    assert b"--ray auto: Ray failed" in run.stderr


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
