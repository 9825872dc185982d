"""The shipped severity model as it is served: no torch, calibrated, the same alone and in a batch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from finetune.severity.config import sha256_of
from finetune.severity.examples import packaged_examples, thread_examples, wording_examples
from review_data.domain import Probabilities
from review_data.errors import BackendError, UserError
from review_data.rater_input import RaterInput, render
from review_data.severity import Severity
from service.backends.embedded.encoding import Encoder
from service.backends.embedded.inference import Network
from service.backends.embedded.rater import EmbeddedRater
from service.backends.embedded.severity_model import (
    PACKAGED,
    Calibration,
    SeverityModel,
    decide,
    read_manifest,
)

LIMIT = 25_000_000


@pytest.fixture(scope="module")
def model() -> SeverityModel:
    """The packaged model."""
    return SeverityModel.load()


def test_the_package_holds_the_model_that_its_manifest_names() -> None:
    """Digest, size and parity with the trained network are as promised."""
    manifest = read_manifest(PACKAGED)
    assert manifest.model_sha256 == sha256_of(PACKAGED / "model.onnx")
    assert sum(path.stat().st_size for path in PACKAGED.iterdir()) <= LIMIT
    assert manifest.model_dump()["parity"]["same_severity"] >= 0.95
    card = (PACKAGED / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert manifest.model_sha256 in card
    assert manifest.base_sha256 in card


def test_one_issue_is_rated_the_same_alone_and_among_others() -> None:
    """A rating does not depend on what else is rated."""
    inputs = [render(row.fields) for row in packaged_examples("validation")[80:96]]
    rater = EmbeddedRater()
    assert rater.rate_inputs(inputs) == [rater.rate_inputs([shown])[0] for shown in inputs]


class CountedSession:
    """The model's session, counting its runs."""

    def __init__(self, session: Any) -> None:
        self.session, self.runs = session, 0

    def run(self, *arguments: Any) -> Any:
        """Counts and runs."""
        self.runs += 1
        return self.session.run(*arguments)


def test_equal_issues_are_run_once(model: SeverityModel) -> None:
    """Repeats cost nothing and get the same rating, in the order of the issues."""
    network = Network.load(PACKAGED, model.manifest.max_tokens, fused=model.manifest.fused)
    session = CountedSession(network.session)
    counted = SeverityModel(model.manifest, Network(network.encoder, session))
    first, second = RaterInput(text="typo in the comment"), RaterInput(text="SQL injection in the search")
    rated = counted.rate([first, second, first, first])
    assert session.runs == 2
    assert rated == [*model.rate([first]), *model.rate([second]), *model.rate([first, first])]


def test_a_model_that_fails_ahead_of_time_is_reported_by_the_rating(tmp_path: Path) -> None:
    """Preparing raises nothing; the rating says what is wrong, however often it is asked."""
    rater = EmbeddedRater(tmp_path)
    rater.prepare()
    for _ in range(2):
        with pytest.raises(BackendError, match=r"manifest\.json can't be read"):
            rater.rate_inputs([RaterInput(text="null check")])


def test_preparing_loads_the_model_that_rates(tmp_path: Path) -> None:
    """What the thread loads is what `rate` uses: it still rates when the folder is gone."""
    folder = Path(shutil.copytree(PACKAGED, tmp_path / "model"))
    rater, shown = EmbeddedRater(folder), [RaterInput(text="null check")]
    before = set(threading.enumerate())
    rater.prepare()
    for thread in set(threading.enumerate()) - before:
        thread.join()
    shutil.rmtree(folder)
    assert rater.rate_inputs(shown) == EmbeddedRater().rate_inputs(shown)


def test_numpy_starts_no_threads_and_the_environment_is_left_alone() -> None:
    """Loading the model hides its hint to numpy from the processes that are started later."""
    code = (
        "import os, service.backends.embedded.severity_model as m; m.SeverityModel.load(); "
        "print(sorted(k for k in os.environ if 'BLAS' in k))"
    )
    env = {key: value for key, value in os.environ.items() if "BLAS" not in key}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "[]"


