"""Starts code in the cell, feeds it, captures what it says within bounds, and ends it.

Owns the parent's side: processes, pipes, deadlines, kills. The cell itself is built by `jail.py`; what the
output means is for the callers.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.sandbox.job import Ending, Job, Limits, Ran, SandboxFailed

JAIL = Path(__file__).with_name("jail.py")
BOX_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/box",
    "TMPDIR": "/box",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
GRACE_S = 5.0
PARTNER_S = 1.0


@dataclass(slots=True)
class Stream:
    """One pipe or socket of ours: bytes still to send, bytes received (None: not that way)."""

    file: Any
    unsent: bytes | None = None
    received: bytearray | None = None

    @property
    def events(self) -> int:
        """What the selector watches."""
        write = selectors.EVENT_WRITE if self.unsent is not None else 0
        return write | (selectors.EVENT_READ if self.received is not None else 0)


@dataclass(slots=True)
class Running:
    """One started job: its process and its streams as they fill."""

    process: subprocess.Popen[bytes]
    limits: Limits
    group: bool
    started: float
    streams: dict[str, Stream]
    cut: Ending | None = None

    def end(self, why: Ending | None = None) -> None:
        """Kills the whole cell; in the open air, asks the jail to kill what it adopted."""
        self.cut = self.cut or why
        with contextlib.suppress(ProcessLookupError):
            if self.group:
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.terminate()

    def heard(self, name: str) -> bytes:
        """What came in on a stream, nothing where there is none."""
        stream = self.streams.get(name)
        return bytes(stream.received) if stream and stream.received is not None else b""


def start(job: Job, limits: Limits, orders: Mapping[str, Any]) -> Running:
    """Starts the jail with the job's orders; `orders` is what the machine adds (see `machine.py`)."""
    configuration, told = os.pipe()
    heard, status = os.pipe()
    inside, own = _channel(job)
    passed = [configuration, status, *([inside.fileno()] if inside else [])]
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-B", str(JAIL), str(configuration), str(status)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=passed,
        env={"PATH": BOX_ENVIRONMENT["PATH"]},
        start_new_session=True,
        bufsize=0,
    )
    text = {
        **orders,
        "files": dict(job.files),
        "command": list(job.command),
        "channel_fd": inside.fileno() if inside else None,
        "limits": limits.rlimits(),
        "disk_bytes": limits.disk_mb << 20,
    }
    os.close(configuration)
    os.close(status)
    if inside:
        inside.close()
    streams = {
        "orders": Stream(os.fdopen(told, "wb", buffering=0), unsent=json.dumps(text).encode()),
        "status": Stream(os.fdopen(heard, "rb", buffering=0), received=bytearray()),
        "stdin": Stream(process.stdin, unsent=job.stdin),
        "stdout": Stream(process.stdout, received=bytearray()),
        "stderr": Stream(process.stderr, received=bytearray()),
    }
    if own and isinstance(job.channel, bytes):
        streams["channel"] = Stream(own, unsent=job.channel, received=bytearray())
    return Running(process, limits, bool(orders["full"]), time.monotonic(), streams)


def finish(runs: Sequence[Running]) -> tuple[Ran, ...]:
    """Pumps all streams until the first run has ended, ends the others, and says how each went."""
    with selectors.DefaultSelector() as selector:
        for run in runs:
            for stream in run.streams.values():
                os.set_blocking(stream.file.fileno(), False)
                selector.register(stream.file, stream.events, (run, stream))
        _pump(selector, runs)
    return tuple(_conclude(run) for run in runs)


def _channel(job: Job) -> tuple[socket.socket | None, socket.socket | None]:
    """The code's end of its channel, and ours when the caller gave bytes to send."""
    if isinstance(job.channel, socket.socket):
        return job.channel, None
    return socket.socketpair() if job.channel is not None else (None, None)


def _pump(selector: selectors.BaseSelector, runs: Sequence[Running]) -> None:
    """Moves bytes until every stream is closed. When the first run has ended, its partner gets a moment to
    end by itself (its last word says how it went), then everything is killed."""
    kill_at = give_up_at = float("inf")
    while (open_streams := selector.get_map()) and time.monotonic() < give_up_at:
        for key, events in selector.select(timeout=0.05):
            run, stream = key.data
            if events & selectors.EVENT_WRITE:
                _send(selector, stream)
            if events & selectors.EVENT_READ:
                _receive(selector, run, stream)
        now = time.monotonic()
        for run in runs:
            if run.cut is None and now > run.started + run.limits.wall_s:
                run.end(Ending.WALL_TIME)
                kill_at = min(kill_at, now)
        if runs[0].streams["status"].file not in open_streams:
            alone = all(run.streams["status"].file not in open_streams for run in runs)
            kill_at = min(kill_at, now if alone else now + PARTNER_S)
        if now >= kill_at and give_up_at == float("inf"):
            give_up_at = now + GRACE_S
            for run in runs:
                run.end()


def _send(selector: selectors.BaseSelector, stream: Stream) -> None:
    waiting = stream.unsent or b""
    try:
        stream.unsent = waiting[os.write(stream.file.fileno(), waiting[: 1 << 16]) :] if waiting else b""
    except BlockingIOError:
        return
    except OSError:
        stream.unsent = b""
    if stream.unsent:
        return
    if stream.received is None:
        selector.unregister(stream.file)
        stream.file.close()
    else:
        selector.modify(stream.file, selectors.EVENT_READ, selector.get_key(stream.file).data)
        with contextlib.suppress(OSError):
            stream.file.shutdown(socket.SHUT_WR)


def _receive(selector: selectors.BaseSelector, run: Running, stream: Stream) -> None:
    try:
        data = os.read(stream.file.fileno(), 1 << 16)
    except BlockingIOError:
        return
    except OSError:
        data = b""
    if not data:
        selector.unregister(stream.file)
        return
    assert stream.received is not None
    stream.received += data
    if len(stream.received) > run.limits.output_bytes:
        del stream.received[run.limits.output_bytes :]
        run.end(Ending.OUTPUT_LIMIT)


def _conclude(run: Running) -> Ran:
    """Reaps the jail, closes what is open, and reads its last word."""
    run.end()
    try:
        run.process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        run.process.kill()
        run.process.wait()
    wall_s = time.monotonic() - run.started
    for stream in run.streams.values():
        stream.file.close()
    word = run.heard("status")
    said: dict[str, Any] = json.loads(word) if word.endswith(b"\n") else {}
    if "failed" in said:
        raise SandboxFailed(said["failed"])
    code, cpu_s = said.get("code"), said.get("cpu_s")
    return Ran(
        ending=run.cut or _ending(code, cpu_s, run.limits),
        code=code,
        stdout=run.heard("stdout"),
        stderr=run.heard("stderr"),
        channel=run.heard("channel"),
        cpu_s=cpu_s,
        wall_s=wall_s,
    )


def _ending(code: int | None, cpu_s: float | None, limits: Limits) -> Ending:
    if code is None or cpu_s is None:
        return Ending.CUT
    # The accounting of a killed process lags behind by a few ticks.
    if code == -signal.SIGXCPU or (code == -signal.SIGKILL and cpu_s > limits.cpu_s - 0.5):
        return Ending.CPU_TIME
    return Ending.SIGNALLED if code < 0 else Ending.EXITED
