"""One evaluation from its options to its report: problems, systems, samples, verdicts, comparisons.

Composes the other files of this folder; owns the order of the steps and the run's folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from finetune.evaluate.client import Client, Sampling
from finetune.evaluate.codegen.benchmark import Benchmark, Mode, Sample
from finetune.evaluate.codegen.catalog import open_benchmark
from finetune.evaluate.codegen.compare import BestCheckpoint, Comparison, best_checkpoints, compare
from finetune.evaluate.codegen.files import read_samples
from finetune.evaluate.codegen.generate import EndpointGenerator, Generator, generate_missing
from finetune.evaluate.codegen.local import LocalGenerator
from finetune.evaluate.codegen.score import SystemScore, score
from finetune.evaluate.codegen.systems import System, local_systems, served_systems
from finetune.evaluate.kept import KeptRows
from finetune.sandbox.job import Limits
from finetune.sandbox.machine import Sandbox, open_sandbox
from finetune.statistics import require_extra
from review_data.domain import Record
from review_data.errors import UserError

READY = "samples"


class Options(Record):
    """What `terazi evaluate codegen` was asked; names are the flags'."""

    benchmark: str
    problems: Path | None = None
    samples: Path | None = None
    mode: Mode = Mode.FAITHFUL
    window: str = ""
    platform: str = ""
    difficulty: str = ""
    tests: str = "full"
    backend: Literal["endpoint", "local"] = "endpoint"
    endpoint: str = "http://127.0.0.1:8000/v1"
    model: str = ""
    adapters: tuple[str, ...] = ()
    checkpoints: str = ""
    n: int = Field(1, ge=1)
    k: tuple[Annotated[int, Field(ge=1)], ...] = (1,)
    temperature: float = Field(0.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(4096, ge=1)
    seed: int = 0
    at_once: int = Field(32, ge=1)
    timeout_s: int | None = Field(None, ge=1)
    workers: int = Field(2, ge=1)
    allow_weaker: bool = False
    out: Path | None = None

    def sampling(self) -> Sampling:
        """How tokens are drawn; several samples need a temperature."""
        if self.n > 1 and self.temperature == 0:
            raise UserError("--n above 1 needs a --temperature above 0: greedy samples are all the same")
        return Sampling(temperature=self.temperature, top_p=self.top_p, max_tokens=self.max_tokens)

    def settings(self) -> dict[str, object]:
        """What the answers in a folder have in common."""
        about = {"benchmark": self.benchmark, "mode": self.mode, "seed": self.seed}
        source = {"backend": self.backend, "model": self.model}
        return {**about, **source, **self.sampling().model_dump()}

    def folder(self) -> Path:
        """--out, or a folder named after the settings: the same command finds its answers again."""
        if self.out is not None:
            return self.out
        digest = hashlib.sha256(json.dumps([self.settings(), self.endpoint]).encode()).hexdigest()[:8]
        return Path("evaluations") / f"{self.benchmark}-{self.mode}-{digest}"


class CodegenReport(Record):
    """All that one evaluation found."""

    benchmark: str
    facts: dict[str, str]
    mode: Mode
    sandbox: dict[str, Any]
    systems: tuple[SystemScore, ...]
    comparisons: tuple[Comparison, ...] = ()
    best_checkpoints: tuple[BestCheckpoint, ...] = ()


def evaluate(options: Options, *, on_progress: Callable[[int, int], None] | None = None) -> CodegenReport:
    """Generates what is missing (unless ready samples are given), scores everything, compares.

    Raises `UserError` for options that don't go together, before any work is done.
    """
    require_extra()
    filters = {name: str(getattr(options, name)) for name in ("window", "platform", "difficulty", "tests")}
    benchmark = open_benchmark(options.benchmark, options.problems, **filters)
    with open_sandbox(allow_weaker=options.allow_weaker) as sandbox:
        if options.samples is not None:
            systems, samples = _ready(options.samples, benchmark)
        else:
            systems, samples = _generated(options, benchmark, on_progress)
        return _scored(options, benchmark, systems, samples, sandbox, on_progress)


def _ready(path: Path, benchmark: Benchmark) -> tuple[tuple[System, ...], dict[str, list[Sample]]]:
    """Ready answers; rows that name a system are kept apart, `name@step` being a checkpoint."""
    samples = _by_system(read_samples(path, (problem.id for problem in benchmark.problems)))
    return tuple(_named(name) for name in samples), samples


def _named(name: str) -> System:
    adapter, at, step = name.rpartition("@")
    if at and step.isdigit():
        return System(name=name, model="", adapter=adapter, step=int(step))
    return System(name=name, model="", adapter=name)


def _generated(
    options: Options, benchmark: Benchmark, on_progress: Callable[[int, int], None] | None
) -> tuple[tuple[System, ...], dict[str, list[Sample]]]:
    """Answers of the asked systems, from the run's folder as far as they are there."""
    systems, generator = _open(options)
    kept = KeptRows(options.folder() / "samples.jsonl", Sample, options.settings())
    generate_missing(
        benchmark,
        systems,
        generator,
        kept,
        mode=options.mode,
        samples_per_task=options.n,
        on_progress=on_progress,
    )
    digests = {problem.id: problem.prompt(options.mode).digest for problem in benchmark.problems}
    wanted = {system.name for system in systems}
    chosen = [
        one
        for one in kept.rows
        if digests.get(one.task_id) == one.prompt_digest and one.system in wanted and one.index < options.n
    ]
    return systems, _by_system(chosen)


def _open(options: Options) -> tuple[tuple[System, ...], Generator]:
    """The systems and where their answers come from: an endpoint, or this process."""
    sampling = options.sampling()
    if options.backend == "local":
        if not options.model:
            raise UserError("--backend local: name the base model with --model, a folder or hub id")
        systems = local_systems(options.adapters, options.checkpoints)
        return systems, LocalGenerator(options.model, sampling, seed=options.seed)
    client = Client(options.endpoint, at_once=options.at_once)
    systems = served_systems(client.models(), options.adapters, options.checkpoints, options.model)
    return systems, EndpointGenerator(client, sampling, at_once=options.at_once, seed=options.seed)


def _scored(
    options: Options,
    benchmark: Benchmark,
    systems: tuple[System, ...],
    samples: Mapping[str, list[Sample]],
    sandbox: Sandbox,
    on_progress: Callable[[int, int], None] | None,
) -> CodegenReport:
    scores = score(
        benchmark,
        systems,
        samples,
        sandbox,
        mode=options.mode,
        limits=_limits(options, benchmark),
        ks=options.k,
        workers=options.workers,
        on_progress=on_progress,
    )
    return CodegenReport(
        benchmark=benchmark.name,
        facts=dict(benchmark.facts),
        mode=options.mode,
        sandbox=sandbox.describe(),
        systems=scores,
        comparisons=compare(scores),
        best_checkpoints=best_checkpoints(scores),
    )


def _limits(options: Options, benchmark: Benchmark) -> Limits:
    """The benchmark's limits; --timeout sets CPU seconds per test, and wall time at three times that."""
    limits = benchmark.limits[options.mode]
    if options.timeout_s is None:
        return limits
    return limits.model_copy(update={"cpu_s": options.timeout_s, "wall_s": 3.0 * options.timeout_s})


def _by_system(samples: Iterable[Sample]) -> dict[str, list[Sample]]:
    found: dict[str, list[Sample]] = {}
    for sample in samples:
        found.setdefault(sample.system or READY, []).append(sample)
    return found
