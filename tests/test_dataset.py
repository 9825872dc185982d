"""The packaged dataset loads, stays apart by split, and wrong rows are named by file, line and field."""

from __future__ import annotations

import gzip
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from review_data import dataset
from review_data.errors import DataError
from review_data.jsonl import write_atomically, write_jsonl

COMMENT = {"id": "c-1", "comment": "This can be null.", "severity": "high"}


def write_rows(path: Path, *rows: object) -> Path:
    """A JSONL file of these rows."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("split", "requests", "notes"), [("train", 414, 427), ("validation", 81, 84), ("test", 103, 104)]
)
def test_every_packaged_row_is_valid(split: dataset.Split, requests: int, notes: int) -> None:
    """The three splits hold what the datasheet says."""
    assert len(dataset.merge_requests(split)) == requests
    assert len(dataset.comments(split)) == notes


def test_no_record_stands_in_two_splits() -> None:
    """Rows are grouped by record, so that nothing of the test split was trained on."""
    dataset.check_splits_apart()
    titles = [{row.title for row in dataset.merge_requests(split)} for split in dataset.SPLITS]
    assert not titles[0] & titles[2]


def test_the_hash_follows_the_content(tmp_path: Path) -> None:
    """The same content gives the same hash, one changed byte another."""
    first = write_rows(tmp_path / "a.jsonl", COMMENT)
    before = dataset.content_hash([first])
    assert before == dataset.content_hash([first])
    write_rows(first, {**COMMENT, "severity": "low"})
    assert before != dataset.content_hash([first])
    assert dataset.packaged_hash() == dataset.packaged_hash()


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({**COMMENT, "severity": "severe"}, "severity"),
        ({"id": "c-1", "severity": "low"}, "comment"),
        ({**COMMENT, "comment": ""}, "comment"),
        ({**COMMENT, "category": "styles"}, "category"),
    ],
)
def test_a_wrong_row_is_named_by_file_line_and_field(tmp_path: Path, row: dict[str, str], field: str) -> None:
    """The second row is wrong: the message says so."""
    path = write_rows(tmp_path / "rows.jsonl", {**COMMENT, "id": "c-0"}, row)
    with pytest.raises(DataError) as caught:
        dataset.load_comments(path)
    assert (caught.value.file, caught.value.line, caught.value.field) == (str(path), 2, field)
    assert f"{path}:2, field `{field}`" in str(caught.value)


def test_a_misspelt_field_is_named_and_a_foreign_one_ignored(tmp_path: Path) -> None:
    """`sevirity` in place of `severity` is a mistake, `uid` is somebody else's column, null is absent."""
    with pytest.raises(DataError, match="did you mean `severity`"):
        dataset.load_comments(write_rows(tmp_path / "rows.jsonl", {"comment": "Null.", "sevirity": "low"}))
    foreign = {"url": "https://example.org", "uid": 1, "idx": 1, "lines": [1], "severity_": 1, "titles": 1}
    row = {**COMMENT, **foreign, "language": None}
    assert dataset.load_comments(write_rows(tmp_path / "rows.jsonl", row))[0].language == ""


def test_severities_are_read_in_any_case(tmp_path: Path) -> None:
    """`High` is high."""
    for severity in ("High", "HIGH", "high"):
        rows = write_rows(tmp_path / "rows.jsonl", {**COMMENT, "severity": severity})
        assert dataset.load_comments(rows)[0].severity == "high"


def test_a_finding_of_a_wrong_type_names_the_path_to_it(tmp_path: Path) -> None:
    """Nested fields are named with their index."""
    finding = {"path": "a.py", "line": 0, "category": "data", "severity": "low", "title": "T"}
    path = write_rows(tmp_path / "rows.jsonl", {"id": "m", "diff": "@@ -1 +1 @@", "findings": [finding]})
    with pytest.raises(DataError, match=r"findings\.0\.line"):
        dataset.load_merge_requests(path)


def test_a_repeated_id_is_refused(tmp_path: Path) -> None:
    """Two rows with one id are an error, rows without an id are not."""
    with pytest.raises(DataError, match="also stands"):
        dataset.load_comments(write_rows(tmp_path / "rows.jsonl", COMMENT, COMMENT))
    anonymous = {"comment": "A typo.", "severity": "low"}
    assert len(dataset.load_comments(write_rows(tmp_path / "others.jsonl", anonymous, anonymous))) == 2


def test_the_kind_of_a_file_is_seen_from_its_first_row(tmp_path: Path) -> None:
    """Comments and merge requests are told apart; anything else is an error."""
    assert len(dataset.load_any(write_rows(tmp_path / "comments.jsonl", COMMENT))) == 1
    assert len(dataset.load_any(dataset.TEACHER_FOLDER / "merge_requests.test.jsonl")) == 103
    with pytest.raises(DataError, match="neither"):
        dataset.load_any(write_rows(tmp_path / "other.jsonl", {"text": "hello"}))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]\n"])
def test_a_file_that_holds_no_rows_is_a_data_error(tmp_path: Path, content: bytes) -> None:
    """Empty, broken, binary: always a DataError that names the file."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"rows\.jsonl"):
        dataset.load_any(path)


def test_an_absent_file_is_a_data_error(tmp_path: Path) -> None:
    """The path stands in the message."""
    with pytest.raises(DataError, match="absent"):
        dataset.load_any(tmp_path / "absent.jsonl")


def test_rows_survive_writing_and_reading(tmp_path: Path) -> None:
    """What is written is read back the same."""
    rows = dataset.comments("validation")
    write_jsonl(tmp_path / "rows.jsonl", rows)
    assert dataset.load_comments(tmp_path / "rows.jsonl") == rows


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """Writing is atomic: no half file and no leftovers."""
    path = tmp_path / "file.txt"
    write_atomically(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]


def test_writing_goes_through_a_link(tmp_path: Path) -> None:
    """The link stays a link, and the file that it names has the new content."""
    target, link = tmp_path / "target.txt", tmp_path / "link.txt"
    target.write_text("old")
    link.symlink_to(target.name)
    write_atomically(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_named_pipe_gets_the_content_and_stays_one(tmp_path: Path) -> None:
    """Only a regular file is replaced: a pipe or a device is written to."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_text)
        write_atomically(pipe, "content")
        assert read.result(timeout=10) == "content"
    assert pipe.is_fifo()


def test_blank_lines_and_a_byte_order_mark_are_no_rows(tmp_path: Path) -> None:
    """They are passed over, and a wrong row is still named by its line in the file."""
    path = tmp_path / "rows.jsonl"
    row = json.dumps(COMMENT)
    path.write_text(f"\ufeff\n{row}\r\n\n{row}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"rows\.jsonl:4, field `id`: `c-1` also stands in line 2"):
        dataset.load_any(path)
    path.write_text(f"\ufeff{row}\n", encoding="utf-8")
    assert len(dataset.load_any(path)) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gzip.compress(b"{}", mtime=0), "unpack"),
        ('{"comment": "x"}'.encode("utf-16"), "UTF-8"),
        (b'{"comment": "x", "severity": "low", "q": ' + b"[" * 5000, "rows.jsonl:1"),
        (b"\n\n[1]\n", "rows.jsonl:3"),
    ],
)
def test_what_is_no_row_is_named_with_its_place(tmp_path: Path, content: bytes, words: str) -> None:
    """Packed, in another encoding, nested too deeply, of another shape: a message that helps."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        dataset.load_any(path)
    assert words in str(caught.value)
