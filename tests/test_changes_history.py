"""Whole histories, commit by commit: a generated repository with every kind of change, and our own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from review_data.domain import Outcome, Side, SkipKind
from review_data.errors import ChangeError
from service.changes import open_commit, open_patch
from service.changes.snapshots import apply_hunks
from service.ports import Change
from service.review import ReviewOptions, review
from tests.support.generated_repo import make_repository
from tests.support.scripted import WordFinder, reviewer_of

ROOT = Path(__file__).resolve().parent.parent


def check(change: Change) -> None:
    """The change is reviewed to its end, and its hunks stand in its whole files where they say."""
    done = review(change, reviewer_of(WordFinder("compute")), ReviewOptions())
    assert done.outcome in (Outcome.CLEAN, Outcome.FINDINGS), done.skips
    for file in change.request.files:
        before, after = (change.snapshot.read(file.path, side) for side in (Side.OLD, Side.NEW))
        if before is not None and after is not None:
            made = apply_hunks(before, file.hunks)
            assert made is not None
            assert made.rstrip("\n") == after.rstrip("\n"), file.path


def test_every_commit_of_the_generated_repository(git_home: Path, tmp_path: Path) -> None:
    """Over 300 commits with all cases are opened and reviewed without a failure, and every case occurs."""
    repo, commits = make_repository(tmp_path / "generated")
    assert len(commits) >= 300
    kinds: set[SkipKind] = set()
    for commit in commits:
        change = open_commit(repo.path, commit)
        check(change)
        kinds |= {skip.kind for skip in change.request.skips}
    assert kinds >= {
        SkipKind.BINARY, SkipKind.GENERATED, SkipKind.VENDORED, SkipKind.LOCK_FILE, SkipKind.MINIFIED,
        SkipKind.SUBMODULE, SkipKind.SYMLINK, SkipKind.NO_TEXT_CHANGE,
    }  # fmt: skip


def test_patches_give_the_same_files_as_commits(git_home: Path, tmp_path: Path) -> None:
    """A commit of a SHA-256 repository as a mailed patch is the same change, but for what attributes say."""
    repo, commits = make_repository(tmp_path / "generated", "--object-format=sha256")
    single = repo.run("rev-list", "--no-merges", "--min-parents=1", "main").decode().split()
    assert set(single) < set(commits)
    for commit in single[::12]:
        patch = repo.run("format-patch", "-1", "--stdout", "-C", "--full-index", commit)
        if not patch:
            continue
        change, patched = open_commit(repo.path, commit), open_patch(patch, repo_path=repo.path)
        assert patched.request.files == change.request.files
        check(patched)


def test_every_commit_of_this_project(git_home: Path) -> None:
    """The project's own history is reviewed without a failure."""
    listed = subprocess.run(
        ["git", "rev-list", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    shallow = ROOT / ".git" / "shallow"
    cut_off = shallow.read_text().split() if shallow.is_file() else []
    for commit in listed.stdout.split():
        try:
            change = open_commit(ROOT, commit)
        except ChangeError:
            if commit not in cut_off:
                raise
        else:
            check(change)
