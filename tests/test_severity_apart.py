"""The severity model in a process of its own: the same ratings, and no failure that is not told or mended."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from review_data.errors import BackendError
from review_data.rater_input import RaterInput
from service.backends.catalog import start_rater
from service.backends.embedded import rater as rating
from service.backends.embedded.apart import Apart
from service.backends.embedded.inference import CORES
from service.backends.embedded.rater import EmbeddedRater, load_apart
from service.backends.embedded.severity_model import PACKAGED, SeverityModel, read_manifest
from service.settings import Settings

pytestmark = pytest.mark.skipif(CORES == 1, reason="one core: the model is loaded in this process")
INPUTS = [
    RaterInput(text="SQL injection: the search term goes into the query", context="> + find(term)"),
    RaterInput(text="typo in the comment"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder that no other test has loaded."""
    return Path(shutil.copytree(PACKAGED, tmp_path / "model"))


def test_a_process_of_its_own_rates_the_same(folder: Path) -> None:
    """The rater uses the process once it is started, call after call, and the numbers are the same."""
    load_apart(folder)
    (folder / "manifest.json").unlink()  # so that only the process can have read it
    expected = EmbeddedRater().rate_inputs(INPUTS)
    assert [EmbeddedRater(folder).rate_inputs(INPUTS) for _ in range(2)] == [expected, expected]


def test_a_process_that_is_gone_is_replaced_by_the_model_here(folder: Path) -> None:
    """A killed process costs time, not the rating."""
    load_apart(folder)
    network = rating._APART[folder].network
    assert isinstance(network, Apart)
    network._process.kill()
    with pytest.raises(BackendError, match="the process with the severity model ended"):
        network.logits(INPUTS)
    assert EmbeddedRater(folder).rate_inputs(INPUTS) == EmbeddedRater().rate_inputs(INPUTS)


@pytest.mark.parametrize("missing", ["manifest.json", "model.onnx", "tokenizer.json"])
def test_a_model_that_can_not_be_loaded_is_reported_by_the_rating(folder: Path, missing: str) -> None:
    """Starting raises nothing; the rating names the file, as it does without the process."""
    (folder / missing).unlink()
    load_apart(folder)
    for _ in range(2):
        with pytest.raises(BackendError, match=missing.replace(".", r"\.")):
            EmbeddedRater(folder).rate_inputs(INPUTS)


def test_nothing_is_imported_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository under review may hold a `numpy.py`; the process does not run it."""
    (tmp_path / "numpy.py").write_text("open('ran', 'w')\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    network = SeverityModel.apart(PACKAGED).network
    assert network.logits(INPUTS) == SeverityModel.load().logits(INPUTS)
    assert not (tmp_path / "ran").exists()


def test_the_process_ends_with_the_program() -> None:
    """Whether it has been asked or is still loading, nothing is left behind."""
    code = (
        "from service.backends.embedded.rater import _APART, load_apart; from ui.cli.main import end; "
        "load_apart(); print(*(m.network._process.pid for m in _APART.values())); end(0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for pid in done.stdout.split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)
    assert done.stdout.split()


def test_only_the_embedded_rater_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another backend rates, no process is started."""
    monkeypatch.setattr(rating, "_APART", {})
    start_rater(Settings(backend="endpoint"))
    start_rater(Settings(rater="endpoint"))
    assert rating._APART == {}
    start_rater(Settings(backend="endpoint", rater="embedded"))
    assert list(rating._APART) == [PACKAGED]


def test_the_manifest_of_the_package_is_what_the_process_is_told() -> None:
    """The length limit crosses the process's command line."""
    long = [RaterInput(text="word " * 500, context="more " * 500)]
    assert read_manifest(PACKAGED).max_tokens < 500
    assert SeverityModel.apart(PACKAGED).logits(long) == SeverityModel.load().logits(long)
