"""The endpoint backend against vLLM's own engine: the same 200 chunks, side by side.

    TERAZI_TEST_VLLM=.venv-vllm/bin/python PYTHONPATH=. .venv/bin/python bench/endpoint.py

Starts a real vLLM server and, in a process of its own, vLLM's offline `LLM`, both with one small Qwen2, one
adapter and the same limits. Then, round by round in turns:
1. finding in the round's chunks through the endpoint: wall time, output tokens, the client's own CPU time;
2. the same prompts with `LLM.chat`: no HTTP, no client.
At last two issues per chunk are rated, and the prefix-cache hit rate is read from the server's /metrics.
Prints medians and ratios; writes nothing. Takes some minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from review_data.domain import Issue
    from service.ports import Change, Reviewer

OFFLINE = """
import json, sys, time

def main(job):
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest
    from vllm.sampling_params import StructuredOutputsParams
    llm = LLM(job["model"], enable_lora=True, max_loras=2, max_lora_rank=8, max_model_len=8192,
              max_num_seqs=64, enforce_eager=True, dtype="float32", generation_config="vllm")
    params = SamplingParams(temperature=0, max_tokens=job["max_tokens"],
                            structured_outputs=StructuredOutputsParams(regex=job["regex"]))
    lora = LoRARequest("strict", 1, job["adapter"])
    print("READY", flush=True)
    for line in sys.stdin:
        conversations = json.loads(line)
        begun = time.perf_counter()
        outputs = llm.chat(conversations, params, lora_request=lora, use_tqdm=False)
        wall = time.perf_counter() - begun
        tokens = sum(len(one.outputs[0].token_ids) for one in outputs)
        print("RESULT", json.dumps([wall, tokens]), flush=True)

if __name__ == "__main__":
    main(json.loads(open(sys.argv[1]).read()))
"""


class Run(NamedTuple):
    """One side's round: seconds, output tokens, and the client's CPU seconds (0 for the offline engine)."""

    wall: float
    tokens: float
    cpu: float = 0.0

    @property
    def rate(self) -> float:
        """Output tokens per second."""
        return self.tokens / self.wall


def main() -> None:
    """Runs the rounds in turns and prints them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--chunks", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--width", type=int, default=256, help="hidden size of the model")
    parser.add_argument("--layers", type=int, default=4)
    args = parser.parse_args()

    from tests.support import tiny_model
    from tests.support.vllm import python_with_vllm, running

    python = python_with_vllm()
    if python is None:
        raise SystemExit("set TERAZI_TEST_VLLM to the python of an environment with vLLM")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folders = tiny_model.build(folder, width=args.width, layers=args.layers)
        with running(python, folders, folder / "vllm.log") as server:
            engine = offline_engine(python, folders, folder)
            compare(server.url, server.root, engine, args.chunks, args.rounds)
            engine.terminate()
            measure_rating(server.url, server.root, args.chunks)


