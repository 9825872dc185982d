"""Fixtures of more than one test file, the order of files, and a process that can be interrupted."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

pytest_plugins = ["tests.support.git", "tests.support.sandbox", "tests.support.vllm"]

# A job that a shell starts in the background ignores SIGINT, and so would every program that a test
# interrupts; a handler here gives them the default back.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The tests' networks are tiny: a second thread only spins, and takes the core from another worker.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# One server for all of them.
VLLM = (
    "tests/test_eval_codegen_end_to_end.py",
    "tests/test_endpoint_vllm.py",
    "tests/test_contract_backends.py",
    "tests/test_endpoint_commands.py",
    "tests/test_train_vllm.py",
)
# The longest first, so that no worker is left with one of them at the end.
FIRST = (
    *VLLM,
    "tests/test_severity_training.py",
    "tests/test_eval_explanations.py",
    "tests/test_deploy.py",
    "tests/test_page_browser.py",
    "tests/test_batch_command.py",
    "tests/test_batch_interruptions.py",
    "tests/test_train_resume.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files of `FIRST` before the others, which stay in their order."""
    order = {file: place for place, file in enumerate(FIRST)}
    items.sort(key=lambda item: order.get(_file(item.nodeid), len(order)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """`-n 2` gives a worker whole files (so that their servers and trained models are made once), and one
    worker every file that needs vLLM."""
    return ByFile(config, log)


class ByFile(LoadFileScheduling):
    """A file is one unit of work; those of `VLLM` are one together."""

    def _split_scope(self, nodeid: str) -> str:
        file = _file(nodeid)
        return "vllm" if file in VLLM else file


def _file(nodeid: str) -> str:
    return nodeid.split("::", 1)[0]
