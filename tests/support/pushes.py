"""A real repository with a real bare remote, apart from the machine's own git configuration."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
# An access key id that no provider issued: the documented prefix and made-up letters.
SECRET = "AKIA" + "Z7Q4K2M9X5T1B8W3"
BAD_LINE = f'aws_access_key_id = "{SECRET}"'


class Site:
    """A work tree, its bare remote `origin`, and git in an environment of its own."""

    def __init__(self, folder: Path, *init: str) -> None:
        self.work, self.remote, self.home = folder / "work", folder / "remote.git", folder / "home"
        for place in (self.work, self.remote, self.home):
            place.mkdir(parents=True)
        self.env = self._environment()
        self.git("init", "--quiet", "--initial-branch=main", *init)
        self.git("init", "--quiet", "--bare", "--initial-branch=main", *init, cwd=self.remote)
        self.git("remote", "add", "origin", str(self.remote))

    def _environment(self) -> dict[str, str]:
        kept = {key: os.environ[key] for key in ("PATH", "TMPDIR", "LANG") if key in os.environ}
        return kept | {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_CACHE_HOME": str(self.home / ".cache"),
            "GIT_CONFIG_GLOBAL": str(self.home / ".gitconfig"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "A",
            "GIT_AUTHOR_EMAIL": "a@example.com",
            "GIT_COMMITTER_NAME": "A",
            "GIT_COMMITTER_EMAIL": "a@example.com",
            "GIT_TERMINAL_PROMPT": "0",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
        }

    def git(self, *arguments: str, cwd: Path | None = None) -> str:
        """What git prints; a failure is the test's."""
        done = self.run("git", *arguments, cwd=cwd)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def run(
        self, *command: str, cwd: Path | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Any command in the site's environment."""
        return subprocess.run(
            command,
            cwd=cwd or self.work,
            env=self.env | (env or {}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def commit(self, path: str, text: str = "x = 1\n", message: str = "Change") -> str:
        """Commits one file; returns the commit's name."""
        place = self.work / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)
        return self.git("rev-parse", "HEAD")

    def push(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """`git push origin ...` as a user does it."""
        return self.run("git", "push", "origin", *arguments, env=env)

    def terazi(self, *arguments: str, python: str) -> subprocess.CompletedProcess[str]:
        """The command line, in the work tree."""
        return self.run(python, "-P", "-m", "ui.cli.main", *arguments)

    def remote_refs(self) -> dict[str, str]:
        """The remote's refs and where they stand."""
        lines = self.git("for-each-ref", "--format=%(refname) %(objectname)", cwd=self.remote).split("\n")
        return dict(line.split(" ") for line in lines if line)
