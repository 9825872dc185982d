"""The explanation judge against judges with known habits, over real HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from finetune.evaluate.explanations.judge import parse
from review_data.severity import Severity, rubric
from tests.support.openai_script import Script, scripted_server
from ui.cli.main import main

SHOWN = re.compile(r"Explanation ([AB]):\n<(text-[0-9a-f]+)>\n(.*?)\n</\2>", re.DOTALL)


def texts(body: dict[str, Any]) -> tuple[str, str]:
    """The two explanations as the judge sees them."""
    found = {letter: text for letter, _, text in SHOWN.findall(body["messages"][1]["content"])}
    return found["A"], found["B"]


def verdict(letter: str) -> str:
    """A judge's reply."""
    return f'Both are fine.\n{{"verdict": "{letter}"}}'


def by(score: Callable[[str], float]) -> Callable[[dict[str, Any]], str]:
    """A judge that prefers the higher score and sees ties."""

    def answer(body: dict[str, Any]) -> str:
        a, b = (score(text) for text in texts(body))
        return verdict("tie" if a == b else "A" if a > b else "B")

    return answer


def quality(text: str) -> float:
    """How good a made-up explanation is: the number in it."""
    return float(text.split("quality ")[1].split()[0])


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A JSON Lines file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def files(
    folder: Path,
    count: int,
    first: Callable[[int], str],
    second: Callable[[int], str],
    human: dict[int, str] | None = None,
) -> list[str]:
    """The command line's arguments for `count` labelled comments and two systems' explanations."""
    severities = list(Severity)
    comments = [
        {
            "id": f"c{i}",
            "comment": f"Comment {i}",
            "severity": severities[i % 4],
            "explanation": f"Reference {i}",
        }
        for i in range(count)
    ]
    args = ["--data", str(write(folder / "data.jsonl", comments))]
    for name, words in (("first", first), ("second", second)):
        rows = [{"id": f"c{i}", "explanation": words(i)} for i in range(count)]
        args += [f"--{name}", str(write(folder / f"{name}.jsonl", rows))]
    if human is not None:
        rows = [{"id": f"c{i}", "verdict": said} for i, said in human.items()]
        args += ["--human", str(write(folder / "human.jsonl", rows))]
    return [*args, "--out", str(folder / "out"), "--judge-model", "judge", "--format", "json"]


def judged(capsys: pytest.CaptureFixture[str], script: Script, args: list[str]) -> dict[str, Any]:
    """The report of the command line as JSON."""
    capsys.readouterr()
    code = main(["evaluate", "explanations", "--judge-endpoint", script.url, *args])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return dict(json.loads(printed.out))


