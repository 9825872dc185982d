"""The endpoint backend against a real vLLM with a tiny Qwen2 and two adapters."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from review_data.domain import Issue, Outcome, Rating, Side
from review_data.prompts import find_messages, render_file
from review_data.unified import to_diff
from service.backends.asking import PLACEHOLDER, Form, Question
from service.backends.catalog import open_reviewer
from service.backends.endpoint import wire
from service.backends.endpoint.address import parse_address
from service.backends.endpoint.model import EndpointModel
from service.backends.endpoint.wire import Wire
from service.ports import Chunk, Found, Plan, Reviewer
from service.review import ReviewOptions, exit_code, review
from service.settings import Settings
from tests.support.changes import change_of, file_of, issue_on
from tests.support.scripted import WordFinder
from tests.support.servers import Gate
from tests.support.vllm import VllmServer
from ui.cli.main import main

pytestmark = [pytest.mark.vllm, pytest.mark.usefixtures("_own_cache")]

CODE = """\
 def find(name):
-    return db.execute(QUERY, (name,))
+    return db.execute(f"select * from users where name = '{name}'")
+
+def forget(name):
+    os.system("rm -rf /data/" + name)"""
FILE = file_of("app/users.py", CODE, start=10)
CHANGE = change_of(FILE)
ISSUES = (issue_on(FILE, 11), issue_on(FILE, 14, "Shell command from a name"))


@pytest.fixture
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def opened(server: VllmServer, adapter: str = "", **more: object) -> Reviewer:
    """A reviewer of that adapter, without a cache unless asked for."""
    values = {"backend": "endpoint", "endpoint": server.url, "adapter": adapter, "cache_mb": 0, **more}
    return open_reviewer(Settings.model_validate(values))


def model_of(server: VllmServer, adapter: str) -> EndpointModel:
    """The bare model behind the backend."""
    line = Wire(parse_address(server.url), key="", timeout_s=60, concurrency=4)
    return EndpointModel(line, adapter, concurrency=4)


def ratings(reviewer: Reviewer) -> list[Rating]:
    """The two issues rated."""
    answers = reviewer.rater.rate(CHANGE, ISSUES)
    return [answer for answer in answers if isinstance(answer, Rating)]


@pytest.mark.parametrize("adapter", ["", "strict", "lenient"])
def test_issues_get_a_severity_with_probabilities(vllm_server: VllmServer, adapter: str) -> None:
    """Every issue is rated; the probabilities sum to 1 and the severity is the most likely one."""
    rated = ratings(opened(vllm_server, adapter))
    assert len(rated) == 2
    for rating in rated:
        assert rating.probabilities is not None
        assert sum(rating.probabilities.values()) == pytest.approx(1, abs=1e-6)
        assert rating.severity == rating.probabilities.most_likely()


def test_another_adapter_gives_another_answer(vllm_server: VllmServer) -> None:
    """The adapter is the model's name: base and adapters weigh an issue differently, each repeatably."""
    seen = {
        adapter: ratings(opened(vllm_server, adapter, explain="none"))[0].probabilities
        for adapter in ("", "strict", "lenient")
    }
    again = ratings(opened(vllm_server, "strict", explain="none"))[0].probabilities
    assert len({probabilities.values() for probabilities in seen.values() if probabilities}) == 3
    assert again is not None
    assert again.values() == pytest.approx(seen["strict"].values(), abs=1e-4)


@pytest.mark.parametrize("adapter", ["strict", "lenient"])
def test_every_find_reply_has_the_schema(vllm_server: VllmServer, adapter: str) -> None:
    """A model with random weights, left free, writes nonsense; bound by the pattern, its replies parse."""
    finder = opened(vllm_server, adapter).finders[0]
    files = [file_of(f"app/{number}.py", f"+value_{number} = {number}\n+run(value)") for number in range(6)]
    plan = finder.plan(change_of(*files))
    assert len(plan.chunks) == 6
    for chunk in plan.chunks:
        found = finder.find(chunk)
        assert all(issue.source == f"endpoint:{adapter}" and issue.title for issue in found.issues)


def test_replies_hold_no_blanks_between_tokens(vllm_server: VllmServer) -> None:
    """The pattern leaves a model no room to print white space until its tokens are used up."""
    messages = find_messages(render_file(FILE), nonce=PLACEHOLDER)
    for adapter in vllm_server.adapters:
        reply = model_of(vllm_server, adapter).write(Question(Form.FIND, tuple(messages)))
        assert reply.text.startswith('{"issues": [')
        assert "\n" not in reply.text


def test_a_rated_issue_at_the_threshold_is_explained(vllm_server: VllmServer) -> None:
    """`explain = all` asks for reasons, `none` does not."""
    assert all(rating.explanation for rating in ratings(opened(vllm_server, "strict", explain="all")))
    assert not any(rating.explanation for rating in ratings(opened(vllm_server, "strict", explain="none")))


def test_a_temperature_flattens_the_probabilities(vllm_server: VllmServer) -> None:
    """A high temperature draws the four probabilities together and keeps their order."""
    sharp, flat = (
        ratings(opened(vllm_server, "strict", explain="none", label_temperature=temperature))[0].probabilities
        for temperature in (0.2, 5.0)
    )
    assert sharp is not None
    assert flat is not None
    assert max(flat.values()) - min(flat.values()) < max(sharp.values()) - min(sharp.values())
    assert flat.most_likely() == sharp.most_likely()


