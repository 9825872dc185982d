"""Ranges, commits, the index, the work tree and patches of real repositories become changes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from review_data.domain import FileStatus, LineKind, Side, SkipKind
from review_data.errors import ChangeError
from service.changes import open_commit, open_patch, open_range, open_staged, open_worktree
from service.ports import Change
from tests.support.git import GitRepo


def paths(change: Change) -> list[str]:
    """Paths of the files to review."""
    return [file.path for file in change.request.files]


def skipped(change: Change) -> dict[str, SkipKind]:
    """Kinds of skips by path."""
    return {skip.path: skip.kind for skip in change.request.skips}


def forked(repo: GitRepo) -> None:
    """`topic` left `main` after the first commit; both went on; HEAD is `topic`."""
    repo.commit({"shared.py": "a = 1\n"}, "First")
    repo.run("switch", "-q", "-c", "topic")
    repo.commit({"topic.py": "t = 1\n"}, "Topic")
    repo.run("switch", "-q", "main")
    repo.commit({"main.py": "m = 1\n"}, "Main")
    repo.run("switch", "-q", "topic")


def test_two_dots_compare_ends_three_dots_the_merge_base(git_repo: GitRepo) -> None:
    """`A..B` shows what main has and topic lacks as removed; `A...B` only what topic added."""
    forked(git_repo)
    two, three = open_range(git_repo.path, "main..topic"), open_range(git_repo.path, "main...topic")
    assert paths(two) == ["main.py", "topic.py"]
    assert two.request.files[0].status is FileStatus.DELETED
    assert paths(three) == ["topic.py"]
    assert (three.request.base, three.request.head, three.request.title) == ("main", "topic", "Topic")
    assert paths(open_range(git_repo.path, "main...")) == ["topic.py"]
    assert paths(open_range(git_repo.path, "...main")) == ["main.py"]


@pytest.mark.parametrize(
    ("branch", "name", "reviewed"),
    [
        ("topic", "main", ["topic.py"]),
        ("topic", "", ["topic.py"]),
        ("topic", "topic", ["topic.py"]),
        ("topic", "HEAD~1", ["topic.py"]),
        ("main", "topic", ["topic.py"]),
        ("main", "HEAD~1", ["main.py"]),
    ],
)
def test_a_plain_name_means_its_merge_base(
    git_repo: GitRepo, branch: str, name: str, reviewed: list[str]
) -> None:
    """The branch is reviewed from where it left the trunk, whichever of the two is checked out."""
    forked(git_repo)
    git_repo.run("switch", "-q", branch)
    assert paths(open_range(git_repo.path, name)) == reviewed


@pytest.mark.parametrize("name", ["", "HEAD", "@{u}", "origin/main"])
def test_a_trunk_that_parted_from_its_upstream_is_reviewed_itself(
    git_repo: GitRepo, tmp_path: Path, name: str
) -> None:
    """Ahead and behind: what was committed here counts, not what came to the remote; behind alone, that."""
    git_repo.commit({"shared.py": "a = 1\n"})
    git_repo.run("clone", "-q", str(git_repo.path), str(tmp_path / "clone"))
    git_repo.commit({"theirs.py": "t = 1\n"})
    clone = GitRepo(tmp_path / "clone")
    clone.run("fetch", "-q")
    assert paths(open_range(clone.path, name)) == ["theirs.py"]
    clone.commit({"ours.py": "o = 1\n"})
    assert paths(open_range(clone.path, name)) == ["ours.py"]


def test_a_branch_without_upstream_is_said(git_repo: GitRepo) -> None:
    """git itself gives up on `@{u}` there."""
    git_repo.commit({"a.py": "a = 1\n"})
    with pytest.raises(ChangeError, match=r"there is no revision `@\{u\}`"):
        open_range(git_repo.path, "@{u}")


def test_whole_files_are_at_hand_on_both_sides(git_repo: GitRepo) -> None:
    """The snapshot reads before and after, by the old and the new path of a renamed file."""
    text = "".join(f"line {n}\n" for n in range(30))
    git_repo.commit({"old.py": text, "gone.py": "x\n"})
    git_repo.commit({"old.py": None, "gone.py": None, "new.py": text + "more\n", "é \t.py": "y\n"})
    change = open_commit(git_repo.path, "HEAD")
    renamed = next(file for file in change.request.files if file.path == "new.py")
    assert (renamed.status, renamed.old_path) == (FileStatus.RENAMED, "old.py")
    assert change.snapshot.read("old.py", Side.OLD) == change.snapshot.read("new.py", Side.OLD) == text
    assert change.snapshot.read("new.py", Side.NEW) == text + "more\n"
    assert change.snapshot.read("gone.py", Side.NEW) is None
    assert change.snapshot.read("gone.py", Side.OLD) == "x\n"
    assert change.snapshot.read("é \t.py", Side.NEW) == "y\n"
    assert change.snapshot.read("unknown.py", Side.NEW) is None


def test_staged_is_the_index_and_worktree_is_everything(git_repo: GitRepo) -> None:
    """Staged changes alone on one hand; staged, unstaged and untracked ones on the other."""
    git_repo.commit({"a.py": "a = 1\n", ".gitignore": "*.log\n"})
    git_repo.write({"a.py": "a = 2\n", "staged.py": "s = 1\n"})
    git_repo.run("add", "--all")
    git_repo.write({"a.py": "a = 3\n", "new/file.py": "n = 1\nm = 2", "x.log": "ignored\n"})
    staged, worktree = open_staged(git_repo.path), open_worktree(git_repo.path / "new")
    assert paths(staged) == ["a.py", "staged.py"]
    assert staged.snapshot.read("a.py", Side.NEW) == "a = 2\n"
    assert paths(worktree) == ["a.py", "staged.py", "new/file.py"]
    assert worktree.snapshot.read("a.py", Side.NEW) == "a = 3\n"
    assert worktree.snapshot.read("a.py", Side.OLD) == "a = 1\n"
    new = worktree.request.files[2]
    assert (new.status, new.added, new.hunks[0].lines[1].new_line) == (FileStatus.ADDED, 2, 2)
    assert worktree.snapshot.read("new/file.py", Side.NEW) == "n = 1\nm = 2"


def test_worktree_names_what_it_can_not_review(git_repo: GitRepo) -> None:
    """Untracked links, binaries and nested repositories are skips; what can't be read is a failure."""
    git_repo.commit({"a.py": "a = 1\n"})
    git_repo.write({"b.bin": b"\0\1", "empty.py": "", "huge.txt": b"x\n" * (5 << 20)})
    (git_repo.path / "link").symlink_to("a.py")
    GitRepo(git_repo.path / "nested").commit({"n.py": "n\n"})
    change = open_worktree(git_repo.path)
    assert paths(change) == []
    assert skipped(change) == {
        "b.bin": SkipKind.BINARY,
        "empty.py": SkipKind.NO_TEXT_CHANGE,
        "huge.txt": SkipKind.TOO_LARGE,
        "link": SkipKind.SYMLINK,
        "nested": SkipKind.SUBMODULE,
    }


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_unreadable_file_is_a_failure(git_repo: GitRepo) -> None:
    """A new file without read permission makes the review incomplete, not clean."""
    git_repo.commit({"a.py": "a = 1\n"})
    git_repo.write({"secret.py": "s = 1\n"})
    (git_repo.path / "secret.py").chmod(0)
    (skip,) = open_worktree(git_repo.path).request.skips
    assert skip.is_failure


