"""A whole training of a tiny base: what changes, what stays, what is learned, and what is written down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from finetune.adapters.manifest import read_manifest
from finetune.llm import tokens
from finetune.llm.base import folder_hash, load_model, load_tokenizer
from finetune.llm.batches import Padded, Shared, shared_prefix, worth_sharing
from finetune.llm.order import GroupedOrder
from finetune.llm.prepare import describe
from finetune.llm.run_folder import is_whole, read_facts, read_log, usable
from finetune.llm.train import Trained, train
from finetune.llm.trainer import build, open_model, token_weights
from tests.support.training import finished, prepared, sums, tiny_base, write_rows

__all__ = ["finished", "sums", "tiny_base"]
# PEFT asks transformers by a name that is on its way out.
pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore::FutureWarning")]


@pytest.fixture(scope="module")
def pair(finished: Trained, tiny_base: Path) -> tuple[Any, Any]:
    """The tokenizer, and the base with the trained adapter read back from its folder."""
    from peft import PeftModel

    base = load_model(str(tiny_base), "main", "float32")
    model = PeftModel.from_pretrained(base, str(finished.adapter)).eval()
    return load_tokenizer(str(tiny_base), "main"), model


def logits(model: Any, ids: list[int]) -> Any:
    """Logits of every position."""
    import torch

    with torch.no_grad():
        return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


def test_the_loss_falls_and_is_logged_with_speed(finished: Trained) -> None:
    """Every step is in the log with loss, rate and tokens per second; validation is read on schedule."""
    log = read_log(finished.folder)
    losses = [row["loss"] for row in log if "loss" in row]
    readings = [row for row in log if "validation_loss" in row]
    assert [row["step"] for row in log if "loss" in row] == list(range(1, len(losses) + 1))
    assert losses[-1] < 0.7 * losses[0]
    assert readings[-1]["validation_loss"] < readings[0]["validation_loss"]
    assert [row["step"] for row in readings] == list(range(2, len(losses) + 1, 2))
    assert all(row["tokens_per_s"] > row["supervised_tokens_per_s"] > 0 for row in log if "loss" in row)


def test_the_adapter_changes_and_the_base_does_not(finished: Trained, tiny_base: Path) -> None:
    """Every LoRA matrix moved away from its start; the base's files are as they were."""
    from safetensors.torch import load_file

    weights = load_file(finished.adapter / "adapter_model.safetensors")
    assert weights
    assert all("lora_" in name for name in weights)
    assert all(float(value.abs().sum()) > 0 for name, value in weights.items() if "lora_B" in name)
    facts = read_facts(finished.folder)
    assert facts is not None
    assert folder_hash(tiny_base) == facts.base.commit


def test_the_trainer_moves_no_weight_of_the_base(tiny_base: Path, sums: Path, tmp_path: Path) -> None:
    """In the process too: after steps, each base tensor is equal, each adapter tensor is not."""
    ready = prepared(tiny_base, sums, "stages.0.epochs=1")
    model = open_model(ready.facts.recipe, ready.facts.plan, None)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    build(ready.facts, 1, model, ready, ready.stages[0], tmp_path, []).train()
    changed = {name for name, value in model.named_parameters() if not value.equal(before[name])}
    assert changed == {name for name in before if "lora_" in name}


def test_an_adapter_that_is_read_back_gives_the_same_logits(
    finished: Trained, pair: tuple[Any, Any], tiny_base: Path
) -> None:
    """The saved adapter is the trained one: the checkpoint's weights loaded by hand answer alike."""
    from finetune.llm.score import load_weights

    ready = prepared(tiny_base, write_rows(finished.folder.parent / "again.jsonl"))
    fresh = open_model(ready.facts.recipe, ready.facts.plan, None).eval()
    ids = list(ready.stages[0].validation.rows[0].input_ids)
    assert not logits(fresh, ids).allclose(logits(pair[1], ids), atol=1e-3)
    load_weights(fresh, finished.folder / "stage-1" / f"checkpoint-{finished.choices[0].step}")
    assert logits(fresh, ids).allclose(logits(pair[1], ids), atol=1e-6)


def test_stopping_is_learned(finished: Trained, pair: tuple[Any, Any], tiny_base: Path, sums: Path) -> None:
    """After the answer the end token has become likely; the base gives it next to nothing."""
    tokenizer, model = pair
    row = prepared(tiny_base, sums).stages[0].train.rows[0]
    end = tokens.prepare(tokenizer)
    assert row.input_ids[-1] == end
    after = logits(model, row.input_ids[:-1])[-1].softmax(-1)[end]
    with model.disable_adapter():
        before = logits(model, row.input_ids[:-1])[-1].softmax(-1)[end]
    assert float(after) > 0.02 > 5 * float(before)


