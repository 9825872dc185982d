"""The output file of `terazi batch`: resuming, and what else may stand in its place."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.batches import CLEAN, SHELL, batch, patch, three_rows, write_rows


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """One faulty merge request between two clean ones."""
    return three_rows(tmp_path)


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