def test_a_repository_without_commits(git_repo: GitRepo) -> None:
    """Before the first commit the index and the work tree are compared with nothing."""
    git_repo.write({"a.py": "a = 1\n"})
    assert paths(open_worktree(git_repo.path)) == ["a.py"]
    git_repo.run("add", "--all")
    assert paths(open_staged(git_repo.path)) == ["a.py"]
    with pytest.raises(ChangeError, match="has no commit yet"):
        open_range(git_repo.path, "HEAD~1..HEAD")
    with pytest.raises(ChangeError, match="has no commit yet"):
        open_range(git_repo.path)


@pytest.mark.parametrize("hash_name", ["sha1", "sha256"])
def test_root_and_merge_commits(git_home: Path, tmp_path: Path, hash_name: str) -> None:
    """A root commit adds every file, a merge shows what it brought to its first parent; in both hashes."""
    repo = GitRepo(tmp_path / "r", f"--object-format={hash_name}")
    forked(repo)
    repo.run("merge", "-q", "--no-edit", "main")
    root = open_commit(repo.path, "main~1")
    assert paths(root) == ["shared.py"]
    assert root.snapshot.read("shared.py", Side.NEW) == "a = 1\n"
    merge = open_commit(repo.path, "HEAD")
    assert paths(merge) == ["main.py"]
    assert merge.request.title == "Merge branch 'main' into topic"
    repo.run("checkout", "-q", "--detach", "main")
    assert open_range(repo.path, "topic^..").request.head == "HEAD"


