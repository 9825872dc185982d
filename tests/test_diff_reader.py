"""The diff reader on every shape of diff that git and its kin write."""

from __future__ import annotations

import pytest

from review_data.diff import parse_diff
from review_data.diff_header import split_git_names, unquote
from review_data.domain import FileStatus, LineKind
from review_data.errors import ChangeError

HEAD = "diff --git a/f.py b/f.py\nindex 1111111..2222222 100644\n--- a/f.py\n+++ b/f.py\n"


def test_numbers_lines_on_both_sides() -> None:
    """Each line carries its number on the sides that have it, over several hunks."""
    file = parse_diff(HEAD + "@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n@@ -9 +9,2 @@ def f():\n z\n+y\n").files[0]
    numbers = [(line.kind, line.text, line.old_line, line.new_line) for h in file.hunks for line in h.lines]
    assert numbers == [
        (LineKind.CONTEXT, "a", 1, 1),
        (LineKind.REMOVED, "b", 2, None),
        (LineKind.ADDED, "B", None, 2),
        (LineKind.CONTEXT, "c", 3, 3),
        (LineKind.CONTEXT, "z", 9, 9),
        (LineKind.ADDED, "y", None, 10),
    ]
    assert file.hunks[1].section == "def f():"
    assert file.language == "python"


@pytest.mark.parametrize(
    ("quoted", "path"),
    [
        ("plain.py", "plain.py"),
        ('"tab\\there.py"', "tab\there.py"),
        ('"line\\nbreak.py"', "line\nbreak.py"),
        ('"caf\\303\\251.py"', "café.py"),
        ('"latin\\351.py"', "latin\\xe9.py"),
        ('"quo\\"te\\\\.py"', 'quo"te\\.py'),
        ('"bell\\a.py"', "bell\a.py"),
        ('"naïve\\t.py"', "naïve\t.py"),
    ],
)
def test_unquotes_paths(quoted: str, path: str) -> None:
    """git's C-style quoting gives the path back; bytes that are no UTF-8 stay visible."""
    assert unquote(quoted) == path


@pytest.mark.parametrize(
    ("names", "path"),
    [
        ("a/x.py b/x.py", "x.py"),
        ("a/x b/y b/x b/y", "x b/y"),
        ("x.py x.py", "x.py"),
        ('"a/t\\tab" "b/t\\tab"', "t\tab"),
        ("i/x.py w/x.py", "x.py"),
        ("a/x.py a/x.py", "a/x.py"),
    ],
)
def test_reads_names_from_the_git_line(names: str, path: str) -> None:
    """Without `---` lines the path comes from `diff --git`, blanks, quotes and prefixes or none."""
    assert split_git_names(names) == (path, path)


def test_names_with_blanks() -> None:
    """git ends such a name with a tab, and ` b/` inside it does not split it."""
    text = (
        "diff --git a/a b/c d.py b/a b/c d.py\nindex 1..2\n--- a/a b/c d.py\t\n+++ b/a b/c d.py\t\n"
        "@@ -1 +1 @@\n-x\n+y\n"
    )
    assert parse_diff(text).files[0].path == "a b/c d.py"


def test_rename_copy_and_mode() -> None:
    """Renames and copies keep both paths; a mode change keeps both modes."""
    text = (
        "diff --git a/old.py b/new.py\nsimilarity index 90%\nrename from old.py\nrename to new.py\n"
        "index 1111111..2222222 100644\n--- a/old.py\n+++ b/new.py\n@@ -1 +1 @@\n-a\n+b\n"
        "diff --git a/from.py b/to.py\nsimilarity index 100%\ncopy from from.py\ncopy to to.py\n"
        "diff --git a/run.sh b/run.sh\nold mode 100644\nnew mode 100755\n"
    )
    renamed, copied, mode = parse_diff(text).files
    assert (renamed.old_path, renamed.path, renamed.status) == ("old.py", "new.py", FileStatus.RENAMED)
    assert (copied.old_path, copied.path, copied.status) == ("from.py", "to.py", FileStatus.COPIED)
    assert (mode.old_mode, mode.new_mode, mode.status) == ("100644", "100755", FileStatus.MODIFIED)


