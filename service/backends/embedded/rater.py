"""The embedded rater: the shipped severity model behind the `Rater` port.

Loads the model once per process, beside the search for issues or on first use. What it is shown is in
`review_data.rater_input`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock, Thread

from review_data.domain import Issue, Probabilities, Rating, Skip
from review_data.errors import BackendError, TeraziError
from review_data.rater_input import RaterInput, issue_fields, render
from review_data.severity import Severity
from service.backends.embedded.inference import CORES
from service.backends.embedded.severity_model import PACKAGED, SeverityModel
from service.ports import Change


class EmbeddedRater:
    """Rates with a folder's ONNX model; the packaged model by default."""

    name = "embedded"
    concurrency = 1

    def __init__(self, folder: Path = PACKAGED) -> None:
        self.folder = folder

    def prepare(self) -> None:
        """Loads the model in a thread; `rate` waits for it, or meets the same error."""
        if self.folder not in _APART:
            # No daemon: the interpreter must not end while a library is being initialised.
            Thread(target=_load_ahead, args=(self.folder,)).start()

    def rate(self, change: Change, issues: Sequence[Issue]) -> Sequence[Rating | Skip]:
        """One rating per issue, in order; `BackendError` when the model can't be loaded or run."""
        request = change.request
        return self.rate_inputs([render(issue_fields(i, request.files, request.project)) for i in issues])

    def rate_inputs(self, inputs: Sequence[RaterInput]) -> list[Rating]:
        """One rating per input, in order; each is the same alone and in a batch."""
        try:
            rows = self._rows(inputs)
        except TeraziError as error:
            raise BackendError(f"the severity model can't rate: {error}") from error
        return [Rating(severity=level, probabilities=row) for level, row in rows]

    def _rows(self, inputs: Sequence[RaterInput]) -> list[tuple[Severity, Probabilities]]:
        apart = _APART.get(self.folder)
        if apart is not None:
            try:
                return apart.rate(inputs)
            except BackendError:  # in this process it works, or says why not
                _APART.pop(self.folder, None)
        return _model(self.folder).rate(inputs)


def load_apart(folder: Path = PACKAGED) -> None:
    """Has a process of its own load the model for this process's raters. For a program that makes one review:
    the search for issues goes on beside it on another core. Never raises, `rate` says what is wrong."""
    if CORES > 1:
        with suppress(TeraziError, OSError):
            _APART[folder] = SeverityModel.apart(folder)


def _load_ahead(folder: Path) -> None:
    with suppress(Exception):  # `rate` tries again and reports it
        _model(folder)


def _model(folder: Path) -> SeverityModel:
    with _LOADING:  # chunks of several finders ask at once; the model is loaded once
        return _loaded(folder)


@cache
def _loaded(folder: Path) -> SeverityModel:
    return SeverityModel.load(folder)


_LOADING = Lock()
_APART: dict[Path, SeverityModel] = {}