def test_empty_commit_is_a_change_of_no_files(git_repo: GitRepo) -> None:
    """Nothing changed is no error."""
    git_repo.commit({"a.py": "a\n"})
    git_repo.commit(message="Nothing\n\nReally nothing.")
    change = open_commit(git_repo.path, "HEAD")
    assert change.request.files == change.request.skips == ()
    assert (change.request.title, change.request.description) == ("Nothing", "Really nothing.")


def test_text_that_is_not_utf8(git_repo: GitRepo) -> None:
    """Windows-1252 and UTF-8 files of one commit are both read as what they are."""
    git_repo.commit({"latin.py": "# caf\xe9 \x80\n".encode("latin-1"), "utf.py": "# café\n"})
    change = open_commit(git_repo.path, "HEAD")
    added = [line.text for file in change.request.files for hunk in file.hunks for line in hunk.lines]
    assert added == ["# café €", "# café"]
    assert change.snapshot.read("latin.py", Side.NEW) == "# café €\n"


def test_crlf_in_diff_and_snapshot(git_repo: GitRepo) -> None:
    """Carriage returns before line ends are dropped on both, so that lines compare."""
    git_repo.commit({"a.py": b"a\r\nb\r\n", "b.py": b"x\r\ny\r\n"})
    git_repo.commit({"a.py": b"a\nb\n", "b.py": b"x\r\nY\r\n"})
    change = open_commit(git_repo.path, "HEAD")
    assert paths(change) == ["b.py"]
    assert change.request.skips[0].reason == "only line ends changed"
    assert change.snapshot.read("b.py", Side.NEW) == "x\nY\n"


def test_the_user_s_configuration_does_not_change_the_diff(git_repo: GitRepo, git_home: Path) -> None:
    """Prefixes, colours, external programs, quoting, orders and contexts of one's own are overridden."""
    git_repo.commit({"é a.py": "one\n\n\ntwo\n", "sub/b.py": "x\n", ".gitattributes": "*.py diff=up\n"})
    git_repo.commit({"é a.py": "one\n\n\nTWO\n", "sub/b.py": "y\n"})
    before = open_commit(git_repo.path, "HEAD").request
    (git_home / "order").write_text("sub/*\n")
    for key, value in {
        "diff.noprefix": "true", "diff.mnemonicPrefix": "true", "color.ui": "always", "color.diff": "always",
        "diff.external": "false", "core.quotePath": "false", "diff.renames": "copies", "diff.context": "0",
        "diff.algorithm": "patience", "diff.suppressBlankEmpty": "true", "diff.relative": "true",
        "diff.up.textconv": "tr a-z A-Z <", "diff.up.command": "false", "diff.submodule": "log",
        "core.pager": "false", "diff.orderFile": str(git_home / "order"), "diff.wsErrorHighlight": "all",
        "diff.colorMoved": "zebra", "log.showSignature": "true", "core.autocrlf": "true",
        "core.safecrlf": "true", "diff.interHunkContext": "9", "diff.srcPrefix": "x/", "alias.diff": "log",
    }.items():  # fmt: skip
        git_repo.run("config", "--global", key, value)
    assert open_commit(git_repo.path / "sub", "HEAD").request == before
    git_repo.write({"é a.py": "one\n\n\nthree\n"})
    assert paths(open_worktree(git_repo.path / "sub")) == ["é a.py"]


