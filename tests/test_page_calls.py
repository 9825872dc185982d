"""What the page's buttons answer, over a real server without a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.git import IDENTITY, GitRepo
from tests.support.page import press
from tests.support.server import serving

# One worker for the file, so that its server starts once.
pytestmark = pytest.mark.xdist_group("calls")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`search` brings a fault and `docs` none; the settings on `broken` can't be read."""
    repo = GitRepo(tmp_path_factory.mktemp("calls") / "shop")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (IDENTITY | {"GIT_CONFIG_GLOBAL": "/dev/null"}).items():
            patch.setenv(name, value)
        start = repo.commit({"README.md": "# A shop\n"})
        changes = {
            "search": {"search.py": "def f(c, t):\n    c.execute(f\"SELECT * FROM p WHERE n = '{t}'\")\n"},
            "docs": {"docs.md": "# How to search\n"},
            "broken": {"terazi.toml": "threshold =\n"},
        }
        for branch, files in changes.items():
            repo.run("checkout", "--quiet", "-b", branch, start)
            repo.commit(dict(files))
        repo.run("checkout", "--quiet", "main")
    return repo.path


@pytest.fixture(scope="module")
def client(repository: Path) -> Iterator[httpx.Client]:
    store, names = repository.parent / "store.db", f"shop={repository}"
    with serving(store, "--repositories", names) as up, up.client() as client:
        yield client


def test_a_batch_has_the_most_severe_first_and_failures_last(client: httpx.Client) -> None:
    """What could not be asked for and what failed stand behind what is clean, in the order given."""
    ranges = ["main..nowhere", "broken..search", "main..docs", "main..search"]
    _, markup = press(client, [None, "shop", "\n".join(ranges)])
    rows = re.findall(r"<tr><td>(?:<a [^>]*>)?([^<]+)", markup)
    assert rows == ["main..search", "main..docs", "main..nowhere", "broken..search"]
