"""The HTTP API as a client meets it: a real server over loopback."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from review_data.dataset import load_comments, load_merge_requests
from review_data.severity import DEFINITIONS
from service.api.schema import NewReview
from service.backends.catalog import open_reviewer
from service.changes import open_patch
from service.review import ReviewOptions, review
from service.settings import Settings
from tests.support.reviews import PATCH, four_findings, marker_patch, put_failed, put_review
from tests.support.server import Served, serving, wait_done


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def repository(folder: Path) -> Path:
    """`main` asks for threshold high; the branch brings a configuration that ignores everything."""
    place = folder / "shop"
    place.mkdir()

    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.invalid"]
        subprocess.run(["git", *identity, *arguments], cwd=place, check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    (place / "terazi.toml").write_text('threshold = "high"\nproject = "a shop"\n')
    git("add", ".")
    git("commit", "-qm", "start")
    git("checkout", "-qb", "search")
    (place / "terazi.toml").write_text('threshold = "critical"\nignore = ["*"]\n')
    (place / "search.py").write_text("def f(c, t):\n    c.execute(f\"SELECT * FROM p WHERE n = '{t}'\")\n")
    git("add", ".")
    git("commit", "-qm", "Search by name")
    return place


@pytest.fixture(scope="module")
def store(folder: Path) -> Path:
    return folder / "store.db"


@pytest.fixture(scope="module")
def served(store: Path, repository: Path) -> Iterator[Served]:
    with serving(store, "--no-page", "--repositories", f"shop={repository}") as running:
        yield running


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with served.client() as client:
        yield client


def test_a_patch_is_accepted_and_reviewed_like_on_the_command_line(client: httpx.Client) -> None:
    """202 with the place to look; the result has the findings, severities and skips of the pipeline."""
    reply = client.post("/v1/reviews", json={"patch": PATCH, "title": "Search", "threshold": "low"})
    assert reply.status_code == 202
    assert reply.headers["location"] == f"/v1/reviews/{reply.json()['id']}"
    out = wait_done(client, reply.json()["id"])
    settings = Settings()
    options = ReviewOptions(threshold="low")  # type: ignore[arg-type]
    expected = review(open_patch(PATCH.encode()), open_reviewer(settings), options)
    found = [(row["fingerprint"], row["severity"], row["line"]) for row in out["findings"]]  # type: ignore[attr-defined]
    assert found == [(row.fingerprint, row.severity, row.line) for row in expected.findings]
    assert len(out["skips"]) == len(expected.skips)  # type: ignore[arg-type]
    assert out["outcome"] == expected.outcome
    assert out["progress"]["done"] == out["progress"]["total"] > 0  # type: ignore[index]


def test_a_range_is_reviewed_with_the_target_branchs_configuration(client: httpx.Client) -> None:
    """The branch under review can't mute its review: main's threshold counts, its own doesn't."""
    reply = client.post("/v1/reviews", json={"repository": "shop", "range": "main..search"})
    out = wait_done(client, reply.json()["id"])
    assert out["threshold"] == "high"
    assert out["title"] == "Search by name"
    assert out["error"] is None
    assert [skip for skip in out["skips"] if skip["kind"] == "ignored"] == []  # type: ignore[attr-defined]
    assert out["progress"]["total"] > 0  # type: ignore[index]


def test_a_range_from_the_empty_tree_is_reviewed_without_a_configuration(client: httpx.Client) -> None:
    """What stands before a first push has no settings; the whole branch is reviewed by the server's."""
    empty = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    reply = client.post("/v1/reviews", json={"repository": "shop", "range": f"{empty}..search"})
    out = wait_done(client, reply.json()["id"])
    assert (out["status"], out["error"], out["threshold"]) == ("done", None, "medium")


