"""`terazi evaluate codegen`: pass@k on a benchmark, of models to be asked or of ready answers."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from finetune.evaluate.codegen.benchmark import Mode
from finetune.evaluate.codegen.report import to_html, to_json, to_markdown, write_report
from finetune.evaluate.codegen.run import CodegenReport, Options, evaluate
from review_data.errors import UserError
from service.settings import resolve
from ui.cli.outputs import check_folder
from ui.cli.progress import progress


class Format(StrEnum):
    """How to print the scores; text is Markdown, which reads well on a terminal."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"


PRINTED: dict[Format, Callable[[CodegenReport], str]] = {
    Format.TEXT: to_markdown,
    Format.JSON: to_json,
    Format.HTML: to_html,
}


def command(
    ctx: typer.Context,
    benchmark: Annotated[str, typer.Option(help="humaneval, humaneval+, mbpp or livecodebench.")],
    problems: Annotated[Path | None, typer.Option(help="Its published JSON Lines file.")] = None,
    samples: Annotated[Path | None, typer.Option(help="Ready answers: task_id, completion.")] = None,
    mode: Annotated[Mode, typer.Option(help="Prompts, extraction and limits.")] = Mode.FAITHFUL,
    window: Annotated[str, typer.Option(help="Months, like 2024-08:2025-02.")] = "",
    platform: Annotated[str, typer.Option(help="atcoder, leetcode, codeforces.")] = "",
    difficulty: Annotated[str, typer.Option(help="easy, medium, hard.")] = "",
    tests: Annotated[str, typer.Option(help="full, or public only.")] = "full",
    backend: Annotated[str, typer.Option(help="Who answers: endpoint or local.")] = "endpoint",
    endpoint: Annotated[str | None, typer.Option(help="An OpenAI-compatible server, up to /v1.")] = None,
    model: Annotated[str, typer.Option(help="Base model: served name; for local, its folder.")] = "",
    adapters: Annotated[str, typer.Option(help="With commas; `base` is none.")] = "",
    checkpoints: Annotated[str, typer.Option(help="all, or steps with commas.")] = "",
    n: Annotated[int, typer.Option(help="Samples per problem.")] = 1,
    k: Annotated[str, typer.Option(help="The k of pass@k, with commas.")] = "1",
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.0,
    top_p: Annotated[float, typer.Option(help="Nucleus.")] = 1.0,
    max_tokens: Annotated[int, typer.Option(help="Longest answer.")] = 4096,
    seed: Annotated[int, typer.Option(help="Seed of sampling.")] = 0,
    at_once: Annotated[int, typer.Option(help="Requests in flight.")] = 32,
    timeout_s: Annotated[int | None, typer.Option("--timeout", help="CPU seconds per test.")] = None,
    workers: Annotated[int, typer.Option(help="Tests at once.")] = 2,
    allow_weaker: Annotated[bool, typer.Option("--allow-weaker", help="Run without namespaces.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for raw answers and report.", show_default="evaluations/...")
    ] = None,
    format: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.TEXT,
) -> None:
    """Score code generation by running the answers: pass@k, intervals, outcomes, paired comparisons."""
    options = make_options(ctx.params)
    written = options.out is not None or options.samples is None
    check_folder("--out", options.folder() if written else None)
    report = run(options)
    if written:
        write_report(options.folder(), report)
    print(PRINTED[format](report), end="")


def make_options(params: dict[str, Any]) -> Options:
    """The flags as options; `UserError` names the first wrong one."""
    values = {name: value for name, value in params.items() if name in Options.model_fields}
    values["endpoint"] = resolve({"endpoint": params["endpoint"]}).settings.endpoint
    for name in ("adapters", "k"):
        values[name] = tuple(part.strip() for part in str(values[name]).split(",") if part.strip())
    try:
        return Options.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).removesuffix("_s").replace("_", "-")
        raise UserError(f"--{option} {first['input']}: {first['msg']}") from None


def run(options: Options) -> CodegenReport:
    """Evaluates with a progress bar on a terminal, for the answers first and their tests then."""
    with progress("Evaluating") as on_progress:
        return evaluate(options, on_progress=on_progress)
