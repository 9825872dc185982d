"""Parts of the code generation evaluation: problems, samples, systems, statistics, scoring, prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetune.evaluate.codegen.benchmark import Mode, Sample
from finetune.evaluate.codegen.catalog import open_benchmark
from finetune.evaluate.codegen.compare import best_checkpoints, compare
from finetune.evaluate.codegen.files import read_samples
from finetune.evaluate.codegen.plots import learning_curves
from finetune.evaluate.codegen.score import SystemScore, score, summarise
from finetune.evaluate.codegen.systems import System, local_systems, served_systems
from finetune.sandbox.job import Limits
from finetune.sandbox.machine import Sandbox
from finetune.sandbox.verdict import Outcome, Verdict
from review_data.errors import DataError, UserError
from service.backends.endpoint.served import ServedModel

DATA = Path(__file__).parent / "data"


def test_window_platform_and_difficulty_choose_problems() -> None:
    """Months count with both ends; no match is an error that says what there is."""
    path = DATA / "contest_problems.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    chosen = open_benchmark(
        "livecodebench", path, window="2024-08:2025-02", platform="atcoder", difficulty="easy"
    )
    expected = [
        row["question_id"]
        for row in rows
        if "2024-08" <= row["contest_date"][:7] <= "2025-02"
        and (row["platform"], row["difficulty"]) == ("atcoder", "easy")
    ]
    assert [problem.id for problem in chosen.problems] == expected
    assert 0 < len(expected) < len(rows)
    with pytest.raises(UserError, match="40 problems of atcoder, leetcode"):
        open_benchmark("livecodebench", path, platform="codeforces")
    with pytest.raises(UserError, match="2024-08:2025-02"):
        open_benchmark("livecodebench", path, window="last year")
    with pytest.raises(UserError, match="--window can't filter humaneval"):
        open_benchmark("humaneval", path, window="2024-08:2025-02")


def test_samples_of_unknown_tasks_are_refused(tmp_path: Path) -> None:
    """An answer that would count for nothing is an error with file and line."""
    path = tmp_path / "s.jsonl"
    path.write_text('{"task_id": "a", "completion": ""}\n{"task_id": "b", "completion": ""}\n')
    with pytest.raises(DataError, match=r"s\.jsonl:2, field `task_id`: `b` is no task"):
        read_samples(path, ["a"])


SERVED = [
    ServedModel("qwen", None, "", None, ""),
    *(
        ServedModel(name, "qwen", "", None, "")
        for name in ("deep", "deep-checkpoint-100", "deep-200", "deeper-300")
    ),
    *(ServedModel(name, "qwen", "", None, "") for name in ("diverse@100", "diverse-step-200")),
]


def test_systems_are_found_among_the_served_models() -> None:
    """`all` takes every checkpoint in order of steps, and only of that adapter."""
    systems = served_systems(SERVED, ["base", "deep", "diverse"], "all")
    assert [(one.name, one.model) for one in systems] == [
        ("base", "qwen"),
        ("deep@100", "deep-checkpoint-100"),
        ("deep@200", "deep-200"),
        ("diverse@100", "diverse@100"),
        ("diverse@200", "diverse-step-200"),
    ]
    assert [one.name for one in served_systems(SERVED, [], "")] == ["base"]
    with pytest.raises(UserError, match="deep has no 300; there are: 100, 200"):
        served_systems(SERVED, ["deep"], "300")
    with pytest.raises(UserError, match="`other` is not served"):
        served_systems(SERVED, ["other"], "")


def test_systems_are_found_in_a_run_folder(tmp_path: Path) -> None:
    """Local checkpoints are the folder's checkpoint-* folders."""
    for step in (20, 100):
        (tmp_path / "run" / f"checkpoint-{step}").mkdir(parents=True)
    systems = local_systems(["base", f"mine={tmp_path / 'run'}"], "all")
    assert [(one.name, one.step) for one in systems] == [("base", None), ("mine@20", 20), ("mine@100", 100)]
    assert systems[2].model == str(tmp_path / "run" / "checkpoint-100")


def made_up(name: str, right: int, total: int = 41, **more: Any) -> SystemScore:
    """Scores of a system that passes the first `right` of `total` problems."""
    benchmark = open_benchmark("livecodebench", DATA / "contest_problems.jsonl")
    problem = benchmark.problems[0]
    checked = []
    for number in range(total):
        outcome = Outcome.PASSED if number < right else Outcome.WRONG_ANSWER
        sample = Sample(task_id=f"t{number:03}", completion="x")
        checked.append((sample, Verdict(outcome=outcome), "x"))
    assert problem
    return summarise(System(name=name, model="", **more), (), checked, (1,))


def test_the_seeds_numbers_come_out_with_intervals_tests_and_noise() -> None:
    """7/41 is 17.1% [8.5, 31.3]; eight equal checkpoints reach 31.5%; nothing is significant after Holm."""
    base = made_up("base", 9, adapter="base")
    assert base.intervals["pass_at_1"].percent() == "22.0% [12.0, 36.7]"
    assert made_up("x", 7).intervals["pass_at_1"].percent() == "17.1% [8.5, 31.3]"
    steps = [
        made_up(f"deep@{100 * i}", right, adapter="deep", step=100 * i)
        for i, right in enumerate(range(5, 13))
    ]
    best = best_checkpoints([base, *steps])
    assert [(one.best, one.checkpoints) for one in best] == [("deep@700", 8)]
    assert best[0].mean == pytest.approx(8.5 / 41)
    assert best[0].score < best[0].expected_maximum + 0.01
    found = compare([base, *steps])
    assert len(found) == 8
    assert {one.test for one in found} == {"McNemar, exact"}
    assert all(one.p_holm >= one.p_value and one.p_holm == 1.0 for one in found)
    assert found[0].flips is not None
    assert (found[0].flips.first_only, found[0].flips.second_only) == (0, 4)