def test_batches_are_padded_to_their_longest_row_and_pad_is_never_learned(
    tiny_base: Path, sums: Path, tmp_path: Path
) -> None:
    """The trainer's own batches: no label on padding or prompt, an end token in each row's labels."""
    ready = prepared(tiny_base, sums)
    facts = ready.facts.model_copy(
        update={"plan": ready.facts.plan.model_copy(update={"sharing": False, "micro_batch": 4})}
    )
    model = open_model(facts.recipe, facts.plan, None)
    trainer = build(facts, 1, model, ready, ready.stages[0], tmp_path, [])
    end, pad = tokens.prepare(ready.tokenizer), ready.tokenizer.pad_token_id
    known = {tuple(row.input_ids): row.supervised for row in ready.stages[0].train.rows}
    for batch in trainer.get_train_dataloader():
        longest = int(batch["attention_mask"].sum(1).max())
        assert batch["input_ids"].shape[1] == longest < ready.facts.recipe.length.tokens
        for ids, mask, labels in zip(
            batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True
        ):
            learned = labels[labels != tokens.IGNORED]
            assert len(learned) == known[tuple(ids[mask.bool()].tolist())]
            assert int(learned[-1]) == end
            assert (labels[~mask.bool()] == tokens.IGNORED).all()
            assert pad not in learned


def test_packed_and_unpacked_rows_have_the_same_loss(tiny_base: Path, sums: Path, tmp_path: Path) -> None:
    """Packing changes no token's loss: rows in one pack don't see each other."""
    ready = prepared(tiny_base, sums)
    found = []
    for packing in (False, True):
        facts = ready.facts.model_copy(
            update={
                "plan": ready.facts.plan.model_copy(
                    update={"packing": packing, "sharing": False, "micro_batch": 1}
                )
            }
        )
        model = open_model(facts.recipe, facts.plan, None)
        trainer = build(facts, 1, model, ready, ready.stages[0], tmp_path, [])
        total = learned = 0.0
        for batch in trainer.get_train_dataloader():
            count = int((batch["labels"][:, 1:] != tokens.IGNORED).sum())
            total += float(trainer.compute_loss(model, dict(batch)).detach()) * count
            learned += count
        found.append((total / learned, learned, len(trainer.train_dataset)))
    assert found[0][0] == pytest.approx(found[1][0], abs=1e-5)
    assert found[0][1] == found[1][1]
    assert found[1][2] < found[0][2]


def test_a_severity_label_counts_as_often_as_the_recipe_says() -> None:
    """Only a label token that opens an answer is weighted; a digit inside an answer is not."""
    import torch

    labels = torch.tensor([[-100, -100, 7, 9, 7, -100, 8, 5]])
    assert token_weights(labels, (7, 8), 4.0).tolist() == [[0, 4, 1, 1, 0, 4, 1]]


def test_two_runs_with_one_seed_give_the_same_adapter(
    finished: Trained, tiny_base: Path, sums: Path, tmp_path: Path
) -> None:
    """A run can be repeated: the manifest's version is the weights' hash."""
    again = train(prepared(tiny_base, sums), tmp_path / "again", resume=False)
    assert read_manifest(again.adapter).version == read_manifest(finished.adapter).version


