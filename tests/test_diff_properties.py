"""Properties of the diff reader: applying what it read gives the new file, and no input breaks it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from review_data.diff import parse_diff
from review_data.domain import FileStatus
from review_data.errors import ChangeError
from service.changes.snapshots import apply_hunks
from service.changes.text import decode_diff

LINES = st.lists(
    st.one_of(
        st.sampled_from(["a", "b", "c", "", " x", "-- a/f", "++ b/f", "@@ -1 +1 @@", "\\ No newline", "\ta"]),
        st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\n\0"), max_size=8),
    ),
    max_size=12,
)
CONTENT = st.tuples(LINES, st.sampled_from(["\n", "\r\n"]), st.booleans()).map(
    lambda parts: parts[1].join(parts[0]) + (parts[1] if parts[2] and parts[0] else "")
)
NAMES = st.one_of(
    st.sampled_from(
        ["f.py", "a b.txt", "a b/c d", "tab\there", "new\nline", 'quo"te', "café", "日本.py", "\\x"]
    ),
    st.text(st.characters(exclude_categories=("Cs",), exclude_characters="/\0"), min_size=1, max_size=6).map(
        lambda name: f"d/x{name}"
    ),
)
TREES = st.dictionaries(NAMES, CONTENT, max_size=3)


def git_diff(before: dict[str, str], after: dict[str, str]) -> bytes:
    """What `git diff --no-index` shows between two folders with these files."""
    with tempfile.TemporaryDirectory() as folder:
        for side, files in (("a", before), ("b", after)):
            Path(folder, side).mkdir()
            for name, text in files.items():
                place = Path(folder, side, name)
                place.parent.mkdir(exist_ok=True)
                place.write_bytes(text.encode())
        return subprocess.run(
            ["git", "diff", "--no-index", "--no-prefix", "--no-color", "--no-renames", "--text", "a", "b"],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": folder, "GIT_CONFIG_NOSYSTEM": "1"},
            capture_output=True,
            check=False,
        ).stdout


def as_read(text: str) -> list[str]:
    """The lines that the reader promises: without line ends and byte order mark."""
    lines = text.removeprefix("\ufeff").removesuffix("\n").split("\n") if text else []
    return [line.removesuffix("\r") for line in lines]


@settings(max_examples=40, deadline=None)
@given(before=TREES, after=TREES)
@example(before={"a b/c d": "a\r\nb\r\n"}, after={"a b/c d": "a\nb\nc"})
@example(before={"f.py": "\ufeffa\n"}, after={"f.py": "a\n"})
def test_applied_hunks_give_the_new_files(before: dict[str, str], after: dict[str, str]) -> None:
    """For any two trees: the files read are those that differ, and old text plus hunks is the new text."""
    read = {
        file.path.removeprefix("b/").removeprefix("a/"): file
        for file in parse_diff(decode_diff(git_diff(before, after))).files
    }
    assert set(read) == {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    for name, file in read.items():
        old, new = ("".join(f"{line}\n" for line in as_read(tree.get(name, ""))) for tree in (before, after))
        assert apply_hunks(old, file.hunks) == new
        expected = {False: FileStatus.MODIFIED, True: FileStatus.ADDED}[name not in before]
        assert file.status is (FileStatus.DELETED if name not in after else expected)


PIECES = st.sampled_from(
    [
        b"diff --git a/f b/f\n", b'diff --git "a/\\303" b/f\n', b"--- a/f\n", b"+++ b/f\n",
        b"@@ -1 +1 @@\n",
        b"@@ -0,0 +1,2 @@ f\n", b"+x\n", b"-x\n", b" x\n", b"\\ No newline at end of file\n", b"\n", b"\r\n",
        b"rename from x\n", b"rename to \"y\\t\"\n", b"index 1111..2222 100644\n", b"old mode 100644\n",
        b"new file mode 120000\n", b"deleted file mode 100644\n", b"Binary files a/f and b/f differ\n",
        b"GIT binary patch\n", b"\xff\xfe", b"-- \n", b"diff --cc f\n", b"@@@ -1 -1 +1 @@@\n", b"\xe9\n",
        b"Submodule x 1234567..1234567:\n", b"--- /dev/null\n", b"+++ /dev/null\n",
        b"@@ -1,99999999999 +1 @@\n",
    ]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=14).map(b"".join)))
@example(b"--- a/f\n+++ b/f\n@@ -1 +1 @@\n-x\n+x\n\\")
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Whatever comes in, the answer is a diff of distinct paths or a `ChangeError`."""
    try:
        parsed = parse_diff(decode_diff(data))
    except ChangeError:
        return
    assert len({file.path for file in parsed.files}) == len(parsed.files) == len(parsed.blobs)
    assert all(file.path for file in parsed.files)


@settings(max_examples=25, deadline=None)
@given(before=CONTENT, after=CONTENT, cut=st.integers(min_value=1, max_value=40))
def test_a_cut_diff_is_never_read_as_whole(before: str, after: str, cut: int) -> None:
    """A diff that lost lines at its end is refused, or read as no more than what is left of it."""
    whole = decode_diff(git_diff({"f": before}, {"f": after}))
    lines = whole.split("\n")[:-1]
    kept = lines[: max(0, len(lines) - cut)]
    try:
        parsed = parse_diff("".join(f"{line}\n" for line in kept))
    except ChangeError:
        return
    hunks = [hunk for file in parsed.files for hunk in file.hunks]
    assert sum(line.startswith("@@ ") for line in kept) >= len(hunks)
    for hunk in hunks:
        assert sum(line.old_line is not None for line in hunk.lines) == hunk.old_count
        assert sum(line.new_line is not None for line in hunk.lines) == hunk.new_count
