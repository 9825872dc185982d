"""Changes in: a git range, the index, the work tree, a commit or a patch becomes a `Change`."""

from service.changes.sources import open_commit, open_patch, open_range, open_staged, open_worktree

__all__ = ["open_commit", "open_patch", "open_range", "open_staged", "open_worktree"]