def test_the_run_folder_tells_what_was_done(finished: Trained, tiny_base: Path) -> None:
    """Recipe, versions, hashes, base and choice are written down; picture and report are there."""
    facts, manifest = read_facts(finished.folder), read_manifest(finished.adapter)
    assert facts is not None
    assert facts.status == "finished"
    assert {"torch", "transformers", "trl", "peft"} <= set(facts.versions)
    assert manifest.base.name == str(tiny_base)
    assert manifest.data_hashes == facts.data_hashes
    assert manifest.step == finished.choices[0].step
    report = (finished.folder / "report.md").read_text()
    assert f"{manifest.step} (chosen)" in report
    assert "too long" in report
    assert (finished.folder / "loss.png").read_bytes().startswith(b"\x89PNG")
    config = json.loads((finished.adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_base)
    assert config["modules_to_save"] is None


def test_every_checkpoint_is_sealed_and_only_the_newest_keep_their_optimiser(finished: Trained) -> None:
    """All checkpoints can be chosen from; old ones shed what only resuming needs."""
    facts, place = read_facts(finished.folder), finished.folder / "stage-1"
    assert facts is not None
    found = usable(place, facts.hash)
    assert len(found) > 2
    assert [is_whole(path, facts.hash) for path in found] == [False] * (len(found) - 2) + [True] * 2
    assert not any((path / "training_args.bin").exists() for path in found)


def test_early_stopping_ends_a_run_that_no_longer_gains(tiny_base: Path, sums: Path, tmp_path: Path) -> None:
    """With a learning rate that destroys, patience ends the run long before its last step."""
    ready = prepared(
        tiny_base, sums, "stages.0.epochs=20", "watch.patience=2", "optimisation.learning_rate=0.9"
    )
    trained = train(ready, tmp_path / "run", resume=False)
    steps = [row["step"] for row in read_log(trained.folder) if "loss" in row]
    readings = [row["validation_loss"] for row in read_log(trained.folder) if "validation_loss" in row]
    assert steps[-1] < 40
    assert len(readings) - 1 - readings.index(min(readings)) == 2


def test_a_second_stage_goes_on_from_the_first_ones_adapter(
    tiny_base: Path, sums: Path, tmp_path: Path
) -> None:
    """A curriculum's stages follow each other: the second starts where the first was chosen."""
    stages = f"stages=[{{data=['{sums}'], epochs=1}}, {{data=['{sums}'], epochs=1}}]"
    trained = train(prepared(tiny_base, sums, stages), tmp_path / "run", resume=False)
    log = read_log(trained.folder)
    first = [row["loss"] for row in log if row["stage"] == 1 and "loss" in row]
    second = [row["loss"] for row in log if row["stage"] == 2 and "loss" in row]
    assert second[0] < 0.8 * first[0]
    assert len(trained.choices) == 2


def test_the_dry_run_shows_rows_mask_steps_memory_and_time(tiny_base: Path, sums: Path) -> None:
    """What would be trained can be seen without training, and the step count is the real one."""
    shown = describe(prepared(tiny_base, sums))
    for part in (
        "⟦<think>",
        "<|im_end|>⟧",
        "too long for 128 tokens: 0 of 27",
        "20 steps",
        "memory: about",
        "GiB",
    ):
        assert part in shown


def test_the_loss_on_a_cpu_is_the_libraries_loss(tiny_base: Path, sums: Path, tmp_path: Path) -> None:
    """Computing the output layer at the learned positions alone changes no token's loss."""
    from finetune.llm.trainer import fused_loss, supervised_loss

    ready = prepared(tiny_base, sums)
    model = open_model(ready.facts.recipe, ready.facts.plan, None)
    trainer = build(ready.facts, 1, model, ready, ready.stages[0], tmp_path, [])
    batch = next(iter(trainer.get_train_dataloader()))
    ours, theirs = supervised_loss(model, batch), fused_loss(model, batch)
    assert ours.shape == theirs.shape
    assert ours.allclose(theirs, atol=1e-5)
    assert float(trainer.compute_loss(model, batch).detach()) == pytest.approx(
        float(model(**batch).loss.detach()), abs=1e-5
    )


def test_the_order_of_rows_follows_from_seed_and_epoch_alone() -> None:
    """Every row once, micro-batches of like length in no order of length, another order each epoch."""
    lengths = [number % 50 + 1 for number in range(400)]
    order = GroupedOrder(lengths, 4, seed=1)
    first = list(order)
    assert sorted(first) == list(range(400))
    assert list(order) == first
    order.set_epoch(1)
    assert list(order) != first
    batches = [[lengths[row] for row in first[at : at + 4]] for at in range(0, 400, 4)]
    assert sum(max(batch) - min(batch) for batch in batches) / len(batches) < 4
    longest = [max(batch) for batch in batches]
    assert longest not in (sorted(longest), sorted(longest, reverse=True))


def test_rows_behind_a_shared_prefix_have_the_loss_and_gradients_of_rows_alone(
    tiny_base: Path, sums: Path
) -> None:
    """Computing a common prefix once changes nothing: every token's loss and the sum's gradient agree."""
    from finetune.llm.trainer import supervised_loss

    ready = prepared(tiny_base, sums, "system_prompt='Add the two numbers and say no more than their sum.'")
    assert ready.facts.plan.sharing
    rows = [row._asdict() for row in ready.stages[0].train.rows[:5]]
    found = []
    for collate in (Padded(ready.tokenizer.pad_token_id), Shared()):
        model = open_model(ready.facts.recipe, ready.facts.plan, None)
        batch = collate(rows)
        losses = supervised_loss(model, batch)
        losses.sum().backward()
        gradient = sum(
            float(value.grad.abs().sum()) for value in model.parameters() if value.grad is not None
        )
        found.append((losses, gradient, batch["input_ids"].numel()))
    (padded, first, wide), (shared, second, narrow) = found
    assert shared.allclose(padded, atol=1e-5)
    assert second == pytest.approx(first, rel=1e-4)
    assert narrow < 0.7 * wide


def test_a_shared_prefix_is_what_all_rows_begin_with() -> None:
    """The common beginning, never a whole row."""
    assert shared_prefix([[1, 2, 3, 4], [1, 2, 5], [1, 2, 3]]) == 2
    assert shared_prefix([[1, 2], [1, 2]]) == 1
    assert worth_sharing([[1, 2, 3], [1, 2, 4]])
    assert not worth_sharing([[1, 2, 3], [2, 2, 4]])