def test_adapters_are_compared_at_the_same_step() -> None:
    """Rivals meet at common steps, and their family is corrected apart from the base's."""
    scores = [
        made_up("base", 10, adapter="base"),
        *(made_up(f"deep@{step}", 20, adapter="deep", step=step) for step in (1, 2)),
        *(made_up(f"diverse@{step}", 12, adapter="diverse", step=step) for step in (1, 2)),
    ]
    found = compare(scores)
    rivals = [(one.first, one.second) for one in found if one.family == "between adapters"]
    assert rivals == [("deep@1", "diverse@1"), ("deep@2", "diverse@2")]
    assert found[0].p_value == pytest.approx(2 * 0.5**10)
    assert found[0].p_holm == pytest.approx(4 * found[0].p_value)


def test_several_samples_give_pass_at_k_and_a_permutation_test() -> None:
    """pass@k is averaged over problems; the interval is a bootstrap, and the test uses the rates."""

    def sampled(name: str, rights: list[int]) -> SystemScore:
        checked = [
            (
                Sample(task_id=f"t{task:03}", completion="x", index=index),
                Verdict(outcome=Outcome.PASSED if index < right else Outcome.EXCEPTION),
                "x",
            )
            for task, right in enumerate(rights)
            for index in range(4)
        ]
        return summarise(System(name=name, model="", adapter=name), (), checked, (1, 2, 10))

    one, base = sampled("deep", [4, 2, 3, 1] * 5), sampled("base", [2, 0, 1, 0] * 5)
    assert one.pass_at_1 == pytest.approx(10 / 16)
    assert one.pass_at == {1: pytest.approx(0.625), 2: pytest.approx((1 + 5 / 6 + 1 + 1 / 2) / 4)}
    assert one.intervals["pass_at_1"].method == "bootstrap"
    found = compare([base, one])
    assert [row.test for row in found] == ["paired permutation"]
    assert found[0].p_value < 0.01


def test_the_learning_curve_is_a_picture() -> None:
    """A PNG when there are checkpoints, none otherwise."""
    steps = [made_up(f"deep@{step}", step, adapter="deep", step=step) for step in (3, 6, 9)]
    picture = learning_curves([made_up("base", 5, adapter="base"), *steps])
    assert picture is not None
    assert picture.startswith(b"\x89PNG")
    assert learning_curves([made_up("base", 5, adapter="base")]) is None


PLUS = {
    "task_id": "Plus/0",
    "prompt": 'def scale(xs, by):\n    """Multiply."""\n',
    "entry_point": "scale",
    "canonical_solution": "    return [x * by for x in xs]\n",
    "base_input": [[[1, 2], 2]],
    "plus_input": [[[0.1, 0.2], 3], [[], 1]],
    "atol": 1e-6,
}
MBPP = {
    "task_id": 7,
    "text": "Write a function to find the shared elements of two tuples.",
    "code": "",
    "test_list": ["assert set(shared((3, 4), (4, 5))) == set((4,))", "assert set(shared((1,), ())) == set()"],
    "test_setup_code": "",
}


@pytest.mark.parametrize(
    ("name", "row", "task", "completion", "passes"),
    [
        ("humaneval+", PLUS, "Plus/0", "    return [by * x for x in xs]\n", True),
        ("humaneval+", PLUS, "Plus/0", "    return [x + x for x in xs]\n", False),
        ("mbpp", MBPP, "7", "```python\ndef shared(a, b):\n    return (x for x in a if x in b)\n```", True),
        ("mbpp", MBPP, "7", "```python\ndef shared(a, b):\n    return a\n```", False),
    ],
)
def test_humaneval_plus_and_mbpp_are_scored(
    sandbox: Sandbox, tmp_path: Path, name: str, row: dict[str, Any], task: str, completion: str, passes: bool
) -> None:
    """Inputs with a reference, and plain asserts, both judged outside the code's process."""
    path = tmp_path / "problems.jsonl"
    path.write_text(json.dumps(row) + "\n")
    benchmark = open_benchmark(name, path)
    system = System(name="x", model="")
    samples = {"x": [Sample(task_id=task, completion=completion)]}
    (found,) = score(benchmark, [system], samples, sandbox, limits=Limits(cpu_s=3, wall_s=9))
    assert (found.pass_at_1 == 1.0) is passes, found.results


def test_prompts_of_the_two_modes_differ_as_documented() -> None:
    """Official LiveCodeBench prompts are its own; faithful ones say how to read and print."""
    problem = open_benchmark("livecodebench", DATA / "contest_problems.jsonl").problems[0]
    official, faithful = problem.prompt(Mode.OFFICIAL), problem.prompt(Mode.FAITHFUL)
    assert official.messages[1].content.startswith("### Question:\nA pot of N litres")
    assert official.messages[1].content.endswith("### Answer: (use the provided format with backticks)\n\n")
    assert "standard input" in faithful.messages[0].content
    assert official.digest != faithful.digest
