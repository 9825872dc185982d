"""A server that is down, wrong, slow or lying: a clear message, a partial or failed review, exit code 3."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from review_data.domain import Outcome, Review
from service.backends.catalog import open_reviewer
from service.backends.endpoint import wire
from service.review import ReviewOptions, exit_code, review
from service.settings import Settings
from tests.support.changes import change_of, file_of
from tests.support.pushes import BAD_LINE, Site
from tests.support.servers import (
    MODELS,
    Answer,
    Asked,
    Server,
    chat_server,
    dripping_server,
    says,
    serving,
)
from tests.support.vllm import free_port
from ui.cli.main import main

PATCH = """\
diff --git a/app.py b/app.py
--- a/app.py
+++ b/app.py
@@ -1,2 +1,2 @@
 import os
-print(1)
+os.system(input())
"""
CHANGE = change_of(file_of("app.py", " import os\n-print(1)\n+os.system(input())"))
EMPTY = '{"issues": []}'
Serve = AbstractContextManager[Server]


@pytest.fixture(autouse=True)
def _quick_and_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Short waits, a cache folder of the test's own, no keys."""
    monkeypatch.setattr(wire, "BACKOFF_S", 0.01)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("TERAZI_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def reviewed(url: str, **more: object) -> Review:
    """The change reviewed by the endpoint at `url`."""
    values = {"backend": "endpoint", "endpoint": url, "endpoint_timeout_s": 2.0, **more}
    return review(CHANGE, open_reviewer(Settings.model_validate(values)), ReviewOptions())


def reason(result: Review) -> str:
    """Why the one chunk was not reviewed; the review is a failed one with exit code 3."""
    assert result.outcome is Outcome.FAILED
    assert exit_code(result, None) == 3
    (skip,) = result.skips
    return skip.reason


def listing(*rows: dict[str, object]) -> Callable[[Asked], Answer]:
    """Answers every request with a list of these models."""
    return lambda _: Answer(body={"data": list(rows)})


def test_a_server_that_is_down_is_named() -> None:
    """Nothing listens there."""
    port = free_port()
    assert f"127.0.0.1:{port}/v1 can't be reached" in reason(reviewed(f"http://127.0.0.1:{port}"))


def test_a_wrong_url_asks_whether_it_is_the_api() -> None:
    """A web server that knows no /models."""
    with serving(lambda _: Answer(404, b"<html>nothing here</html>")) as server:
        assert "does not know /v1/models (404); is that the API's URL?" in reason(reviewed(server.url))


def test_a_page_instead_of_json_is_quoted() -> None:
    """A web server that answers everything with a page."""
    with serving(lambda _: Answer(200, b"<html>Welcome</html>")) as server:
        assert "not answer with a JSON object but “<html>Welcome" in reason(reviewed(server.url))


def test_an_answer_that_cannot_be_unpacked_is_named() -> None:
    """A list of models under a wrong Content-Encoding came out as a bug in Terazi."""
    packed = Answer(body=b"no gzip", headers={"content-encoding": "gzip"})
    with serving(lambda _: packed) as server:
        assert "sent an answer that can't be unpacked" in reason(reviewed(server.url))


def test_a_wrong_model_name_lists_the_served_ones() -> None:
    """The names that would work stand in the message."""
    with serving(listing({"id": "base"}, {"id": "strict", "parent": "base"})) as server:
        text = reason(reviewed(server.url, adapter="../loras/strict"))
    assert "serves no model or adapter `../loras/strict`; it serves base, strict" in text


def test_without_a_name_a_choice_of_models_is_asked_for() -> None:
    """Two base models and no setting: the user has to choose."""
    with serving(listing({"id": "one"}, {"id": "two"})) as server:
        assert "serves several models: one, two; name one with --model" in reason(reviewed(server.url))


@pytest.mark.parametrize(("key", "state"), [("", "wants an API key"), ("k-123", "refuses the API key")])
def test_401_tells_where_the_key_goes(monkeypatch: pytest.MonkeyPatch, key: str, state: str) -> None:
    """Without a key it is wanted, with one it is refused."""
    monkeypatch.setenv("TERAZI_API_KEY", key)
    with serving(lambda _: Answer(401, {"error": {"message": f"bad key {key}"}})) as server:
        text = reason(reviewed(server.url))
    assert f"{state} (401); set TERAZI_API_KEY" in text
    assert len(server.asked) == 2  # one look when opening, one when planning: a refusal is not retried


def test_a_storm_of_429_ends_with_the_servers_words() -> None:
    """Every attempt is refused; the number of attempts is bounded."""
    storm = Answer(429, {"error": {"message": "too many requests"}}, {"retry-after": "0"})
    with chat_server(lambda _: storm) as server:
        text = reason(reviewed(server.url))
    assert "answered 429: too many requests 5 times" in text
    assert len(server.chats()) == 5


def test_a_429_that_passes_is_waited_out() -> None:
    """Two refusals with Retry-After, then an answer: the review is whole."""
    answers = iter([Answer(429, headers={"retry-after": "0"}), Answer(503), says(EMPTY)])
    with chat_server(lambda _: next(answers)) as server:
        assert reviewed(server.url).outcome is Outcome.CLEAN
    assert len(server.chats()) == 3


def test_a_long_retry_after_is_not_waited_for() -> None:
    """An hour is longer than anybody waits for a review."""
    with chat_server(lambda _: Answer(429, headers={"retry-after": "3600"})) as server:
        assert "answered 429 and asks to wait 3600 s" in reason(reviewed(server.url))
    assert len(server.chats()) == 1


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (says("I see no faults."), "the model's reply is not JSON: “I see no faults.”"),
        (says('{"findings": []}'), "the model's reply lacks issues"),
        (says('{"issues": [{"line": 1, "category": "magic", "title": "x"}]}'), "does not fit: `category`"),
        (says('{"issues": ["x"]}'), "an issue of the model's reply is no object"),
        (Answer(body=b'{"choices": [{"mess'), "did not answer with a JSON object"),
        (Answer(body={"choices": []}), "answered without `choices`"),
        (Answer(body={"choices": [{"message": {"content": None}}]}), "the model's reply has no text"),
        (says(" " * 3000, "length"), "the model's reply was cut off and holds no issue"),
        (Answer(body=b'{"x": "' + b"y" * 1_000_001 + b'"}'), "sent more than 1,000,000 bytes"),
        (Answer(302, headers={"location": "http://elsewhere.example/v1"}), "redirects to http://elsewhere"),
        (Answer(400, {"error": {"message": "no regex"}}), "refused the request (400: no regex)"),
        (Answer(body=b"no gzip", headers={"content-encoding": "gzip"}), "an answer that can't be unpacked"),
        (None, "broke the connection off"),
    ],
)
def test_an_unusable_answer_is_never_a_clean_review(reply: Answer | None, words: str) -> None:
    """Whatever comes instead of a reply, the chunk is not reviewed and the message says why."""
    with chat_server(lambda _: reply) as server:
        assert words in reason(reviewed(server.url))


