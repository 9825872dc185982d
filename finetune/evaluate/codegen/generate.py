"""Asks models for answers and keeps every raw reply at once, so that nothing is asked twice.

Owns the file of samples in the run's folder: appended line by line, resumed by counting what is there. A
model is anything that fills `Generator`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from finetune.evaluate.client import Client, Reply, Sampling
from finetune.evaluate.codegen.benchmark import Benchmark, Mode, Prompt, Sample
from finetune.evaluate.codegen.systems import System
from review_data.domain import Record
from review_data.errors import DataError

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
        """Keeps `at_once` requests in flight. After a failure, what is in flight is still handed over."""
        waiting = iter(requests)
        failure: BaseException | None = None
        with ThreadPoolExecutor(self._at_once) as pool:
            running = {pool.submit(self._one, request): request for request in islice(waiting, self._at_once)}
            while running:
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    request = running.pop(future)
                    failure = failure or future.exception()
                    if future.exception() is None:
                        yield request, future.result()
                    if failure is None:
                        running |= self._next(pool, waiting)
        if failure is not None:
            raise failure

    def _next(self, pool: ThreadPoolExecutor, waiting: Iterator[Request]) -> dict[Future[Reply], Request]:
        return {pool.submit(self._one, request): request for request in islice(waiting, 1)}

    def _one(self, request: Request) -> Reply:
        prompt, model = request.prompt, request.system.model
        more = {"stop": list(prompt.stop)} if prompt.stop else {}
        seed = self._seed + SEED_STRIDE * request.index
        if prompt.messages:
            messages = [message.model_dump() for message in prompt.messages]
            return self._client.chat(model, messages, self._sampling, seed=seed, **more)
        return self._client.complete(model, prompt.text, self._sampling, seed=seed, **more)


class SampleFile:
    """The samples of a run on disk. A torn last line (a crash while writing) is dropped on opening."""

    def __init__(self, path: Path, settings: dict[str, object]) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._check_settings(settings)
        self.samples = self._read()

    def append(self, sample: Sample) -> None:
        """Writes one sample through to the disk."""
        with self._path.open("ab") as file:
            file.write(sample.model_dump_json().encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.samples.append(sample)

    def _check_settings(self, settings: dict[str, object]) -> None:
        """A run's folder belongs to one benchmark, prompt and way of sampling; others are refused."""
        place = self._path.with_name("settings.json")
        text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
        if not place.exists():
            place.write_text(text, encoding="utf-8")
        elif place.read_text(encoding="utf-8") != text:
            raise DataError(
                "this folder holds samples made with other settings; choose another --out to keep them apart",
                file=place,
            )

    def _read(self) -> list[Sample]:
        if not self._path.exists():
            return []
        data = self._path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) != len(data):
            os.truncate(self._path, len(whole))
        try:
            return [Sample.model_validate_json(line) for line in whole.splitlines() if line.strip()]
        except ValidationError as error:
            raise DataError(
                f"is damaged: {error.errors()[0]['msg']}; remove the line", file=self._path
            ) from None


def generate_missing(
    benchmark: Benchmark,
    systems: Sequence[System],
    generator: Generator,
    file: SampleFile,
    *,
    mode: Mode,
    samples_per_task: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Asks for every sample that `file` lacks, and no other; each reply is on disk before the next."""
    have = {(sample.system, sample.task_id, sample.index) for sample in file.samples}
    requests = [
        Request(system=system, task_id=problem.id, index=index, prompt=problem.prompt(mode))
        for index in range(samples_per_task)
        for problem in benchmark.problems
        for system in systems
        if (system.name, problem.id, index) not in have
    ]
    total = len(systems) * len(benchmark.problems) * samples_per_task
    for done, (request, reply) in enumerate(generator.generate(requests), start=1):
        file.append(
            Sample(
                task_id=request.task_id,
                completion=reply.text,
                system=request.system.name,
                index=request.index,
                finish_reason=reply.finish_reason,
                prompt_tokens=reply.prompt_tokens,
                completion_tokens=reply.completion_tokens,
            )
        )
        if on_progress:
            on_progress(total - len(requests) + done, total)
