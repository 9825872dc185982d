"""The command line that starts vLLM for reviews on this machine, and adapters of a running server.

Flags are those of vLLM 0.32. Owns no process: running the command is the caller's affair.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from review_data.errors import BackendError, UserError
from service.backends.endpoint.served import list_models
from service.backends.endpoint.wire import Refused, Wire

# The ranks that vLLM's kernels are built for.
RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
NAME: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,80}$")
STRUCTURED: Final = json.dumps({"backend": "xgrammar", "disable_any_whitespace": True}, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to compute on: GPUs' memory in GiB (none: CPU), CPU memory in GiB."""

    gpu_gib: tuple[float, ...]
    ram_gib: float


@dataclass(frozen=True, slots=True)
class Serving:
    """What to serve: the base, adapters by name, where, and how much context."""

    model: str
    adapters: Mapping[str, Path]
    served_name: str = ""
    port: int = 8000
    context: int = 16384


def this_machine() -> Machine:
    """Asks `nvidia-smi` and the kernel."""
    ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    if shutil.which("nvidia-smi") is None:
        return Machine((), ram)
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
        return Machine(tuple(float(row) / 1024 for row in done.stdout.split()), ram)
    except (OSError, ValueError, subprocess.SubprocessError):
        return Machine((), ram)


def vllm_program() -> list[str]:
    """How to start vLLM here: its own program, or this python's module; `UserError` without either."""
    from importlib.util import find_spec

    found = shutil.which("vllm")
    if found:
        return [found, "serve"]
    if find_spec("vllm") is not None:
        return [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model"]
    raise UserError(
        "vLLM is not installed here; install it in an environment of its own (`pip install vllm`), because "
        "it pins its own torch, and put that environment's `vllm` on the PATH"
    )


def command_line(program: Sequence[str], serving: Serving, machine: Machine) -> list[str]:
    """The whole command. `UserError` names an adapter, or a base, that can't be served."""
    if not serving.model.strip():
        raise UserError("MODEL: is empty; is a variable not set? Name a folder or a hub id")
    command = [*program, serving.model, "--host", "127.0.0.1", "--port", str(serving.port)]
    if serving.served_name:
        command += ["--served-model-name", serving.served_name]
    command += ["--max-model-len", str(serving.context), "--enable-prefix-caching"]
    # A model's own generation_config.json would change sampling behind the client's back.
    command += ["--generation-config", "vllm", "--structured-outputs-config", STRUCTURED]
    if len(machine.gpu_gib) > 1:
        command += ["--data-parallel-size", str(len(machine.gpu_gib))]
    if serving.adapters:
        rank = max(rank_of(folder) for folder in serving.adapters.values())
        fitting = next((known for known in RANKS if known >= rank), None)
        if fitting is None:
            raise UserError(f"an adapter has rank {rank}; vLLM serves at most {RANKS[-1]}")
        command += ["--enable-lora", "--max-lora-rank", str(fitting)]
        command += ["--max-loras", str(min(len(serving.adapters), 4)), "--lora-modules"]
        command += [f"{_checked(name)}={folder}" for name, folder in serving.adapters.items()]
    return command


def environment(machine: Machine) -> dict[str, str]:
    """vLLM's environment here: adapters at run time, no reports of use, and room for its cache on a CPU."""
    values = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_NO_USAGE_STATS": "1"}
    if not machine.gpu_gib:
        values["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, min(40, int(machine.ram_gib / 4))))
    return values


def rank_of(folder: Path) -> int:
    """The rank of a LoRA adapter in PEFT's format."""
    try:
        rank = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))["r"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder}: is no LoRA adapter (adapter_config.json: {error}); check it") from None
    if not isinstance(rank, int) or rank < 1:
        raise UserError(f"{folder}: adapter_config.json gives no rank; train the adapter again")
    return rank


def load_adapter(wire: Wire, name: str, folder: Path) -> None:
    """Makes a running server serve an adapter; `UserError` or `BackendError` says why it can't."""
    rank_of(folder)
    if _checked(name) in {model.name for model in list_models(wire)}:
        raise UserError(f"{name}: is served already; unload it, or load under another name")
    _post(wire, "load_lora_adapter", {"lora_name": name, "lora_path": str(folder.absolute())})


def unload_adapter(wire: Wire, name: str) -> None:
    """Takes an adapter from a running server."""
    known = {model.name for model in list_models(wire) if model.parent is not None}
    if name not in known:
        raise UserError(f"{name}: is not served; the adapters are {', '.join(sorted(known)) or 'none'}")
    _post(wire, "unload_lora_adapter", {"lora_name": name})


def _post(wire: Wire, call: str, body: Mapping[str, object]) -> None:
    try:
        wire.post_text(f"{wire.address.url}/{call}", body)
    except Refused as error:
        if error.status in (404, 405):
            raise BackendError(
                f"{wire.address.url} does not change adapters while it runs; start it with "
                "`terazi vllm serve`, or with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1"
            ) from None
        raise


def _checked(name: str) -> str:
    # vLLM takes names like ../x for paths.
    if not NAME.match(name) or ".." in name:
        raise UserError(f"`{name}` is no name for an adapter; use letters, digits, `.`, `_`, `-` and `@`")
    return name
