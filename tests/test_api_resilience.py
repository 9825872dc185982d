"""What survives: kill -9 under load, SIGTERM, a full disk, a database that goes away."""

from __future__ import annotations

import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.postgres import Cluster, find_programs
from tests.support.reviews import PATCH, four_findings, put_review
from tests.support.server import Served, serving, wait_done


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of this module's own, because it is stopped and started."""
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server programs are not installed (apt-get install postgresql)")
    cluster = Cluster(programs)
    cluster.start()
    yield cluster
    cluster.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "store.db")
    cluster: Cluster = request.getfixturevalue("cluster")
    return cluster.new_database()


class Crowd:
    """Clients that post reviews and verdicts at once, and keep what the server has acknowledged."""

    def __init__(self, served: Served, judged: str) -> None:
        self.accepted: list[str] = []
        self.verdicts: list[str] = []
        self._served, self._judged = served, judged
        self._stop = threading.Event()
        targets = [self._post] * 4 + [self._judge]
        self._threads = [threading.Thread(target=target, daemon=True) for target in targets]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _post(self) -> None:
        with self._served.client() as client:
            while not self._stop.is_set():
                try:
                    reply = client.post("/v1/reviews", json={"patch": PATCH})
                except httpx.HTTPError:
                    return
                if reply.status_code == 202:
                    self.accepted.append(reply.json()["id"])

    def _judge(self) -> None:
        place = f"/v1/reviews/{self._judged}/feedback"
        fault = {"path": "a.py", "line": 1, "category": "data", "severity": "low"}
        number = 0
        with self._served.client() as client:
            while not self._stop.is_set():
                number += 1
                try:
                    reply = client.post(place, json=fault | {"title": f"fault {number}"})
                except httpx.HTTPError:
                    return
                if reply.status_code == 201:
                    self.verdicts.append(f"fault {number}")


def wait_for(condition: object, seconds: float = 30) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():  # type: ignore[operator]
            return
        time.sleep(0.05)
    raise AssertionError(f"did not happen in {seconds} s")


def test_kill_9_under_load_loses_nothing_that_was_accepted(store: str) -> None:
    """After a restart every acknowledged review is finished and every acknowledged verdict is there."""
    env = {"TERAZI_QUEUE_LIMIT": "100000"}
    with serving(store, "--no-page", env=env) as served:
        judged = put_review(store)
        crowd = Crowd(served, judged)
        wait_for(lambda: len(crowd.accepted) >= 15 and len(crowd.verdicts) >= 5)
        served.end(signal.SIGKILL)
        crowd.stop()
    with serving(store, "--no-page", env=env) as served, served.client() as client:
        for review_id in crowd.accepted:
            out = wait_done(client, review_id, 90)
            assert out["status"] == "done"
            assert out["outcome"] in ("findings", "clean")
        body = client.get(f"/v1/reviews/{judged}").json()
    assert set(crowd.verdicts) <= {row["missed"]["title"] for row in body["missed"]}


def test_sigterm_finishes_what_runs_and_keeps_what_waits(tmp_path: Path) -> None:
    """The exit status is 0, nothing is left half-way, and the next start finishes the queue."""
    store = tmp_path / "store.db"
    with serving(store, "--no-page", "--workers", "1") as served, served.client() as client:
        ids = [client.post("/v1/reviews", json={"patch": PATCH}).json()["id"] for _ in range(6)]
        assert served.end(signal.SIGTERM) == 0
    with serving(store, "--no-page") as served, served.client() as client:
        states = [client.get(f"/v1/reviews/{name}").json()["status"] for name in ids]
        assert "interrupted" not in states
        assert [wait_done(client, name)["status"] for name in ids] == ["done"] * 6


@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit")
def test_a_full_disk_is_a_clear_503_and_passes(tmp_path: Path) -> None:
    """While nothing can be written the server says so and reads on; with space again it accepts again."""
    store = tmp_path / "store.db"
    with serving(store, "--no-page") as served, served.client() as client:
        before = put_review(store)
        pid, whole = served.process.pid, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1024, resource.RLIM_INFINITY))
        reply = client.post("/v1/reviews", json={"patch": PATCH})
        assert reply.status_code == 503
        assert reply.headers["content-type"] == "application/problem+json"
        assert "disk is full" in reply.json()["detail"]
        place = f"/v1/reviews/{before}/findings/{four_findings()[0].fingerprint}/feedback"
        assert client.post(place, json={"verdict": "right"}).status_code == 503
        assert client.get(f"/v1/reviews/{before}").status_code == 200
        resource.prlimit(pid, resource.RLIMIT_FSIZE, whole)
        assert client.post(place, json={"verdict": "right"}).status_code == 201
        accepted = client.post("/v1/reviews", json={"patch": PATCH})
        assert wait_done(client, accepted.json()["id"])["status"] == "done"


@pytest.mark.postgres
def test_a_database_that_goes_away_is_a_clear_503_and_comes_back(cluster: Cluster) -> None:
    """The server stays up, is not ready, and works on once PostgreSQL answers again."""
    store = cluster.new_database()
    with serving(store, "--no-page") as served, served.client() as client:
        first = client.post("/v1/reviews", json={"patch": PATCH}).json()["id"]
        wait_done(client, first)
        cluster.stop()
        try:
            for reply in (
                client.post("/v1/reviews", json={"patch": PATCH}),
                client.get("/v1/reviews"),
                client.get("/readyz"),
                client.get("/metrics"),
            ):
                assert reply.status_code == 503
                assert reply.headers["retry-after"] == "5"
                assert "check that it runs" in reply.json()["detail"]
                assert "SELECT" not in reply.text
            assert client.get("/healthz").status_code == 200
        finally:
            cluster.start()
        wait_for(lambda: client.get("/readyz").status_code == 200)
        again = client.post("/v1/reviews", json={"patch": PATCH}).json()["id"]
        assert wait_done(client, again)["status"] == "done"
        assert client.get(f"/v1/reviews/{first}").json()["status"] == "done"


def test_a_port_that_is_taken_is_explained(tmp_path: Path) -> None:
    """The second server on one port ends with status 2 and names the setting."""
    from ui.cli.main import main

    with serving(tmp_path / "a.db", "--no-page") as served:
        port = served.url.rsplit(":", 1)[1]
        assert main(["serve", "--port", port, "--store", str(tmp_path / "b.db"), "--no-page"]) == 2