def test_a_threshold_filters_a_stored_review_anew(client: httpx.Client, store: Path) -> None:
    """`?threshold=` shows and hides without reviewing again, and counts what it hides."""
    review_id = put_review(store)
    medium = client.get(f"/v1/reviews/{review_id}").json()
    critical = client.get(f"/v1/reviews/{review_id}", params={"threshold": "critical"}).json()
    assert [row["severity"] for row in medium["findings"]] == ["critical", "high", "medium"]
    assert medium["hidden"] == {"low": 1, "medium": 0, "high": 0, "critical": 0}
    assert [row["severity"] for row in critical["findings"]] == ["critical"]
    assert critical["hidden"] == {"low": 1, "medium": 1, "high": 1, "critical": 0}
    excerpt = medium["findings"][0]["excerpt"]
    assert excerpt["lines"][excerpt["marked"]]["new_line"] == medium["findings"][0]["line"]


def test_progress_events_end_with_the_final_state(client: httpx.Client) -> None:
    """The stream closes itself after one `end` event that carries the state."""
    review_id = client.post("/v1/reviews", json={"patch": PATCH}).json()["id"]
    with client.stream("GET", f"/v1/reviews/{review_id}/events") as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        blocks = [block for block in "".join(reply.iter_text()).split("\n\n") if block]
    last = blocks[-1].split("\n")
    assert last[0] == "event: end"
    assert json.loads(last[1].removeprefix("data: "))["status"] == "done"
    assert sum(block.startswith("event: end") for block in blocks) == 1


def test_the_list_pages_and_filters(client: httpx.Client, store: Path) -> None:
    """Cursors visit every match once; a foreign cursor and a bad filter are explained."""
    ids = {put_review(store, title=f"Kaleidoscope {number}") for number in range(3)}
    put_review(store, (), title="Kaleidoscope clean")
    seen: list[str] = []
    query = {"q": "kaleidoscope", "severity": "high", "limit": "2"}
    while True:
        body = client.get("/v1/reviews", params=query).json()
        seen.extend(item["id"] for item in body["items"])
        if body["next"] is None:
            break
        query["cursor"] = body["next"]
    assert sorted(seen) == sorted(ids)
    for bad in ({"cursor": "x"}, {"limit": "0"}, {"severity": "awful"}, {"since": "yesterday"}):
        reply = client.get("/v1/reviews", params=bad)
        assert reply.status_code == 422
        assert reply.headers["content-type"] == "application/problem+json"


def test_a_misspelt_parameter_is_refused_by_name(client: httpx.Client, store: Path) -> None:
    """It would filter nothing and look as if it had; the reply names it and the nearest that is known."""
    review = f"/v1/reviews/{put_review(store)}"
    cases = {
        f"{review}?treshold=high": "query.treshold: is no parameter .* did you mean `threshold`?",
        f"{review}/report?threshold=high&Format=sarif": "query.Format: .* did you mean `format`?",
        f"{review}/events?a=b": "query.a: .* known here: none",
        "/v1/reviews?limit=0&order=new": "query.order: .* known here: status, outcome, .*",
        "/v1/severities?x": "query.x: .* known here: none",
    }
    for address, detail in cases.items():
        reply = client.get(address)
        assert reply.status_code == 422, address
        assert re.fullmatch(detail.replace("?", "[?]"), reply.json()["detail"]), reply.text
    both = client.get("/v1/reviews", params={"Q": "x", "order": "new"}).json()["errors"]
    assert [row["field"] for row in both] == ["query.Q", "query.order"]
    before = client.get("/v1/reviews").json()
    assert client.post("/v1/reviews?threshold=high", json={"patch": PATCH}).status_code == 422
    assert client.get("/v1/reviews").json() == before
    assert client.get("/healthz?probe=1").status_code == 200


