"""Code-generation evaluation piece by piece: reading answers and files, comparing, statistics, resuming."""

from __future__ import annotations

import base64
import gc
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from finetune.evaluate.codegen.answers import read_chat, read_last_fence
from finetune.evaluate.codegen.benchmark import Answer, Mode, Sample
from finetune.evaluate.codegen.catalog import open_benchmark
from finetune.evaluate.codegen.compare import best_checkpoints, compare
from finetune.evaluate.codegen.files import read_samples
from finetune.evaluate.codegen.outputs import official_printed, printed, returned
from finetune.evaluate.codegen.plots import learning_curves
from finetune.evaluate.codegen.private_tests import unpack
from finetune.evaluate.codegen.score import SystemScore, score, summarise
from finetune.evaluate.codegen.systems import System, local_systems, served_systems
from finetune.sandbox.job import Limits
from finetune.sandbox.machine import Sandbox, open_sandbox
from finetune.sandbox.verdict import Outcome, Verdict
from review_data.errors import DataError, UserError
from service.backends.endpoint.served import ServedModel
from tests.support.openai_script import scripted_server
from ui.cli.main import main

DATA = Path(__file__).parent / "data"
SQUARE = "def square(x):\n    return x * x\n"


def reply(text: str, finish: str = "stop") -> Sample:
    """A sample with that reply."""
    return Sample(task_id="t", completion=text, finish_reason=finish)


@pytest.mark.parametrize(
    ("text", "finish", "code", "outcome"),
    [
        (f"Sure.\n```python\n{SQUARE}```\nDone.", "stop", SQUARE, None),
        (f"```python\nprint(1)\n```\nthen\n```py\n{SQUARE}```", "stop", SQUARE, None),
        (f"```python\n{SQUARE}```\n```python\nassert square(2) == 4\n```", "stop", SQUARE, None),
        (f"<think>```python\nbad\n```</think>```\n{SQUARE}```", "stop", SQUARE, None),
        (f"reasoning without a start</think>\n```python\n{SQUARE}```", "stop", SQUARE, None),
        (f"```python\n{SQUARE}```\nand then a long expl", "length", SQUARE, None),
        (f"```bash\npip install x\n```\n~~~python\n{SQUARE}~~~", "stop", SQUARE, None),
        (SQUARE, "stop", SQUARE, None),
        (f"```python\n{SQUARE}", "stop", SQUARE, None),
        ("```python\ndef square(x):\n    ret", "length", "", Outcome.TRUNCATED),
        ("<think>Let me see. ```python\nprint()\n```", "length", "", Outcome.OVER_REASONING),
        ("<think>Hm.</think> Wait. <think>Again", "stop", "", Outcome.OVER_REASONING),
        ("I can't do that.", "stop", "", Outcome.NO_CODE),
        ("", "stop", "", Outcome.NO_CODE),
    ],
)
def test_the_program_is_found_wherever_it_stands(
    text: str, finish: str, code: str, outcome: Outcome | None
) -> None:
    """Thinking, several fences, other languages, missing ends: each gives the program or its own outcome."""
    answer = read_chat(reply(text, finish), "square")
    assert (answer.code, answer.outcome) == (code, outcome)


def test_programs_are_found_by_several_threads_at_once() -> None:
    """Python's parser is not safe in threads that interrupt each other, as finalizers make them do."""
    program = "def f(a):\n    return [b for b in a if b]\n" * 50
    sample = reply(f"```python\n{program}```")

    class Cycle:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            sum(range(50))

    def read(_: int) -> Answer:
        for _ in range(10):
            Cycle()
        return read_chat(sample, "f")

    usual, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.set_threshold(50)
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(read, range(400))) == {Answer(code=program)}
    finally:
        gc.set_threshold(*usual)
        sys.setswitchinterval(interval)


