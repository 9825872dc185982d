"""A tiny base, an arithmetic data set and short recipes, so that a whole training takes seconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from finetune import recipes
from finetune.llm.prepare import Prepared, prepare_run
from finetune.llm.scratch import Size, make
from finetune.llm.train import Trained, train

QUESTIONS = [(f"What is {a} plus {b}?", str(a + b)) for a in range(6) for b in range(6)]
THINKING = "<think>\nadd them\n</think>\n"


def rows() -> list[dict[str, str]]:
    """36 sums in the shape of the CodeGen sets; every sixth is for validation, the last three for testing."""
    found = []
    for number, (question, answer) in enumerate(QUESTIONS):
        split = "test" if number >= 33 else "valid" if number % 6 == 0 else "train"
        row = {"unique_id": f"sum-{number}", "input": question, "output": THINKING + answer}
        found.append({**row, "solution": answer, "split": split})
    return found


def write_rows(path: Path, values: list[dict[str, str]] | None = None) -> Path:
    """The rows as JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in (rows() if values is None else values)))
    return path


SHORT = (
    "system_prompt=Add.",
    "stages.0.epochs=5",
    "lora.rank=8",
    "lora.alpha=32",
    "optimisation.learning_rate=1e-2",
    "optimisation.batch=8",
    "length.tokens=128",
    "watch.every=2",
    "watch.checkpoint=4",
    "watch.patience=0",
)


def short_recipe(base: Path, data: Path, *assignments: str) -> recipes.Recipe:
    """`deep` cut down to 20 steps of the tiny base."""
    places = (f"base={base}", f"stages.0.data=['{data}']")
    return recipes.override(recipes.load("deep"), (*places, *SHORT, *assignments))


def prepared(base: Path, data: Path, *assignments: str) -> Prepared:
    """A training of the short recipe, ready to start."""
    return prepare_run(short_recipe(base, data, *assignments))


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer Qwen2 with ChatML, its pad and end tokens apart."""
    texts = [f"{question} {THINKING}{answer}" for question, answer in QUESTIONS]
    return make(
        tmp_path_factory.mktemp("base") / "tiny", texts, Size(hidden=64, intermediate=128, spread=0.1)
    )


@pytest.fixture(scope="session")
def sums(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The arithmetic rows as a file."""
    return write_rows(tmp_path_factory.mktemp("sums") / "sums.jsonl")


@pytest.fixture(scope="session")
def finished(tiny_base: Path, sums: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run of the short recipe that was not interrupted."""
    return train(prepared(tiny_base, sums), tmp_path_factory.mktemp("runs") / "finished", resume=False)
