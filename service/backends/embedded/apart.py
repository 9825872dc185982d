"""The network in a process of its own, seen from the process that asks it.

Python loads libraries under one lock: in a thread they would take turns with the search for issues, in a
process they load on another core. For a program that makes one review and ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from review_data.errors import BackendError
from service.backends.embedded.encoding import Segments

_MODULE = "service.backends.embedded.worker"


class Apart:
    """A started process, loading or loaded; it ends with this object, at the latest with this process."""

    def __init__(self, folder: Path, max_tokens: int, *, fused: bool) -> None:
        """Raises `OSError` when no process can be started."""
        # -P: the current folder may be one under review, and is no place to import from.
        command = [sys.executable, "-P", "-m", _MODULE, str(folder), str(max_tokens)]
        self._process = subprocess.Popen(
            [*command, "fused" if fused else "plain"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        self._lock = threading.Lock()
        weakref.finalize(self, _end, self._process)

    def logits(self, inputs: Sequence[Segments]) -> list[list[float]]:
        """As `Network.logits`; `BackendError` when the process is gone."""
        line = json.dumps([(shown.text, shown.context) for shown in inputs]) + "\n"
        try:
            return self._exchange(line.encode())
        except (OSError, ValueError) as error:
            raise BackendError(f"the process with the severity model ended ({error})") from error

    def _exchange(self, line: bytes) -> list[list[float]]:
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answers is not None
        with self._lock:
            asked.write(line)
            asked.flush()
            rows: list[list[float]] = json.loads(answers.readline())
        return rows


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()
    process.wait()
