"""The hook under real `git push` to a real bare repository, with the embedded backend."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.support.pushes import BAD_LINE, SECRET, Site

PYTHON = sys.executable


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A repository with `main` on the remote, and the hook installed afterwards."""
    site = Site(tmp_path)
    site.commit("app.py")
    assert site.push("main").returncode == 0
    install(site)
    return site


def install(site: Site, *options: str) -> None:
    """Installs the hook as a user does."""
    done = site.terazi("hook", "install", *options, python=PYTHON)
    assert done.returncode == 0, done.stderr


def reviewed(text: str) -> dict[str, int]:
    """Commits per reviewed ref, from what the hook said."""
    found = re.findall(r"^terazi: (\S+), (\d+) commits?: ", text, re.MULTILINE)
    return {name: int(commits) for name, commits in found}


def test_a_finding_warns_and_the_push_goes_on(site: Site) -> None:
    """By default the hook shows what it found, with the secret masked, and the commit reaches the remote."""
    head = site.commit("app.py", f"{BAD_LINE}\n")
    done = site.push("main")
    assert done.returncode == 0, done.stderr
    assert reviewed(done.stderr) == {"main": 1}
    assert "app.py:1" in done.stderr
    assert SECRET not in done.stderr
    assert site.remote_refs()["refs/heads/main"] == head


def test_block_stops_the_push_until_told_otherwise(site: Site) -> None:
    """With --block nothing reaches the remote; `--no-verify` and TERAZI_SKIP=1 push, the latter visibly."""
    install(site, "--block", "low")
    before = site.remote_refs()
    site.commit("app.py", f"{BAD_LINE}\n")
    done = site.push("main")
    assert done.returncode == 1
    assert "PUSH STOPPED" in done.stderr
    assert "--no-verify" in done.stderr
    assert site.remote_refs() == before
    skipped = site.push("main", "--dry-run", TERAZI_SKIP="1")
    assert skipped.returncode == 0
    assert "NOT REVIEWED: TERAZI_SKIP is set; pushed without review: main" in skipped.stderr
    assert site.push("main", "--no-verify").returncode == 0


def test_a_new_branch_is_reviewed_from_where_it_left(site: Site) -> None:
    """Only the branch's own commits count; tags on known commits and deletions cost nothing."""
    site.git("switch", "--quiet", "--create", "feature")
    site.commit("b.py")
    site.commit("c.py")
    done = site.push("feature")
    assert reviewed(done.stderr) == {"feature": 2}
    site.git("tag", "v1")
    for arguments in (("v1",), ("feature:copy",), ("--delete", "copy")):
        done = site.push(*arguments)
        assert done.returncode == 0, done.stderr
        assert "terazi" not in done.stderr
    assert "refs/heads/copy" not in site.remote_refs()


def test_several_refs_in_one_push_are_all_reviewed_once(site: Site) -> None:
    """Each new commit belongs to one ref, also when branches stand on each other and a tag follows."""
    site.commit("a.py")
    site.git("switch", "--quiet", "--create", "feature")
    site.commit("b.py", f"{BAD_LINE}\n")
    site.git("tag", "--annotate", "v2", "--message", "v2")
    site.git("switch", "--quiet", "--create", "other", "main")
    site.commit("c.py")
    done = site.push("main", "feature", "other", "v2")
    assert done.returncode == 0, done.stderr
    assert reviewed(done.stderr) == {"main": 1, "feature": 1, "other": 1}
    assert done.stderr.count("b.py:1") == 1


def test_a_forced_push_is_reviewed_from_where_histories_part(site: Site) -> None:
    """An amended commit is reviewed against its parent, not against its old self."""
    site.commit("b.py", "y = 2\n")
    site.push("main")
    (site.work / "b.py").write_text(f"{BAD_LINE}\n")
    site.git("commit", "--quiet", "--all", "--amend", "--no-edit")
    done = site.push("--force", "main")
    assert done.returncode == 0, done.stderr
    assert reviewed(done.stderr) == {"main": 1}
    assert "b.py:1" in done.stderr


def test_work_merged_from_the_remote_is_not_reviewed_again(site: Site) -> None:
    """Somebody's finding on main is not shown to who merges main into a branch."""
    site.git("switch", "--quiet", "--create", "feature")
    site.commit("b.py")
    site.push("feature")
    site.git("switch", "--quiet", "main")
    for number in range(3):
        site.commit(f"theirs{number}.py", f"{BAD_LINE}\n")
    site.push("--no-verify", "main")
    site.git("switch", "--quiet", "feature")
    site.git("merge", "--quiet", "--no-edit", "main")
    site.commit("c.py")
    done = site.push("feature")
    assert reviewed(done.stderr) == {"feature": 2}
    assert "theirs" not in done.stderr


def test_the_first_push_to_an_empty_remote_is_reviewed_whole(tmp_path: Path) -> None:
    """Root commits have no base; the SHA-256 protocol has 64 zeros."""
    site = Site(tmp_path, "--object-format=sha256")
    install(site)
    site.commit("app.py", f"{BAD_LINE}\n")
    done = site.push("main")
    assert done.returncode == 0, done.stderr
    assert reviewed(done.stderr) == {"main": 1}
    assert "app.py:1" in done.stderr