def test_a_cut_off_reply_keeps_its_whole_entries() -> None:
    """What was complete is used, what was cut makes the review partial."""
    entry = {"line": 2, "quote": "os.system(input())", "category": "security", "title": "Runs what is typed"}
    cut = f'{{"issues": [{json.dumps(entry)}, {{"line": 3, "quo'

    def reply(asked: Asked) -> Answer:
        find = "Task: find" in asked.body["messages"][-1]["content"]
        return says(cut, "length") if find else says('{"severity": "4"}')

    with chat_server(reply) as server:
        result = reviewed(server.url, explain="none")
    assert result.outcome is Outcome.PARTIAL
    assert [finding.title for finding in result.findings] == ["Runs what is typed"]
    assert "cut off before its end" in result.skips[0].reason


def test_a_server_that_never_answers_is_given_up() -> None:
    """A timeout is tried once more, then the chunk is given up."""
    ended = threading.Event()

    def never(_: Asked) -> None:
        ended.wait(20)

    with chat_server(never) as server:
        text = reason(reviewed(server.url, endpoint_timeout_s=0.2))
        ended.set()
    assert "gave no answer in 0.2 s 2 times" in text


def test_a_server_that_drips_its_headers_is_given_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The time-out is for the request as a whole: each byte in time kept it going for ever."""
    monkeypatch.setenv("TERAZI_ENDPOINT_TIMEOUT_S", "0.3")
    with dripping_server() as url:
        assert main(["endpoint", "check", "--endpoint", url]) == 3
        assert "gave no answer in 0.3 s 2 times" in reason(reviewed(url, endpoint_timeout_s=0.3))
    assert "gave no answer in 0.3 s 2 times" in capsys.readouterr().out


def test_a_request_that_was_given_up_leaves_room_for_the_next() -> None:
    """With one connection, what comes after a timeout is answered on a new one."""
    ended = threading.Event()

    def slow_at_first(_: Asked) -> Answer:
        if len(server.chats()) == 1:
            ended.wait(20)
        return says(EMPTY)

    with chat_server(slow_at_first) as server:
        result = reviewed(server.url, endpoint_timeout_s=0.5, endpoint_concurrency=1)
        ended.set()
    assert result.outcome is Outcome.CLEAN
    assert len(server.chats()) == 2


def test_a_dead_server_is_not_tried_again_for_every_chunk() -> None:
    """After all attempts on one chunk failed, the others fail at once with the same words."""
    files = [file_of(f"f{number}.py", "+x = 1") for number in range(30)]
    with chat_server(lambda _: None) as server:
        settings = Settings(backend="endpoint", endpoint=server.url, endpoint_concurrency=1)
        result = review(change_of(*files), open_reviewer(settings), ReviewOptions())
    assert result.outcome is Outcome.FAILED
    assert len(result.skips) == 30
    assert len(server.chats()) == 5


def test_the_command_line_exits_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole program: the failure is in the output, the exit code is the tool's."""
    patch = tmp_path / "a.patch"
    patch.write_text(PATCH)
    url = f"http://127.0.0.1:{free_port()}/v1"
    assert main(["review", "--patch", str(patch), "--backend", "endpoint", "--endpoint", url]) == 3
    assert "can't be reached" in capsys.readouterr().out