def test_found_by_rules_and_rated_by_the_endpoint(vllm_server: VllmServer) -> None:
    """Finders and rater combine: the embedded rules find, the served adapter rates."""
    reviewer = opened(vllm_server, "lenient", finders="embedded", rater="endpoint", explain="none")
    result = review(CHANGE, reviewer, ReviewOptions()).at("low")  # type: ignore[arg-type]
    assert result.findings
    assert all(finding.probabilities for finding in result.findings)
    assert result.provenance.adapter == "lenient"
    assert result.provenance.rater == "endpoint:lenient"
    assert result.provenance.prompt_version


def test_a_batch_asks_the_endpoint_about_many_merge_requests_at_once(
    vllm_server: VllmServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every row is rated by the served adapter; without the server no row looks clean."""
    rows = tmp_path / "rows.jsonl"
    diff = to_diff((FILE,))
    rows.write_text("".join(json.dumps({"id": number, "patch": diff}) + "\n" for number in range(12)))
    served = ("--endpoint", vllm_server.url, "--adapter", "strict")
    ways = ("--finders", "embedded", "--rater", "endpoint", "--threshold", "low")
    assert main(["batch", str(rows), *ways, *served]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["id"] for row in found] == [str(number) for number in range(12)]
    assert {row["review"]["provenance"]["rater"] for row in found} == {"endpoint:strict"}
    assert {len(row["review"]["findings"]) for row in found} == {len(found[0]["review"]["findings"])} != {0}
    assert main(["batch", str(rows), *ways, "--endpoint", "http://127.0.0.1:9/v1"]) == 3
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {(row["exit_code"], row["review"]["outcome"]) for row in found} == {(3, "partial")}


class _ShuttingFinder:
    """Rules that find, on a server that dies after the first chunk."""

    def __init__(self, inner: WordFinder, gate: Gate) -> None:
        self._inner, self._gate = inner, gate
        self.name, self.concurrency = inner.name, 1
        self._found = 0
        self._lock = threading.Lock()

    def plan(self, change: object) -> Plan:
        """The inner finder's."""
        return self._inner.plan(change)  # type: ignore[arg-type]

    def find(self, chunk: Chunk) -> Found:
        """The inner finder's; shuts the gate when it is called for the second time."""
        with self._lock:
            self._found += 1
            if self._found == 2:
                self._gate.shut()
        return self._inner.find(chunk)


@pytest.fixture
def gate(vllm_server: VllmServer) -> Iterator[Gate]:
    """A way to the server that can be cut."""
    way = Gate(urlsplit(vllm_server.url).port or 0)
    yield way
    way.shut()


def test_a_server_killed_in_the_middle_makes_the_review_partial(
    vllm_server: VllmServer, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was rated before stays, what came after is a skip that names the server; exit code 3."""
    monkeypatch.setattr(wire, "BACKOFF_S", 0.01)
    url = f"http://127.0.0.1:{gate.port}/v1"
    settings = Settings(backend="endpoint", endpoint=url, adapter="strict", explain="none", cache_mb=0)
    rater = open_reviewer(settings).rater
    finder = _ShuttingFinder(WordFinder("danger"), gate)
    change = change_of(*(file_of(f"f{number}.py", "+danger()") for number in range(4)))
    reviewer = Reviewer((finder,), rater, "test", open_reviewer(settings).provenance)
    result = review(change, reviewer, ReviewOptions())
    assert result.outcome is Outcome.PARTIAL
    assert len((*result.findings, *result.below)) == 1
    assert len(result.skips) == 3
    assert all(f"127.0.0.1:{gate.port}" in skip.reason for skip in result.skips)
    assert exit_code(result, None) == 3


def test_a_second_review_asks_the_server_nothing(vllm_server: VllmServer) -> None:
    """Replies are kept: the same change costs no generation, a changed file costs only its own."""
    first = file_of("a.py", "+danger(1)")
    second = file_of("b.py", "+danger(2)")

    def asked(change_files: tuple[object, ...]) -> float:
        before = generated(vllm_server)
        reviewer = opened(vllm_server, "strict", cache_mb=10, explain="none")
        reviewer = Reviewer((WordFinder("danger"),), reviewer.rater, "test", reviewer.provenance)
        assert len(review(change_of(*change_files), reviewer, ReviewOptions()).at("low").findings) == 2  # type: ignore[arg-type]
        return generated(vllm_server) - before

    assert asked((first, second)) == 2
    assert asked((first, second)) == 0
    assert asked((first, file_of("b.py", "+danger(3)"))) == 1


def generated(server: VllmServer) -> float:
    """Tokens that the server has generated so far."""
    rows = httpx.get(f"{server.root}/metrics").text.splitlines()
    return sum(float(row.rsplit(" ", 1)[1]) for row in rows if row.startswith("vllm:generation_tokens_total"))


def test_an_issue_outside_the_diff_is_rated_without_it(vllm_server: VllmServer) -> None:
    """A comment without a diff still gets a rating (`terazi rate`)."""
    loose = Issue(
        path="", line=1, side=Side.NEW, category="style", title="Rename this", quote="", source="comment"
    )
    (rating,) = opened(vllm_server, "strict", explain="none").rater.rate(change_of(), [loose])
    assert isinstance(rating, Rating)
