"""Interruptions at any moment: the run goes on from its last whole checkpoint as if nothing had happened."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

from finetune.llm.run_folder import (
    MARKER,
    append_log,
    last_whole,
    locked,
    read_facts,
    read_log,
    rewind_log,
    seal,
)
from finetune.llm.train import Trained, train
from review_data.errors import UserError
from tests.support.training import SHORT, finished, prepared, sums, tiny_base
from ui.cli.main import main

__all__ = ["finished", "sums", "tiny_base"]
pytestmark = pytest.mark.train
ROOT = Path(__file__).parents[1]


def losses(folder: Path) -> dict[int, float]:
    """Step -> train loss."""
    return {row["step"]: row["loss"] for row in read_log(folder) if "loss" in row}


def readings(folder: Path) -> dict[int, float]:
    """Step -> validation loss."""
    return {row["step"]: row["validation_loss"] for row in read_log(folder) if "validation_loss" in row}


@pytest.fixture
def broken(finished: Trained, tmp_path: Path) -> Path:
    """A copy of the finished run as it stood after step 13: killed without warning."""
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    for path in (
        folder / "adapter",
        folder / "stage-1" / "checkpoint-16",
        folder / "stage-1" / "checkpoint-20",
    ):
        shutil.rmtree(path)
    (folder / "stage-1" / "choice.json").unlink()
    optimizer = finished.folder / "stage-1" / "checkpoint-20" / "optimizer.pt"
    assert optimizer.exists()
    return folder


def start(tiny_base: Path, sums: Path, folder: Path) -> subprocess.Popen[bytes]:
    """`terazi train codegen` with the short recipe, in a process of its own."""
    command = [sys.executable, "-m", "ui.cli.main", "train", "codegen", "--out", str(folder)]
    changes = [part for change in SHORT for part in ("--set", change)]
    return subprocess.Popen(
        [*command, "--base", str(tiny_base), "--data", str(sums), *changes],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for_step(folder: Path, step: int, alive: Callable[[], bool]) -> None:
    """Until the log shows the step."""
    deadline = time.monotonic() + 120
    while step not in losses(folder) and alive() and time.monotonic() < deadline:
        time.sleep(0.01)


def test_a_killed_run_resumes_to_the_same_losses(
    finished: Trained, tiny_base: Path, sums: Path, tmp_path: Path
) -> None:
    """kill -9, then --resume: every step's loss is that of the run that was not interrupted."""
    folder = tmp_path / "run"
    process = start(tiny_base, sums, folder)
    wait_for_step(folder, 10, lambda: process.poll() is None)
    process.kill()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors.decode()
    assert not (folder / "adapter").exists()
    resumed = train(prepared(tiny_base, sums), folder, resume=True)
    assert losses(folder) == pytest.approx(losses(finished.folder), abs=1e-4)
    assert readings(folder) == pytest.approx(readings(finished.folder), abs=1e-4)
    assert len(losses(folder)) == 20
    assert resumed.choices[0].step == finished.choices[0].step


def test_an_interrupt_saves_the_step_and_the_rest_is_as_uninterrupted(
    finished: Trained, tiny_base: Path, sums: Path, tmp_path: Path
) -> None:
    """Ctrl-C finishes the step and seals a checkpoint at it; going on from there changes nothing."""
    folder = tmp_path / "run"

    def interrupt() -> None:
        wait_for_step(folder, 5, lambda: True)
        os.kill(os.getpid(), signal.SIGINT)

    Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        train(prepared(tiny_base, sums), folder, resume=False)
    facts = read_facts(folder)
    assert facts is not None
    saved = last_whole(folder / "stage-1", facts.hash)
    assert saved is not None
    assert saved.name == f"checkpoint-{max(losses(folder))}"
    assert max(losses(folder)) < 20
    train(prepared(tiny_base, sums), folder, resume=True)
    assert losses(folder) == pytest.approx(losses(finished.folder), abs=1e-4)


