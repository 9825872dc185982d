"""`terazi batch` cut short: Ctrl-C, processes that die, rows that change, readers and disks that fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.batches import (
    CLEAN,
    COMMAND,
    NO_SERVER,
    SHELL,
    batch,
    begin,
    children_of,
    is_alive,
    many_rows,
    patch,
    three_rows,
    wait_for_results,
    write_rows,
)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Where the results go."""
    return tmp_path / "out.jsonl"


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """Where they are while the batch runs."""
    return tmp_path / "out.jsonl.part"


def test_an_interrupted_batch_goes_on_where_it_was(
    tmp_path: Path, output: Path, part: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a kill nothing is reviewed twice; the end is as if nothing had happened, and ordered."""
    place = many_rows(tmp_path, 40, SHELL)
    process = begin(place, "-o", output, "--jobs", "1")
    wait_for_results(process, part, 3)
    process.kill()
    process.communicate()
    lines = part.read_bytes().splitlines(keepends=True)
    part.write_bytes(b"".join(lines[:3]) + lines[0][:20])  # as a crash tears a line
    code, _, said = batch(capsys, place, "-o", output)
    assert (code, "--resume" in said) == (2, True)
    assert batch(capsys, place, "-o", output, "--resume")[0] == 0
    assert not part.exists()
    found = output.read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["id"] for line in found] == [str(number) for number in range(40)]
    assert set(lines[:3]) <= set(found)


def test_a_process_that_dies_costs_at_most_its_own_row(tmp_path: Path, output: Path, part: Path) -> None:
    """A killed worker's rows are reviewed again by another, and the batch ends as ever."""
    process = begin(many_rows(tmp_path, 30, SHELL), "-o", output, "--jobs", "2")
    wait_for_results(process, part, 2)
    os.kill(children_of(process.pid)[0], signal.SIGKILL)
    said = process.communicate(timeout=120)[1].decode()
    assert (process.returncode, "30 with findings" in said) == (0, True), said
    assert len(output.read_bytes().splitlines()) == 30


def test_a_row_that_kills_its_process_again_is_a_failed_result(tmp_path: Path) -> None:
    """A row on which two processes died is given up; those that were under way beside it are reviewed."""
    trap = tmp_path / "trap"
    os.mkfifo(trap)  # whoever reads it waits, and can be killed there
    good = ({"id": name, "patch": patch(f"{name}.py", CLEAN)} for name in "abc")
    place = write_rows(tmp_path / "rows.jsonl", {"id": "trap", "patch_file": str(trap)}, *good)
    process = begin(place, "--jobs", "1")
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


def test_ctrl_c_while_the_processes_start_is_one_line(tmp_path: Path, output: Path) -> None:
    """The processes say nothing of their own, and no file is named that holds nothing."""
    process = begin(three_rows(tmp_path), "-o", output)
    while not children_of(process.pid):
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=120)[1]
    assert (process.returncode, said) == (130, b"terazi: interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == ["mrs.jsonl"]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_every_process_and_says_how_to_go_on(
    sent: signal.Signals, tmp_path: Path, output: Path, part: Path
) -> None:
    """Ctrl-C and the end of a CI job: exit code 130, what was reviewed is kept, and no worker lives on."""
    process = begin(many_rows(tmp_path, 200, SHELL), "-o", output)
    wait_for_results(process, part, 1)
    workers = children_of(process.pid)
    os.killpg(process.pid, sent)
    said = process.communicate(timeout=60)[1].decode()
    going_on = f"terazi: what was reviewed is in {part}; go on with --resume\n"
    assert (process.returncode, said) == (130, f"{going_on}terazi: interrupted\n")
    assert part.read_bytes()
    until = time.monotonic() + 30
    while any(is_alive(worker) for worker in workers):
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("into_file", [True, False])
def test_rows_that_change_under_way_are_no_clean_end(
    into_file: bool, tmp_path: Path, output: Path, part: Path
) -> None:
    """A row that is there no more when its turn comes stops the batch, and what was reviewed is kept."""
    trap = tmp_path / "trap"
    os.mkfifo(trap)  # whoever opens it to write knows that the first row is under way
    rest = [{"id": number, "patch": patch("a.py", CLEAN), "more": "." * 9000} for number in range(64)]
    place = write_rows(tmp_path / "rows.jsonl", {"id": "trap", "patch_file": str(trap)}, *rest)
    process = begin(place, *NO_SERVER, "--jobs", "1", *(("-o", output) if into_file else ()))
    with trap.open("w") as writing:
        write_rows(place, {"id": "trap", "patch": "x"}, *rest[:-1])
        writing.write(patch("b.py", CLEAN))
    said = process.communicate(timeout=120)[1].decode()
    assert process.returncode == 2, said
    assert "rows.jsonl:64: the rows are not those that were checked" in said
    assert ("go on with --resume" in said) is into_file
    assert part.exists() is into_file


def test_a_reader_or_a_disk_that_fails_is_never_a_gate(tmp_path: Path) -> None:
    """Exit code 1 is the gate's alone: a closed pipe is 141, an error stream that is full is 3."""
    place = write_rows(tmp_path / "rows.jsonl", *({"id": number, "patch": "x" * 20} for number in range(200)))
    command = [*COMMAND, str(place), *NO_SERVER]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=120) == 141
    with Path("/dev/full").open("wb") as full:
        assert subprocess.run(command, stdout=subprocess.DEVNULL, stderr=full, check=False).returncode == 3


def test_a_full_disk_loses_nothing(
    tmp_path: Path, output: Path, part: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What fitted is kept, and the message says how to go on."""
    place = many_rows(tmp_path, 12, CLEAN)
    command = f"ulimit -f 4; exec {' '.join(COMMAND)} {place} -o {output} --jobs 1"
    run = subprocess.run(["bash", "-c", command], capture_output=True, check=False)
    assert (run.returncode, b"go on with --resume" in run.stderr) == (3, True), run.stderr
    kept = part.read_bytes().splitlines(keepends=True)[:-1]
    assert kept
    assert batch(capsys, place, "-o", output, "--resume")[0] == 0
    found = output.read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["id"] for line in found] == [str(number) for number in range(12)]
    assert set(kept) <= set(found)