def compare(url: str, root: str, engine: subprocess.Popen[str], count: int, rounds: int) -> None:
    """Rounds in turns; every round has chunks of its own, so that both sides begin without a cached chunk."""
    change, _ = chunked(count + 2)
    reviewer = opened(url)
    warm_up = (
        find_online(reviewer, change, range(count, count + 2), root),
        find_offline(engine, reviewer, change, range(count, count + 2)),
    )
    assert all(run.tokens for run in warm_up)
    pairs = []
    for number in range(rounds):
        part = range(number * count // rounds, (number + 1) * count // rounds)
        online = find_online(reviewer, change, part, root)
        offline = find_offline(engine, reviewer, change, part)
        pairs.append((online, offline))
        print(
            f"{len(part)} chunks: endpoint {online.wall:6.1f} s {online.rate:7.1f} tokens/s | "
            f"offline {offline.wall:6.1f} s {offline.rate:7.1f} tokens/s | "
            f"ratio {online.rate / offline.rate:.2f} | client CPU {online.cpu / online.wall:.1%} of the time",
            flush=True,
        )
    ratios = [online.rate / offline.rate for online, offline in pairs]
    shares = [online.cpu / online.wall for online, _ in pairs]
    print(f"throughput, endpoint / offline: median {statistics.median(ratios):.2f} of {rounds} rounds")
    print(f"client CPU / wall: median {statistics.median(shares):.1%}")


def chunked(count: int) -> tuple[Change, list[Issue]]:
    """A change of `count` files of 40 added lines of this repository's code, and two issues per file."""
    from tests.support.changes import change_of, file_of, issue_on

    root = Path(__file__).parents[1]
    sources = sorted((root / "service").rglob("*.py")) + sorted((root / "review_data").rglob("*.py"))
    rows = [row for path in sources for row in path.read_text(encoding="utf-8").splitlines() if row.strip()]
    files = [
        file_of(f"src/part_{number}.py", "\n".join(f"+{row}" for row in rows[number * 20 : number * 20 + 40]))
        for number in range(count)
    ]
    issues = [issue_on(file, line, "The result is not checked") for file in files for line in (5, 25)]
    return change_of(*files), issues


def opened(url: str) -> Reviewer:
    """The endpoint's reviewer with the adapter, 64 requests at once, no cache."""
    from service.backends.catalog import open_reviewer
    from service.settings import Settings

    return open_reviewer(
        Settings(
            backend="endpoint",
            endpoint=url,
            adapter="strict",
            endpoint_concurrency=64,
            cache_mb=0,
            explain="none",
        )
    )


def find_online(reviewer: Reviewer, change: Change, part: range, root: str) -> Run:
    """Finds in the chunks of `part` through the endpoint."""
    from service.workers import run_all

    (finder,) = reviewer.finders
    chunks = [finder.plan(change).chunks[number] for number in part]
    before = generated(root)
    wall, cpu = time.perf_counter(), time.process_time()
    failed = [done.error for done in run_all(chunks, finder.find, concurrency=64) if done.error]
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    if failed:
        raise SystemExit(f"{len(failed)} chunks failed: {failed[0]}")
    return Run(wall, generated(root) - before, cpu)


def find_offline(engine: subprocess.Popen[str], reviewer: Reviewer, change: Change, part: range) -> Run:
    """The same prompts in vLLM's own engine."""
    from review_data.prompts import find_messages, render_file
    from service.backends.asking import PLACEHOLDER, Form, Question

    (finder,) = reviewer.finders
    files = [finder.plan(change).chunks[number].files[0] for number in part]
    questions = [
        Question(Form.FIND, tuple(find_messages(render_file(file), nonce=PLACEHOLDER))) for file in files
    ]
    assert engine.stdin is not None
    engine.stdin.write(json.dumps([question.sealed() for question in questions]) + "\n")
    engine.stdin.flush()
    wall, tokens = json.loads(next_line(engine, "RESULT"))
    return Run(wall, tokens)


def measure_rating(url: str, root: str, count: int) -> None:
    """Rates two issues per chunk and prints how much of the prompts the prefix cache held."""
    import httpx

    from service.backends.endpoint.check import hit_tokens

    change, issues = chunked(count)
    rater = opened(url).rater
    rater.rate(change, issues[:1])
    before = hit_tokens(httpx.get(f"{root}/metrics").text)
    wall = time.perf_counter()
    answers: Sequence[object] = rater.rate(change, issues)
    wall = time.perf_counter() - wall
    after = hit_tokens(httpx.get(f"{root}/metrics").text)
    rate = (after.hits - before.hits) / (after.queries - before.queries)
    print(f"rating: {len(answers) / wall:.1f} issues/s; prefix-cache hit rate of the rate calls {rate:.2f}")


def generated(root: str) -> float:
    """Tokens that the server has generated so far."""
    import httpx

    rows = httpx.get(f"{root}/metrics").text.splitlines()
    return sum(float(row.rsplit(" ", 1)[1]) for row in rows if row.startswith("vllm:generation_tokens_total"))


def offline_engine(python: Path, folders: dict[str, Path], folder: Path) -> subprocess.Popen[str]:
    """Starts vLLM's own engine, which answers lines of conversations."""
    from review_data.replies import FIND_PATTERN
    from service.backends.asking import MAX_TOKENS, Form
    from tests.support.vllm import ENVIRONMENT

    job = {
        "model": str(folders["tiny"]),
        "adapter": str(folders["strict"]),
        "max_tokens": MAX_TOKENS[Form.FIND],
        "regex": FIND_PATTERN,
    }
    (folder / "job.json").write_text(json.dumps(job))
    (folder / "offline.py").write_text(OFFLINE)
    engine = subprocess.Popen(
        [str(python), str(folder / "offline.py"), str(folder / "job.json")],
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(folder / "offline.log").open("w"),
        text=True,
    )
    next_line(engine, "READY")
    return engine


def next_line(engine: subprocess.Popen[str], mark: str) -> str:
    """What follows `mark` on the engine's next marked line."""
    assert engine.stdout is not None
    for line in engine.stdout:
        if line.startswith(mark):
            return line.removeprefix(mark).strip()
    raise SystemExit("vLLM's own engine ended; see its log")


if __name__ == "__main__":
    main()