def test_the_official_extraction_takes_the_last_pair_of_fences() -> None:
    """What lies between the last two lines with a fence, whatever it is."""
    assert read_last_fence(reply("```python\na = 1\n```\n```\nb = 2\n```")).code == "b = 2"
    assert read_last_fence(reply("<think>no end", "length")).outcome is Outcome.OVER_REASONING


@pytest.mark.parametrize(
    ("out", "expected", "official", "faithful"),
    [
        ("1 2\n3\n", "1 2\n3", True, True),
        (" 1  2 \n3\n\n", "1 2\n3\n", True, True),
        ("1\n2\n", "1 2\n", False, False),
        ("0.3333333\n", "0.33333333333\n", False, True),
        ("0.334\n", "0.3333\n", False, False),
        ("2.0\n", "2\n", True, False),
        ("Yes\nYes\n", "Yes\n", False, False),
        ("nan\n", "1.5\n", False, False),
        ("", "0\n", False, False),
    ],
)
def test_printed_answers_are_compared_as_the_contest_does(
    out: str, expected: str, official: bool, faithful: bool
) -> None:
    """Blanks don't matter, lines do; reals have a tolerance in the faithful mode alone."""
    assert (official_printed(out, expected), printed(out, expected)) == (official, faithful)


@pytest.mark.parametrize(
    ("value", "expected", "same"),
    [
        ((1, (2, 3)), [1, [2, 3]], True),
        (0.1 + 0.2, 0.3, True),
        (1, True, False),
        (True, 1, False),
        ({1: [2.0000001]}, {"1": [2.0]}, True),
        ([1], [1, 2], False),
        (None, 0, False),
    ],
)
def test_returned_values_are_compared_by_structure(value: object, expected: object, same: bool) -> None:
    """Tuples count as lists, reals have a tolerance, True is not 1."""
    assert returned(value, expected) is same


def packed(data: bytes) -> str:
    """As LiveCodeBench packs."""
    return base64.b64encode(zlib.compress(data)).decode()


@pytest.mark.parametrize("protocol", range(1, 6))
def test_private_tests_are_read_without_unpickling(protocol: int) -> None:
    """One pickled string of every protocol; plain JSON as it is."""
    rows = [{"input": "1\n" * 300, "output": "ü", "testtype": "stdin"}]
    assert unpack(packed(pickle.dumps(json.dumps(rows), protocol=protocol)), "q") == rows
    assert unpack(json.dumps(rows), "q") == rows


