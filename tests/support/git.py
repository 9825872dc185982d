"""Real git repositories for tests, cut off from the developer's own configuration and home."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

GIT_VARIABLES = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_EXTERNAL_DIFF",
    "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT", "GIT_DIFF_OPTS", "GIT_PREFIX",
)  # fmt: skip
IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_AUTHOR_DATE": "2026-01-02T03:04:05Z",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
    "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
}


class GitRepo:
    """A work tree (or bare repository) at `path`."""

    def __init__(self, path: Path, *options: str) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.run("init", "--quiet", "--initial-branch=main", *options)

    def run(self, *arguments: str, data: bytes | None = None, env: dict[str, str] | None = None) -> bytes:
        """git's standard output; `CalledProcessError` when it fails."""
        return subprocess.run(
            ["git", *arguments],
            cwd=self.path,
            input=data,
            env={**os.environ, **(env or {})},
            check=True,
            capture_output=True,
        ).stdout

    def write(self, files: dict[str, str | bytes | None]) -> None:
        """Writes files; None removes one."""
        for name, content in files.items():
            place = self.path / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                place.unlink()
            else:
                place.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, files: dict[str, str | bytes | None] | None = None, message: str = "Change") -> str:
        """Writes files, commits everything, and returns the commit's name."""
        self.write(files or {})
        self.run("add", "--all")
        self.run("commit", "--quiet", "--allow-empty", "--message", message)
        return self.run("rev-parse", "HEAD").decode().strip()


@pytest.fixture
def git_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own for git: no configuration of the machine or its user is read or written."""
    home = tmp_path_factory.mktemp("home")
    for name in GIT_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
    for name, value in IDENTITY.items():
        monkeypatch.setenv(name, value)
    return home


@pytest.fixture
def git_repo(git_home: Path, tmp_path: Path) -> GitRepo:
    """An empty repository on branch `main`."""
    return GitRepo(tmp_path / "repository")
