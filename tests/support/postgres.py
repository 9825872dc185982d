"""A real PostgreSQL for tests: an own cluster in a temporary folder on a free loopback port.

Started at most once per process and stopped when it ends. PostgreSQL refuses to run as root, so that root
hands the cluster to the `postgres` user that Debian's package brings along.
"""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from functools import cache
from pathlib import Path

import psycopg


class Cluster:
    """A running cluster that can be stopped and started again."""

    def __init__(self, programs: Path) -> None:
        self.programs = programs
        self.user = "postgres" if os.geteuid() == 0 else None
        self.folder = Path(tempfile.mkdtemp(prefix="terazi-pg-"))
        if self.user:
            shutil.chown(self.folder, self.user)
        self.port = free_port()
        self._run("initdb", "-D", self.data, "-U", "terazi", "-A", "trust", "--no-sync", "-E", "UTF8")

    @property
    def data(self) -> str:
        return str(self.folder / "data")

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder} -c fsync=off -c max_connections=60"
        self._run("pg_ctl", "-D", self.data, "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", self.data, "-w", "-m", "immediate", "stop")

    def new_database(self) -> str:
        """The URL of a fresh, empty database."""
        name = f"t{uuid.uuid4().hex}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def url(self, database: str) -> str:
        return f"postgresql://terazi@127.0.0.1:{self.port}/{database}"

    def close(self) -> None:
        subprocess.run(
            [str(self.programs / "pg_ctl"), "-D", self.data, "-m", "immediate", "stop"],
            user=self.user, capture_output=True, check=False, cwd="/",
        )  # fmt: skip
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        # PostgreSQL keeps inherited pipes open, so that output goes to a file.
        with (self.folder.parent / f"{self.folder.name}.out").open("wb") as out:
            subprocess.run(
                [str(self.programs / program), *arguments],
                user=self.user, stdout=out, stderr=out, stdin=subprocess.DEVNULL, check=True, cwd="/",
            )  # fmt: skip
        (self.folder.parent / f"{self.folder.name}.out").unlink()


@cache
def shared_cluster() -> Cluster | None:
    """The process's cluster, None where PostgreSQL's server programs are missing."""
    programs = find_programs()
    if programs is None:
        return None
    cluster = Cluster(programs)
    cluster.start()
    atexit.register(cluster.close)
    return cluster


def find_programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`: Debian's newest version, or the one on the PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb")
    return debian[-1].parent if debian else (Path(found).parent if found else None)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
