"""The registry: papers that fit the weights, promotion only by a won comparison, merging with proof."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from finetune.adapters import registry
from finetune.adapters.compare import BASE, Comparison, compare, promote
from finetune.adapters.manifest import Calibration, Manifest, Score, read_manifest, write_manifest
from finetune.adapters.merge import merge, probe_logits
from finetune.llm.base import BaseId, load_model, load_tokenizer
from finetune.llm.choose import Candidate, best_candidate, noise
from finetune.llm.publish import calibration
from finetune.llm.run_folder import file_hash
from finetune.llm.score import ANSWERS, BASE_ANSWERS, Answer
from finetune.llm.train import Trained
from review_data.domain import Probabilities
from review_data.errors import UserError
from review_data.jsonl import write_jsonl
from review_data.severity import SEVERITIES, Severity
from service.backends.adapter import prompt_version_of, temperature_of
from tests.support.training import finished, sums, tiny_base
from ui.cli.main import main

__all__ = ["finished", "sums", "tiny_base"]
# PEFT asks transformers by a name that is on its way out.
pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore::FutureWarning")]


def answers(right: int, total: int = 60) -> list[Answer]:
    """The first `right` of `total` issues rated as labelled, the others one level off."""
    found = []
    for number in range(total):
        label = SEVERITIES[number % 4]
        severity = label if number < right else SEVERITIES[(number + 1) % 4]
        values = [0.7 if level is severity else 0.1 for level in SEVERITIES]
        found.append(
            Answer(
                id=f"mr-{number}#0",
                right=label is severity,
                label=label,
                severity=severity,
                probabilities=Probabilities.of(values),
            )
        )
    return found


def adapter(place: Path, name: str, right: int, base_right: int = 15, total: int = 60) -> Path:
    """A folder as a run leaves it, with made-up weights and answers."""
    folder = place / name
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(f"weights of {name}".encode())
    (folder / "adapter_config.json").write_text("{}")
    write_jsonl(folder / ANSWERS, answers(right, total))
    write_jsonl(folder / BASE_ANSWERS, answers(base_right, total))
    digest = file_hash(folder / "adapter_model.safetensors")
    manifest = Manifest(
        name=name,
        version=digest[:12],
        task="review",
        base=BaseId(name="Qwen/x", revision="main", commit="c0ffee"),
        prompt_version="1-abc",
        data_hashes=("d" * 64,),
        recipe="review",
        summary="For tests.",
        rank=16,
        step=40,
        chosen_by="quadratic kappa",
        noise="Nothing is known.",
        created=f"2026-11-0{1 + len(name) % 8}T00:00:00+00:00",
        versions={"torch": "2"},
        scores=(
            Score(
                name="quadratic kappa",
                value=0.7,
                low=0.6,
                high=0.8,
                rows=60,
                split="validation",
                served=False,
            ),
        ),
        calibration=Calibration(temperature=1.5, rows=60, split="validation"),
        weights_sha256=digest,
    )
    write_manifest(folder, manifest)
    return folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A registry with a good and a poor adapter."""
    for name, right in (("good", 55), ("poor", 16)):
        registry.add(tmp_path / "registry", adapter(tmp_path / "runs", name, right))
    return tmp_path / "registry"


def test_adding_copies_by_version_and_listing_shows_all(place: Path, tmp_path: Path) -> None:
    """A version's folder is named by its weights; adding it again changes nothing."""
    folder, manifest = registry.find(place, "good")
    assert folder == place / "good" / manifest.version
    before = (folder / "manifest.json").stat().st_mtime_ns
    assert registry.add(place, tmp_path / "runs" / "good") == folder
    assert (folder / "manifest.json").stat().st_mtime_ns == before
    assert [one.name for one in registry.listing(place).manifests] == ["good", "poor"]


def test_the_served_reviewer_reads_temperature_and_prompts_from_the_papers(place: Path) -> None:
    """The manifest's calibration is the one that serving applies."""
    folder, _ = registry.find(place, "good")
    assert temperature_of(folder) == 1.5
    assert prompt_version_of(folder) == "1-abc"


