"""What goes into a cell and what comes out: the job, its limits, how it ended."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field

from review_data.domain import Record
from review_data.errors import ToolError


class SandboxFailed(ToolError):
    """A step of building the cell was refused; `step` says which."""

    def __init__(self, step: str) -> None:
        self.step = step
        super().__init__(f"the sandbox could not be built: {step}; docs/evaluation.md says what it needs")


class Limits(Record):
    """What one run of code may use. Memory is address space per process; `wall_s` starts with the cell."""

    cpu_s: int = Field(10, ge=1)
    wall_s: float = Field(20, gt=0)
    memory_mb: int = Field(1024, ge=64)
    output_bytes: int = Field(8 << 20, ge=1)
    processes: int = Field(32, ge=1)
    file_mb: int = Field(16, ge=1)
    disk_mb: int = Field(32, ge=1)

    def rlimits(self) -> dict[str, int]:
        """As setrlimit(2) names them."""
        return {
            "AS": self.memory_mb << 20,
            "CPU": self.cpu_s,
            "FSIZE": self.file_mb << 20,
            "NOFILE": 64,
            "CORE": 0,
            "NPROC": self.processes,
        }


class Ending(StrEnum):
    """How a run ended; `EXITED` says nothing of the exit code, `CUT` is a helper ended with its partner."""

    EXITED = "exited"
    SIGNALLED = "signalled"
    CPU_TIME = "cpu-time"
    WALL_TIME = "wall-time"
    OUTPUT_LIMIT = "output-limit"
    CUT = "cut"


class Ran(Record):
    """One run: `code` is the exit code or minus the signal, None when the run was cut short."""

    ending: Ending
    code: int | None
    stdout: bytes
    stderr: bytes
    channel: bytes = b""
    cpu_s: float | None = None
    wall_s: float

    @property
    def succeeded(self) -> bool:
        """Whether the code ended by itself with exit code 0."""
        return self.ending is Ending.EXITED and self.code == 0


@dataclass(frozen=True, slots=True)
class Job:
    """Files to put beside each other, the command to run there, and what it reads.

    `channel`: bytes to send on descriptor 3, where the code may answer; None for no channel.
    """

    files: Mapping[str, str]
    command: Sequence[str]
    stdin: bytes = b""
    channel: bytes | socket.socket | None = None
