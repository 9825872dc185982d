"""`terazi evaluate codegen` end to end: ready answers, the real command line, the real vLLM."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from finetune.evaluate.client import Client, Reply, Sampling
from finetune.evaluate.codegen.benchmark import Mode, Sample
from finetune.evaluate.codegen.catalog import open_benchmark
from finetune.evaluate.codegen.compare import compare
from finetune.evaluate.codegen.generate import Request, generate_missing
from finetune.evaluate.codegen.score import score
from finetune.evaluate.codegen.systems import System
from finetune.evaluate.kept import KeptRows, in_flight
from finetune.sandbox.job import Limits
from finetune.sandbox.machine import Sandbox
from tests.support import tiny_model
from tests.support.vllm import VllmServer
from ui.cli.main import main

pytestmark = pytest.mark.usefixtures("sandbox")

DATA = Path(__file__).parent / "data"
PROBLEMS, ANSWERS = DATA / "contest_problems.jsonl", DATA / "contest_answers.jsonl"
HUMANEVAL = Path(
    os.environ.get("TERAZI_TEST_HUMANEVAL") or Path(__file__).parents[2] / "shared/data/HumanEval.jsonl.gz"
)
LIVECODEBENCH = ["--benchmark", "livecodebench", "--problems", str(PROBLEMS)]


def evaluate(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    """Runs the command line and reads its JSON."""
    capsys.readouterr()
    code = main(["evaluate", "codegen", *args, "--format", "json"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return dict(json.loads(printed.out))


def rows(path: Path) -> list[dict[str, Any]]:
    """The file's rows."""
    data = path.read_bytes()
    return [
        json.loads(line) for line in (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()
    ]


def write(path: Path, answers: list[dict[str, Any]]) -> Path:
    """The rows as a samples file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in answers))
    return path


def test_forty_problems_with_right_wrong_slow_and_hostile_answers(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Each of the 101 answers gets the outcome that it deserves, and the reports hold the same numbers."""
    found = evaluate(
        capsys, *LIVECODEBENCH, "--samples", str(ANSWERS), "--timeout", "1", "--out", str(tmp_path)
    )
    outcomes = {
        (system["name"], result["task_id"]): result["outcome"]
        for system in found["systems"]
        for result in system["results"]
    }
    answers = rows(ANSWERS)
    assert len(answers) == 101
    expected = {(row["system"], row["task_id"]): row["expected"] for row in answers}
    assert {key: outcomes[key] for key in expected} == expected
    scores = {system["name"]: system for system in found["systems"]}
    assert (scores["right"]["pass_at_1"], scores["right"]["n"]) == (1.0, 40)
    assert scores["wrong"]["pass_at_1"] == scores["hostile"]["pass_at_1"] == scores["slow"]["pass_at_1"] == 0
    assert scores["slow"]["outcomes"] == {"missing": 35, "time-out": 5}
    assert json.loads((tmp_path / "report.json").read_text()) == found
    page = (tmp_path / "report.html").read_text()
    assert "Failures of hostile" in page
    assert "| right | 40 | 1 | 100.0% [91.2, 100.0] |" in (tmp_path / "report.md").read_text()


def test_official_mode_repeats_the_false_failures_of_the_official_harness(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Right programs with `buffer.readline`, iteration, `open(0)` or `global` fail there, and only there."""
    names = {"terazi-02": "buffer", "terazi-04": "iterating", "terazi-05": "open(0)", "terazi-06": "global"}
    honest = ["terazi-01", "terazi-03", "terazi-27", "terazi-31"]
    answers = [row for row in rows(ANSWERS) if row["system"] == "right"]
    chosen = [row for row in answers if row["task_id"] in [*names, *honest]]
    samples = write(tmp_path / "samples.jsonl", chosen)
    problems = write(
        tmp_path / "problems.jsonl",
        [row for row in rows(PROBLEMS) if row["question_id"] in [*names, *honest]],
    )
    args = ["--benchmark", "livecodebench", "--problems", str(problems), "--samples", str(samples)]
    official = evaluate(capsys, *args, "--mode", "official")
    passed = {result["task_id"] for result in official["results"] if result["outcome"] == "passed"}
    assert passed == set(honest)
    assert evaluate(capsys, *args)["pass_at_1"] == 1.0


def test_public_tests_alone_let_more_pass(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """An answer that is right on the samples only passes public scoring and fails full scoring."""
    code = "```python\nw = input().strip()\nprint('Yes' if len(set(w)) < len(w) else 'No')\n```"
    samples = write(tmp_path / "s.jsonl", [{"task_id": "terazi-08", "completion": code}])
    problems = write(
        tmp_path / "p.jsonl", [row for row in rows(PROBLEMS) if row["question_id"] == "terazi-08"]
    )
    args = ["--benchmark", "livecodebench", "--problems", str(problems), "--samples", str(samples)]
    assert evaluate(capsys, *args, "--tests", "public")["pass_at_1"] == 1.0
    assert evaluate(capsys, *args, "--tests", "full")["outcomes"] == {"wrong-answer": 1}


def humaneval() -> list[dict[str, Any]]:
    """The published file's rows; it is not part of this repository."""
    if not HUMANEVAL.exists():
        pytest.skip(f"no HumanEval at {HUMANEVAL}: set TERAZI_TEST_HUMANEVAL to its file")
    return rows(HUMANEVAL)


def test_every_canonical_solution_of_humaneval_passes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """164 of 164, with the interval that this many allow."""
    problems = humaneval()
    samples = [{"task_id": row["task_id"], "completion": row["canonical_solution"]} for row in problems]
    path = write(tmp_path / "samples.jsonl", samples)
    found = evaluate(capsys, "--benchmark", "humaneval", "--problems", str(HUMANEVAL), "--samples", str(path))
    assert found["outcomes"] == {"passed": 164}
    assert (found["pass_at_1"], found["n"]) == (1.0, 164)
    assert found["intervals"]["pass_at_1"] == [pytest.approx(0.9771, abs=1e-4), 1.0]


def test_no_task_of_humaneval_passes_with_a_wrong_body(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A body that agrees with everything, one that gives nothing back, and a missing answer all fail."""
    agrees = "    class A:\n        __eq__ = lambda self, other: True\n    return A()\n"
    bodies = [agrees, "    return None\n"]
    problems = humaneval()
    samples = [
        {"task_id": row["task_id"], "completion": bodies[number % 2]}
        for number, row in enumerate(problems[:-1])
    ]
    path = write(tmp_path / "samples.jsonl", samples)
    found = evaluate(capsys, "--benchmark", "humaneval", "--problems", str(HUMANEVAL), "--samples", str(path))
    assert found["pass_at_1"] == 0
    assert found["n"] == 164
    assert found["outcomes"].pop("missing") == 1
    assert set(found["outcomes"]) <= {"wrong-answer", "exception"}


@pytest.mark.vllm
def test_two_adapters_are_generated_scored_and_compared_by_the_real_vllm(
    vllm_server: VllmServer, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Base and both adapters answer all 40 problems; a second run asks nobody, not even a running server."""
    adapters = ",".join(["base", *vllm_server.adapters])
    args = [*LIVECODEBENCH, "--adapters", adapters, "--max-tokens", "32", "--out", str(tmp_path)]
    found = evaluate(capsys, *args, "--endpoint", vllm_server.url)
    assert [system["name"] for system in found["systems"]] == adapters.split(",")
    assert all(system["n"] == 40 for system in found["systems"])
    assert all(set(system["outcomes"]) <= {"truncated", "no-code"} for system in found["systems"])
    assert {row["family"] for row in found["comparisons"]} == {"against base", "between adapters"}
    samples = rows(tmp_path / "samples.jsonl")
    assert len(samples) == 120
    assert {row["completion_tokens"] for row in samples} <= set(range(1, 33))
    replies = {
        name: [row["completion"] for row in samples if row["system"] == name] for name in adapters.split(",")
    }
    assert len({tuple(texts) for texts in replies.values()}) == 3
    again = evaluate(capsys, *args, "--endpoint", vllm_server.url)
    assert again == found
    assert rows(tmp_path / "samples.jsonl") == samples


class Dictated:
    """The real vLLM, held by a grammar to the answer that a table has for model and task."""

    def __init__(self, url: str, answers: dict[tuple[str, str], str]) -> None:
        self._client, self._answers = Client(url), answers

    def generate(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Reply]]:
        """Sixteen at once."""
        return in_flight(self._one, requests, 16)

    def _one(self, request: Request) -> Reply:
        text = self._answers[request.system.name, request.task_id]
        messages = [message.model_dump() for message in request.prompt.messages]
        grammar = {"grammar": f"root ::= {json.dumps(text)}"}
        sampling = Sampling(max_tokens=2000)
        return self._client.chat(request.system.model, messages, sampling, structured_outputs=grammar)


@pytest.mark.vllm
def test_forty_problems_through_the_real_vllm_with_two_adapters_are_scored_rightly(
    vllm_server: VllmServer, sandbox: Sandbox, tmp_path: Path
) -> None:
    """One adapter says what is right, the other what is wrong, slow or hostile; both are found out."""
    expected: dict[tuple[str, str], str] = {}
    answers: dict[tuple[str, str], str] = {}
    good, bad = vllm_server.adapters
    for row in rows(ANSWERS):  # right, wrong, then slow and hostile where a problem has them
        key = (good if row["system"] == "right" else bad, row["task_id"])
        answers[key], expected[key] = row["completion"], row["expected"]
    benchmark = open_benchmark("livecodebench", PROBLEMS)
    systems = [System(name=name, model=name, adapter=name) for name in (good, bad)]
    kept = KeptRows(tmp_path / "samples.jsonl", Sample, {})
    generator = Dictated(vllm_server.url, answers)
    generate_missing(benchmark, systems, generator, kept, mode=Mode.FAITHFUL, samples_per_task=1)
    samples = {name: [one for one in kept.rows if one.system == name] for name in (good, bad)}
    assert {(one.system, one.task_id): one.completion for one in kept.rows} == answers
    scores = score(benchmark, systems, samples, sandbox, limits=Limits(cpu_s=1, wall_s=3))
    assert {
        (one.name, result.task_id): result.outcome for one in scores for result in one.results
    } == expected
    assert [one.pass_at_1 for one in scores] == [1.0, 0.0]
    (compared,) = compare(scores)
    assert compared.flips is not None
    assert (compared.flips.first_only, compared.p_value) == (40, pytest.approx(2 * 0.5**40))


def amplified(adapter: Path, folder: Path) -> Path:
    """A copy of the adapter with thirty times its effect, which no greedy answer can hide."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(adapter, folder)
    weights = load_file(folder / "adapter_model.safetensors")
    loud = {name: weight * (30 if "lora_B" in name else 1) for name, weight in weights.items()}
    save_file(loud, folder / "adapter_model.safetensors")
    return folder


def test_base_and_adapters_generate_in_this_process_too(
    tiny_models: dict[str, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Without a server: each adapter answers differently from the base, which is unchanged after them."""
    names = [name for name in tiny_models if name != tiny_model.BASE]
    loud = {name: amplified(tiny_models[name], tmp_path / name) for name in names}
    adapters = ",".join(["base", *(f"{name}={loud[name]}" for name in names)])
    args = [*LIVECODEBENCH, "--platform", "leetcode", "--difficulty", "hard", "--max-tokens", "32"]
    args += ["--backend", "local", "--model", str(tiny_models[tiny_model.BASE])]
    found = evaluate(capsys, *args, "--adapters", adapters, "--out", str(tmp_path / "all"))
    assert [system["name"] for system in found["systems"]] == ["base", *names]
    replies = {
        name: [row["completion"] for row in rows(tmp_path / "all" / "samples.jsonl") if row["system"] == name]
        for name in ["base", *names]
    }
    assert all(len(texts) == 2 for texts in replies.values())
    assert len({tuple(texts) for texts in replies.values()}) == 3
    evaluate(capsys, *args, "--adapters", "base", "--out", str(tmp_path / "base"))
    assert [row["completion"] for row in rows(tmp_path / "base" / "samples.jsonl")] == replies["base"]