def test_environment_of_hooks(
    git_repo: GitRepo, git_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables that git sets for a hook count in the hook's own repository and in no other."""
    git_repo.commit({"a.py": "a\n"})
    git_repo.write({"a.py": "b\n"})
    git_repo.run("add", "--all", env={"GIT_INDEX_FILE": ".git/partial"})
    other = GitRepo(tmp_path / "other")
    other.commit({"o.py": "o\n"})
    monkeypatch.setenv("GIT_DIR", ".git")
    monkeypatch.setenv("GIT_INDEX_FILE", ".git/partial")
    monkeypatch.setenv("GIT_EXTERNAL_DIFF", "false")
    monkeypatch.chdir(git_repo.path)
    assert paths(open_staged(Path())) == ["a.py"]
    assert open_commit(other.path, "HEAD").request.files[0].path == "o.py"
    assert open_staged(other.path).request.files == ()


def test_linked_work_tree(git_repo: GitRepo, tmp_path: Path) -> None:
    """`git worktree add` gives a repository whose .git is a file."""
    git_repo.commit({"a.py": "a\n"})
    git_repo.run("worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    (tmp_path / "side" / "a.py").write_text("b\n")
    assert paths(open_worktree(tmp_path / "side")) == ["a.py"]


def test_bare_repository(git_repo: GitRepo, tmp_path: Path) -> None:
    """Ranges work, with the attributes of the reviewed tree; the work tree is refused."""
    git_repo.commit({"a.py": "a\n"})
    git_repo.commit({"a.py": "b\n", "api.py": "x\n", ".gitattributes": "api.py linguist-generated\n"})
    git_repo.run("clone", "-q", "--bare", ".", str(tmp_path / "bare"))
    change = open_range(tmp_path / "bare", "HEAD~1..HEAD")
    assert paths(change) == [".gitattributes", "a.py"]
    assert skipped(change) == {"api.py": SkipKind.GENERATED}
    for opened in (open_worktree, open_staged):
        with pytest.raises(ChangeError, match="needs a work tree"):
            opened(tmp_path / "bare")


def test_shallow_clone_says_how_to_deepen(git_repo: GitRepo, tmp_path: Path) -> None:
    """A missing merge base or parent is an error that names the remedy, never a review of everything."""
    forked(git_repo)
    url = git_repo.path.as_uri()
    git_repo.run("clone", "-q", "--depth=1", "--no-single-branch", url, str(tmp_path / "clone"))
    for missing in ("HEAD~1..HEAD", f"{'0' * 39}1..HEAD"):
        with pytest.raises(ChangeError, match="git fetch --unshallow"):
            open_range(tmp_path / "clone", missing)
    with pytest.raises(ChangeError, match="git fetch --unshallow"):
        open_range(tmp_path / "clone", "origin/main...HEAD")
    with pytest.raises(ChangeError, match="git fetch --deepen=1"):
        open_commit(tmp_path / "clone", "HEAD")
    assert paths(open_range(tmp_path / "clone", "origin/main..HEAD")) == ["main.py", "topic.py"]


def test_type_changes(git_repo: GitRepo) -> None:
    """A file that became a link is skipped; a link that became a file is reviewed as new text."""
    git_repo.commit({"a.py": "a = 1\n"})
    (git_repo.path / "b.py").symlink_to("a.py")
    git_repo.commit()
    (git_repo.path / "b.py").unlink()
    (git_repo.path / "a.py").unlink()
    (git_repo.path / "a.py").symlink_to("b.py")
    git_repo.commit({"b.py": "b = 1\nc = 2\n"})
    change = open_commit(git_repo.path, "HEAD")
    assert skipped(change) == {"a.py": SkipKind.SYMLINK}
    (file,) = change.request.files
    assert file.status is FileStatus.TYPE_CHANGED
    assert [line.text for h in file.hunks for line in h.lines if line.kind is LineKind.ADDED] == [
        "b = 1",
        "c = 2",
    ]


def test_large_text_is_a_failure_and_large_binary_is_not(git_repo: GitRepo) -> None:
    """Git shows both as binary above the limit; only the text should have been reviewed."""
    git_repo.commit({"text.txt": b"x\n" * (5 << 20), "video.mp4": b"\0x" * (5 << 20), "a.py": "a\n"})
    change = open_commit(git_repo.path, "HEAD")
    assert skipped(change) == {"text.txt": SkipKind.TOO_LARGE, "video.mp4": SkipKind.BINARY}
    assert [skip.is_failure for skip in change.request.skips] == [True, False]


def test_merge_conflicts(git_repo: GitRepo) -> None:
    """Conflicts can't be reviewed as staged, but as they stand in the work tree."""
    git_repo.commit({"a.py": "a\n"})
    git_repo.run("switch", "-q", "-c", "topic")
    git_repo.commit({"a.py": "b\n"})
    git_repo.run("switch", "-q", "main")
    git_repo.commit({"a.py": "c\n"})
    git_repo.run("config", "merge.conflictStyle", "merge")
    with pytest.raises(Exception, match="merge"):
        git_repo.run("merge", "topic")
    with pytest.raises(ChangeError, match="merge conflicts"):
        open_staged(git_repo.path)
    (file,) = open_worktree(git_repo.path).request.files
    assert any(line.text.startswith("<<<<<<<") for hunk in file.hunks for line in hunk.lines)


def test_patch_alone_holds_added_files(git_repo: GitRepo) -> None:
    """Without a repository the snapshot has what stands in the patch: whole new and deleted files."""
    git_repo.commit({"gone.py": "g = 1\n", "kept.py": "k = 1\n"})
    git_repo.commit({"gone.py": None, "kept.py": "k = 2\n", "new.py": "n = 1\nm = 2\n"}, "Title")
    patch = git_repo.run("format-patch", "-1", "--stdout")
    change = open_patch(patch)
    assert paths(change) == ["gone.py", "kept.py", "new.py"]
    assert change.snapshot.read("new.py", Side.NEW) == "n = 1\nm = 2\n"
    assert change.snapshot.read("gone.py", Side.OLD) == "g = 1\n"
    assert change.snapshot.read("kept.py", Side.NEW) is None


def test_patch_in_its_repository(git_repo: GitRepo, tmp_path: Path) -> None:
    """Old files come from the repository's blobs, new ones by applying the patch; another's give nothing."""
    git_repo.commit({"a.py": "".join(f"x{n} = {n}\n" for n in range(40))})
    git_repo.write({"a.py": "".join(f"x{n} = {n * (n != 20)}\n" for n in range(40))})
    patch = tmp_path / "my.patch"
    patch.write_bytes(git_repo.run("diff"))
    change = open_patch(patch, repo_path=git_repo.path)
    assert (change.snapshot.read("a.py", Side.OLD) or "").count("\n") == 40
    assert "x20 = 0\n" in (change.snapshot.read("a.py", Side.NEW) or "")
    other = GitRepo(tmp_path / "other")
    assert open_patch(patch, repo_path=other.path).snapshot.read("a.py", Side.OLD) is None
    assert open_patch(patch, repo_path=tmp_path).snapshot.read("a.py", Side.OLD) is None


def test_patch_saved_by_powershell(git_repo: GitRepo) -> None:
    """`git diff > x.patch` in PowerShell writes UTF-16 with a byte order mark and CRLF."""
    git_repo.commit({"a.py": "a\n"})
    git_repo.write({"a.py": "é\n"})
    text = git_repo.run("diff").decode().replace("\n", "\r\n")
    assert open_patch(text.encode("utf-16")).request.files[0].hunks[0].lines[1].text == "é"


def test_bad_revisions(git_repo: GitRepo, tmp_path: Path) -> None:
    """Unknown names, options in disguise and strange text are refused, and run nothing."""
    git_repo.commit({"a.py": "a\n"})
    trap = tmp_path / "trap"
    for name in (
        "mian",
        f"--output={trap}",
        f"--output={trap}..HEAD",
        "HEAD..\nHEAD",
        "x y",
        "HEAD:a.py",
        "a..b..c",
        "🦊",
    ):
        with pytest.raises(ChangeError, match="there is no revision"):
            open_range(git_repo.path, name)
        with pytest.raises(ChangeError, match="there is no revision"):
            open_commit(git_repo.path, name)
    assert not trap.exists()
    git_repo.run("update-ref", "refs/remotes/origin/release", "HEAD")
    with pytest.raises(ChangeError, match="did you mean `origin/release`"):
        open_range(git_repo.path, "release..HEAD")


def test_unrelated_histories(git_repo: GitRepo) -> None:
    """Without a merge base the message says what to do instead."""
    git_repo.commit({"a.py": "a\n"})
    git_repo.run("checkout", "-q", "--orphan", "island")
    git_repo.commit({"b.py": "b\n"})
    with pytest.raises(ChangeError, match=r"compare them directly with `main\.\.island`"):
        open_range(git_repo.path, "main...island")


def test_not_a_repository(git_home: Path, tmp_path: Path) -> None:
    """A folder outside any repository, and one that is not there."""
    with pytest.raises(ChangeError, match="is not in a git repository"):
        open_worktree(tmp_path)
    with pytest.raises(ChangeError, match="there is no such folder"):
        open_worktree(tmp_path / "none")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a repository away")
def test_repository_of_another_user(git_repo: GitRepo) -> None:
    """git's refusal comes with the command that lifts it."""
    git_repo.commit({"a.py": "a\n"})
    for place in (git_repo.path, *git_repo.path.rglob("*")):
        os.lchown(place, 12345, 12345)
    with pytest.raises(ChangeError, match=r"safe\.directory"):
        open_commit(git_repo.path, "HEAD")


def test_a_first_push_is_compared_with_the_empty_tree(git_repo: GitRepo) -> None:
    """The old side of `A..B` may be a tree's full name, as hooks need it where no commit came before."""
    git_repo.commit({"a.py": "a\n"})
    tree = git_repo.run("hash-object", "-t", "tree", "--stdin", data=b"").decode().strip()
    assert paths(open_range(git_repo.path, f"{tree}..HEAD")) == ["a.py"]
    with pytest.raises(ChangeError, match="there is no revision"):
        open_range(git_repo.path, f"{tree}...HEAD")


def test_without_git(git_home: Path, tmp_path: Path) -> None:
    """Where git is not installed the message says so, and a patch is reviewed all the same."""
    (tmp_path / "x.patch").write_text("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n")
    code = (
        "from service.changes import open_patch, open_worktree\n"
        "from review_data.errors import ChangeError\n"
        f"print(open_patch({str(tmp_path / 'x.patch')!r}, repo_path='.').request.files[0].path)\n"
        "try:\n    open_worktree('.')\nexcept ChangeError as error:\n    print(error)\n"
    )
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PATH": str(tmp_path), "HOME": str(git_home)},
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr
    assert done.stdout.splitlines()[0] == "x"
    assert "install git" in done.stdout.splitlines()[1]


def test_bad_patches(tmp_path: Path) -> None:
    """Each says which file, and what to do."""
    (tmp_path / "empty.patch").write_text("\n")
    (tmp_path / "letter.patch").write_text("Dear all\n")
    (tmp_path / "cut.patch").write_text("--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n-a\n")
    for source, says in (
        (tmp_path / "none.patch", "there is no such patch file"),
        (tmp_path, "is a folder"),
        (tmp_path / "empty.patch", "is empty"),
        (b"", "standard input: is empty"),
        (tmp_path / "letter.patch", "letter.patch: this is not a diff"),
        (tmp_path / "cut.patch", "cut.patch: line 4: the hunk that begins on line 3"),
        (b"\x80\x00\xff", "standard input: this is not a diff"),
    ):
        with pytest.raises(ChangeError, match=says):
            open_patch(source)
