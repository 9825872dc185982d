"""The hook's parts: protocol lines, installing and removing the file, deadlines and failing backends."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path

import pytest

from review_data.errors import BackendError, ChangeError, UserError
from review_data.severity import Severity
from service.hook.install import HOOK_ID, PREVIOUS, HookOptions, install, is_ours, script, status, uninstall
from service.hook.pushes import NO_OBJECT, Update, from_pre_commit, parse_updates
from service.hook.run import run_hook
from service.ports import Reviewer
from service.render.view import Screen
from service.settings import Settings
from tests.support.pushes import Site
from tests.support.scripted import FailingFinder, SlowFinder, WordFinder, reviewer_of

ONE, TWO = "1" * 40, "2" * 40


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A repository with one commit on the remote; this process sees the site's environment only."""
    site = Site(tmp_path)
    for name in ("HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM"):
        monkeypatch.setenv(name, site.env[name])
    site.commit("a.py")
    site.push("main")
    return site


def push_update(site: Site) -> Update:
    """A new branch at HEAD."""
    head = site.git("rev-parse", "HEAD")
    return Update(local_ref="refs/heads/b", local=head, remote_ref="refs/heads/b", remote=NO_OBJECT)


def run(site: Site, reviewer: Reviewer, settings: Settings, *updates: Update) -> tuple[int, str]:
    """The hook's exit code and what it said."""
    said: list[str] = []
    code = run_hook(site.work, updates, settings, lambda _: reviewer, said.append, Screen())
    return code, "\n".join(said)


def test_protocol_lines_are_read_from_their_end() -> None:
    """The local side may be any revision, with blanks too; zeros of either length mean none."""
    text = f"HEAD@{{1 day ago}} {ONE} refs/heads/x {'0' * 40}\n(delete) {'0' * 64} refs/heads/y {'a' * 64}\n"
    first, second = parse_updates(text)
    assert (first.local_ref, first.local, first.name) == ("HEAD@{1 day ago}", ONE, "x")
    assert first.is_new
    assert not first.is_deletion
    assert second.is_deletion
    assert not second.is_new
    assert parse_updates("") == ()
    odd = f"refs/heads/a\u2028b\x85c {ONE} refs/heads/a\u2028b\x85c {'0' * 40}\n"
    assert [update.name for update in parse_updates(odd)] == ["a\u2028b\x85c"]


@pytest.mark.parametrize("line", ["nonsense", f"refs/heads/x {ONE} refs/heads/x", f"a b c {ONE}"])
def test_other_input_is_refused(line: str) -> None:
    """A line of another form names itself and the way to go."""
    with pytest.raises(UserError, match="pre-push protocol"):
        parse_updates(line)


def test_pre_commit_names_one_ref_in_its_environment() -> None:
    """FROM and TO where they are set; the branch's names for a root commit; nothing otherwise."""
    names = {"PRE_COMMIT_LOCAL_BRANCH": "refs/heads/x", "PRE_COMMIT_REMOTE_BRANCH": "refs/heads/y"}
    (update,) = from_pre_commit(names | {"PRE_COMMIT_FROM_REF": ONE, "PRE_COMMIT_TO_REF": TWO})
    assert (update.local, update.remote, update.name) == (TWO, ONE, "y")
    (root,) = from_pre_commit(names)
    assert (root.local, root.is_new) == ("refs/heads/x", True)
    assert from_pre_commit({}) == ()


def test_install_is_repeatable_and_uninstall_leaves_nothing(site: Site) -> None:
    """Installing again changes the options; removing takes our file only."""
    install(site.work, HookOptions())
    install(site.work, HookOptions(block=Severity.HIGH, deadline_s=5, fail="closed"))
    hook = site.work / ".git/hooks/pre-push"
    text = hook.read_text()
    assert "hook run --block high --deadline 5.0 --fail closed --" in text
    assert "[ closed = open ]" in text
    assert hook.stat().st_mode & 0o777 == 0o755
    assert not (hook.parent / PREVIOUS).exists()
    assert status(site.work) == [
        f"Installed: {hook}",
        "Stops a push at: high",
        "Takes at most: 5 s",
        "When it can't review: stops the push",
    ]
    (site.work / "terazi.toml").write_text("hook_deadline_s = 7\n")
    install(site.work, HookOptions())
    assert "Takes at most: 7 s" in status(site.work)
    (site.work / "terazi.toml").write_text("hook_deadline_s = 1e300\n")
    assert "hook_deadline_s" in status(site.work)[-1]
    (site.work / "terazi.toml").unlink()
    with pytest.raises(UserError, match="hook_deadline_s"):
        install(site.work, HookOptions(deadline_s=math.inf))
    assert uninstall(site.work) == [f"Removed {hook}."]
    assert "Not installed" in status(site.work)[0]
    assert "no hook" in uninstall(site.work)[0]


def test_the_template_is_short_and_fills_every_mark() -> None:
    """No mark is left, and Python's path is quoted."""
    text = script(HookOptions(), python="/a b/py'thon")
    assert "@" not in text.replace('"$@"', "")
    assert "'/a b/py'\"'\"'thon'" in text
    assert HOOK_ID in text
    assert len(text.splitlines()) <= 24


