"""The local backend with a tiny Qwen2 and LoRA adapters: the endpoint's contract, in this process."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from review_data.domain import Outcome, Rating
from review_data.errors import BackendError, MissingExtra, SettingsError
from review_data.prompts import rate_messages, render_file
from service.backends.adapter import MANIFEST
from service.backends.asking import PLACEHOLDER, Form, Label, Question
from service.backends.catalog import open_reviewer
from service.backends.local import load as loading
from service.backends.local.batching import Batcher
from service.backends.local.load import choose_device, load
from service.backends.local.model import LocalModel
from service.ports import Reviewer
from service.review import ReviewOptions, review
from service.settings import Settings
from tests.support.changes import change_of, file_of, issue_on

pytestmark = pytest.mark.train

FILE = file_of(
    "app/users.py", '+row = db.execute(f"select {name}")\n+os.system("rm -rf /data/" + name)', start=10
)
CHANGE = change_of(FILE)
ISSUES = (issue_on(FILE, 10), issue_on(FILE, 11, "Shell command from a name"))


def opened(folders: dict[str, Path], adapter: str = "", **more: object) -> Reviewer:
    """A local reviewer of that adapter without a cache."""
    values = {
        "backend": "local",
        "local_model": str(folders["tiny"]),
        "local_adapter": str(folders[adapter]) if adapter else "",
        "device": "cpu",
        "cache_mb": 0,
        **more,
    }
    return open_reviewer(Settings.model_validate(values))


def rated(reviewer: Reviewer) -> list[Rating]:
    """The two issues rated."""
    return [answer for answer in reviewer.rater.rate(CHANGE, ISSUES) if isinstance(answer, Rating)]


def test_adapters_rate_differently_and_probabilities_sum_to_one(tiny_models: dict[str, Path]) -> None:
    """Base and adapters give different probabilities for one issue, each summing to 1."""
    seen = set()
    for adapter in ("", "strict", "lenient"):
        ratings = rated(opened(tiny_models, adapter, explain="none"))
        assert len(ratings) == 2
        for rating in ratings:
            assert rating.probabilities is not None
            assert sum(rating.probabilities.values()) == pytest.approx(1, abs=1e-6)
            assert rating.severity == rating.probabilities.most_likely()
        seen.add(ratings[0].probabilities.values() if ratings[0].probabilities else None)
    assert len(seen) == 3


def test_replies_parse_and_the_review_is_whole(tiny_models: dict[str, Path]) -> None:
    """A whole review with explanations: every reply fits its schema, nothing fails."""
    files = [file_of(f"f{number}.py", f"+value = run({number})") for number in range(5)]
    reviewer = opened(tiny_models, "strict", explain="all", local_batch=4)
    result = review(change_of(*files), reviewer, ReviewOptions())
    assert result.outcome in (Outcome.CLEAN, Outcome.FINDINGS)
    assert not [skip for skip in result.skips if skip.is_failure]
    assert result.provenance.adapter == "strict"
    assert all(rating.explanation for rating in rated(reviewer))


def test_found_by_rules_and_rated_locally(tiny_models: dict[str, Path]) -> None:
    """The embedded rules find, the adapter rates."""
    reviewer = opened(tiny_models, "lenient", finders="embedded", rater="local", explain="none")
    result = review(CHANGE, reviewer, ReviewOptions())
    findings = (*result.findings, *result.below)
    assert findings
    assert all(finding.probabilities for finding in findings)
    assert result.provenance.rater == "local:lenient"


def test_a_batch_answers_like_single_questions(tiny_models: dict[str, Path]) -> None:
    """Padding does not change what a question's label probabilities are."""
    questions = [
        Question(Form.RATE, tuple(rate_messages(render_file(FILE), issue, nonce=PLACEHOLDER)))
        for issue in (*ISSUES, issue_on(FILE, 10, "A much longer title " * 6))
    ]
    model = LocalModel(str(tiny_models["tiny"]), str(tiny_models["strict"]), device="cpu", dtype="float32")
    together = model._answer(questions)
    for question, label in zip(questions, together, strict=True):
        (alone,) = model._answer([question])
        assert isinstance(alone, Label)
        assert isinstance(label, Label)
        assert alone.logprobs == pytest.approx(label.logprobs, abs=1e-3)


