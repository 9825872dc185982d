"""Bounds: what is too large to review is named, and the rest is reviewed."""

from __future__ import annotations

import pytest

from review_data.domain import FileChange, SkipKind
from review_data.errors import ChangeError
from service.changes import open_patch, open_worktree
from service.changes.size import LARGEST_DIFF, LARGEST_FILE
from tests.support.git import GitRepo


def patch_of(name: str, size: int) -> bytes:
    """A patch that adds a file with about `size` bytes."""
    lines = size // 1000
    names = f"diff --git a/{name} b/{name}\nnew file mode 100644\n--- /dev/null\n+++ b/{name}\n"
    return f"{names}@@ -0,0 +1,{lines} @@\n".encode() + (b"+" + b"x" * 998 + b"\n") * lines


def reviewed(files: tuple[FileChange, ...]) -> list[str]:
    """Their paths."""
    return [file.path for file in files]


def test_a_large_file_leaves_the_others() -> None:
    """One file above the limit is a failure by name; the rest of the patch is reviewed."""
    request = open_patch(
        patch_of("a.py", 3000) + patch_of("big b.py", LARGEST_FILE * 2) + patch_of("c.py", 5000)
    ).request
    assert reviewed(request.files) == ["a.py", "c.py"]
    (skip,) = request.skips
    assert (skip.path, skip.kind, skip.is_failure) == ("big b.py", SkipKind.TOO_LARGE, True)


def test_a_large_diff_is_reviewed_up_to_the_limit() -> None:
    """Small files are reviewed first, until the whole is at its limit; nothing is lost silently."""
    parts = [(f"f{n}.py", LARGEST_FILE - 1_000_000) for n in range(6)] + [
        ("small.py", 4000),
        ("go.sum", 7_000_000),
    ]
    request = open_patch(b"".join(patch_of(*part) for part in parts)).request
    assert {*reviewed(request.files), *(skip.path for skip in request.skips)} == {name for name, _ in parts}
    assert "small.py" in reviewed(request.files)
    cut = [skip.path for skip in request.skips if skip.kind is SkipKind.TOO_LARGE]
    assert len(cut) == 6 - (LARGEST_DIFF - 7_000_000) // (LARGEST_FILE - 1_000_000)
    assert [skip.path for skip in request.skips if skip.kind is SkipKind.LOCK_FILE] == ["go.sum"]


def test_a_large_diff_of_another_tool_is_refused() -> None:
    """Without git's headers it can't be cut into files before it is read."""
    body = b"+" + b"x" * 998 + b"\n"
    lines = LARGEST_FILE // 1000 + 10
    with pytest.raises(ChangeError, match="make it with `git diff`"):
        open_patch(b"--- a\n+++ b\n@@ -0,0 +1,%d @@\n" % lines + body * lines)


def test_untracked_third_party_code_is_not_read(git_repo: GitRepo) -> None:
    """A forgotten .gitignore does not make a review of node_modules."""
    git_repo.commit({"a.py": "a\n"})
    git_repo.write({"node_modules/x/index.js": "x()\n", "b.py": "b\n"})
    request = open_worktree(git_repo.path).request
    assert reviewed(request.files) == ["b.py"]
    assert [(skip.path, skip.kind) for skip in request.skips] == [
        ("node_modules/x/index.js", SkipKind.VENDORED)
    ]