def test_the_key_is_sent_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The key goes into the header alone: not into messages, the log, or the review."""
    key = "sk-test-0123456789abcdefghijklmnop"
    monkeypatch.setenv("TERAZI_API_KEY", key)
    echo = Answer(400, {"error": {"message": f"Incorrect API key provided: {key}"}})
    with caplog.at_level(logging.DEBUG), chat_server(lambda _: echo) as server:
        result = reviewed(server.url)
    assert server.chats()[0].headers["Authorization"] == f"Bearer {key}"
    assert "Incorrect API key provided: ****" in reason(result)
    assert key not in result.model_dump_json() + caplog.text
    assert key not in json.dumps([asked.body for asked in server.asked])


def test_another_servers_key_is_not_handed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """OPENAI_API_KEY goes to OpenAI's own hosts and to nobody else."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    with chat_server(lambda _: says(EMPTY)) as server:
        reviewed(server.url)
    assert not [asked for asked in server.asked if "Authorization" in asked.headers]


def test_servers_without_label_probabilities_get_schemas() -> None:
    """A server that is not vLLM is asked by JSON schema, and its findings have no probabilities."""
    entry = {"line": 2, "quote": "os.system(input())", "category": "security", "title": "Runs what is typed"}
    replies = {"find": json.dumps({"issues": [entry]}), "rate": '{"severity": "4"}'}
    replies["explain"] = '{"explanation": "Anybody can run anything.", "suggestion": "Don\'t."}'

    def reply(asked: Asked) -> Answer:
        return says(replies[asked.body["response_format"]["json_schema"]["name"]])

    with chat_server(reply) as server:
        result = reviewed(server.url)
    (finding,) = result.findings
    assert (finding.severity, finding.probabilities) == ("critical", None)
    assert finding.explanation == "Anybody can run anything."
    assert result.provenance.model == MODELS["data"][0]["id"]
    assert not {"structured_outputs", "allowed_token_ids"} & set(server.chats()[0].body)


def test_the_hook_passes_loudly_when_the_server_is_down(tmp_path: Path) -> None:
    """A server that is down stops no push, and the push says what was not reviewed; `closed` stops it."""
    site = Site(tmp_path)
    site.commit("app.py")
    assert site.push("main").returncode == 0
    assert site.terazi("hook", "install", python=sys.executable).returncode == 0
    site.commit("b.py", f"{BAD_LINE}\n")
    env = {"TERAZI_BACKEND": "endpoint", "TERAZI_ENDPOINT": f"http://127.0.0.1:{free_port()}/v1"}
    stopped = site.push("main", **env, TERAZI_HOOK_FAIL="closed")
    assert stopped.returncode == 1
    done = site.push("main", **env)
    assert done.returncode == 0, done.stderr
    assert "REVIEW FAILED: nothing was reviewed" in done.stderr
    assert "can't be reached" in done.stderr
