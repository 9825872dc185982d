"""A comparison of explanations as JSON and as Markdown (the terminal's form)."""

from __future__ import annotations

from finetune.evaluate.explanations.analysis import ExplanationReport
from finetune.statistics import Interval


def to_json(report: ExplanationReport) -> str:
    """Every figure and every pair."""
    return report.model_dump_json(indent=2) + "\n"


def to_markdown(report: ExplanationReport) -> str:
    """The figures as a list, with what they mean."""
    lines = [
        f"# {report.first} against {report.second}, judged by {report.judge}",
        "",
        f"- {report.n} pairs: {report.wins} won, {report.ties} tied ({report.identical} identical), "
        f"{report.losses} lost, {report.unscored} unscored",
        f"- win rate: {report.win_rate.percent()}",
        f"- at equal length: {report.length_controlled_win_rate.percent()}",
        f"- length effect: {_number(report.length_effect)}{_detected(report.length_bias_detected)}",
        f"- position bias: {_number(report.position_bias)}{_detected(report.position_bias_detected)}",
        f"- both orders agree: {_share(report.swap_consistency)}",
        f"- people agree: {_share(report.human.agreed)} of {report.human.n}"
        + ("" if report.human.kappa is None else f", kappa {report.human.kappa:.2f}"),
        f"- tokens: {report.prompt_tokens} asked, {report.completion_tokens} answered"
        + ("" if report.cost is None else f"; cost {report.cost:.2f}"),
    ]
    return "\n".join(lines) + "\n"


def _number(interval: Interval) -> str:
    if interval.value is None:
        return "n/a"
    limits = "" if interval.low is None else f" [{interval.low:.2f}, {interval.high:.2f}]"
    return f"{interval.value:+.2f}{limits}"


def _detected(flag: bool) -> str:
    return ", detected" if flag else ""


def _share(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f}%"
