"""Whatever can't be trained is said in one message before training starts, with exit code 2."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from finetune import recipes
from finetune.llm import hardware
from finetune.llm.hardware import Machine, Plan, Shape, make_plan
from finetune.llm.prepare import prepare_run
from finetune.llm.train import train
from finetune.recipes import Lora
from review_data.errors import UserError
from tests.support.training import prepared, rows, short_recipe, sums, tiny_base, write_rows
from ui.cli.main import main

__all__ = ["sums", "tiny_base"]
# PEFT asks transformers by a name that is on its way out.
pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore::FutureWarning")]
GIB = 2**30
QWEN = Shape(
    parameters=1_543_714_304,
    layers=28,
    hidden=1536,
    intermediate=8960,
    queries=1536,
    keys=256,
    vocabulary=151_936,
    context=32_768,
)


def machine(kind: str = "cuda", memory: float = 80, **more: object) -> Machine:
    """A machine with so many GiB free."""
    values = {"kind": kind, "name": kind.upper(), "memory": int(memory * GIB), **more}
    return Machine.model_validate(values)


def plan(on: Machine, *assignments: str, longest: int = 4000) -> Plan:
    """What `deep` does with Qwen's shape on that machine."""
    recipe = recipes.override(recipes.load("deep"), assignments)
    return make_plan(on, recipe, QWEN, longest, longest / 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([row for row in rows() if row["split"] != "valid"], "no rows of the split `validation`"),
        ([row for row in rows() if row["split"] != "train"], "no rows of the split `train`"),
        ([{**row, "output": ""} for row in rows()], "field `output`: is empty"),
        ([rows()[0], {"input": "x"}], "has other fields than the first row"),
        ([], "has no rows"),
        ([{**rows()[0], "input": "x " * 3000}, *rows()[1:]], "longer than length.tokens"),
    ],
    ids=["no validation", "no train", "empty completions", "mixed schemas", "no rows", "too long"],
)
def test_bad_rows_end_with_exit_2_and_one_line(
    tiny_base: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    values: list[dict[str, str]],
    message: str,
) -> None:
    """The command line says what is wrong with the rows; no run folder is made."""
    data = write_rows(tmp_path / "rows.jsonl", values)
    out = tmp_path / "run"
    code = main(
        [
            *("train", "codegen", "--base", str(tiny_base), "--data", str(data), "--out", str(out)),
            *("--set", "length.tokens=128"),
        ]
    )
    said = capsys.readouterr().err
    assert code == 2
    assert message in said
    assert said.count("\n") == 1
    assert not out.exists()


def test_rows_longer_than_the_base_reads_are_refused(tiny_base: Path, tmp_path: Path) -> None:
    """A length that the recipe allows and the base does not have is found before training."""
    data = write_rows(tmp_path / "rows.jsonl", [{**rows()[1], "input": "x " * 3000}, *rows()])
    with pytest.raises(UserError, match="longer than the base's context of 2048"):
        prepare_run(short_recipe(tiny_base, data, "length.tokens=9000"))


def test_a_base_that_does_not_fit_is_refused_with_the_sizes(tiny_base: Path, sums: Path) -> None:
    """Weights, optimiser and one row are counted against the free memory before anything is loaded."""
    with pytest.raises(UserError, match=r"does not fit: .* GiB free"):
        prepare_run(short_recipe(tiny_base, sums), machine=machine("cpu", memory=0.001))
    with pytest.raises(UserError, match="does not fit"):
        plan(machine(memory=3, bf16=True))


def test_a_folder_that_is_no_model_is_refused(tiny_base: Path, sums: Path, tmp_path: Path) -> None:
    """A wrong path is not taken for a hub name."""
    with pytest.raises(UserError, match=r"is not a model's folder"):
        prepare_run(short_recipe(tmp_path, sums))


