"""The cache of replies: found again, bounded, safe under processes, rebuilt when damaged."""

from __future__ import annotations

import logging
import multiprocessing
from pathlib import Path

import pytest

from review_data.prompts import find_messages, rate_messages
from service.backends import cache
from service.backends.asking import PLACEHOLDER, Form, Label, Question, Text
from service.backends.cache import CachedModel, ReplyCache, key_of
from tests.support.changes import file_of, issue_on
from ui.cli.main import main

FILE = file_of("a.py", "+x = 1")
FIND = Question(Form.FIND, tuple(find_messages("+ x", nonce=PLACEHOLDER)))
RATE = Question(Form.RATE, tuple(rate_messages("+ x", issue_on(FILE, 1), nonce=PLACEHOLDER)))


class Counting:
    """A model that counts how often it was asked."""

    identity, concurrency, context, temperature = "m", 1, 8192, 1.0

    def __init__(self, reply: Text) -> None:
        self.reply, self.asked = reply, 0

    def count(self, text: str) -> int:
        """A token per character."""
        return len(text)

    def write(self, question: Question) -> Text:
        """The same reply each time."""
        self.asked += 1
        return self.reply

    def label(self, question: Question) -> Label:
        """The same label each time."""
        self.asked += 1
        return Label("2", (-1.0, -0.5, -2.0, -3.0))


def test_a_question_is_asked_once(tmp_path: Path) -> None:
    """The second time, and in the next process, the kept reply answers, probabilities and all."""
    model = Counting(Text('{"issues": []}'))
    for _ in range(2):
        cached = CachedModel(model, ReplyCache(tmp_path / "r.sqlite3", 10**6))
        assert cached.write(FIND).text == '{"issues": []}'
        assert cached.label(RATE) == Label("2", (-1.0, -0.5, -2.0, -3.0))
    assert model.asked == 2


@pytest.mark.parametrize("reply", [Text('{"issues": []}', cut=True), Text("no JSON")])
def test_unusable_replies_are_not_kept(tmp_path: Path, reply: Text) -> None:
    """A reply that was cut off or can't be read is asked for again."""
    model = Counting(reply)
    cached = CachedModel(model, ReplyCache(tmp_path / "r.sqlite3", 10**6))
    cached.write(FIND)
    cached.write(FIND)
    assert model.asked == 2


@pytest.mark.parametrize(
    "damage", ["rubbish", "[1]", "null", '["9", null]', '["2", ["a", 1, 2, 3]]', '["2", [1]]']
)
def test_a_damaged_entry_is_asked_for_again(tmp_path: Path, damage: str) -> None:
    """One damaged entry failed every later review of its file, and the message blamed the model."""
    path = tmp_path / "r.sqlite3"
    model = Counting(Text('{"issues": []}'))
    cached = CachedModel(model, ReplyCache(path, 10**6))
    for question in (FIND, RATE):
        cached.cache.put(key_of(question, "m"), damage)
    for _ in range(2):
        assert cached.write(FIND).text == '{"issues": []}'
        assert cached.label(RATE) == Label("2", (-1.0, -0.5, -2.0, -3.0))
    assert model.asked == 2


def test_the_key_depends_on_model_prompt_and_text_alone() -> None:
    """Another model or text is another key; the nonce of a run is not part of it."""
    other = Question(Form.FIND, tuple(find_messages("+ y", nonce=PLACEHOLDER)))
    keys = {key_of(FIND, "m"), key_of(FIND, "n"), key_of(other, "m"), key_of(RATE, "m")}
    assert len(keys) == 4
    assert key_of(FIND, "m") == key_of(
        Question(Form.FIND, tuple(find_messages("+ x", nonce=PLACEHOLDER))), "m"
    )
    assert FIND.sealed()[1]["content"].splitlines()[0] == RATE.sealed()[1]["content"].splitlines()[0]
    assert PLACEHOLDER not in FIND.sealed()[1]["content"]


def test_the_size_limit_drops_what_was_unused_longest(tmp_path: Path) -> None:
    """Old replies go, one that was read lately stays."""
    path = tmp_path / "r.sqlite3"
    kept = ReplyCache(path, 100_000)
    kept.put("favourite", "x" * 100)
    for number in range(400):
        kept.put(f"key{number}", "y" * 1000)
        kept.get("favourite")
    assert cache.info(path).size <= 100_000 + 64 * 1010
    assert kept.get("favourite") == "x" * 100
    assert kept.get("key0") is None
    assert kept.get("key399") is not None


def _write_many(path: Path, who: int) -> None:
    own = ReplyCache(path, 10**8)
    for number in range(100):
        own.put(f"{who}-{number}", str(number))
        own.get(f"{1 - who}-{number}")


def test_processes_share_the_file(tmp_path: Path) -> None:
    """Two processes write at once; every reply of both is there."""
    path = tmp_path / "r.sqlite3"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(path, who)) for who in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert cache.info(path).replies == 200


def test_a_damaged_file_is_begun_anew_with_a_message(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Rubbish in the file costs a warning and the kept replies, nothing else."""
    path = tmp_path / "r.sqlite3"
    path.write_bytes(b"this is no database" * 100)
    kept = ReplyCache(path, 10**6)
    with caplog.at_level(logging.WARNING):
        assert kept.get("a") is None
    assert "is damaged" in caplog.text
    kept.put("a", "b")
    assert kept.get("a") == "b"


def test_a_folder_that_cannot_be_written_turns_the_cache_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning, and the review goes on without a cache."""
    (tmp_path / "file").write_text("")
    kept = ReplyCache(tmp_path / "file" / "r.sqlite3", 10**6)
    with caplog.at_level(logging.WARNING):
        kept.put("a", "b")
        assert kept.get("a") is None
    assert caplog.text.count("going on without it") == 1


def test_only_the_user_can_read_the_file(tmp_path: Path) -> None:
    """Replies quote code: the file is private."""
    path = tmp_path / "new" / "r.sqlite3"
    ReplyCache(path, 10**6).put("a", "b")
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0


def test_the_commands_show_and_clear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`terazi cache info` counts, `clear` removes; both work on an empty and on a damaged cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["cache", "info"]) == 0
    ReplyCache(cache.default_path(), 10**6).put("a", "b" * 500_000)
    assert main(["cache", "info"]) == 0
    assert main(["cache", "clear"]) == 0
    cache.default_path().write_bytes(b"rubbish" * 1000)
    assert main(["cache", "info"]) == 2
    assert main(["cache", "clear"]) == 0
    output = capsys.readouterr()
    assert "replies  1\nsize     0.5 MB" in output.out
    assert "removed 1 replies (0.5 MB)" in output.out
    assert "is damaged" in output.err
    assert not cache.default_path().exists()
