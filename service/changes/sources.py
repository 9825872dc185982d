"""Where changes come from: a range, the index, the work tree, a commit, a patch. Each becomes a `Change`.

Owns the order of steps and the messages for bad input; git itself is `service.changes.git`, what is left out
of a review `service.changes.selection`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from review_data.diff import Blobs, ParsedDiff, parse_diff
from review_data.domain import FileChange, MergeRequest, Skip
from review_data.errors import ChangeError
from service.changes.disk import left_out, untracked_files
from service.changes.git import Repository, open_repository
from service.changes.revisions import (
    Comparison,
    commit_ends,
    current_branch,
    message_of,
    range_ends,
)
from service.changes.selection import ATTRIBUTES, select
from service.changes.size import too_large, trim
from service.changes.snapshots import LazySnapshot, of_patch, of_repository
from service.changes.text import decode_diff
from service.ports import Change


def open_range(repo_path: Path | str, range_text: str = "", *, ignore: Sequence[str] = ()) -> Change:
    """What lies between two revisions; `service.changes.revisions.range_ends` says what RANGE may be.

    `ignore` holds .gitignore patterns of paths to leave out. Raises `ChangeError`.
    """
    repository = open_repository(repo_path)
    return compare(repository, range_ends(repository, range_text.strip()), ignore)


def open_commit(repo_path: Path | str, revision: str, *, ignore: Sequence[str] = ()) -> Change:
    """One commit against its first parent, a root commit against the empty tree."""
    repository = open_repository(repo_path)
    return compare(repository, commit_ends(repository, revision), ignore)


def open_staged(repo_path: Path | str, *, ignore: Sequence[str] = ()) -> Change:
    """What `git commit` would record: the index against HEAD, or against nothing before the first commit."""
    repository = open_repository(repo_path)
    _need_work_tree(repository, "--staged")
    diff = repository.diff("--cached", _head(repository))
    if re.search(rb"^\* Unmerged path ", diff, re.MULTILINE):
        raise ChangeError(
            f"{repository.where}: the index holds merge conflicts; resolve them and `git add` the files, or "
            "review the files as they are with --worktree"
        )
    parsed, cut = _parse(diff)
    request = MergeRequest(title="Staged changes", base="HEAD", head="index", files=parsed.files)
    known = {**left_out(repository, parsed), **cut}
    return _selected(request, of_repository(repository, parsed), ignore, repository, known)


def open_worktree(repo_path: Path | str, *, ignore: Sequence[str] = ()) -> Change:
    """Everything not committed: staged, unstaged, and untracked files that are not ignored."""
    repository = open_repository(repo_path)
    root = _need_work_tree(repository, "--worktree")
    tracked, cut = _parse(repository.diff(_head(repository)))
    paths = {file.path for file in tracked.files}
    new, unread = untracked_files(root, sorted(repository.untracked()))
    new = [file for file in new if file.path not in paths]
    parsed = ParsedDiff(files=(*tracked.files, *new), blobs=(*tracked.blobs, *(Blobs() for _ in new)))
    head = current_branch(repository) or "work tree"
    request = MergeRequest(title="Work tree", base="HEAD", head=head, files=parsed.files)
    known = {**left_out(repository, parsed, on_disk=True), **cut, **unread}
    snapshot = of_repository(repository, parsed, on_disk=True)
    return _selected(request, snapshot, ignore, repository, known)


def open_patch(
    source: Path | str | bytes, *, repo_path: Path | str | None = None, ignore: Sequence[str] = ()
) -> Change:
    """A patch: a file's path, or the bytes that came in on standard input.

    With `repo_path` the whole files come from that repository where it holds the patch's blobs; a path that
    is no repository is no error, a patch can be reviewed anywhere.
    """
    data, name = (source, "standard input") if isinstance(source, bytes) else read_patch(Path(source))
    if not data.strip():
        raise ChangeError(f"{name}: is empty; make a patch with `git diff BASE HEAD`")
    try:
        parsed, cut = _parse(data)
    except ChangeError as error:
        raise ChangeError(f"{name}: {error}") from None
    repository = _repository_of(parsed, repo_path)
    request = MergeRequest(title=name, head=name, files=parsed.files)
    return _selected(request, of_patch(parsed, repository), ignore, repository, cut)


def compare(repository: Repository, ends: Comparison, ignore: Sequence[str]) -> Change:
    """What lies between two objects (commits or trees) of a repository that is open already."""
    parsed, cut = _parse(repository.diff(ends.base, ends.head))
    title, description = message_of(repository, ends.commit)
    request = MergeRequest(
        title=title,
        description=description,
        base=ends.base_name,
        head=ends.head_name,
        files=parsed.files,
    )
    known = {**left_out(repository, parsed), **cut}
    return _selected(request, of_repository(repository, parsed), ignore, repository, known, ends.head)


def _parse(data: bytes) -> tuple[ParsedDiff, dict[str, Skip]]:
    """The diff within bounds, and skips for the files whose hunks were cut to keep it so."""
    trimmed = trim(data)
    parsed = parse_diff(decode_diff(trimmed.data))
    cut: dict[str, Skip] = {}
    for head, size in trimmed.cut.items():
        kind, reason = too_large(size)
        cut |= {file.path: Skip(path=file.path, kind=kind, reason=reason) for file in _named(head)}
    return parsed, cut


def _named(head: bytes) -> tuple[FileChange, ...]:
    return parse_diff(decode_diff(head)).files


def _selected(
    request: MergeRequest,
    snapshot: LazySnapshot,
    ignore: Sequence[str],
    repository: Repository | None,
    known: Mapping[str, Skip] | None = None,
    tree: str = "HEAD",
) -> Change:
    attributes = (
        repository.attributes((file.path for file in request.files), ATTRIBUTES, tree) if repository else {}
    )
    files, skips = select(request.files, snapshot, ignore, attributes, known or {})
    return Change(request.model_copy(update={"files": files, "skips": skips}), snapshot)


def _head(repository: Repository) -> str:
    found = repository.find("HEAD^{commit}")
    return found.name if found else repository.empty_tree()


def _need_work_tree(repository: Repository, flag: str) -> Path:
    if repository.root is None:
        raise ChangeError(
            f"{repository.where}: {flag} needs a work tree, and this is a bare repository or inside .git; "
            "review a RANGE or --commit REV instead"
        )
    return repository.root


def read_patch(path: Path) -> tuple[bytes, str]:
    if path.is_char_device() or path.is_block_device():
        raise ChangeError(f"{path}: is a device, not a patch; name a file, or `-` for standard input")
    try:
        return path.read_bytes(), str(path)
    except FileNotFoundError:
        raise ChangeError(
            f"{path}: there is no such patch file; name one, or `-` for standard input"
        ) from None
    except IsADirectoryError:
        raise ChangeError(f"{path}: is a folder, not a patch; to review a repository use --repo") from None
    except OSError as error:
        raise ChangeError(f"{path}: can't be read ({error.strerror}); check its permissions") from None


def _repository_of(parsed: ParsedDiff, repo_path: Path | str | None) -> Repository | None:
    """The repository at `repo_path` when it holds one of the patch's blobs, so is the patch's own."""
    names = [name for blobs in parsed.blobs for name in (blobs.old, blobs.new) if name.strip("0")]
    if repo_path is None or not names:
        return None
    try:
        repository = open_repository(repo_path)
    except ChangeError:
        return None
    return repository if any(repository.find(name, limit=0) for name in names) else None