class Exploit:
    """What a hostile file would hold."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch exploited",)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pickle.dumps(Exploit()), "STACK_GLOBAL"),
        (pickle.dumps(["[]"]), "EMPTY_LIST"),
        (b"cos\nsystem\n(S'touch exploited'\ntR.", "GLOBAL"),
        (b"not a pickle", "no pickle"),
        (pickle.dumps("{}"), "not a list"),
        (pickle.dumps("[")[:-1], "pickle"),
    ],
)
def test_a_pickle_that_is_more_than_a_string_is_refused(
    data: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The instruction is named and nothing runs."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        unpack(packed(data), "question q")
    assert list(tmp_path.iterdir()) == []


def test_a_cut_off_package_is_refused() -> None:
    """Half of the compressed data is not silently half of the tests."""
    half = base64.b64encode(zlib.compress(pickle.dumps("[]" * 1000))[:-8]).decode()
    with pytest.raises(DataError, match="cut off"):
        unpack(half, "q")


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


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """The full sandbox; a machine that refuses it skips, with the refusal as the reason."""
    try:
        with open_sandbox() as opened:
            yield opened
    except UserError as error:
        pytest.skip(str(error))


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


def test_an_interrupted_generation_asks_for_no_sample_twice(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sandbox: Sandbox
) -> None:
    """The server breaks off after 10 answers and a line is torn; the second run asks for the rest alone."""
    assert sandbox.full
    right = "```python\nprint(0)\n```"
    models = [
        {"id": "qwen"},
        {"id": "deep-checkpoint-100", "parent": "qwen"},
        {"id": "deep-200", "parent": "qwen"},
    ]
    args = [
        *(
            "evaluate",
            "codegen",
            "--benchmark",
            "livecodebench",
            "--platform",
            "atcoder",
            "--difficulty",
            "easy",
        ),
        *(
            "--problems",
            str(DATA / "contest_problems.jsonl"),
            "--window",
            "2024-08:2025-02",
            "--at-once",
            "4",
        ),
        *("--adapters", "base,deep", "--checkpoints", "all", "--tests", "public", "--format", "json"),
        *("--out", str(tmp_path), "--n", "2", "--temperature", "0.2", "--timeout", "2"),
    ]
    with scripted_server(lambda body: right if len(server.asked) < 10 else 400, models) as server:
        assert main([*args, "--endpoint", server.url]) == 3
        assert "run again to go on" in capsys.readouterr().err
        samples = tmp_path / "samples.jsonl"
        assert len(samples.read_text().splitlines()) == 10
        with samples.open("ab") as file:
            file.write(b'{"task_id": "terazi-01", "compl')
        server.answer = lambda body: right
        assert main([*args, "--endpoint", server.url]) == 0
        found = json.loads(capsys.readouterr().out)
        total = 3 * 2 * found["systems"][0]["n"]
        asked = [(body["model"], body["seed"], body["messages"][0]["content"]) for body in server.asked]
        assert len(asked) == len(set(asked)) == total
        assert main([*args, "--endpoint", server.url]) == 0
        assert len(server.asked) == total
    assert json.loads(capsys.readouterr().out) == found
    assert [one["name"] for one in found["systems"]] == ["base", "deep@100", "deep@200"]
    assert (tmp_path / "learning-curves.png").exists()
    assert 'alt="pass@1 per checkpoint' in (tmp_path / "report.html").read_text()


def test_ctrl_c_keeps_what_is_in_flight(tmp_path: Path, sandbox: Sandbox) -> None:
    """Every answer that the server gave is kept, so the next run asks for the others alone."""
    assert sandbox.full
    command = [
        *(sys.executable, "-m", "ui.cli.main", "evaluate", "codegen", "--benchmark", "livecodebench"),
        *("--problems", str(DATA / "contest_problems.jsonl"), "--platform", "leetcode", "--at-once", "3"),
        *("--tests", "public", "--out", str(tmp_path / "run")),
    ]
    path = os.pathsep.join([str(DATA.parents[1]), os.environ.get("PYTHONPATH", "")])
    samples = tmp_path / "run" / "samples.jsonl"
    stop = threading.Event()

    def slowly(body: dict[str, Any]) -> str:
        stop.wait(0.2)
        return "no code"

    with scripted_server(slowly, [{"id": "qwen"}]) as server:
        command += ["--endpoint", server.url]
        with subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as run:
            deadline = time.monotonic() + 60
            while not samples.exists() or samples.stat().st_size == 0:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            run.send_signal(signal.SIGINT)
            assert run.wait(60) == 130
        kept = len(samples.read_text().splitlines())
        assert kept == len(server.asked) < 14
        stop.set()
        assert main(command[3:]) == 0
        assert len(server.asked) == len({json.dumps(body) for body in server.asked}) == 14


def test_a_folder_made_with_other_settings_is_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, sandbox: Sandbox
) -> None:
    """Greedy and sampled answers are not mixed."""
    assert sandbox.full
    args = [
        *(
            "evaluate",
            "codegen",
            "--benchmark",
            "livecodebench",
            "--platform",
            "leetcode",
            "--out",
            str(tmp_path),
        ),
        *("--problems", str(DATA / "contest_problems.jsonl"), "--difficulty", "hard", "--tests", "public"),
    ]
    with scripted_server(lambda body: "no", [{"id": "qwen"}]) as server:
        assert main([*args, "--endpoint", server.url]) == 0
        assert main([*args, "--endpoint", server.url, "--temperature", "0.5"]) == 2
    assert "other settings" in capsys.readouterr().err
