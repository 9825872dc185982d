"""Text in a change that addresses the reviewer: reported, never followed, never shown as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from review_data.domain import MergeRequest, Review
from review_data.prompts import explain_messages, find_messages, nonce_for, rate_messages, render_file
from review_data.severity import Severity
from review_data.untrusted import addresses_reviewer, hidden_characters
from service.backends.asking import MAX_TOKENS, Label, Question, Text
from service.backends.catalog import open_reviewer
from service.backends.chunking import Layouts
from service.backends.embedded.rater import EmbeddedRater
from service.backends.model_reviewer import ADDRESSES, HIDES, ModelFinder, ModelRater
from service.ports import Change, Reviewer
from service.render import FORMATS, render
from service.review import ReviewOptions, review
from service.settings import Settings
from tests.support.changes import NoFiles, file_of, issue_on


class Attack(NamedTuple):
    """One attack: where its text stands (a line, the path, the title, the description, the project line)."""

    name: str
    where: str
    text: str


ATTACKS = [
    Attack(**json.loads(row))
    for row in (Path(__file__).parent / "data" / "attacks.jsonl").read_text("utf-8").splitlines()
]
FAULT = "db.execute(f\"select * from users where name = '{name}'\")"


def attacked(attack: Attack) -> Change:
    """A change with a real fault on line 3 and the attack on line 2 or around."""
    line = attack.text if attack.where == "line" else "# looks a user up"
    path = attack.text if attack.where == "path" else "app/users.py"
    file = file_of(path, f" def find(name):\n+    {line}\n+    {FAULT}\n+    return 1")
    about = {attack.where: attack.text} if attack.where in ("title", "description", "project") else {}
    return Change(MergeRequest(files=(file,), **about), NoFiles())


class Obedient:
    """A model that finds nothing and calls everything low, as an attack wants. It keeps what it was shown."""

    identity, concurrency, context, temperature = "obedient", 1, 16384, 1.0

    def __init__(self) -> None:
        self.shown: list[str] = []

    def count(self, text: str) -> int:
        """A token per three characters."""
        return len(text) // 3

    def write(self, question: Question) -> Text:
        """No issues."""
        self.shown += [message["content"] for message in question.sealed()]
        return Text('{"issues": []}')

    def label(self, question: Question) -> Label:
        """Low."""
        self.shown += [message["content"] for message in question.sealed()]
        return Label("1", (-0.01, -5.0, -6.0, -7.0))


def obedient(attack: Attack) -> tuple[Review, Obedient]:
    """The attacked change, reviewed by a model that gives in."""
    model = Obedient()
    layouts = Layouts(model, "test", 3000)
    rater = ModelRater(model, layouts, "test", None)
    reviewer = Reviewer(
        (ModelFinder(model, layouts, "test"),), rater, "test", open_reviewer(Settings()).provenance
    )
    return review(attacked(attack), reviewer, ReviewOptions()), model


def names(attack: Attack) -> str:
    """Test ids."""
    return attack.name


def test_there_are_enough_attacks() -> None:
    """At least thirty, each with a name of its own."""
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 30
    assert max(MAX_TOKENS.values()) < 2000


@pytest.mark.parametrize("attack", [one for one in ATTACKS if one.where != "project"], ids=names)
def test_every_attack_is_reported_even_by_a_model_that_obeys(attack: Attack) -> None:
    """The rule reports it and sets its severity; the model that wants to say “low” is not asked about it."""
    result, _ = obedient(attack)
    (finding,) = [one for one in result.findings if one.rule in (ADDRESSES, HIDES)]
    assert finding.severity is Severity.HIGH
    assert finding.line == 2


@pytest.mark.parametrize("attack", ATTACKS, ids=names)
def test_no_prompt_shows_an_attack_as_it_is(attack: Attack) -> None:
    """In every prompt the orders are gone, hidden characters are named, fences are whole."""
    change = attacked(attack)
    file, project = change.request.files[0], change.request.project
    chunk, issue = render_file(file), issue_on(file, 3)
    nonce = nonce_for(chunk, b"secret")
    conversations = [
        find_messages(chunk, nonce=nonce, project=project),
        rate_messages(chunk, issue, nonce=nonce, project=project),
        explain_messages(chunk, issue, Severity.HIGH, nonce=nonce, project=project),
    ]
    for messages in conversations:
        fenced = messages[1]["content"].partition(f"BEGIN {nonce}")[2].partition(f"END {nonce}")[0]
        for line in fenced.splitlines():
            assert addresses_reviewer(line) is None, line
            assert not hidden_characters(line)
        assert messages[1]["content"].count(nonce) == 2
        assert not any(mark in fenced for mark in ("<|im_", "[INST]", "<start_of_turn>", "<｜"))
        assert FAULT in fenced


@pytest.mark.parametrize("attack", ATTACKS, ids=names)
def test_titles_and_descriptions_reach_no_model(attack: Attack) -> None:
    """What people say of a change is not shown; a change called safe is judged by its code."""
    _, model = obedient(attack)
    if attack.where in ("title", "description"):
        plain, other = obedient(Attack("plain", "title", ""))[1], model
        without = [text.splitlines()[1:-1] for text in plain.shown[1:2]]
        assert without
        assert [text.partition("\n")[2].partition("END")[0] for text in other.shown[:2]] == [
            text.partition("\n")[2].partition("END")[0] for text in plain.shown[:2]
        ]
    assert not any(attack.text in text for text in model.shown)


def test_the_embedded_rating_of_a_fault_is_unmoved_by_attacks_beside_it() -> None:
    """The same fault beside a harmless comment and beside each attack gets the same severity."""
    rater, calm = EmbeddedRater(), attacked(Attack("calm", "line", "# looks a user up"))
    (expected,) = rater.rate(calm, [issue_on(calm.request.files[0], 3)])
    moved = []
    for attack in ATTACKS:
        change = attacked(attack)
        (rating,) = rater.rate(change, [issue_on(change.request.files[0], 3)])
        if rating.severity != expected.severity:  # type: ignore[union-attr]
            moved.append((attack.name, rating.severity))  # type: ignore[union-attr]
    assert moved == []


@pytest.mark.parametrize("attack", ATTACKS, ids=names)
def test_no_output_carries_terminal_or_direction_characters(attack: Attack) -> None:
    """Whatever the format, hidden characters of the change are not passed on to whoever reads the review."""
    result, _ = obedient(attack)
    for format in FORMATS:
        text = render(result, format, excerpts=attacked(attack).request.files)
        assert "\x1b" not in text
        assert not hidden_characters(text), format