def test_weights_that_are_not_the_manifests_are_refused(place: Path, tmp_path: Path) -> None:
    """An adapter can't be exchanged behind its papers, neither when added nor when exported."""
    folder = tmp_path / "runs" / "good"
    (folder / "adapter_model.safetensors").write_bytes(b"others")
    with pytest.raises(UserError, match="not those of its manifest"):
        registry.add(tmp_path / "other", folder)
    stored, _ = registry.find(place, "good")
    (stored / "adapter_model.safetensors").write_bytes(b"others")
    with pytest.raises(UserError, match="not those of its manifest"):
        registry.export(place, "good", tmp_path / "out")


def test_only_an_adapters_own_files_are_copied(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pickle, or a link to something private, in a foreign folder never gets into the registry."""
    folder, at = adapter(tmp_path / "runs", "good", 55), ["--registry", str(tmp_path / "registry")]
    (tmp_path / "key").write_text("private")
    (folder / "notes.txt").symlink_to(tmp_path / "key")
    (folder / "loop").symlink_to(folder)
    (folder / "adapter_model.bin").write_bytes(b"pickle")
    assert main(["adapters", "add", str(folder), *at]) == 0
    stored = Path(capsys.readouterr().out.strip())
    assert {path.name for path in stored.iterdir()} == set(registry.FILES)


def test_a_version_that_is_not_its_weights_is_refused(place: Path, tmp_path: Path) -> None:
    """Other weights under the papers of a known version seemed to be added, and were not."""
    folder = adapter(tmp_path / "foreign", "good", 55)
    known = read_manifest(folder)
    (folder / "adapter_model.safetensors").write_bytes(b"others")
    digest = file_hash(folder / "adapter_model.safetensors")
    write_manifest(folder, known.model_copy(update={"weights_sha256": digest}))
    with pytest.raises(UserError, match="not those of its manifest"):
        registry.add(place, folder)


def test_a_registry_that_was_meddled_with_is_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder under another name and a broken list of promotions say what to do; neither is a bug."""
    at = ["--registry", str(place)]
    shutil.copytree(place / "good", place / "other")
    assert main(["adapters", "list", *at]) == 2
    assert "remove it, then add it with" in capsys.readouterr().err
    shutil.rmtree(place / "other")
    (place / "promoted.json").write_text("[1]")
    assert main(["adapters", "list", *at]) == 2
    assert "promoted.json: can't be read" in capsys.readouterr().err


@pytest.mark.parametrize("damage", [b"{", b"\xff", b"[]"])
def test_one_unreadable_manifest_hides_no_other_adapter(
    place: Path, capsys: pytest.CaptureFixture[str], damage: bytes
) -> None:
    """The others are listed and shown, standard error names the file; exit code 2 for all of them or it."""
    folder, _ = registry.find(place, "poor")
    (folder / "manifest.json").write_bytes(damage)
    assert main(["adapters", "list", "--registry", str(place)]) == 2
    printed = capsys.readouterr()
    assert [line.split("@")[0].strip() for line in printed.out.splitlines()] == ["good"]
    assert f"{folder / 'manifest.json'}: can't be read as a manifest" in printed.err
    assert len(printed.err.splitlines()) == 1
    assert main(["adapters", "show", "good", "--registry", str(place)]) == 0
    assert main(["adapters", "show", "poor", "--registry", str(place)]) == 2
    assert "can't be read as a manifest" in capsys.readouterr().err


def test_a_manifest_cannot_act_on_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters in a foreign adapter's papers are written out."""
    folder, at = adapter(tmp_path / "runs", "good", 55), ["--registry", str(tmp_path / "registry")]
    known = read_manifest(folder)
    base = BaseId(name="\x1b]0;owned\x07", revision="main", commit="c0ffee")
    write_manifest(folder, known.model_copy(update={"base": base, "summary": "\x1b[31mred"}))
    assert main(["adapters", "add", str(folder), *at]) == 0
    assert main(["adapters", "list", *at]) == 0
    assert main(["adapters", "show", "good", *at]) == 0
    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert "\\x1b]0;owned" in output


def test_a_comparison_is_recorded_with_its_rows_and_its_limits(place: Path) -> None:
    """Candidate minus incumbent on the same rows, with an interval and a p-value, kept as a file."""
    made = compare(place, "good", BASE)
    assert made.rows == 60
    assert made.better
    assert made.difference.low is not None
    assert made.difference.low > 0
    kept = Comparison.model_validate_json((place / "comparisons" / f"{made.id}.json").read_text())
    assert kept == made


def test_only_a_won_comparison_with_what_it_replaces_promotes(place: Path) -> None:
    """No comparison, a lost one, or one with something else: nothing is promoted."""
    with pytest.raises(UserError, match="there is no comparison"):
        promote(place, "good", "0123456789ab")
    lost = compare(place, "poor", BASE)
    with pytest.raises(UserError, match="is not shown to be better than base"):
        promote(place, "poor", lost.id)
    won = compare(place, "good", BASE)
    with pytest.raises(UserError, match="needs one with base"):
        promote(place, "good", lost.id)
    assert promote(place, "good", won.id).adapter.startswith("good@")
    with pytest.raises(UserError, match="needs one with good@"):
        promote(place, "poor", lost.id)
    assert set(registry.promotions(place)) == {"review"}


def test_adapters_measured_on_different_rows_are_not_compared(place: Path, tmp_path: Path) -> None:
    """Scores of different rows say nothing about each other."""
    registry.add(place, adapter(tmp_path / "runs", "other", 40, total=50))
    with pytest.raises(UserError, match="were not measured on the same rows"):
        compare(place, "good", "other")


def test_a_promoted_adapter_is_not_removed(place: Path) -> None:
    """What serves stays until something else does."""
    promote(place, "good", compare(place, "good", BASE).id)
    with pytest.raises(UserError, match="is promoted for review"):
        registry.remove(place, "good")
    registry.remove(place, "poor")
    assert [one.name for one in registry.listing(place).manifests] == ["good"]


def test_an_unknown_adapter_names_the_known_ones(place: Path) -> None:
    """A name that is not there says which are."""
    with pytest.raises(UserError, match="good, poor"):
        registry.find(place, "best")


def test_the_command_line_walks_from_a_run_to_a_promotion(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """add, compare, promote, list, show, export, with exit 2 for what is not allowed."""
    folder, place = adapter(tmp_path / "runs", "good", 55), tmp_path / "registry"
    at = ["--registry", str(place)]
    assert main(["adapters", "add", str(folder), *at]) == 0
    capsys.readouterr()
    assert main(["adapters", "compare", "good", *at]) == 0
    comparison = capsys.readouterr().out.partition(":")[0]
    assert main(["adapters", "promote", "good", "--comparison", comparison, *at]) == 0
    assert main(["adapters", "list", *at]) == 0
    assert "* good@" in capsys.readouterr().out
    assert main(["adapters", "show", "good", *at]) == 0
    assert "## Limits" in capsys.readouterr().out
    assert main(["adapters", "export", "good", str(tmp_path / "out"), *at]) == 0
    assert (tmp_path / "out" / "adapter_model.safetensors").exists()
    assert main(["adapters", "remove", "good", *at]) == 2


def test_a_merged_model_answers_as_base_and_adapter_did(
    finished: Trained, tiny_base: Path, tmp_path: Path
) -> None:
    """The merged weights give the pair's logits, and not the base's."""
    from peft import PeftModel

    place = tmp_path / "registry"
    registry.add(place, finished.adapter)
    made = merge(place, "deep", tmp_path / "merged")
    tokenizer, text = load_tokenizer(str(tiny_base), "main"), "What is 2 plus 3?"
    base = load_model(str(tiny_base), "main", "float32")
    alone = probe_logits(base, tokenizer, text)
    pair = probe_logits(PeftModel.from_pretrained(base, str(finished.adapter)).eval(), tokenizer, text)
    merged = probe_logits(load_model(str(made.folder), "main", "float32"), tokenizer, text)
    assert merged.allclose(pair, atol=1e-3)
    assert not merged.allclose(alone, atol=0.1)
    assert made.largest_difference < 1e-3 * made.scale


def test_an_adapter_is_not_merged_into_another_base(
    finished: Trained, tiny_base: Path, tmp_path: Path
) -> None:
    """A base with other weights is refused by its hash."""
    place = tmp_path / "registry"
    registry.add(place, finished.adapter)
    other = tmp_path / "base"
    shutil.copytree(tiny_base, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "rope_theta": 5.0}))
    with pytest.raises(UserError, match="is not the base that the adapter was trained on"):
        merge(place, "deep", tmp_path / "merged", base=str(other))
    assert not (tmp_path / "merged").exists()