def test_added_and_deleted_files() -> None:
    """A deleted file goes by its old path; both carry their one mode and blob."""
    text = (
        "diff --git a/new.py b/new.py\nnew file mode 100644\nindex 0000000..2222222\n--- /dev/null\n"
        "+++ b/new.py\n@@ -0,0 +1 @@\n+a\n"
        "diff --git a/old.py b/old.py\ndeleted file mode 100755\nindex 1111111..0000000\n--- a/old.py\n"
        "+++ /dev/null\n@@ -1 +0,0 @@\n-a\n"
        "diff --git a/empty b/empty\nnew file mode 100644\nindex 0000000..e69de29\n"
    )
    parsed = parse_diff(text)
    assert [(file.path, file.status) for file in parsed.files] == [
        ("new.py", FileStatus.ADDED),
        ("old.py", FileStatus.DELETED),
        ("empty", FileStatus.ADDED),
    ]
    assert [(file.old_mode, file.new_mode) for file in parsed.files[:2]] == [
        (None, "100644"),
        ("100755", None),
    ]
    assert parsed.blobs[0].new == "2222222"


@pytest.mark.parametrize(
    "body",
    [
        "Binary files a/x.png and b/x.png differ\n",
        "GIT binary patch\nliteral 3\nKcmZQzfB*mh\n\nliteral 0\nHcmV?d00001\n\n",
    ],
)
def test_binary_files(body: str) -> None:
    """Both ways git says binary."""
    file = parse_diff(f"diff --git a/x.png b/x.png\nindex 1111111..2222222 100644\n{body}").files[0]
    assert file.binary
    assert file.path == "x.png"


def test_type_change_is_one_file() -> None:
    """A file that became a symlink is one change with both modes, though git shows it twice."""
    text = (
        "diff --git a/x b/x\ndeleted file mode 100644\nindex 1111111..0000000\n--- a/x\n+++ /dev/null\n"
        "@@ -1 +0,0 @@\n-a\n"
        "diff --git a/x b/x\nnew file mode 120000\nindex 0000000..2222222\n--- /dev/null\n+++ b/x\n"
        "@@ -0,0 +1 @@\n+target\n\\ No newline at end of file\n"
    )
    (file,) = parse_diff(text).files
    assert (file.status, file.old_mode, file.new_mode) == (FileStatus.TYPE_CHANGED, "100644", "120000")


def test_line_ends_are_no_change() -> None:
    """A converted file shows only what else changed; a final newline makes no added line."""
    crlf = HEAD + "@@ -1,4 +1,5 @@\n-a\r\n-b\r\n-c\r\n-d\r\n+a\n+B\n+b2\n+c\n+d\n"
    kinds = [(line.kind, line.text) for line in parse_diff(crlf).files[0].hunks[0].lines]
    assert kinds == [
        (LineKind.CONTEXT, "a"),
        (LineKind.REMOVED, "b"),
        (LineKind.ADDED, "B"),
        (LineKind.ADDED, "b2"),
        (LineKind.CONTEXT, "c"),
        (LineKind.CONTEXT, "d"),
    ]
    newline = HEAD + "@@ -1 +1,2 @@\n-a\n\\ No newline at end of file\n+a\n+b\n"
    file = parse_diff(newline).files[0]
    assert [line.text for hunk in file.hunks for line in hunk.lines if line.kind is LineKind.ADDED] == ["b"]


def test_only_line_feeds_end_lines() -> None:
    """Form feeds, U+2028, U+0085 and lone carriage returns stay inside their line."""
    odd = "a\fb\u2028c\x85d\re\x1cf"
    file = parse_diff(HEAD + f"@@ -1 +1,2 @@\n x\n+{odd}\n").files[0]
    assert file.hunks[0].lines[1].text == odd
    assert file.added == 1


def test_lines_that_look_like_headers() -> None:
    """Inside a hunk, `--- x` is a removed line and `+++ x` an added one."""
    file = parse_diff(HEAD + "@@ -1,2 +1,2 @@\n--- a/x\n+++ b/x\n diff --git a/x b/x\n").files[0]
    assert [line.text for line in file.hunks[0].lines] == ["-- a/x", "++ b/x", "diff --git a/x b/x"]