def test_a_foreign_hook_is_called_first_and_comes_back(site: Site) -> None:
    """It gets the same arguments and input, its refusal counts, and uninstall restores it to the byte."""
    site.terazi("hook", "uninstall", python=PYTHON)
    hook = site.work / ".git/hooks/pre-push"
    text = '#!/bin/sh\n{ echo "$@"; cat; } >> heard\n[ ! -e refuse ] || exit 7\n'
    hook.write_text(text)
    hook.chmod(0o755)
    install(site)
    head = site.commit("b.py")
    (site.work / "refuse").touch()
    done = site.push("main")
    assert done.returncode == 1
    assert "terazi" not in done.stderr
    (site.work / "refuse").unlink()
    assert reviewed(site.push("main").stderr) == {"main": 1}
    heard = (site.work / "heard").read_text().splitlines()
    assert heard[:2] == heard[2:]
    assert heard[0] == f"origin {site.remote}"
    assert heard[1].startswith(f"refs/heads/main {head} refs/heads/main ")
    site.terazi("hook", "uninstall", python=PYTHON)
    assert hook.read_text() == text
    assert not list(hook.parent.glob("*terazi*"))


def test_worktrees_and_core_hookspath_are_honoured(site: Site, tmp_path: Path) -> None:
    """A push from a linked worktree runs the hook, and one in a folder named by core.hooksPath as well."""
    linked = tmp_path / "linked"
    site.git("worktree", "add", "--quiet", "-b", "side", str(linked))
    (linked / "b.py").write_text("y = 2\n")
    site.git("add", "--all", cwd=linked)
    site.git("commit", "--quiet", "--message", "b", cwd=linked)
    done = site.run("git", "push", "origin", "side", cwd=linked)
    assert reviewed(done.stderr) == {"side": 1}
    site.git("config", "core.hooksPath", "hooks of ours")
    install(site)
    assert (site.work / "hooks of ours/pre-push").exists()
    site.commit("c.py")
    assert reviewed(site.push("main").stderr)["main"] == 1


def test_what_can_t_be_reviewed_is_loud_and_goes_on_unless_closed(site: Site) -> None:
    """A broken configuration, an unknown backend, a Python that is gone: said, pushed; closed stops."""
    (site.work / "terazi.toml").write_text('threshold = "huge"\n')
    site.commit("b.py")
    done = site.push("main", "--dry-run")
    assert done.returncode == 0
    assert "NOT REVIEWED" in done.stderr
    assert "threshold" in done.stderr
    assert "goes on although" in done.stderr
    user = site.home / "user.toml"
    user.write_text('hook_fail = "closed"\n')
    for closed in ({"TERAZI_HOOK_FAIL": "closed"}, {"TERAZI_CONFIG": str(user)}):
        done = site.push("main", "--dry-run", **closed)
        assert done.returncode == 1
        assert "PUSH STOPPED" in done.stderr
    (site.work / "terazi.toml").write_text('thresold = "low"\nhook_fail = "closed"\n')
    assert site.push("main", "--dry-run").returncode == 1
    assert site.push("main", "--dry-run", TERAZI_HOOK_FAIL="open").returncode == 0
    (site.work / "terazi.toml").unlink()
    done = site.push("main", "--dry-run", TERAZI_BACKEND="nonsense")
    assert done.returncode == 0
    assert "NOT REVIEWED" in done.stderr
    assert "nonsense" in done.stderr
    assert (
        site.push("main", "--dry-run", TERAZI_BACKEND="nonsense", TERAZI_HOOK_FAIL="closed").returncode == 1
    )
    hook = site.work / ".git/hooks/pre-push"
    hook.write_text(hook.read_text().replace(f"python={PYTHON}", "python=/gone/python"))
    path = f"{site.home}:/usr/bin:/bin"
    done = site.push("main", "--dry-run", PATH=path)
    assert done.returncode == 0
    assert "not found with /gone/python" in done.stderr
    hook.write_text(hook.read_text().replace("[ open = open ]", "[ closed = open ]"))
    assert site.push("main", "--dry-run", PATH=path).returncode == 1


def test_closed_stops_what_is_not_wholly_reviewed(site: Site) -> None:
    """A file above the limit is said; open pushes it, closed does not, alone or beside a reviewed one."""
    big = "x = 1\n" * (2 << 20)
    for path, text, loud in (("big.py", big, "REVIEW FAILED"), ("fine.py", "y = 1\n", "INCOMPLETE REVIEW")):
        site.commit(path, text)
        for fail, code in (("open", 0), ("closed", 1)):
            done = site.push("main", "--dry-run", TERAZI_HOOK_FAIL=fail)
            assert done.returncode == code, done.stderr
            assert loud in done.stderr
            assert "NOT REVIEWED: main: 1 part of the change" in done.stderr


def test_code_of_the_pushed_repository_is_not_imported(site: Site) -> None:
    """A repository with a package of our package's name does not run inside the hook."""
    for name in ("ui", "service"):
        site.commit(
            f"{name}/__init__.py", "import pathlib; pathlib.Path('ran').touch(); raise SystemExit(9)\n"
        )
    done = site.push("main")
    assert done.returncode == 0, done.stderr
    assert reviewed(done.stderr) == {"main": 2}
    assert not (site.work / "ran").exists()
