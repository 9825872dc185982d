"""Asks models for answers and keeps every raw reply at once, so that nothing is asked twice.

Owns the file of samples in the run's folder: appended line by line, resumed by counting what is there. A
model is anything that fills `Generator`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from finetune.evaluate.client import Client, Reply, Sampling
from finetune.evaluate.codegen.benchmark import Benchmark, Mode, Prompt, Sample
from finetune.evaluate.codegen.systems import System
from finetune.evaluate.kept import KeptRows, in_flight
from review_data.domain import Record

SEED_STRIDE = 1_000_003


class Request(Record):
    """One sample to be asked for."""

    system: System
    task_id: str
    index: int
    prompt: Prompt


class Generator(Protocol):
    """A source of completions."""

    def generate(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Reply]]:
        """Answers in any order, each as soon as it is there; raises `BackendError` when it can't go on."""
        ...


class EndpointGenerator:
    """Any OpenAI-compatible server. vLLM batches by itself what arrives at once, over all adapters."""

    def __init__(self, client: Client, sampling: Sampling, *, at_once: int = 32, seed: int = 0) -> None:
        self._client, self._sampling = client, sampling
        self._at_once, self._seed = at_once, seed

    def generate(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Reply]]:
        """Keeps `at_once` requests in flight."""
        return in_flight(self._one, requests, self._at_once)

    def _one(self, request: Request) -> Reply:
        prompt, model = request.prompt, request.system.model
        more = {"stop": list(prompt.stop)} if prompt.stop else {}
        seed = self._seed + SEED_STRIDE * request.index
        if prompt.messages:
            messages = [message.model_dump() for message in prompt.messages]
            return self._client.chat(model, messages, self._sampling, seed=seed, **more)
        return self._client.complete(model, prompt.text, self._sampling, seed=seed, **more)


def generate_missing(
    benchmark: Benchmark,
    systems: Sequence[System],
    generator: Generator,
    kept: KeptRows[Sample],
    *,
    mode: Mode,
    samples_per_task: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Asks for every sample that `kept` lacks, and no other; each reply is on disk before the next."""
    have = {(one.system, one.task_id, one.index, one.prompt_digest) for one in kept.rows}
    prompts = {problem.id: problem.prompt(mode) for problem in benchmark.problems}
    requests = [
        Request(system=system, task_id=problem.id, index=index, prompt=prompts[problem.id])
        for index in range(samples_per_task)
        for problem in benchmark.problems
        for system in systems
        if (system.name, problem.id, index, prompts[problem.id].digest) not in have
    ]
    total = len(systems) * len(benchmark.problems) * samples_per_task
    for done, (request, reply) in enumerate(generator.generate(requests), start=1):
        kept.append(
            Sample(
                task_id=request.task_id,
                completion=reply.text,
                system=request.system.name,
                index=request.index,
                finish_reason=reply.finish_reason,
                prompt_tokens=reply.prompt_tokens,
                completion_tokens=reply.completion_tokens,
                prompt_digest=request.prompt.digest,
            )
        )
        if on_progress:
            on_progress(total - len(requests) + done, total)
