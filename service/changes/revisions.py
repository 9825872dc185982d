"""RANGE and REV texts -> two objects to compare. Owns the meaning of `A..B`, `A...B` and a plain name."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from review_data.errors import ChangeError, ErrorKind
from service.changes.git import Repository

_TRUNKS: Final = ("main", "master", "trunk", "develop")
_UNSHALLOW: Final = (
    "get the history with `git fetch --unshallow` (GitLab CI: GIT_DEPTH: 0; GitHub Actions: fetch-depth: 0)"
)


class Comparison(NamedTuple):
    """Object names of both ends, how the user knows them, and the commit that gives the change its title."""

    base: str
    head: str
    base_name: str
    head_name: str
    commit: str = ""


def sides_of(text: str) -> list[str]:
    """The revisions between a range's dots. An empty one means HEAD, or that a variable was not set."""
    return [side.strip() for side in re.split(r"\.{2,3}", text)]


def commit_ends(repository: Repository, revision: str) -> Comparison:
    """A commit against its first parent, a root commit against the empty tree."""
    commit = commit_name(repository, revision)
    parent = parent_of(repository, commit)
    return Comparison(parent, commit, parent[:12], revision, commit)


def range_ends(repository: Repository, text: str) -> Comparison:
    """`A..B` compares A with B, `A...B` their merge base with B; an empty side is HEAD.

    A plain name is compared with HEAD from their merge base. HEAD is reviewed, unless it is an ancestor of
    the name, or the trunk that the name left (a name for the trunk's own place on the remote left nothing).
    An empty text, HEAD and its own branch mean the trunk.
    """
    dots = "..." if "..." in text else ".." if ".." in text else ""
    if not dots:
        return _plain_ends(repository, text or trunk(repository))
    left, right = (side or "HEAD" for side in text.split(dots, 1))
    head = commit_name(repository, right)
    base = _tree_name(repository, left) if dots == ".." else ""
    if not base:
        base = commit_name(repository, left)
    if dots == "...":
        base = merge_base(repository, base, head, (left, right))
    return Comparison(base, head, left, right, head)


def _plain_ends(repository: Repository, name: str) -> Comparison:
    branch = current_branch(repository)
    if name in (branch, "HEAD") and name not in _TRUNKS:
        name = trunk(repository)
    named, head = commit_name(repository, name), commit_name(repository, "HEAD")
    base = merge_base(repository, named, head, (name, "HEAD"))
    if base == head or (branch in _TRUNKS and base != named and not _is_trunk(repository, named)):
        return Comparison(base, named, branch or "HEAD", name, named)
    return Comparison(base, head, name, branch or "HEAD", head)


def _is_trunk(repository: Repository, commit: str) -> bool:
    """Whether the trunk, or what HEAD's branch is pushed to, stands on the commit."""
    names = (trunk(repository), "@{upstream}")
    found = (repository.find(f"{name}^{{commit}}", limit=0) for name in names)
    return any(each is not None and each.name == commit for each in found)


def _tree_name(repository: Repository, name: str) -> str:
    """`name` when it is a tree's, such as the empty tree's that stands before a first push; else ""."""
    found = repository.find(name, limit=0) if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", name) else None
    return name if found is not None and found.kind == "tree" else ""


def commit_name(repository: Repository, revision: str) -> str:
    """The object name of a commit; tags are followed. `ChangeError` when there is none."""
    found = repository.find(f"{revision}^{{commit}}")
    if found is not None and found.kind == "commit":
        return found.name
    _need_commit(repository)
    if repository.shallow and re.search(r"[~^]|^[0-9a-f]{7,64}$", revision):
        raise ChangeError(
            f"{repository.where}: `{revision}` is not in this shallow clone; {_UNSHALLOW}",
            kind=ErrorKind.UNKNOWN_REVISION,
        )
    remote = f"origin/{revision}"
    known = repository.find(f"{remote}^{{commit}}") is not None
    hint = (
        f"did you mean `{remote}`?"
        if known
        else "`git branch --all` lists branches; `git fetch` gets new ones"
    )
    raise ChangeError(
        f"{repository.where}: there is no revision `{revision}`; {hint}", kind=ErrorKind.UNKNOWN_REVISION
    )


def _need_commit(repository: Repository) -> None:
    if repository.find("HEAD^{commit}", limit=0) is None:
        raise ChangeError(f"{repository.where}: has no commit yet; commit first, or review with --staged")


def merge_base(repository: Repository, left: str, right: str, names: tuple[str, str]) -> str:
    """The best common ancestor; `ChangeError` says how to get it when the clone is shallow."""
    found = repository.program.run("merge-base", left, right).out.split()
    if found:
        return found[0].decode()
    between = f"{repository.where}: `{names[0]}` and `{names[1]}` have no common ancestor"
    if repository.shallow:
        raise ChangeError(f"{between} in this shallow clone; {_UNSHALLOW}", kind=ErrorKind.NO_COMMON_ANCESTOR)
    raise ChangeError(
        f"{between}; compare them directly with `{names[0]}..{names[1]}`", kind=ErrorKind.NO_COMMON_ANCESTOR
    )


def parent_of(repository: Repository, commit: str) -> str:
    """The first parent, or the empty tree before a root commit."""
    found = repository.find(commit)
    head = (found.data if found else b"").partition(b"\n\n")[0].split(b"\n")
    parents = [line[7:].decode() for line in head if line.startswith(b"parent ")]
    if not parents:
        return repository.empty_tree()
    if repository.find(parents[0], limit=0) is None:
        raise ChangeError(
            f"{repository.where}: the parent of {commit[:12]} is not in this shallow clone; get it with "
            "`git fetch --deepen=1`"
        )
    return parents[0]


def message_of(repository: Repository, commit: str) -> tuple[str, str]:
    """Title and description of a commit's message."""
    found = repository.find(commit) if commit else None
    message = (found.data if found else b"").partition(b"\n\n")[2].decode("utf-8", "replace").strip()
    title, _, rest = message.partition("\n")
    return title.strip(), rest.strip()


def current_branch(repository: Repository) -> str:
    """The checked-out branch's name, "" on a detached HEAD."""
    return (
        repository.program.run("symbolic-ref", "--short", "-q", "HEAD").out.decode("utf-8", "replace").strip()
    )


def trunk(repository: Repository) -> str:
    """The branch that work is merged into: what the remote calls its HEAD, else one by its usual name."""
    answer = repository.program.run("symbolic-ref", "--short", "-q", "refs/remotes/origin/HEAD")
    named = answer.out.decode("utf-8", "replace").strip()
    candidates = (named, *(f"{prefix}{name}" for prefix in ("origin/", "") for name in _TRUNKS))
    for name in filter(None, candidates):
        if repository.find(f"{name}^{{commit}}", limit=0) is not None:
            return name
    _need_commit(repository)
    raise ChangeError(
        f"{repository.where}: there is no branch main, master, trunk or develop to compare with; "
        "name a RANGE such as `BASE..HEAD`"
    )
