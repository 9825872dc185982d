"""Recipes are strict, and the published ones carry the values that were published."""

from __future__ import annotations

import pytest

from finetune import recipes
from review_data.errors import SettingsError
from ui.cli.main import main

DEEP = (recipes.FOLDER / "deep.toml").read_text()


@pytest.mark.parametrize("name", recipes.names())
def test_every_packaged_recipe_loads_and_is_named_like_its_file(name: str) -> None:
    """A packaged recipe is valid and its name is its file's."""
    assert recipes.load(name).name == name


def test_the_promised_recipes_are_packaged() -> None:
    """The defaults, the curriculum, the reviewer and the three published recipes are there."""
    promised = {"deep", "diverse", "deep-then-diverse", "review", "seed-a", "seed-b", "seed-c"}
    assert promised <= set(recipes.names())


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [
        ("rank = 32", "rank = 32\nrnak = 1", "lora.rnak"),
        ("[lora]", "surprise = 1\n[lora]", "data.surprise"),
        ("rank = 32", "rank = 0", "lora.rank"),
        ('target = "output"', 'target = "all"', "data.target"),
        ("learning_rate = 2e-4", "", "optimisation.learning_rate"),
        ("checkpoint = 100", "checkpoint = 30", "watch"),
        ('data = ["Naholav/CodeGen-Deep-5K"]', "data = []", "recipe"),
    ],
)
def test_a_wrong_key_or_value_names_file_and_key(before: str, after: str, key: str) -> None:
    """An unknown key, a value out of range and a missing key are errors that say where."""
    assert before in DEEP
    with pytest.raises(SettingsError, match=f"my.toml: `{key}`"):
        recipes.parse(DEEP.replace(before, after), "my.toml")


def test_an_unknown_recipe_lists_the_known_ones() -> None:
    """A name that is neither packaged nor a file says what there is."""
    with pytest.raises(SettingsError, match="deep-then-diverse"):
        recipes.load("depe")


def test_an_assignment_changes_one_value_and_is_checked_alike() -> None:
    """`--set` reaches stages by number, takes bare words as strings, and is as strict as a file."""
    changed = recipes.override(recipes.load("deep"), ("lora.rank=8", "stages.0.epochs=1", "base=/models/x"))
    assert (changed.lora.rank, changed.stages[0].epochs, changed.base) == (8, 1, "/models/x")
    for wrong in ("lora.rnak=8", "lora.rank=none", "rank", "loar.rank=8"):
        with pytest.raises(SettingsError, match="--set"):
            recipes.override(recipes.load("deep"), (wrong,))


@pytest.mark.parametrize("name", ["deep", "diverse", "review"])
def test_the_defaults_follow_the_evidence(name: str) -> None:
    """All linear layers, a LoRA learning rate, warm-up, cosine, small batch; reasoning is learned too."""
    recipe = recipes.load(name)
    assert recipe.lora.modules == "all-linear"
    assert recipe.optimisation.learning_rate == pytest.approx(2e-4)
    assert recipe.optimisation.warmup > 0
    assert recipe.optimisation.schedule == "cosine"
    assert recipe.optimisation.batch < 32
    assert recipe.data.target == "output"
    assert recipe.length.tokens >= 4096


def test_the_published_recipes_carry_the_published_values() -> None:
    """seed-a, -b and -c can be rerun with what their authors published."""
    a, b, c = (recipes.load(f"seed-{letter}") for letter in "abc")
    assert (a.lora.rank, a.lora.alpha, len(a.lora.modules), a.length.tokens) == (32, 64, 5, 32768)
    assert (b.lora.rank, b.lora.alpha, b.lora.dropout, len(b.lora.modules)) == (16, 32, 0.05, 7)
    assert (b.length.tokens, b.optimisation.batch, b.optimisation.learning_rate) == (8192, 16, 5e-5)
    assert (c.lora.rank, c.lora.dropout, c.length.tokens) == (16, 0.1, 1024)
    assert (c.optimisation.learning_rate, c.optimisation.weight_decay) == (2e-5, 0.1)


def test_the_curriculum_has_two_stages_in_order() -> None:
    """Deep comes before Diverse."""
    stages = recipes.load("deep-then-diverse").stages
    assert [stage.data[0] for stage in stages] == ["Naholav/CodeGen-Deep-5K", "Naholav/CodeGen-Diverse-5K"]


@pytest.mark.parametrize("wrong", ["foo.bar=1", "stages.7.epochs=1", "stages.x=1", "stages.0.epochs.x=1"])
def test_a_place_that_no_recipe_has_is_the_users_error(
    wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stage that is not there, a name in a list, a table below a number."""
    assert main(["train", "codegen", "--dry-run", "--set", wrong]) == 2
    assert f"--set {wrong}: there is no table" in capsys.readouterr().err
