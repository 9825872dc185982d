"""Which commits of a push are new to the remote, and against which commit to review them.

One rule serves new branches, updates, forced pushes and tags: new is what neither a remote-tracking ref, nor
the refs' present remote values, nor a ref reviewed before in the same push can reach. The base is the known
commit that lies nearest, so that work merged from another remote branch is nobody's new code.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from service.changes.git import Repository

_MOST_BASES: Final = 32


class Span(NamedTuple):
    """New work: object names of base and head, and how many commits lie between. No base: the empty tree."""

    base: str
    head: str
    commits: int


def commit_of(repository: Repository, name: str) -> str | None:
    """The commit that `name` leads to (tags are followed), None when it leads to no commit."""
    found = repository.find(f"{name}^{{commit}}", limit=0)
    return found.name if found is not None else None


def new_work(repository: Repository, head: str, known: Iterable[str]) -> Span | None:
    """What `head` brings that the remote does not have, None when nothing.

    `known` are further commits to count as known; those that are not at hand are passed over.
    """
    at_hand = [name for name in known if repository.find(name, limit=0) is not None]
    out = repository.ask("rev-list", "--boundary", head, "--not", "--remotes", *at_hand).decode().split()
    commits = sum(not line.startswith("-") for line in out)
    if not commits:
        return None
    bases = [line[1:] for line in out if line.startswith("-")][:_MOST_BASES]
    distances = [(_distance(repository, base, head), base) for base in bases] if len(bases) > 1 else []
    base = min(distances)[1] if distances else bases[0] if bases else repository.empty_tree()
    return Span(base, head, commits)


def _distance(repository: Repository, base: str, head: str) -> int:
    return int(repository.ask("rev-list", "--count", f"{base}..{head}"))