def test_a_full_disk_ends_with_one_message_and_leaves_no_half_checkpoint(
    tiny_base: Path, sums: Path, tmp_path: Path
) -> None:
    """When files can't grow any more, training stops with a user's error; the torn checkpoint won't count."""
    folder, before = tmp_path / "run", resource.getrlimit(resource.RLIMIT_FSIZE)
    ready = prepared(tiny_base, sums)
    resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, before[1]))
    try:
        with pytest.raises(UserError, match=r"can't be written any more.*--resume") as caught:
            train(ready, folder, resume=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "\n" not in str(caught.value)
    torn = folder / "stage-1" / "checkpoint-4"
    facts = read_facts(folder)
    assert facts is not None
    assert torn.exists()
    assert last_whole(folder / "stage-1", facts.hash) is None


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda place: None, "checkpoint-12"),
        (lambda place: (place / "checkpoint-99").mkdir(), "checkpoint-12"),
        (lambda place: (place / "checkpoint-12" / "optimizer.pt").unlink(), "checkpoint-8"),
        (lambda place: (place / "checkpoint-12" / MARKER).unlink(), "checkpoint-8"),
        (lambda place: (place / "checkpoint-12" / "rng_state.pth").unlink(), "checkpoint-8"),
        (lambda place: (place / "checkpoint-12" / "optimizer.pt").write_bytes(b"half"), "checkpoint-8"),
        (
            lambda place: (place / "checkpoint-12" / "adapter_model.safetensors").write_bytes(b""),
            "checkpoint-8",
        ),
    ],
    ids=[
        "whole",
        "empty folder",
        "no optimizer",
        "no marker",
        "no random state",
        "torn optimizer",
        "empty weights",
    ],
)
def test_only_a_whole_checkpoint_is_resumed_from(
    broken: Path, damage: Callable[[Path], object], expected: str
) -> None:
    """Any sealed file missing or torn, an empty folder or no marker: the checkpoint before it is taken."""
    facts = read_facts(broken)
    assert facts is not None
    for name in ("checkpoint-8", "checkpoint-12"):
        checkpoint = broken / "stage-1" / name
        (checkpoint / "optimizer.pt").write_bytes(b"state")
        seal(checkpoint, facts.hash, int(name[11:]))
    damage(broken / "stage-1")
    found = last_whole(broken / "stage-1", facts.hash)
    assert found is not None
    assert found.name == expected


def test_a_choice_that_cannot_be_read_says_what_to_do(
    finished: Trained, tiny_base: Path, sums: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was called a bug. Once the file is removed, the run chooses again, and the same."""
    folder = shutil.copytree(finished.folder, tmp_path / "run")
    written = folder / "stage-1" / "choice.json"
    written.write_text("{")
    changes = [part for change in SHORT for part in ("--set", change)]
    given = ["--out", str(folder), "--base", str(tiny_base), "--data", str(sums)]
    assert main(["train", "codegen", *given, *changes, "--resume"]) == 2
    assert f"{written}: can't be read" in capsys.readouterr().err
    written.unlink()
    assert train(prepared(tiny_base, sums), folder, resume=True).choices == finished.choices


def test_a_checkpoint_of_another_run_is_not_taken(broken: Path) -> None:
    """The marker carries the run's hash."""
    assert last_whole(broken / "stage-1", "0" * 64) is None


def test_a_second_start_on_one_run_folder_is_refused(tiny_base: Path, sums: Path, tmp_path: Path) -> None:
    """While one process holds the folder another can't; afterwards it can."""
    with locked(tmp_path / "run"), pytest.raises(UserError, match="another training is using it"):
        train(prepared(tiny_base, sums), tmp_path / "run", resume=False)
    with locked(tmp_path / "run"):
        pass


def test_a_used_folder_needs_resume_and_a_foreign_one_is_refused(
    finished: Trained, tiny_base: Path, sums: Path, tmp_path: Path
) -> None:
    """A run is never overwritten, and nothing is written into somebody else's folder."""
    with pytest.raises(UserError, match="holds a run already"):
        train(prepared(tiny_base, sums), finished.folder, resume=False)
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        train(prepared(tiny_base, sums), tmp_path, resume=False)


def test_resuming_with_another_recipe_or_other_data_says_what_changed(
    finished: Trained, tiny_base: Path, sums: Path
) -> None:
    """A resumed run is the same run: recipe and data are compared."""
    with pytest.raises(UserError, match="because recipe changed"):
        train(prepared(tiny_base, sums, "lora.rank=4"), finished.folder, resume=True)


def test_resuming_a_finished_run_changes_nothing(finished: Trained, tiny_base: Path, sums: Path) -> None:
    """There is nothing left to do, and nothing is trained again."""
    before = (finished.adapter / "adapter_model.safetensors").read_bytes()
    again = train(prepared(tiny_base, sums), finished.folder, resume=True)
    assert (again.adapter / "adapter_model.safetensors").read_bytes() == before
    assert again.choices == finished.choices


def test_the_log_forgets_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    """Lines after the resumed step are dropped, a line torn by a kill too."""
    for stage, step in ((1, 1), (1, 2), (1, 3), (2, 1)):
        append_log(tmp_path, {"stage": stage, "step": step, "loss": 1.0})
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"stage": 2, "st')
    rewind_log(tmp_path, 1, 2)
    assert [(row["stage"], row["step"]) for row in read_log(tmp_path)] == [(1, 1), (1, 2)]


def test_two_processes_train_one_adapter(
    finished: Trained, tiny_base: Path, sums: Path, tmp_path: Path
) -> None:
    """Under torchrun each process takes half of a step's rows: the step's loss is that of one process."""
    folder = tmp_path / "run"
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2", "--module", "ui.cli.main"]
    changes = [part for change in (*SHORT, "stages.0.epochs=1") for part in ("--set", change)]
    given = ["--out", str(folder), "--base", str(tiny_base), "--data", str(sums)]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *launcher, "train", "codegen", *given, *changes],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert losses(folder)[1] == pytest.approx(losses(finished.folder)[1], abs=1e-4)
    assert sorted(losses(folder)) == [1, 2, 3, 4]
    assert (folder / "adapter" / "manifest.json").exists()