def test_two_foreign_hooks_are_never_overwritten(site: Site) -> None:
    """When both places are taken by others' files, installing refuses; uninstalling leaves a foreign hook."""
    hook = site.work / ".git/hooks/pre-push"
    hook.parent.mkdir(exist_ok=True)
    for place in (hook, hook.parent / PREVIOUS):
        place.write_text("#!/bin/sh\n")
    with pytest.raises(UserError, match="remove one of the two"):
        install(site.work, HookOptions())
    with pytest.raises(UserError, match="not Terazi's"):
        uninstall(site.work)
    assert not is_ours(hook)
    assert hook.read_text() == "#!/bin/sh\n"


def test_a_hooks_folder_that_can_t_be_written_is_named(site: Site) -> None:
    """`core.hooksPath = /dev/null` is a way to switch hooks off; the message says what is in the way."""
    site.git("config", "core.hooksPath", "/dev/null")
    with pytest.raises(UserError, match=r"/dev/null.*core\.hooksPath"):
        install(site.work, HookOptions())


def test_a_shared_hooks_folder_is_pointed_out(site: Site, tmp_path: Path) -> None:
    """A folder outside of the repository serves other repositories too."""
    site.git("config", "core.hooksPath", str(tmp_path / "everywhere"))
    assert any("shared" in line for line in install(site.work, HookOptions()))


def test_a_folder_without_a_repository_is_refused(tmp_path: Path) -> None:
    """The message says that it is no repository."""
    with pytest.raises(ChangeError, match="not in a git repository"):
        install(tmp_path, HookOptions())


def test_status_says_when_the_python_is_gone(site: Site) -> None:
    """A deleted virtual environment is found before the next push."""
    install(site.work, HookOptions())
    hook = site.work / ".git/hooks/pre-push"
    hook.write_text(hook.read_text().replace(f"python={sys.executable}", "python=/gone/python"))
    assert any("/gone/python is gone" in line for line in status(site.work))


def test_a_hanging_backend_ends_with_the_deadline(site: Site) -> None:
    """A finder that sleeps for 30 s is left behind; the push goes on loudly, closed it stops."""
    site.commit("b.py", "word\n")
    hanging = reviewer_of(SlowFinder(lambda _: True))
    started = time.monotonic()
    code, said = run(site, hanging, Settings(hook_deadline_s=0.3), push_update(site))
    assert (code, "INCOMPLETE" in said or "REVIEW FAILED" in said) == (0, True)
    code, said = run(site, hanging, Settings(hook_deadline_s=0.3, hook_fail="closed"), push_update(site))
    assert (code, "PUSH STOPPED" in said) == (1, True)
    assert time.monotonic() - started < 25


def test_a_backend_that_hangs_while_loading_ends_too(site: Site) -> None:
    """Even what the pipeline does not watch over can't hold the push."""

    def hang(_: Settings) -> Reviewer:
        time.sleep(30)
        raise AssertionError("nobody waits for this")

    site.commit("b.py")
    said: list[str] = []
    code = run_hook(
        site.work, [push_update(site)], Settings(hook_deadline_s=0.2), hang, said.append, Screen()
    )
    assert code == 0
    assert any("NOT REVIEWED: not finished after 0.2 s" in line for line in said)


def test_a_backend_that_is_down_is_loud(site: Site) -> None:
    """The error's words are shown first, escaped, and the push goes on."""
    site.commit("b.py")
    down = reviewer_of(FailingFinder(BackendError("connection refused\x1b[2J")))
    code, said = run(site, down, Settings(), push_update(site))
    assert code == 0
    assert "REVIEW FAILED" in said
    assert "connection refused\\x1b[2J" in said
    assert "goes on although" in said


def test_findings_that_block_are_shown_even_below_the_threshold(site: Site) -> None:
    """What stops a push is never hidden."""
    site.commit("b.py", "word medium\n")
    settings = Settings(threshold=Severity.CRITICAL, hook_block=Severity.MEDIUM)
    code, said = run(site, reviewer_of(WordFinder("word")), settings, push_update(site))
    assert code == 1
    assert "b.py:1" in said


def test_one_ref_s_failure_does_not_hide_another_s_findings(site: Site) -> None:
    """A ref that can't be read is said; the other is reviewed and blocks."""
    site.commit("b.py", "word high\n")
    broken = push_update(site).model_copy(update={"remote_ref": "refs/heads/evil\x1b[2J", "local": ONE})
    settings = Settings(hook_block=Severity.HIGH)
    code, said = run(site, reviewer_of(WordFinder("word")), settings, broken, push_update(site))
    assert code == 1
    assert "\x1b" not in said
    assert "b.py:1" in said


def test_a_tag_of_no_commit_is_no_failure(site: Site) -> None:
    """A tag may name a file; there is nothing to review in it."""
    blob = site.git("rev-parse", "HEAD:a.py")
    update = push_update(site).model_copy(update={"local": blob})
    code, said = run(site, reviewer_of(WordFinder("word")), Settings(), update)
    assert code == 0
    assert "is no commit" in said
