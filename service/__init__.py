"""Diff to review: git access, backends, the review pipeline, output formats, the hook, the HTTP service."""
