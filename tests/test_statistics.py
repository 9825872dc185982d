"""The statistics against published values, independent implementations and their own definitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from sklearn import metrics

from finetune.severity_metrics import (
    brier,
    calibration_error,
    reliability,
    severity_differences,
    severity_intervals,
    severity_scores,
)
from finetune.statistics import (
    bootstrap,
    expected_maximum,
    flips,
    holm,
    kappa,
    mcnemar,
    paired_bootstrap,
    pass_at_k,
    wilson,
)
from review_data.domain import Probabilities
from review_data.errors import UserError
from review_data.severity import SEVERITIES, Severity

LOW, MEDIUM, HIGH, CRITICAL = SEVERITIES


@pytest.mark.parametrize(
    ("n", "c", "k"), [(1, 0, 1), (1, 1, 1), (5, 2, 1), (5, 2, 2), (10, 3, 5), (200, 7, 100)]
)
def test_pass_at_k_is_the_closed_form_of_the_codex_paper(n: int, c: int, k: int) -> None:
    """pass@k equals 1 - C(n-c, k) / C(n, k)."""
    assert pass_at_k(n, c, k) == pytest.approx(1 - math.comb(n - c, k) / math.comb(n, k), abs=1e-12)


def test_pass_at_k_is_the_share_of_draws_with_a_right_answer() -> None:
    """pass@3 of 6 samples with 2 right is counted over every possible draw."""
    draws = list(itertools.combinations([True, True, False, False, False, False], 3))
    assert pass_at_k(6, 2, 3) == pytest.approx(sum(any(draw) for draw in draws) / len(draws))


def test_pass_at_k_refuses_more_draws_than_samples() -> None:
    """k above n has no unbiased estimate."""
    with pytest.raises(UserError, match="pass@5"):
        pass_at_k(4, 1, 5)


@pytest.mark.parametrize(("right", "low", "high"), [(7, 8.5, 31.3), (11, 15.7, 41.9), (13, 19.6, 47.0)])
def test_wilson_gives_the_limits_of_the_seeds_scores(right: int, low: float, high: float) -> None:
    """The intervals of 7, 11 and 13 of 41."""
    interval = wilson(right, 41)
    assert interval.value == right / 41
    assert (round(100 * (interval.low or 0), 1), round(100 * (interval.high or 0), 1)) == (low, high)


def test_wilson_of_no_trials_has_no_value() -> None:
    """Nothing measured is not zero."""
    assert wilson(0, 0).percent() == "n/a"


@pytest.mark.parametrize(
    ("first_only", "second_only", "p_value"),
    [
        (1, 7, 0.0703),  # Fagerland, Lydersen & Laake 2013, airway hyper-responsiveness
        (0, 5, 0.0625),
        (0, 6, 0.03125),  # six one-way flips are the fewest that reach 0.05
        (4, 4, 1.0),
        (0, 0, 1.0),
    ],
)
def test_mcnemar_is_exact(first_only: int, second_only: int, p_value: float) -> None:
    """The exact p on published and hand-computed tables."""
    assert mcnemar(first_only, second_only) == pytest.approx(p_value, abs=5e-5)


def test_flips_counts_the_four_cells() -> None:
    """Every pair lands in one cell, and order matters."""
    found = flips([True, True, False, False, True], [True, False, True, False, False])
    assert (found.both, found.first_only, found.second_only, found.neither) == (1, 2, 1, 1)
    assert found.p_value == 1.0


def test_holm_gives_the_values_of_r_p_adjust() -> None:
    """p.adjust(c(.01, .04, .03, .005), "holm") in R."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == (1.0, 1.0)


def test_the_best_of_eight_checkpoints_scores_31_percent_by_noise() -> None:
    """With a true rate of 22% on 41 problems, the expected maximum of 8 is 31.5%."""
    assert expected_maximum(0.22, 41, 8) == pytest.approx(0.315, abs=5e-4)
    assert expected_maximum(0.22, 41, 1) == pytest.approx(0.22)


def test_kappa_gives_cohens_textbook_value() -> None:
    """20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no make 0.4."""
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert kappa(first, second) == pytest.approx(0.4)
    assert kappa(["yes"], ["yes"]) is None


