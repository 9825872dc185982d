"""The `review` adapter against its base, on a base that this machine pretrains itself, served by a real vLLM.

usage: python bench/review_adapter.py FOLDER --vllm /path/to/vllm/bin/python [--minutes 8] [--epochs 3]

Small-scale reproduction of "LoRA adds 18 points of severity accuracy" on one CPU: pretrain a 1.6M-parameter
Qwen2 (bench/small_base.py), train the packaged `review` recipe on it (rating alone), serve base and adapter
with vLLM, and rate the validation split through the endpoint backend, as a review does. The base's answer is
the likeliest of the labels 1 to 4, like the adapter's. Steps that FOLDER already holds are not repeated.
Prints both accuracies with intervals, their difference and its test.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

CHANGES = (
    "data.tasks=['rate']",
    "data.chunk_tokens=256",
    "data.label_weight=20",
    "lora.rank=64",
    "lora.alpha=64",
    "optimisation.learning_rate=5e-4",
    "length.tokens=2048",
    "watch.every=110",
    "watch.checkpoint=110",
    "watch.patience=0",
)


def main() -> None:
    """Base, adapter, server, scores."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--vllm", type=Path, required=True, help="python of the environment that has vLLM")
    parser.add_argument("--minutes", type=float, default=8.0, help="of pretraining")
    parser.add_argument("--epochs", type=float, default=3.0, help="of training the adapter")
    options = parser.parse_args()
    base, run = options.folder / "base", options.folder / "run"
    if not (base / "config.json").exists():
        from small_base import make_base

        print("base:", make_base(base, options.minutes, seed=0), flush=True)
    if not (run / "adapter" / "manifest.json").exists():
        print(train_adapter(base, run, options.epochs), flush=True)
    with serving(options.vllm, base, run / "adapter", options.folder / "vllm.log") as url:
        print(scores(url))


def train_adapter(base: Path, run: Path, epochs: float) -> str:
    """`terazi train review` with the changes above."""
    from ui.cli.commands.train_codegen import adapter_text

    started = time.monotonic()
    changes = [*CHANGES, f"stages.0.epochs={epochs}"]
    text = adapter_text(
        "review", run, "review", str(base), (), (), changes, (run / "run.json").exists(), False
    )
    return f"adapter: {time.monotonic() - started:.0f} s\n{text}"


@contextmanager
def serving(python: Path, base: Path, adapter: Path, log: Path) -> Iterator[str]:
    """A vLLM server with base and adapter on a free loopback port; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    flags = f"--host 127.0.0.1 --port {port} --max-model-len 4096 --enforce-eager --dtype float32"
    lora = f"--enable-lora --max-lora-rank 64 --lora-modules review={adapter.resolve()}"
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(base.resolve())]
    environment = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with log.open("wb") as output:
        server = subprocess.Popen(
            [
                *command,
                "--served-model-name",
                "base",
                "--generation-config",
                "vllm",
                *flags.split(),
                *lora.split(),
            ],
            env={**os.environ, **environment, "PYTHONPATH": "", "TORCHDYNAMO_DISABLE": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait(server, f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(timeout=60)


def wait(server: subprocess.Popen[bytes], url: str, log: Path, seconds: float = 400) -> None:
    """Until the server answers."""
    import httpx

    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    raise SystemExit(f"vLLM did not come up; see {log}")


def scores(url: str) -> str:
    """Both models rate the validation split through the endpoint backend; a table and the paired test."""
    from finetune.evaluate.severity import compare, predict
    from finetune.severity_metrics import severity_intervals

    rows = labelled_rows()
    found = {name: predict(rows, rater(url, name)) for name in ("", "review")}
    lines = []
    for name, predictions in found.items():
        truth, guesses = [row.severity for row in predictions], [row.predicted for row in predictions]
        intervals = severity_intervals(truth, guesses, None, [row.record for row in predictions])
        failed = sum(guess is None for guess in guesses)
        kappa = intervals["quadratic_kappa"].value or 0.0
        title = "base with adapter" if name else "base"
        lines.append(
            f"{title:<18} accuracy {intervals['accuracy'].percent()}, quadratic kappa {kappa:.3f}, "
            f"{len(truth)} rows, {failed} not rated"
        )
    paired = compare(found["review"], found[""], "base")
    gain = paired.differences["accuracy"]
    low, high = 100 * (gain.low or 0), 100 * (gain.high or 0)
    lines.append(
        f"gain {100 * (gain.value or 0):+.1f} points [{low:+.1f}, {high:+.1f}], "
        f"McNemar p = {paired.flips.p_value:.2g}"
    )
    return "\n".join(lines)


def labelled_rows() -> list[Any]:
    """The validation split: every finding of its merge requests, and every comment."""
    from finetune.evaluate.severity import labelled_issues
    from review_data.dataset import TEACHER_FOLDER

    kinds = ("merge_requests", "comments")
    return [row for kind in kinds for row in labelled_issues(TEACHER_FOLDER / f"{kind}.validation.jsonl")]


def rater(url: str, adapter: str) -> Any:
    """The endpoint backend's rater, as `terazi review` opens it, without explanations and without a cache."""
    from service.backends.catalog import open_rater
    from service.settings import resolve

    settings = {"rater": "endpoint", "endpoint": url, "model": "base", "adapter": adapter, "cache_mb": 0}
    return open_rater(resolve({**settings, "chunk_tokens": 256, "explain": "none"}).settings)


if __name__ == "__main__":
    main()