def test_a_time_without_a_zone_is_utc(tmp_path: Path) -> None:
    """The server's own time zone shifts no list, and the first year is no internal error."""
    store = tmp_path / "store.db"
    review_id = put_review(store)
    with serving(store, "--no-page", env={"TZ": "Asia/Tokyo"}) as up, up.client() as client:
        at = client.get(f"/v1/reviews/{review_id}").json()["created_at"].removesuffix("Z")
        later = (datetime.fromisoformat(at) + timedelta(hours=1)).isoformat()
        for since, count in ((at, 1), ("0001-01-01T00:00:00", 1), (later, 0)):
            reply = client.get("/v1/reviews", params={"since": since})
            assert (reply.status_code, len(reply.json()["items"])) == (200, count), since


def test_a_verdict_is_stored_replaced_and_shown(client: httpx.Client, store: Path) -> None:
    """The same person's later verdict counts; the review shows it with the finding."""
    review_id, first = put_review(store), four_findings()[0]
    place = f"/v1/reviews/{review_id}/findings/{first.fingerprint}/feedback"
    assert client.post(place, json={"verdict": "right"}).status_code == 201
    wrong = {"verdict": "wrong-severity", "severity": "low", "note": "an example"}
    assert client.post(place, json=wrong).json()["severity"] == "low"
    missed = {"path": "a.py", "line": 1, "category": "data", "severity": "high", "title": "lost write"}
    assert client.post(f"/v1/reviews/{review_id}/feedback", json=missed).status_code == 201
    body = client.get(f"/v1/reviews/{review_id}").json()
    assert [row["verdict"] for row in body["findings"][0]["feedback"]] == ["wrong-severity"]
    assert body["missed"][0]["missed"]["title"] == "lost write"


def test_a_verdict_needs_a_finding_and_a_finished_review(client: httpx.Client, store: Path) -> None:
    """404 for an unknown review or finding, 409 without a result, 422 for a verdict that makes no sense."""
    review_id, failed = put_review(store), put_failed(store, "no such revision")
    known = four_findings()[0].fingerprint
    cases = [
        (f"{'0' * 32}/findings/{known}", {"verdict": "right"}, 404),
        (f"{review_id}/findings/{'0' * 32}", {"verdict": "right"}, 404),
        (f"{failed}/findings/{known}", {"verdict": "right"}, 409),
        (f"{review_id}/findings/{known}", {"verdict": "wrong-severity"}, 422),
        (f"{review_id}/findings/{known}", {"verdict": "right", "severity": "low"}, 422),
        (f"{review_id}/findings/{known}", {"verdict": "perhaps"}, 422),
        (f"{review_id}/findings/..%2F", {"verdict": "right"}, 404),
    ]
    for place, body, status in cases:
        assert client.post(f"/v1/reviews/{place}/feedback", json=body).status_code == status, place


def test_a_missed_fault_sent_twice_is_stored_once(client: httpx.Client, store: Path) -> None:
    """A second click makes no second training row and keeps the place; a fault without words is refused."""
    place = f"/v1/reviews/{put_review(store)}"
    fault = {"path": "a.py", "line": 1, "category": "data", "severity": "high", "title": "lost write"}
    for body in (fault, fault, fault | {"line": 2}, fault):
        assert client.post(f"{place}/feedback", json=body).status_code == 201
    assert [row["missed"]["line"] for row in client.get(place).json()["missed"]] == [1, 2]
    for blank in ({"title": "  "}, {"path": " "}):
        assert client.post(f"{place}/feedback", json=fault | blank).status_code == 422


def test_verdicts_are_exported_as_training_rows(client: httpx.Client, store: Path, folder: Path) -> None:
    """`terazi feedback export` writes files that the dataset loader reads, with the corrected severity."""
    from ui.cli.main import main

    review_id = put_review(store, title="Exported")
    high, *rest = [row for row in four_findings() if row.severity != "low"]
    for row in (high, *rest):
        client.post(
            f"/v1/reviews/{review_id}/findings/{row.fingerprint}/feedback",
            json={"verdict": "wrong-severity", "severity": "low"} if row is high else {"verdict": "right"},
        )
    assert main(["feedback", "export", "--output", str(folder / "out"), "--store", str(store)]) == 0
    out = folder / "out"
    comments = [row for row in load_comments(out / "comments.jsonl") if row.title == "Exported"]
    assert sorted(row.severity for row in comments) == ["low", "medium", "high"]
    (row,) = [
        r for r in load_merge_requests(folder / "out" / "merge_requests.jsonl") if r.title == "Exported"
    ]
    assert len(row.findings) == 3
    assert "cursor.execute" in row.diff