def test_mail_around_a_patch() -> None:
    """`git format-patch` wraps a patch in a mail, with a signature right after the last hunk."""
    mail = (
        "From 1234 Mon Sep 17 00:00:00 2001\nFrom: Ada <ada@example.com>\nSubject: [PATCH] Fix\n\n"
        "--- a note\nText\n---\n f.py | 2 +-\n 1 file changed\n\n"
    )
    parsed = parse_diff(mail + HEAD + "@@ -1 +1 @@\n-a\n+b\n-- \n2.39.5\n\n")
    assert [(file.path, file.added) for file in parsed.files] == [("f.py", 1)]


def test_plain_and_foreign_diffs() -> None:
    """`diff -u` names files with timestamps, svn with revisions; both are read."""
    plain = "--- src/f.py.orig\t2026-01-01 00:00:00\n+++ src/f.py\t2026-01-02 00:00:00\n@@ -1 +1 @@\n-a\n+b\n"
    svn = "Index: g.py\n=====\n--- g.py\t(revision 1)\n+++ g.py\t(working copy)\n@@ -1 +1 @@\n-a\n+b\n"
    new = "--- h.py\t1970-01-01\n+++ h.py\t2026-01-02\n@@ -0,0 +1 @@\n+b\n"
    files = parse_diff(plain + svn + new + "Binary files p.png and q.png differ\n").files
    assert [(file.path, file.old_path) for file in files] == [
        ("src/f.py", "src/f.py.orig"),
        ("g.py", None),
        ("h.py", None),
        ("q.png", "p.png"),
    ]
    assert files[2].status is FileStatus.ADDED
    assert files[3].binary


def test_patch_with_windows_line_ends() -> None:
    """A patch file saved with CRLF throughout reads as one saved with LF."""
    text = HEAD + "@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
    assert parse_diff(text.replace("\n", "\r\n")) == parse_diff(text)


def test_stripped_blank_context() -> None:
    """A context line that lost its blank (mail clients do that) is an empty line."""
    file = parse_diff(HEAD + "@@ -1,3 +1,3 @@\n a\n\n-b\n+c\n").files[0]
    assert [line.text for line in file.hunks[0].lines] == ["a", "", "b", "c"]


def test_submodule_log() -> None:
    """`diff.submodule=log` output is a submodule, too."""
    assert parse_diff("Submodule libs/x 1234567..89abcde:\n  > Fix\n").files[0].new_mode == "160000"


def test_empty_text_is_an_empty_diff() -> None:
    """No text is a diff of no files."""
    assert parse_diff("").files == ()
    assert parse_diff("\n").files == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Dear all,\nnothing here\n", "not a diff"),
        (HEAD + "@@ -1,3 +1,3 @@\n a\n-b\n+c\n", "line 8: the hunk that begins on line 5 is not as long"),
        (HEAD + "@@ -1 +1 @@\n-a\n+b\n+c\n", "line 8: the hunk above goes on after its end"),
        (HEAD + "@@ -1,2 +1,2 @@\n-a\nb\n", "line 7: the hunk that begins on line 5"),
        (HEAD + "@@ -1 +x @@\n-a\n+b\n", "line 5: the hunk header can't be read"),
        ("@@ -1 +1 @@\n-a\n+b\n", "line 1: a hunk stands before any file name"),
        ("diff --cc f.py\nindex 1,2..3\n", "line 1: this is the combined diff of a merge"),
        (HEAD + "@@@ -1 -1 +1,2 @@@\n", "line 5: this is the combined diff of a merge"),
        (2 * (HEAD + "@@ -1 +1 @@\n-a\n+b\n"), "`f.py` is changed more than once (lines 1, 8)"),
        ("diff --git a/x b/y\nindex 1111111..2222222\n", "line 1: the file's name can't be read"),
    ],
)  # fmt: skip
def test_damage_names_its_line(text: str, says: str) -> None:
    """What can't be read is a `ChangeError` that says where and what."""
    with pytest.raises(ChangeError) as caught:
        parse_diff(text)
    assert says in str(caught.value)