def test_a_base_with_damaged_weights_is_named(tiny_base: Path, sums: Path, tmp_path: Path) -> None:
    """A download that broke off is the user's to repeat, not a bug."""
    base = shutil.copytree(tiny_base, tmp_path / "base")
    (base / "model.safetensors").write_bytes((base / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(UserError, match=r"can't be loaded: .*header"):
        train(prepared(base, sums), tmp_path / "run", resume=False)


def test_an_unwritable_run_folder_is_refused(tiny_base: Path, sums: Path, tmp_path: Path) -> None:
    """A folder that can't be made names itself."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="can't be written"):
        train(prepared(tiny_base, sums), tmp_path / "file" / "run", resume=False)


@pytest.mark.parametrize("what", ["base", "data"])
def test_an_unreachable_hub_ends_with_exit_2_and_one_line(
    tiny_base: Path, sums: Path, tmp_path: Path, what: str
) -> None:
    """Nothing listens at the hub's address: one message that names what was wanted and what to do instead."""
    chosen = {"base": str(tiny_base), "data": str(sums), what: "nobody/nothing-here"}
    command = [sys.executable, "-m", "ui.cli.main", "train", "codegen", "--out", str(tmp_path / "run")]
    done = subprocess.run(
        [*command, "--base", chosen["base"], "--data", chosen["data"]],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hub")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "nobody/nothing-here" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_recipe_of_another_task_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """`train review` does not take a code-generation recipe."""
    assert main(["train", "review", "--recipe", "deep"]) == 2
    assert "is for `terazi train codegen`" in capsys.readouterr().err


def test_dtype_and_batching_follow_the_device() -> None:
    """bf16 where the card has it, fp16 on older ones, fp32 on a CPU; packing where attention can skip."""
    new, old, cpu = machine(bf16=True, flash_attention=True), machine(bf16=False), machine("cpu")
    assert [hardware.dtype_for(one) for one in (new, old, cpu)] == ["bfloat16", "float16", "float32"]
    assert [hardware.packs(one) for one in (new, old, cpu)] == [True, False, False]
    assert plan(new).micro_batch == 1
    assert plan(new).attention == "flash_attention_2"


def test_activations_are_recomputed_only_when_memory_needs_it() -> None:
    """An 80 GiB card keeps activations, an 8 GiB card recomputes them; steps keep their rows."""
    large, small = plan(machine(memory=80, bf16=True)), plan(machine(memory=8, bf16=True))
    assert not large.checkpointing
    assert small.checkpointing
    for made in (large, small):
        assert made.micro_batch * made.accumulation == 16
        assert made.memory < 80 * GIB


def test_several_processes_share_a_step() -> None:
    """Four processes take a quarter of the rows each; a batch that can't be divided is refused."""
    shared = plan(machine(bf16=True, processes=4))
    assert shared.micro_batch * shared.accumulation == 4
    with pytest.raises(UserError, match="can't be divided over 3 processes"):
        plan(machine(bf16=True, processes=3))


def test_the_parameter_count_of_lora_is_pefts(tiny_base: Path) -> None:
    """The memory estimate counts what PEFT trains; for Qwen 1.5B rank 16 it is the known 18.5 million."""
    from finetune.llm.base import load_config
    from finetune.llm.trainer import open_model

    lora = Lora(rank=8, alpha=16)
    recipe = recipes.override(recipes.load("deep"), (f"base={tiny_base}", "lora.rank=8"))
    made = Plan(dtype="float32", packing=False, micro_batch=1, accumulation=1, checkpointing=False, memory=0)
    model = open_model(recipe, made, None)
    trained = sum(value.numel() for value in model.parameters() if value.requires_grad)
    assert (
        hardware.trained_parameters(hardware.shape_of(load_config(str(tiny_base), "main")), lora) == trained
    )
    assert hardware.trained_parameters(QWEN, Lora(rank=16, alpha=32)) == pytest.approx(18.5e6, rel=0.01)


def test_a_broken_run_file_is_named(tiny_base: Path, sums: Path, tmp_path: Path) -> None:
    """A `run.json` that is not one is the user's to sort out, not a traceback."""
    (tmp_path / "run.json").write_text(json.dumps({"recipe": 1}))
    with pytest.raises(UserError, match=r"run\.json: can't be read as a run"):
        train(prepared(tiny_base, sums), tmp_path, resume=True)
