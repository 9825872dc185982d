"""Changes in: a git range, the index, the work tree, a commit or a patch becomes a `Change`."""