@pytest.mark.parametrize("config", ["[]", '{"peft_type": "NOSUCH"}'])
def test_a_foreign_adapter_or_base_that_cannot_be_read_is_the_users_error(
    finished: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], config: str
) -> None:
    """A made-up adapter_config.json and a folder without a model were called bugs; nothing is written."""
    at = ["--registry", str(tmp_path / "registry")]
    foreign, target = shutil.copytree(finished.adapter, tmp_path / "foreign"), tmp_path / "merged"
    (foreign / "adapter_config.json").write_text(config)
    assert main(["adapters", "add", str(foreign), *at]) == 0
    assert main(["adapters", "merge", "deep", str(target), *at]) == 2
    assert "does not fit its base" in capsys.readouterr().err
    assert main(["adapters", "merge", "deep", str(target), "--base", str(foreign), *at]) == 2
    assert "is not a model's folder" in capsys.readouterr().err
    assert not target.exists()


def test_the_run_of_a_code_generation_adapter_has_its_papers(finished: Trained) -> None:
    """A run leaves a folder that the registry takes as it is."""
    manifest = read_manifest(finished.adapter)
    assert manifest.task == "codegen"
    assert manifest.weights_sha256.startswith(manifest.version)
    assert "library_name: peft" in (finished.adapter / "README.md").read_text()


