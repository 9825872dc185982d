"""From judgements to a comparison: win rate with its interval, length control, position bias, agreement.

Pure functions. The length-controlled win rate follows Dubois et al. 2024 in its core: a logistic regression
of the outcome on the (squashed) difference in length; the rate is what it predicts at equal length.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from finetune.evaluate.explanations.judge import ORDERS, Judgement, same
from finetune.evaluate.explanations.pairs import Pair, Verdict
from finetune.statistics import Interval, Scores, bootstrap, kappa, mean
from review_data.domain import Record
from review_data.errors import MissingExtra

if TYPE_CHECKING:
    from numpy.typing import NDArray

RESAMPLES = 500
POINTS = {Verdict.FIRST: 1.0, Verdict.TIE: 0.5, Verdict.SECOND: 0.0}


class Decided(Record):
    """One pair's outcome; None is unscored. `longer` is by how many characters the first is longer."""

    id: str
    verdict: Verdict | None
    orders: tuple[Verdict | None, Verdict | None]
    longer: int
    human: Verdict | None = None


class Agreement(Record):
    """The judge against people on the pairs that both decided."""

    n: int
    agreed: float | None
    kappa: float | None


class ExplanationReport(Record):
    """First system against second. Rates count a tie as half; `win_rate` 0.5 is no difference.

    `position_bias` is the share of judgements with a winner that chose what was shown first, less one half;
    `length_effect` is the coefficient of length in the regression. Either counts as detected when its
    interval leaves out 0.
    """

    first: str
    second: str
    judge: str
    n: int
    scored: int
    unscored: int
    identical: int
    wins: int
    losses: int
    ties: int
    win_rate: Interval
    length_controlled_win_rate: Interval
    length_effect: Interval
    length_bias_detected: bool
    position_bias: Interval
    position_bias_detected: bool
    swap_consistency: float | None
    human: Agreement
    prompt_tokens: int
    completion_tokens: int
    cost: float | None = None
    decided: tuple[Decided, ...]


def report(
    names: tuple[str, str],
    judge: str,
    pairs: Sequence[Pair],
    judgements: Sequence[Judgement],
    *,
    prices: tuple[float, float] | None = None,
    seed: int = 0,
) -> ExplanationReport:
    """All figures; `prices` are per million prompt and completion tokens."""
    decided = decide(pairs, judgements)
    scored = [one for one in decided if one.verdict is not None]
    verdicts = [one.verdict for one in scored]
    intervals = bootstrap(rates(scored), range(len(scored)), resamples=RESAMPLES, seed=seed)
    used = [sum(getattr(one, name) for one in judgements) for name in ("prompt_tokens", "completion_tokens")]
    return ExplanationReport(
        first=names[0],
        second=names[1],
        judge=judge,
        n=len(decided),
        scored=len(scored),
        unscored=len(decided) - len(scored),
        identical=sum(same(pair) for pair in pairs),
        wins=verdicts.count(Verdict.FIRST),
        losses=verdicts.count(Verdict.SECOND),
        ties=verdicts.count(Verdict.TIE),
        **intervals,
        length_bias_detected=_leaves_out_zero(intervals["length_effect"]),
        position_bias_detected=_leaves_out_zero(intervals["position_bias"]),
        swap_consistency=mean(one.orders[0] is one.orders[1] for one in scored),
        human=agreement(scored),
        prompt_tokens=used[0],
        completion_tokens=used[1],
        cost=(used[0] * prices[0] + used[1] * prices[1]) / 1e6 if prices else None,
        decided=tuple(decided),
    )


def decide(pairs: Sequence[Pair], judgements: Sequence[Judgement]) -> list[Decided]:
    """Both orders agree: that verdict. They disagree: a tie. One is missing or unparsable: unscored."""
    said: dict[str, dict[str, Judgement]] = defaultdict(dict)
    for judgement in judgements:
        said[judgement.id][judgement.order] = judgement
    return [_decided(pair, said[pair.subject.id]) for pair in pairs]


def rates(scored: Sequence[Decided]) -> Callable[[NDArray[Any]], Scores]:
    """Win rates, length effect and position bias as a function of row indices."""

    def of_rows(rows: NDArray[Any]) -> Scores:
        drawn = [scored[row] for row in rows]
        controlled, effect = length_control(drawn)
        return {
            "win_rate": mean(POINTS[one.verdict] for one in drawn if one.verdict),
            "length_controlled_win_rate": controlled,
            "length_effect": effect,
            "position_bias": position_bias(drawn),
        }

    return of_rows


def length_control(drawn: Sequence[Decided]) -> tuple[float | None, float | None]:
    """The win rate at equal length and the effect of length; a tie counts half for either side.

    The coefficient of length has a weak penalty (the intercept none), so that a judge who always takes the
    longer one gives a large finite effect. Without a difference in lengths, the plain rate and no effect.
    """
    points = [POINTS[one.verdict] for one in drawn if one.verdict]
    spread = math.sqrt(mean(one.longer**2 for one in drawn) or 0.0)
    if not points or spread == 0 or len(set(points)) == 1:
        return mean(points), None
    feature = [[math.tanh(one.longer / spread)] for one in drawn]
    model = _logistic_regression()
    weights = [*points, *(1 - point for point in points)]
    model.fit(feature * 2, [1] * len(points) + [0] * len(points), sample_weight=weights)
    intercept, effect = float(model.intercept_[0]), float(model.coef_[0][0])
    return 1 / (1 + math.exp(-intercept)), effect


def position_bias(drawn: Sequence[Decided]) -> float | None:
    """How much oftener than half of the time the explanation shown first is preferred."""
    chosen = []
    for one in drawn:
        for order, verdict in zip(ORDERS, one.orders, strict=True):
            if verdict in (Verdict.FIRST, Verdict.SECOND):
                chosen.append((verdict is Verdict.FIRST) == (order == ORDERS[0]))
    share = mean(chosen)
    return None if share is None else share - 0.5


def agreement(scored: Sequence[Decided]) -> Agreement:
    """Raw agreement and Cohen's kappa with the people's verdicts."""
    both = [(one.verdict, one.human) for one in scored if one.human is not None]
    judge, human = [pair[0] for pair in both], [pair[1] for pair in both]
    agreed = mean(left is right for left, right in both)
    return Agreement(n=len(both), agreed=agreed, kappa=kappa(judge, human) if both else None)


def _decided(pair: Pair, said: dict[str, Judgement]) -> Decided:
    longer = len(pair.first) - len(pair.second)
    if same(pair):
        orders: tuple[Verdict | None, Verdict | None] = (Verdict.TIE, Verdict.TIE)
    else:
        one, other = (said[order].verdict if order in said else None for order in ORDERS)
        orders = (one, other)
    verdict = None if None in orders else orders[0] if orders[0] is orders[1] else Verdict.TIE
    return Decided(id=pair.subject.id, verdict=verdict, orders=orders, longer=longer, human=pair.human)


def _leaves_out_zero(interval: Interval) -> bool:
    return interval.low is not None and interval.high is not None and not interval.low <= 0 <= interval.high


def _logistic_regression() -> Any:
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise MissingExtra("evaluate", "length control", "scikit-learn") from None
    return LogisticRegression(C=10.0)
