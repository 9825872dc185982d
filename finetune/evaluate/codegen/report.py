"""A code-generation report as JSON, as Markdown (the terminal's form), and as one HTML page with its plot."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from finetune.evaluate.codegen.plots import learning_curves
from finetune.evaluate.codegen.run import CodegenReport
from finetune.evaluate.codegen.score import Example, SystemScore
from finetune.sandbox.verdict import Outcome
from review_data.jsonl import write_atomically

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;margin:1rem 0}th,td{border:1px solid #ccc;padding:.25rem .6rem;"
    "text-align:left}pre{background:#f5f5f5;padding:.6rem;overflow:auto}img{max-width:100%}"
)
Table = tuple[Sequence[str], Sequence[Sequence[str]]]


def as_dict(report: CodegenReport) -> dict[str, Any]:
    """For programs. With one system, its scores also stand at the top."""
    systems = [_system(one) for one in report.systems]
    return {
        "benchmark": report.benchmark,
        "mode": report.mode,
        "facts": report.facts,
        "sandbox": report.sandbox,
        **(systems[0] if len(systems) == 1 else {}),
        "systems": systems,
        "comparisons": [one.model_dump(mode="json") for one in report.comparisons],
        "best_checkpoints": [one.model_dump(mode="json") for one in report.best_checkpoints],
    }


def to_json(report: CodegenReport) -> str:
    """`as_dict` as text."""
    return json.dumps(as_dict(report), indent=2) + "\n"


def to_markdown(report: CodegenReport) -> str:
    """Scores, outcomes, comparisons, and what the best checkpoint is worth."""
    parts = [f"# {_title(report)}", _facts(report)]
    parts += [f"## {title}\n\n{_markdown_table(*table)}" for title, table in _tables(report)]
    return "\n\n".join(parts) + "\n"


def to_html(report: CodegenReport) -> str:
    """One page that needs nothing else: tables, the learning curve, failures to read."""
    parts = [f"<h1>{html.escape(_title(report))}</h1><p>{html.escape(_facts(report))}</p>"]
    picture = learning_curves(report.systems)
    if picture:
        data = base64.b64encode(picture).decode()
        parts.append(f'<img alt="pass@1 per checkpoint with intervals" src="data:image/png;base64,{data}">')
    parts += [f"<h2>{html.escape(title)}</h2>{_html_table(*table)}" for title, table in _tables(report)]
    parts += [_html_examples(one) for one in report.systems if one.examples]
    head = f"<meta charset='utf-8'><title>{html.escape(_title(report))}</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def write_report(folder: Path, report: CodegenReport) -> None:
    """report.json, report.md, report.html, and the plot where there are checkpoints."""
    write_atomically(folder / "report.json", to_json(report))
    write_atomically(folder / "report.md", to_markdown(report))
    write_atomically(folder / "report.html", to_html(report))
    if picture := learning_curves(report.systems):
        write_atomically(folder / "learning-curves.png", picture)


def _system(one: SystemScore) -> dict[str, Any]:
    found = one.model_dump(mode="json", exclude={"intervals"})
    found["intervals"] = {name: [interval.low, interval.high] for name, interval in one.intervals.items()}
    found["interval_method"] = one.intervals["pass_at_1"].method
    return found


def _title(report: CodegenReport) -> str:
    return f"{report.benchmark}, {report.mode} mode"


def _facts(report: CodegenReport) -> str:
    facts = {**report.facts, "sandbox": report.sandbox["strength"]}
    return "; ".join(f"{name}: {value}" for name, value in facts.items())


def _tables(report: CodegenReport) -> list[tuple[str, Table]]:
    tables = [("Scores", _scores(report.systems)), ("Outcomes", _outcomes(report.systems))]
    if report.comparisons:
        tables.append(("Comparisons", _comparisons(report)))
    if report.best_checkpoints:
        tables.append(("Best checkpoints", _best(report)))
    return tables


def _scores(systems: Sequence[SystemScore]) -> Table:
    ks = sorted({k for one in systems for k in one.pass_at if k > 1})
    rows = [
        [
            one.name,
            str(one.n),
            str(one.samples_per_problem),
            one.intervals["pass_at_1"].percent(),
            *(f"{100 * one.pass_at[k]:.1f}%" if k in one.pass_at else "" for k in ks),
        ]
        for one in systems
    ]
    return ["system", "problems", "samples", "pass@1 [95%]", *(f"pass@{k}" for k in ks)], rows


def _outcomes(systems: Sequence[SystemScore]) -> Table:
    seen = [outcome for outcome in Outcome if any(outcome in one.outcomes for one in systems)]
    return ["system", *seen], [[one.name, *(str(one.outcomes.get(o, 0)) for o in seen)] for one in systems]


def _comparisons(report: CodegenReport) -> Table:
    rows = [
        [
            one.family,
            f"{one.first} − {one.second}",
            f"{100 * one.difference:+.1f}",
            f"{one.flips.first_only} : {one.flips.second_only}" if one.flips else "",
            f"{one.p_value:.3f}",
            f"{one.p_holm:.3f}",
            one.test,
        ]
        for one in report.comparisons
    ]
    return ["family", "pair", "points", "only first : only second", "p", "p (Holm)", "test"], rows


def _best(report: CodegenReport) -> Table:
    rows = [
        [
            one.adapter,
            one.best,
            f"{100 * one.score:.1f}%",
            str(one.checkpoints),
            f"{100 * one.mean:.1f}%",
            f"{100 * one.expected_maximum:.1f}%",
        ]
        for one in report.best_checkpoints
    ]
    return ["adapter", "best", "its pass@1", "checkpoints", "their mean", "best by noise alone"], rows


def _markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _html_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = "".join(_html_row("td", row) for row in rows)
    return f"<table>{_html_row('th', head)}{body}</table>"


def _html_row(tag: str, cells: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _html_examples(one: SystemScore) -> str:
    items = "".join(_html_example(example) for example in one.examples)
    return f"<h2>Failures of {html.escape(one.name)}</h2>{items}"


def _html_example(example: Example) -> str:
    summary = html.escape(f"{example.outcome}: {example.task_id}: {example.detail}")
    return f"<details><summary>{summary}</summary><pre>{html.escape(example.code)}</pre></details>"
