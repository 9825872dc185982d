"""Many clients at once on one server: latency, throughput, errors and memory.

    python bench/load.py                      # 50 clients for 60 s, embedded backend
    python bench/load.py --clients 10 --seconds 20 --store postgresql://user@host/db

Each client posts a merge request of the packaged dataset, follows it to its result, reads it, gives a verdict
and begins again; a 429 is waited out as `Retry-After` says and counted. The server is a process of its own,
started with its defaults. Prints percentiles per kind of request, the time from posting to the result, every
status that is not 2xx, and the server's resident memory in each tenth of the run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Runs the load and prints the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--store", default="", help="database; a temporary SQLite file by default")
    parser.add_argument("--page", action="store_true", help="serve the page too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        process, url = start(options.store or str(Path(folder) / "load.db"), options.page)
        try:
            report(load(url, process.pid, options.clients, options.seconds), options.seconds)
        finally:
            process.terminate()
            print(f"exit status after SIGTERM: {process.wait(120)}")


def start(store: str, page: bool) -> tuple[subprocess.Popen[str], str]:
    """The server and its address."""
    flags = [] if page else ["--no-page"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ui.cli.main", "serve", "--port", "0", "--store", store, *flags],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().split(" is at ")[1].split()[0]


class Figures:
    """What the clients saw; appended to by all of them."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.statuses: Counter[str] = Counter()
        self.memory: list[float] = []
        self.failures: Counter[str] = Counter()


def load(url: str, pid: int, clients: int, seconds: float) -> Figures:
    """Runs the clients against the server."""
    from review_data.dataset import merge_requests

    patches = [row.diff for row in merge_requests("validation")]
    figures, until = Figures(), time.monotonic() + seconds
    threads = [
        threading.Thread(target=client, args=(url, patches[number:] + patches[:number], until, figures))
        for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    while time.monotonic() < until:
        figures.memory.append(resident_mib(pid))
        time.sleep(0.5)
    for thread in threads:
        thread.join()
    return figures


def client(url: str, patches: list[str], until: float, figures: Figures) -> None:
    """One client's life."""
    import httpx

    number = 0
    with httpx.Client(base_url=url, timeout=60) as http:
        while time.monotonic() < until:
            number += 1
            try:
                one_round(http, patches[number % len(patches)], figures)
            except httpx.HTTPError as error:
                figures.failures[type(error).__name__] += 1


def one_round(http: Any, patch: str, figures: Figures) -> None:
    """Post, follow, read, judge."""
    began = time.monotonic()
    reply = timed(http, figures, "post", "POST", "/v1/reviews", json={"patch": patch})
    if reply.status_code != 202:
        time.sleep(float(reply.headers.get("retry-after", 1)))
        return
    place = reply.headers["location"]
    body: dict[str, Any] = {"status": "queued"}
    while body["status"] in ("queued", "running"):
        time.sleep(0.2)
        reply = timed(http, figures, "get", "GET", place)
        if reply.status_code == 200:
            body = reply.json()
        elif reply.status_code == 429:
            time.sleep(float(reply.headers["retry-after"]))
        else:
            return
    figures.statuses[f"review {body['outcome']}"] += 1
    figures.seconds["post to result"].append(time.monotonic() - began)
    for finding in body["findings"][:1]:
        verdict = f"{place}/findings/{finding['fingerprint']}/feedback"
        timed(http, figures, "verdict", "POST", verdict, json={"verdict": "right"})


def timed(http: Any, figures: Figures, kind: str, method: str, place: str, **more: Any) -> Any:
    """One request, noted."""
    began = time.monotonic()
    reply = http.request(method, place, **more)
    figures.seconds[kind].append(time.monotonic() - began)
    figures.statuses[f"{kind} {reply.status_code}"] += 1
    return reply


def report(figures: Figures, seconds: float) -> None:
    """Prints the figures."""
    print(f"{'what':16} {'n':>7} {'per s':>7} {'p50 ms':>8} {'p95 ms':>8} {'max ms':>8}")
    for kind, values in figures.seconds.items():
        ordered = sorted(values)
        p95, p50 = ordered[int(len(ordered) * 0.95)], statistics.median(ordered)
        print(
            f"{kind:16} {len(ordered):7} {len(ordered) / seconds:7.1f} {p50 * 1000:8.0f} {p95 * 1000:8.0f} "
            f"{ordered[-1] * 1000:8.0f}"
        )
    print("statuses:", dict(sorted(figures.statuses.items())))
    print("connection failures:", dict(figures.failures) or "none")
    tenth = max(1, len(figures.memory) // 10)
    tenths = [max(figures.memory[at : at + tenth]) for at in range(0, len(figures.memory), tenth)]
    print("server's memory, MiB, by tenth:", " ".join(f"{value:.0f}" for value in tenths))


def resident_mib(pid: int) -> float:
    """The process's resident memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


if __name__ == "__main__":
    main()