def test_clear_cases_are_rated_as_the_rubric_says(model: SeverityModel) -> None:
    """Plain words without any context get the level that the rubric's examples have."""
    comments = {
        "SQL injection: the search term from the request goes straight into the query": Severity.CRITICAL,
        "typo in the comment": Severity.LOW,
        "rename this variable, please": Severity.LOW,
        "This endpoint deletes accounts and anyone can call it without logging in": Severity.CRITICAL,
    }
    rated = model.rate([RaterInput(text=text) for text in comments])
    assert [level for level, _ in rated] == list(comments.values())


def test_the_rater_beats_its_floor_on_validation(model: SeverityModel) -> None:
    """On comments in other people's wording, without context, most ratings are at most one level off."""
    rows = wording_examples("validation") + thread_examples("validation")
    rated = model.rate([RaterInput(text=row.fields.text) for row in rows])
    near = sum(abs(level.rank - row.severity.rank) <= 1 for (level, _), row in zip(rated, rows, strict=True))
    assert near / len(rows) > 0.9


def test_what_is_shown_in_code_has_a_calibration_of_its_own(model: SeverityModel) -> None:
    """A flagged line decides which one applies; without a second one, the first serves all."""
    said = model.manifest
    bare, in_code = RaterInput(text="a > b", context="data | a.py"), RaterInput(text="a", context=">+ x = 1")
    assert said.calibration_of(bare) == said.calibration
    assert said.calibration_of(in_code) == said.calibration_in_code != said.calibration
    older = said.model_copy(update={"calibration_in_code": None})
    assert older.calibration_of(in_code) == said.calibration


def test_probabilities_follow_the_thresholds() -> None:
    """Crossing thresholds are ordered, a slope sharpens, and the four numbers sum to 1."""
    plain = Calibration()
    assert plain.probabilities([0.0, 2.0, -9.0]).values() == pytest.approx((0.5, 0, 0.5, 0), abs=1e-3)
    sharp = Calibration(slopes=(3, 3, 3)).probabilities([1.0, -1.0, -2.0])
    assert sharp.medium > plain.probabilities([1.0, -1.0, -2.0]).medium
    assert sum(sharp.values()) == pytest.approx(1)
    assert sum(plain.probabilities([-800.0, -900.0, -1000.0]).values()) == pytest.approx(1)


def test_a_lower_cut_lets_a_level_begin_earlier() -> None:
    """With cuts of one half a 45% chance of high stays medium, with 0.4 it is high."""
    doubtful = Probabilities.of((0.1, 0.45, 0.4, 0.05))
    assert decide(doubtful) is Severity.MEDIUM
    assert decide(doubtful, (0.5, 0.4, 0.5)) is Severity.HIGH


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.4, 0.2, 0.2, 0.2), Severity.MEDIUM),
        ((0.6, 0.2, 0.1, 0.1), Severity.LOW),
        ((0.0, 0.1, 0.4, 0.5), Severity.HIGH),
        ((0.0, 0.1, 0.2, 0.7), Severity.CRITICAL),
    ],
)
def test_the_severity_is_the_median(values: tuple[float, ...], expected: Severity) -> None:
    """The level at which half of the probability is reached, not the single likeliest."""
    assert decide(Probabilities.of(values)) is expected


def test_the_text_gives_way_after_the_context() -> None:
    """A long context is cut before the text; a long text leaves the context up to half of the room."""
    encoder = Encoder.load(PACKAGED / "tokenizer.json", 32)
    short, long, bare = encoder.encode(
        [
            RaterInput(text="null check", context="word " * 100),
            RaterInput(text="word " * 100, context="word " * 100),
            RaterInput(text="word " * 100),
        ]
    )
    assert (len(short.ids), sum(short.types)) == (32, 28)
    assert (len(long.ids), sum(long.types)) == (32, 15)
    assert (len(bare.ids), sum(bare.types)) == (31, 0)


def test_a_broken_model_folder_is_reported_with_what_to_do(tmp_path: Path) -> None:
    """A missing manifest, a wrong field and a damaged model are user errors that name the file."""
    with pytest.raises(UserError, match=r"manifest\.json can't be read"):
        SeverityModel.load(tmp_path)
    manifest = json.loads((PACKAGED / "manifest.json").read_text(encoding="utf-8"))
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "max_tokens": "many"}), encoding="utf-8")
    with pytest.raises(UserError, match="`max_tokens`"):
        SeverityModel.load(tmp_path)
    shutil.copy(PACKAGED / "manifest.json", tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(UserError, match=r"model\.onnx can't be loaded"):
        SeverityModel.load(tmp_path)