def test_an_export_has_the_oldest_review_first(tmp_path: Path) -> None:
    """A review that is judged later adds its rows where its age puts it, and moves no others."""
    from ui.cli.main import main

    store, out, titles = tmp_path / "store.db", tmp_path / "out", [f"Number {number}" for number in range(6)]
    ids = [put_review(store, title=title) for title in titles]
    with serving(store, "--no-page") as up, up.client() as client:
        for review_id in reversed(ids):
            fault = {"path": "a.py", "line": 1, "category": "data", "severity": "low", "title": "lost write"}
            assert client.post(f"/v1/reviews/{review_id}/feedback", json=fault).status_code == 201
    assert main(["feedback", "export", "--output", str(out), "--store", str(store)]) == 0
    assert [row.title for row in load_comments(out / "comments.jsonl")] == titles


def test_an_export_from_a_database_that_is_not_there_overwrites_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistyped --store is refused; no empty database is made, and an earlier export stays as it is."""
    from ui.cli.main import main

    earlier = tmp_path / "out" / "comments.jsonl"
    earlier.parent.mkdir()
    earlier.write_text("kept\n")
    store = tmp_path / "typo.db"
    assert main(["feedback", "export", "--output", str(tmp_path / "out"), "--store", str(store)]) == 2
    assert f"there is no database {store}" in capsys.readouterr().err
    assert earlier.read_text() == "kept\n"
    for command in (["list"], ["revoke", "ada"]):
        assert main(["token", *command, "--store", str(store)]) == 2
    assert not store.exists()


def test_an_export_into_a_link_to_itself_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was called a bug."""
    from ui.cli.main import main

    store, loop = tmp_path / "store.db", tmp_path / "loop"
    loop.symlink_to("loop")
    assert main(["token", "create", "ada", "--store", str(store)]) == 0
    assert main(["feedback", "export", "--output", str(loop), "--store", str(store)]) == 2
    assert f"{loop}: can't be written" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["markdown", "sarif", "json", "gitlab", "rdjson", "text"])
def test_a_review_is_downloaded_as_a_document(client: httpx.Client, store: Path, kind: str) -> None:
    """Every format comes as an attachment and names the finding."""
    review_id = put_review(store)
    reply = client.get(f"/v1/reviews/{review_id}/report", params={"format": kind, "threshold": "critical"})
    assert reply.status_code == 200
    assert "attachment" in reply.headers["content-disposition"]
    assert "critical fault" in reply.text
    assert client.get(f"/v1/reviews/{put_failed(store, 'x')}/report").status_code == 409


def test_the_scale_is_the_rubrics(client: httpx.Client) -> None:
    """Four levels in order, in the rubric's words."""
    levels = client.get("/v1/severities").json()
    assert [row["name"] for row in levels] == ["low", "medium", "high", "critical"]
    assert [row["meaning"] for row in levels] == [DEFINITIONS[level].meaning for level in DEFINITIONS][::-1]


def test_metrics_count_reviews_findings_and_the_queue(client: httpx.Client) -> None:
    """Prometheus' text has every metric that the documentation names."""
    wait_done(client, client.post("/v1/reviews", json={"patch": PATCH}).json()["id"])
    text = client.get("/metrics").text
    for name in (
        "terazi_reviews_total{outcome=",
        'terazi_findings_total{severity="critical"}',
        "terazi_review_seconds_bucket",
        "terazi_backend_errors_total",
        "terazi_queue_depth 0.0",
    ):
        assert name in text


