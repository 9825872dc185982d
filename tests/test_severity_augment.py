"""Augmentation of the severity model's examples: it disturbs style and context, nothing else."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.severity.augment import augment_text, drop_fields
from finetune.severity.examples import Example, finding_examples, thread_examples, wording_examples
from finetune.severity.training import batches, class_weights, rate_at, targets
from review_data.rater_input import LINES_AROUND, RaterFields
from review_data.severity import Severity
from service.backends.embedded.encoding import Encoded

RowsOf = Callable[[str], list[Example]]
FULL = RaterFields(
    text="t", category="api", path="a.py", language="python", project="p", section="s", lines=("x",)
)


@given(st.text(), st.integers())
def test_the_same_generator_gives_the_same_text(text: str, seed: int) -> None:
    """Augmentation is a function of text and generator, for any text."""
    assert augment_text(text, random.Random(seed)) == augment_text(text, random.Random(seed))


@given(st.integers())
def test_fields_are_left_out_but_the_text_stays(seed: int) -> None:
    """Each field is as it was or empty; the text is never dropped."""
    kept = drop_fields(FULL, 0.5, random.Random(seed))
    assert kept.text == "t"
    empty = RaterFields(text="t").model_dump()
    full = FULL.model_dump()
    assert all(value in (full[name], empty[name]) for name, value in kept.model_dump().items())


def test_no_field_is_left_out_without_chance() -> None:
    """At chance 0 the fields stay, at chance 1 only the text does."""
    assert drop_fields(FULL, 0.0, random.Random(1)) == FULL
    assert drop_fields(FULL, 1.0, random.Random(1)) == RaterFields(text="t")


def test_batches_hold_every_row_once() -> None:
    """Grouping by length loses and repeats nothing, and rows of one batch are of similar length."""
    rows = [Encoded([0] * (1 + number % 50), []) for number in range(203)]
    found = list(batches(rows, 16, random.Random(3)))
    assert sorted(row for batch in found for row in batch) == list(range(203))
    spread = [
        len(rows[max(b, key=lambda r: len(rows[r].ids))].ids)
        - len(rows[min(b, key=lambda r: len(rows[r].ids))].ids)
        for b in found
    ]
    assert sum(spread) / len(spread) < 15


def test_the_learning_rate_rises_and_falls_to_nothing() -> None:
    """Linear warm-up to 1, then linear decay; no step has rate 0."""
    rates = [rate_at(step, 100, 0.1) for step in range(100)]
    assert max(rates) == rates[9] == 1.0
    assert rates[0] == 0.1
    assert 0 < rates[99] < 0.02


def test_rare_levels_weigh_more() -> None:
    """Power 0 weighs all alike, power 1 by inverse frequency."""
    labels = [Severity.LOW] * 3 + [Severity.CRITICAL]
    assert set(class_weights(labels, 0).values()) == {1.0}
    assert class_weights(labels, 1)[Severity.CRITICAL] == 1.0
    assert class_weights(labels, 1)[Severity.LOW] < 0.5


def test_two_opinions_are_met_half_way() -> None:
    """A threshold between two labels has the target one half; one opinion, or two alike, decide."""
    high = Example(record="r", source="findings", fields=FULL, severity=Severity.HIGH)
    assert targets(high) == [1.0, 1.0, 0.0]
    assert targets(high.model_copy(update={"second": Severity.HIGH})) == [1.0, 1.0, 0.0]
    assert targets(high.model_copy(update={"second": Severity.MEDIUM})) == [1.0, 0.5, 0.0]


@pytest.mark.parametrize("rows_of", [wording_examples, thread_examples, finding_examples])
def test_written_training_rows_have_two_opinions(rows_of: RowsOf) -> None:
    """Each written row was labelled twice; labels two levels apart are no training data."""
    for row in rows_of("train"):
        assert row.second is not None
        assert abs(row.second.rank - row.severity.rank) < 2


@pytest.mark.parametrize("rows_of", [wording_examples, thread_examples, finding_examples])
def test_written_rows_share_no_text_between_splits(rows_of: RowsOf) -> None:
    """Validation texts are not trained on, whatever their case and punctuation."""
    train, validation = (
        {"".join(filter(str.isalnum, row.fields.text.lower())) for row in rows_of(split)}
        for split in ("train", "validation")
    )
    assert len(validation) > 300
    assert not train & validation


def test_a_written_finding_shows_its_line_as_a_found_one_does() -> None:
    """One flagged line with the same number of neighbours as the rater is shown of a change."""
    for row in finding_examples("validation"):
        flagged = [number for number, line in enumerate(row.fields.lines) if line.startswith(">")]
        assert len(flagged) == 1
        assert len(row.fields.lines) <= 2 * LINES_AROUND + 1
