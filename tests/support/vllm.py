"""A real vLLM server for tests: the tiny Qwen2 with its two adapters, on a free loopback port.

`TERAZI_TEST_VLLM` names the python of vLLM's own environment (`make test` makes `.venv-vllm`); without it and
without that folder the tests that need a server are skipped. All of them run in one worker of pytest-xdist
(tests/conftest.py), so that a test session starts one server.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.support import tiny_model

ROOT = Path(__file__).parents[2]
START_SECONDS = 480.0
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
    "OMP_NUM_THREADS": "1",
    # Without this the first request waits 20 s for a kernel to be compiled.
    "TORCHDYNAMO_DISABLE": "1",
}
FLAGS = (
    f"--enable-lora --max-loras 2 --max-lora-rank 8 --max-model-len {tiny_model.MAX_LENGTH} "
    "--max-num-seqs 64 --generation-config vllm --enforce-eager --dtype float32"
)


@dataclass(frozen=True)
class VllmServer:
    """A running server: `url` ends in /v1; `folders` has the base's and every adapter's files by name."""

    url: str
    pid: int
    folders: dict[str, Path]
    base: str = tiny_model.BASE
    adapters: tuple[str, ...] = tiny_model.ADAPTERS

    @property
    def root(self) -> str:
        """The server's address without /v1, where /metrics and /tokenize are."""
        return self.url.removesuffix("/v1")


def python_with_vllm() -> Path | None:
    """The python that has vLLM; None when there is none. A name that is wrong is an error, not a skip."""
    named = os.environ.get("TERAZI_TEST_VLLM")
    if named:
        path = Path(named).absolute()
        assert path.exists(), f"TERAZI_TEST_VLLM names {named}, which does not exist"
        return path
    path = ROOT / ".venv-vllm" / "bin" / "python"
    return path if path.exists() else None


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny base model's and adapters' folders by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by names of version 4
        return tiny_model.build(tmp_path_factory.mktemp("tiny-models"))


@pytest.fixture(scope="session")
def vllm_server(
    tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VllmServer]:
    """A server that lives as long as the test session."""
    python = python_with_vllm()
    if python is None:
        pytest.skip("no vLLM: set TERAZI_TEST_VLLM, or run `make test`")
    with running(python, tiny_models, tmp_path_factory.mktemp("vllm") / "vllm.log") as server:
        yield server


@contextlib.contextmanager
def running(python: Path, folders: dict[str, Path], log: Path) -> Iterator[VllmServer]:
    """Starts a server and stops it and its children at the end, also when this process dies."""
    port = free_port()
    modules = [f"{name}={folders[name]}" for name in tiny_model.ADAPTERS]
    command = [
        *(str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(folders[tiny_model.BASE])),
        *("--served-model-name", tiny_model.BASE, "--host", "127.0.0.1", "--port", str(port)),
        *(*FLAGS.split(), "--lora-modules", *modules),
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **ENVIRONMENT},
            cwd=log.parent,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
    try:
        _wait_until_up(process, f"http://127.0.0.1:{port}/health", log)
        yield VllmServer(f"http://127.0.0.1:{port}/v1", process.pid, folders)
    finally:
        _stop(process)


def free_port() -> int:
    """A loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_up(process: subprocess.Popen[bytes], health: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(health, timeout=2).status_code == 200:
                return
        time.sleep(0.25)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-40:])
    raise RuntimeError(f"vLLM did not come up (exit {process.poll()}); the end of its log:\n{tail}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