def test_health_and_readiness_answer(client: httpx.Client) -> None:
    """Both are 200 on a server that works."""
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok"}


def test_what_is_no_diff_is_refused_with_advice(client: httpx.Client) -> None:
    """The problem says what was wrong and what to do; nothing is accepted."""
    before = len(client.get("/v1/reviews", params={"limit": "200"}).json()["items"])
    for patch in ("hello", " ", "\ufeff", "\0\0", "@@ -1 +1 @@\n+a"):
        reply = client.post("/v1/reviews", json={"patch": patch})
        assert reply.status_code == 422
        assert "git diff" in reply.json()["detail"]
    assert len(client.get("/v1/reviews", params={"limit": "200"}).json()["items"]) == before


def test_a_request_names_exactly_one_source(client: httpx.Client) -> None:
    """Neither, both and halves are refused, as are unknown fields, backends and revisions."""
    bad: list[dict[str, object]] = [
        {},
        {"patch": PATCH, "repository": "shop", "range": "main..search"},
        {"repository": "shop"},
        {"patch": PATCH, "colour": "red"},
        {"patch": PATCH, "backend": "nobody"},
        {"repository": "shop", "range": "main..nowhere"},
        {"repository": "shop", "range": "--output=/tmp/x"},
        {"patch": PATCH, "threshold": "awful"},
        {"patch": PATCH, "adapter": "/etc"},
        {"patch": PATCH, "backend": "local", "adapter": "../../x"},
    ]
    for body in bad:
        reply = client.post("/v1/reviews", json=body)
        assert reply.status_code == 422, body
        assert reply.json()["detail"]


@pytest.mark.parametrize("text", ["main", "..", "main..", "...search", "main... ", "main..search..main"])
def test_a_range_names_both_of_its_sides(client: httpx.Client, text: str) -> None:
    """An unset variable would have HEAD of the server reviewed, and pass for a clean change."""
    reply = client.post("/v1/reviews", json={"repository": "shop", "range": text})
    assert reply.status_code == 422
    assert "two sides" in reply.json()["detail"]


def test_an_unknown_revision_tells_no_path_of_the_server(client: httpx.Client, repository: Path) -> None:
    """The reply names the revision, not the folder that the repository is in."""
    reply = client.post("/v1/reviews", json={"repository": "shop", "range": "main..nowhere"})
    assert reply.json()["detail"].startswith("range: there is no revision `nowhere`")
    assert str(repository.parent) not in reply.text


def test_secrets_are_masked_in_every_reply(client: httpx.Client) -> None:
    """A token in the diff comes back in no reply and no document, and the log has no code at all."""
    secret = "ghp_" + "Zq9X1a2B3c4D5e6F7g8H9i0JkLmNoPqRsTuV"
    patch = marker_patch([f'TOKEN = "{secret}"', 'cursor.execute(f"SELECT {term}")'])
    reply = client.post("/v1/reviews", json={"patch": patch, "threshold": "low", "title": secret})
    review_id = reply.json()["id"]
    wait_done(client, review_id)
    for place in ("", "/report?format=markdown", "/report?format=sarif", "/report?format=json"):
        reply = client.get(f"/v1/reviews/{review_id}{place}")
        assert reply.status_code == 200
        assert secret not in reply.text


def test_the_openapi_document_has_examples_that_work(client: httpx.Client) -> None:
    """Every example of a request is valid, and errors are documented as problems."""
    document = client.get("/openapi.json").json()
    for example in document["components"]["schemas"]["NewReview"]["examples"]:
        NewReview.model_validate(example)
    example = document["components"]["schemas"]["NewReview"]["examples"][0]
    assert client.post("/v1/reviews", json=example).status_code == 202
    replies = document["paths"]["/v1/reviews"]["post"]["responses"]
    assert "application/problem+json" in replies["422"]["content"]
    assert "429" in replies
