"""The endpoint backend against vLLM's own engine: the same 200 chunks, side by side.

    TERAZI_TEST_VLLM=.venv-vllm/bin/python PYTHONPATH=. .venv/bin/python bench/endpoint.py

Starts a real vLLM with a small Qwen2 and an adapter, then measures
1. finding in 200 chunks through the endpoint: wall time, output tokens per second, the client's own CPU time;
2. rating two issues per chunk: wall time, and the prefix-cache hit rate from the server's /metrics;
3. the prompts of 1 with vLLM's offline `LLM.chat` in its own environment (no HTTP, same limits and adapter).
Prints the ratios; writes nothing. Takes some minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

OFFLINE = """
import json, sys, time
from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest
from vllm.sampling_params import StructuredOutputsParams
job = json.loads(open(sys.argv[1]).read())
llm = LLM(job["model"], enable_lora=True, max_loras=2, max_lora_rank=8, max_model_len=8192, max_num_seqs=64,
          enforce_eager=True, dtype="float32", generation_config="vllm", enable_prefix_caching=True)
params = SamplingParams(temperature=0, max_tokens=job["max_tokens"],
                        structured_outputs=StructuredOutputsParams(regex=job["regex"]))
lora = LoRARequest("strict", 1, job["adapter"])
llm.chat(job["conversations"][:2], params, lora_request=lora, use_tqdm=False)
llm.reset_prefix_cache()
begun = time.perf_counter()
outputs = llm.chat(job["conversations"], params, lora_request=lora, use_tqdm=False)
wall = time.perf_counter() - begun
print("RESULT", json.dumps({"wall": wall, "tokens": sum(len(o.outputs[0].token_ids) for o in outputs)}))
"""


def main() -> None:
    """Runs the three measurements and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--chunks", type=int, default=200)
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
            conversations, online = measure_finding(server.url, server.root, args.chunks)
            measure_rating(server.url, server.root, args.chunks)
        offline = measure_offline(python, folders, folder, conversations)
    ratio = (online["tokens"] / online["wall"]) / (offline["tokens"] / offline["wall"])
    print(f"offline  {offline['wall']:7.1f} s  {offline['tokens'] / offline['wall']:7.1f} output tokens/s")
    print(
        f"throughput endpoint / offline: {ratio:.2f} "
        f"(output tokens {online['tokens']:.0f} / {offline['tokens']})"
    )


def chunked(count: int) -> tuple[object, list[object]]:
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


def opened(url: str) -> object:
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


def measure_finding(url: str, root: str, count: int) -> tuple[list[object], dict[str, float]]:
    """Finds in every chunk; returns the conversations for the offline run, wall time and output tokens."""
    import httpx

    from review_data.prompts import find_messages
    from service.backends.asking import PLACEHOLDER, Form, Question
    from service.workers import run_all

    change, _ = chunked(count)
    (finder,) = opened(url).finders
    plan = finder.plan(change)
    for chunk in plan.chunks[:2]:
        finder.find(chunk)
    httpx.post(f"{root}/reset_prefix_cache")
    before = counter(root, "vllm:generation_tokens_total")
    wall, cpu = time.perf_counter(), time.process_time()
    failed = sum(done.error is not None for done in run_all(plan.chunks, finder.find, concurrency=64))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    tokens = counter(root, "vllm:generation_tokens_total") - before
    print(
        f"endpoint {wall:7.1f} s  {tokens / wall:7.1f} output tokens/s  "
        f"{len(plan.chunks)} chunks, {failed} failed"
    )
    print(f"client CPU {cpu:.2f} s = {cpu / wall:.1%} of the wall time")
    texts = finder.layouts.of(change).texts
    questions = [
        Question(Form.FIND, tuple(find_messages(texts[chunk.id], nonce=PLACEHOLDER))) for chunk in plan.chunks
    ]
    return [question.sealed() for question in questions], {"wall": wall, "tokens": tokens}


def measure_rating(url: str, root: str, count: int) -> None:
    """Rates two issues per chunk and prints how much of the prompts the prefix cache held."""
    import httpx

    from service.backends.endpoint.check import hit_tokens

    change, issues = chunked(count)
    rater = opened(url).rater
    rater.rate(change, issues[:1])
    before = hit_tokens(httpx.get(f"{root}/metrics").text)
    wall = time.perf_counter()
    answers = rater.rate(change, issues)
    wall = time.perf_counter() - wall
    after = hit_tokens(httpx.get(f"{root}/metrics").text)
    rate = (after.hits - before.hits) / (after.queries - before.queries)
    print(f"rating   {wall:7.1f} s  {len(answers) / wall:7.1f} issues/s; prefix-cache hit rate {rate:.2f}")


def counter(root: str, name: str) -> float:
    """The sum of a counter over all its labels."""
    import httpx

    rows = httpx.get(f"{root}/metrics").text.splitlines()
    return sum(float(row.rsplit(" ", 1)[1]) for row in rows if row.startswith(name))


def measure_offline(
    python: Path, folders: dict[str, Path], folder: Path, conversations: list[object]
) -> dict[str, float]:
    """The same conversations in vLLM's own engine, in a process of its own."""
    import os

    from review_data.replies import FIND_PATTERN
    from service.backends.asking import MAX_TOKENS, Form
    from tests.support.vllm import ENVIRONMENT

    job = {
        "model": str(folders["tiny"]),
        "adapter": str(folders["strict"]),
        "max_tokens": MAX_TOKENS[Form.FIND],
        "regex": FIND_PATTERN,
        "conversations": conversations,
    }
    (folder / "job.json").write_text(json.dumps(job))
    (folder / "offline.py").write_text(f"if __name__ == '__main__':\n{_indented(OFFLINE)}")
    done = subprocess.run(
        [str(python), str(folder / "offline.py"), str(folder / "job.json")],
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    found = [row for row in done.stdout.splitlines() if row.startswith("RESULT")]
    if not found:
        raise SystemExit(f"the offline run failed:\n{done.stderr[-2000:]}")
    return json.loads(found[0].removeprefix("RESULT"))


def _indented(code: str) -> str:
    return "\n".join(f"    {row}" for row in code.splitlines())


if __name__ == "__main__":
    main()