def test_the_checkpoint_is_chosen_by_score_then_loss_then_age() -> None:
    """The task's own score decides; the validation loss only between equals."""
    rows = [(10, 0.4, 0.5), (20, 0.6, 0.9), (30, 0.6, 0.7), (40, 0.6, 0.7)]
    candidates = [Candidate(step=step, score=score, validation_loss=loss) for step, score, loss in rows]
    assert best_candidate(candidates).step == 30
    unscored = [one.model_copy(update={"score": None}) for one in candidates]
    assert best_candidate(unscored).step == 10


def test_equal_checkpoints_are_said_to_differ_by_chance() -> None:
    """Answers dealt at random spread as widely as chance does; one checkpoint that is right stands out."""
    import random

    generator = random.Random(3)
    alike = []
    for _ in range(6):
        order = answers(30)
        for place, row in enumerate(order):
            right = generator.random() < 0.5
            label = row.label or Severity.LOW
            severity = label if right else SEVERITIES[(place + 1) % 4]
            order[place] = row.model_copy(update={"right": right, "severity": severity})
        alike.append(order)
    chance = noise(alike, draws=100)
    assert chance is not None
    assert chance.spread_p > 0.05
    better = noise([*alike[:5], answers(60)], draws=100)
    assert better is not None
    assert better.spread_p < 0.05
    assert noise([alike[0]]) is None


def test_the_temperature_softens_answers_that_are_too_sure() -> None:
    """Half of the answers wrong at 97% confidence need a temperature above 1; honest ones need about 1."""
    sure = [
        row.model_copy(
            update={
                "probabilities": Probabilities.of(
                    [0.97 if level is row.severity else 0.01 for level in SEVERITIES]
                )
            }
        )
        for row in answers(30)
    ]
    softened = calibration(sure)
    assert softened is not None
    assert softened.temperature > 2
    honest = calibration(answers(42))
    assert honest is not None
    assert honest.temperature == pytest.approx(1, abs=0.2)