def test_bootstrap_resamples_records_and_not_rows() -> None:
    """Ten copies of each row in one record do not narrow the interval; as ten records they do."""
    values = np.random.default_rng(1).normal(size=20)
    rows = np.repeat(values, 10)

    def average(indices: np.ndarray) -> dict[str, float | None]:
        return {"mean": float(rows[indices].mean())}

    grouped = bootstrap(average, [index // 10 for index in range(200)])["mean"]
    single = bootstrap(average, list(range(200)))["mean"]
    width = (grouped.high or 0) - (grouped.low or 0)
    assert width == pytest.approx(2 * 1.96 * values.std() / math.sqrt(20), rel=0.15)
    assert width > 2.5 * ((single.high or 0) - (single.low or 0))


def test_bootstrap_repeats_for_a_seed_and_has_no_limits_for_one_record() -> None:
    """The same seed gives the same limits; one record gives none."""

    def share(indices: np.ndarray) -> dict[str, float | None]:
        return {"share": float((indices**1.5).mean())}

    assert bootstrap(share, range(30), seed=3) == bootstrap(share, range(30), seed=3)
    assert bootstrap(share, range(30), seed=3) != bootstrap(share, range(30), seed=4)
    assert bootstrap(share, [0] * 30)["share"].low is None


def test_paired_bootstrap_sees_a_small_steady_gain_that_unpaired_intervals_hide() -> None:
    """A gain of 0.1 on every one of 40 noisy rows is significant; no gain is not."""
    noise = np.random.default_rng(2).normal(size=40)

    def scores(values: np.ndarray):  # type: ignore[no-untyped-def]
        return lambda rows: {"mean": float(values[rows].mean())}

    gain = paired_bootstrap(scores(noise + 0.1), scores(noise), range(40))["mean"]
    assert gain.value == pytest.approx(0.1)
    assert gain.low == pytest.approx(0.1)
    assert gain.p_value is not None
    assert gain.p_value < 0.01
    assert paired_bootstrap(scores(noise), scores(noise), range(40))["mean"].p_value == 1.0


def _labels(seed: int, count: int = 200) -> tuple[list[Severity], list[Severity]]:
    random = np.random.default_rng(seed)
    truth = random.integers(0, 4, count)
    guess = np.clip(truth + random.integers(-1, 2, count), 0, 3)
    return [SEVERITIES[rank] for rank in truth], [SEVERITIES[rank] for rank in guess]


def test_severity_scores_agree_with_scikit_learn() -> None:
    """Accuracy, macro-F1, weighted kappa, MAE, and the severe rates on 200 random rows."""
    truth, guess = _labels(5)
    scores = severity_scores(truth, guess)
    ranks, guessed = [label.rank for label in truth], [label.rank for label in guess]
    severe, alarm = [rank >= 2 for rank in ranks], [rank >= 2 for rank in guessed]
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(ranks, guessed))
    assert scores.macro_f1 == pytest.approx(metrics.f1_score(ranks, guessed, average="macro"))
    assert scores.quadratic_kappa == pytest.approx(
        metrics.cohen_kappa_score(ranks, guessed, weights="quadratic")
    )
    assert scores.mean_absolute_error == pytest.approx(metrics.mean_absolute_error(ranks, guessed))
    assert scores.severe_recall == pytest.approx(metrics.recall_score(severe, alarm))
    assert scores.severe_precision == pytest.approx(metrics.precision_score(severe, alarm))
    assert [row[:4] for row in scores.confusion] == [
        tuple(r) for r in metrics.confusion_matrix(ranks, guessed)
    ]
    assert (scores.over_rated or 0) + (scores.under_rated or 0) == pytest.approx(1 - (scores.accuracy or 0))


def test_an_unparsed_prediction_counts_as_wrong_everywhere() -> None:
    """None lowers every score and stands in its own column."""
    scores = severity_scores([CRITICAL, LOW], [None, LOW])
    assert (scores.n, scores.unparsed, scores.accuracy) == (2, 1, 0.5)
    assert scores.mean_absolute_error == 1.5
    assert scores.severe_recall == 0
    assert scores.severe_precision is None
    assert (scores.over_rated, scores.under_rated) == (0, 0)
    assert scores.macro_f1 == 0.5
    assert scores.confusion[3] == (0, 0, 0, 0, 1)
    assert scores.quadratic_kappa == 0


def test_scores_of_no_rows_are_undefined_and_not_zero() -> None:
    """An empty evaluation says nothing."""
    scores = severity_scores([], [])
    assert scores.n == 0
    assert scores.accuracy is None
    assert scores.quadratic_kappa is None


def test_calibration_error_and_brier_have_their_textbook_values() -> None:
    """Two of four right at 90% confidence make an ECE of 0.4; a perfect forecast scores 0."""
    sure = Probabilities(low=0.9, medium=0.1, high=0, critical=0)
    truth = [LOW, LOW, MEDIUM, HIGH]
    assert calibration_error(truth, [sure] * 4) == pytest.approx(0.4)
    expected = (2 * (0.01 + 0.01) + (0.81 + 0.81) + (0.81 + 0.01 + 1)) / 4
    assert brier(truth, [sure] * 4) == pytest.approx(expected)
    perfect = Probabilities(low=1, medium=0, high=0, critical=0)
    assert (brier([LOW], [perfect]), calibration_error([LOW], [perfect])) == (0, 0)
    assert [bar.n for bar in reliability(truth, [sure] * 4)] == [4]


def test_rows_without_probabilities_are_left_out_of_calibration_and_counted() -> None:
    """The scores say how many rows calibration covers."""
    sure = Probabilities(low=1, medium=0, high=0, critical=0)
    scores = severity_scores([LOW, HIGH], [LOW, HIGH], [sure, None])
    assert (scores.with_probabilities, scores.brier) == (1, 0)


def test_severity_intervals_hold_the_value_and_differences_its_sign() -> None:
    """Every interval contains its point value, and a better rater's difference is positive."""
    truth, guess = _labels(6)
    groups = [index // 4 for index in range(200)]
    intervals = severity_intervals(truth, guess, None, groups, resamples=200)
    for name in ("accuracy", "macro_f1", "quadratic_kappa", "severe_recall"):
        found = intervals[name]
        assert found.low is not None
        assert found.high is not None
        assert found.value is not None
        assert found.low <= found.value <= found.high
    worse = [
        LOW if label is guessed and index % 2 else guessed
        for index, (label, guessed) in enumerate(zip(truth, guess, strict=True))
    ]
    gain = severity_differences(truth, guess, worse, groups, resamples=200)["accuracy"]
    assert gain.low is not None
    assert gain.low > 0


def test_labels_without_predictions_are_refused() -> None:
    """A length mismatch is the caller's mistake, named."""
    with pytest.raises(UserError, match="2 labels but 1 predictions"):
        severity_scores([LOW, LOW], [LOW])