def test_a_fair_judge_finds_the_better_system(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Wins, losses and ties are counted in terms of the systems, whatever the order shown."""

    def first(i: int) -> str:
        return f"quality {2 if i < 15 else 1 if i < 18 else 0} ok"

    with scripted_server(by(quality)) as judge:
        args = files(
            tmp_path, 20, first, lambda i: "quality 1 yes", {0: "first", 1: "first", 16: "tie", 19: "first"}
        )
        found = judged(capsys, judge, [*args, "--price-in", "2", "--price-out", "10"])
    assert (found["wins"], found["ties"], found["losses"], found["unscored"]) == (15, 3, 2, 0)
    assert found["win_rate"]["value"] == pytest.approx(16.5 / 20)
    assert found["win_rate"]["low"] > 0.5
    assert found["swap_consistency"] == 1.0
    assert not found["position_bias_detected"]
    assert found["human"] == {"n": 4, "agreed": 0.75, "kappa": pytest.approx(0.5555, abs=1e-3)}
    assert (found["prompt_tokens"], found["completion_tokens"]) == (4000, 400)
    assert found["cost"] == pytest.approx(0.012)


def test_the_judge_sees_rubric_and_reference_first_and_no_names(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Both orders are asked; neither system's name nor a person's verdict is shown."""
    with scripted_server(by(quality)) as judge:
        judged(
            capsys, judge, files(tmp_path, 1, lambda i: "quality 1 a", lambda i: "quality 2 b", {0: "second"})
        )
    assert sorted(texts(body) for body in judge.asked) == [
        ("quality 1 a", "quality 2 b"),
        ("quality 2 b", "quality 1 a"),
    ]
    for body in judge.asked:
        system, user = (message["content"] for message in body["messages"])
        assert rubric() in system
        assert user.index("Reference 0") < user.index("Explanation A")
        assert not re.search(r"\b(first|second)\b", user)
        assert body["temperature"] == 0


def test_a_judge_that_prefers_the_first_place_decides_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The position swap turns its verdicts into ties, and the bias is reported."""
    with scripted_server(lambda body: verdict("A")) as judge:
        found = judged(capsys, judge, files(tmp_path, 20, lambda i: f"one {i}", lambda i: f"other {i}"))
    assert (found["wins"], found["losses"], found["ties"]) == (0, 0, 20)
    assert found["win_rate"]["value"] == 0.5
    assert found["position_bias"]["value"] == 0.5
    assert found["position_bias_detected"]
    assert found["swap_consistency"] == 0.0


def test_a_judge_that_prefers_the_longer_text_is_detected_and_corrected(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The longer-winded system wins 80% and, at equal length, about half."""

    def padded(i: int) -> str:
        return "word " * (30 + 7 * (i % 9)) if i % 5 else "word " * (10 + i % 3)

    with scripted_server(by(len)) as judge:
        found = judged(capsys, judge, files(tmp_path, 60, padded, lambda i: "term " * (20 + i % 4)))
    assert found["win_rate"]["value"] == pytest.approx(0.8)
    assert found["length_bias_detected"]
    assert found["length_effect"]["value"] > 2
    assert found["length_controlled_win_rate"]["value"] == pytest.approx(0.5, abs=0.12)


def test_length_control_leaves_a_fair_judges_verdict_alone(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A system that is better, and longer by chance, keeps its lead."""

    def first(i: int) -> str:
        return f"quality {2 if i % 5 else 0} " + "pad " * (i * 7 % 11)

    with scripted_server(by(quality)) as judge:
        found = judged(
            capsys, judge, files(tmp_path, 60, first, lambda i: "quality 1 " + "pad " * (i * 3 % 13))
        )
    assert not found["length_bias_detected"]
    assert found["length_controlled_win_rate"]["value"] == pytest.approx(found["win_rate"]["value"], abs=0.08)


def test_two_identical_systems_are_a_tie_that_costs_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The judge, however biased, is not even asked."""
    with scripted_server(lambda body: verdict("A")) as judge:
        found = judged(capsys, judge, files(tmp_path, 10, lambda i: f"text {i}", lambda i: f"text {i}"))
    assert (found["ties"], found["identical"], found["win_rate"]["value"]) == (10, 10, 0.5)
    assert (found["win_rate"]["low"], found["win_rate"]["high"]) == (0.5, 0.5)
    assert judge.asked == []


def test_an_unparsable_answer_leaves_its_pair_unscored(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """It counts as neither win nor tie, and its raw reply is kept."""

    def answer(body: dict[str, Any]) -> str:
        return (
            "I like them both."
            if "odd" in texts(body)[0]
            else verdict("A" if "one" in texts(body)[0] else "B")
        )

    with scripted_server(answer) as judge:
        words = [lambda i: f"one {'odd' if i % 2 else 'even'}", lambda i: "other"]
        found = judged(capsys, judge, files(tmp_path, 10, *words))
    assert (found["wins"], found["ties"], found["losses"]) == (5, 0, 0)
    assert (found["scored"], found["unscored"]) == (5, 5)
    kept = (tmp_path / "out" / "judgements.jsonl").read_text()
    assert kept.count("I like them both.") == 5


def test_an_interrupted_judgement_goes_on_without_asking_twice(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """After the server breaks off, the second run asks for what is missing, and the result is the same."""
    args = [*files(tmp_path, 10, lambda i: f"quality {i % 3} x", lambda i: "quality 1 y"), "--at-once", "2"]
    fair = by(quality)
    with scripted_server(lambda body: fair(body) if len(judge.asked) < 7 else 400) as judge:
        assert main(["evaluate", "explanations", "--judge-endpoint", judge.url, *args]) == 3
        assert "run again" in capsys.readouterr().err
        judge.answer = fair
        found = judged(capsys, judge, args)
        asked = [(*texts(body), body["messages"][1]["content"]) for body in judge.asked]
        assert len(asked) == len(set(asked)) == 20
        assert judged(capsys, judge, args) == found
        assert len(judge.asked) == 20


@pytest.mark.parametrize(
    ("reply", "shown"),
    [
        ('{"verdict": "A"}', "A"),
        ('<think>{"verdict": "B"}</think> so {"verdict": "a", "why": "x"}', "A"),
        ('first {"verdict": "A"}, no: {"verdict": "tie"}', "tie"),
        ("A", None),
        ('{"verdict": "C"}', None),
        ("", None),
    ],
)
def test_the_last_verdict_after_the_thinking_counts(reply: str, shown: str | None) -> None:
    """Anything else is unparsable."""
    assert parse(reply) == shown


def test_an_explanation_of_an_unknown_id_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The message names file, line and field."""
    args = files(tmp_path, 2, lambda i: "a", lambda i: "b")
    write(tmp_path / "second.jsonl", [{"id": "c0", "explanation": "b"}, {"id": "zz", "explanation": "b"}])
    assert main(["evaluate", "explanations", "--judge-endpoint", "http://127.0.0.1:9/v1", *args]) == 2
    assert "second.jsonl:2, field `id`" in capsys.readouterr().err