def test_the_manifests_temperature_is_used(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    """An adapter's own calibration applies unless a setting overrides it; rubbish counts as none."""
    adapter = tmp_path / "calibrated"
    adapter.mkdir()
    (adapter / MANIFEST).write_text('{"calibration": {"temperature": 2.5}}')
    assert LocalModel("m", str(adapter)).temperature == 2.5
    assert LocalModel("m", str(adapter), temperature=1.5).temperature == 1.5
    (adapter / MANIFEST).write_text('{"calibration": {"temperature": "NaN"}}')
    assert LocalModel("m", str(adapter)).temperature == 1.0


def test_a_missing_model_or_adapter_says_what_to_name(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    """The message holds the setting's name; in a review it makes the outcome failed."""
    with pytest.raises(SettingsError, match=r"local_model: .* can't be loaded"):
        load(str(tmp_path), "", "cpu", "auto")
    with pytest.raises(SettingsError, match=r"local_adapter: .* holds no adapter_model\.safetensors"):
        load(str(tiny_models["tiny"]), str(tmp_path), "cpu", "auto")
    broken = shutil.copytree(tiny_models["tiny"], tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"half a download")
    with pytest.raises(SettingsError, match=r"local_model: .* can't be loaded"):
        load(str(broken), "", "cpu", "auto")
    foreign = shutil.copytree(tiny_models["strict"], tmp_path / "foreign")
    (foreign / "adapter_config.json").write_text("[]")
    with pytest.raises(SettingsError, match=r"local_adapter: .* does not fit the model"):
        load(str(tiny_models["tiny"]), str(foreign), "cpu", "auto")
    with pytest.raises(SettingsError, match="device: there is no `tpu`"):
        choose_device("tpu")
    with pytest.raises(SettingsError, match="the local backend needs a model"):
        open_reviewer(Settings(backend="local"))
    reviewer = open_reviewer(Settings(backend="local", local_model=str(tmp_path), cache_mb=0))
    result = review(CHANGE, reviewer, ReviewOptions())
    assert result.outcome is Outcome.FAILED
    assert "can't be loaded" in result.skips[0].reason


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the message is the command that installs it."""
    monkeypatch.setattr(loading, "PACKAGES", ("no_such_package",))
    with pytest.raises(MissingExtra, match=r"pip install 'terazi\[local\]'"):
        open_reviewer(Settings(backend="local", local_model="m"))


def test_waiting_questions_run_together_by_kind() -> None:
    """What came in while a batch ran is one batch per kind, of at most the size."""
    ran: list[Sequence[int]] = []
    begun, go = threading.Event(), threading.Event()

    def work(batch: Sequence[int]) -> list[int]:
        ran.append(list(batch))
        begun.set()
        go.wait(10)
        return [-number for number in batch]

    batcher = Batcher(work, size=3, same=lambda number: number % 2)
    replies: dict[int, int] = {}

    def ask(number: int) -> None:
        replies[number] = batcher.ask(number)

    first = threading.Thread(target=ask, args=(0,))
    first.start()
    begun.wait(10)
    others = [threading.Thread(target=ask, args=(number,)) for number in range(1, 9)]
    for thread in others:
        thread.start()
    while batcher._waiting.qsize() < 8:
        pass
    go.set()
    for thread in (first, *others):
        thread.join()
    assert replies == {number: -number for number in range(9)}
    assert all(len(batch) <= 3 and len({number % 2 for number in batch}) == 1 for batch in ran)
    assert len(ran) == 5


def test_a_batch_that_fails_tells_every_asker() -> None:
    """An error reaches the caller instead of leaving it waiting."""

    def work(batch: Sequence[int]) -> list[int]:
        raise BackendError("out of memory")

    with pytest.raises(BackendError, match="out of memory"):
        Batcher(work, size=2, same=lambda _: 0).ask(1)
