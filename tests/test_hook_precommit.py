"""The hook under the real pre-commit framework."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from tests.support.pushes import BAD_LINE, ROOT, Site

MANIFEST = ROOT / ".pre-commit-hooks.yaml"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A repository whose configuration runs our hook from this source tree."""
    site = Site(tmp_path)
    site.env["PRE_COMMIT_HOME"] = str(site.home / "pre-commit")
    (hook,) = yaml.safe_load(MANIFEST.read_text())
    # The entry as published, but for the installation of the package that pre-commit would make.
    entry = hook["entry"].replace("terazi", f"{sys.executable} -P -m ui.cli.main", 1)
    local = {**hook, "entry": entry, "language": "system"}
    config = {"repos": [{"repo": "local", "hooks": [local]}]}
    site.commit(".pre-commit-config.yaml", yaml.safe_dump(config))
    done = site.run(sys.executable, "-m", "pre_commit", "install", "--hook-type", "pre-push")
    assert done.returncode == 0, done.stdout + done.stderr
    return site


def test_the_manifest_is_valid() -> None:
    """pre-commit's own check accepts the file."""
    from pre_commit.clientlib import load_manifest

    (hook,) = load_manifest(str(MANIFEST))
    assert hook["stages"] == ["pre-push"]
    assert hook["always_run"]
    assert not hook["pass_filenames"]


def test_pre_commit_runs_the_review_at_a_push(site: Site) -> None:
    """A root commit (no FROM and TO), then a later push: both reviewed, shown, and pushed."""
    done = site.push("main")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "terazi: main, 1 commit: " in done.stdout + done.stderr
    site.commit("app.py", f"{BAD_LINE}\n")
    site.commit("b.py")
    done = site.push("main")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "terazi: main, 2 commits: " in done.stdout + done.stderr
    assert "app.py:1" in done.stdout + done.stderr
