"""What the page's buttons answer, over a real server without a browser."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from review_data.domain import SkipKind
from review_data.errors import ErrorKind
from tests.support.git import IDENTITY, GitRepo
from tests.support.page import press, review_values
from tests.support.reviews import PATCH, marker_patch
from tests.support.server import serving
from ui.page.languages import ENGLISH, TURKISH


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`search` brings a fault, `docs` none, `broken` settings that nobody can read; `other` stands alone."""
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
        repo.run("checkout", "--quiet", "--orphan", "other")
        repo.commit()
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


def words(markup: str) -> str:
    """The markup's text; code without its backticks."""
    text = re.sub(r"<[^>]*>", " ", re.sub(r"</?code>", "", markup))
    return re.sub(r"\s+", " ", html.unescape(text)).replace("`", "").strip()


def given(client: httpx.Client, lang: str, **values: Any) -> str:
    """What the Review tab says to these fields; bytes are uploaded first."""
    if isinstance(content := values.get("upload"), bytes):
        (path,) = client.post(f"/{lang}/gradio_api/upload", files={"files": ("a.patch", content)}).json()
        values["upload"] = {"path": path, "meta": {"_type": "gradio.FileData"}}
    came_through, markup = press(client, review_values(**values), lang)
    assert came_through
    return words(markup)


MISTAKES: dict[ErrorKind, tuple[dict[str, Any], str]] = {
    ErrorKind.EMPTY_PATCH: ({"upload": b""}, "patch: is empty;"),
    ErrorKind.NOT_A_DIFF: ({"patch": "hello"}, "this is not a diff:"),
    ErrorKind.COMBINED_DIFF: ({"patch": "diff --cc a.py\n"}, "line 1: this is the combined diff"),
    ErrorKind.PATCH_SERIES: ({"patch": PATCH + PATCH}, "shop/search.py is changed more than once"),
    ErrorKind.BAD_RANGE: ({"repository": "shop", "range": "search.."}, "range: has not two sides;"),
    ErrorKind.UNKNOWN_REVISION: (
        {"repository": "shop", "range": "main..gone"},
        "range: there is no revision",
    ),
    ErrorKind.NO_COMMON_ANCESTOR: ({"repository": "shop", "range": "main...other"}, "range: main and other"),
    ErrorKind.ADAPTER_NOT_TAKEN: ({"patch": PATCH, "adapter": "x"}, "adapter: only the endpoint"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_explained_in_turkish(client: httpx.Client, kind: ErrorKind) -> None:
    """The Turkish page says it in Turkish and adds the English detail; the English page has that alone."""
    values, detail = MISTAKES[kind]
    own = TURKISH.errors[kind].replace("`", "")
    assert given(client, "tr", **values).startswith(f"{TURKISH.error} {own} {detail}")
    assert given(client, "en", **values).startswith(f"{ENGLISH.error} {detail}")


def test_what_the_form_lacks_is_explained_in_turkish(client: httpx.Client) -> None:
    """Two sources, a field that can't be used, and an upload that is gone."""
    two = {"patch": PATCH, "repository": "shop", "range": "main..search"}
    assert given(client, "tr", **two) == f"{TURKISH.error} {TURKISH.two_given}"
    broken = given(client, "tr", patch=PATCH, title="a\tb")
    assert broken.startswith(f"{TURKISH.error} {TURKISH.invalid} title:")
    upload = {"path": taken(client), "meta": {"_type": "gradio.FileData"}}
    assert given(client, "tr", upload=upload) == f"{TURKISH.error} {TURKISH.upload_lost}"


def taken(client: httpx.Client) -> str:
    """The place of an upload that a review has taken."""
    (path,) = client.post("/tr/gradio_api/upload", files={"files": ("b.patch", PATCH.encode())}).json()
    given(client, "tr", upload={"path": path, "meta": {"_type": "gradio.FileData"}})
    return str(path)


def test_a_full_queue_is_explained_in_turkish(tmp_path: Path) -> None:
    """While one long review runs and one waits, the page asks for patience."""
    env = {"TERAZI_QUEUE_LIMIT": "1", "TERAZI_WORKERS": "1"}
    long = marker_patch([f"value_{number} = {number}" for number in range(60_000)])
    with serving(tmp_path / "queue.db", env=env) as up, up.client() as client:
        assert client.post("/v1/reviews", json={"patch": long}).status_code == 202
        while client.post("/v1/reviews", json={"patch": PATCH}).status_code == 202:
            pass
        said = given(client, "tr", patch=PATCH)
    assert said.startswith(f"{TURKISH.error} {TURKISH.errors[ErrorKind.QUEUE_FULL]} 1 reviews are waiting")


def test_skips_are_named_in_turkish(client: httpx.Client) -> None:
    """The kind in Turkish, the detail in English behind it."""
    patch = marker_patch(["{}"], "package-lock.json")
    named = f"package-lock.json {TURKISH.skips[SkipKind.LOCK_FILE]} — is a lock file"
    assert named in given(client, "tr", patch=patch)
    assert "package-lock.json is a lock file" in given(client, "en", patch=patch)


def test_why_a_review_failed_stands_behind_turkish_words(client: httpx.Client) -> None:
    """In its own place and in the batch's table, where the server's words are English."""
    span = {"repository": "shop", "range": "broken..search"}
    detail = "terazi.toml of the target branch: is not valid TOML"
    assert given(client, "tr", **span).startswith(f"{TURKISH.error} {TURKISH.failed} {detail}")
    _, markup = press(client, [None, "shop", "broken..search\nmain..gone"], "tr")
    unknown = TURKISH.errors[ErrorKind.UNKNOWN_REVISION]
    assert f"{TURKISH.failed[:-1]} — {detail}" in words(markup)
    assert f"main..gone {unknown[:-1]} — range: there is no revision gone" in words(markup)
