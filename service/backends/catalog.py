"""Which backends exist: one plain table from name to loader, and their combination by the settings.

Loaders import their backend when called, so that an unused one costs nothing. They open no connection that
could fail and load no weights: a backend that can't be used says so when it is first asked.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from review_data.domain import Provenance
from review_data.errors import SettingsError
from review_data.severity import Severity
from service.ports import Finder, Rater, Reviewer
from service.settings import Settings

if TYPE_CHECKING:
    from service.backends.asking import LanguageModel
    from service.backends.endpoint.model import EndpointModel

log = logging.getLogger("terazi")


class Backend(NamedTuple):
    """An opened backend: what finds, what rates, and the model behind them ("" where there is none)."""

    finders: tuple[Finder, ...]
    rater: Rater
    model: str = ""
    adapter: str = ""
    prompt_version: str = ""


def open_reviewer(settings: Settings) -> Reviewer:
    """The finders and the rater that the settings name; `SettingsError` for an unknown name."""
    finder_names = settings.finders or (settings.backend,)
    rater_name = settings.rater or settings.backend
    loaders = {name: _lookup(name, "finders" if settings.finders else "backend") for name in finder_names} | {
        rater_name: _rater_backend(settings)
    }
    opened = {name: loader(settings) for name, loader in loaders.items()}
    finders = tuple(finder for name in dict.fromkeys(finder_names) for finder in opened[name].finders)
    rater = opened[rater_name].rater
    provenance = Provenance(
        finders=tuple(finder.name for finder in finders),
        rater=rater.name,
        model=_joined(backend.model for backend in opened.values()),
        adapter=_joined(backend.adapter for backend in opened.values()),
        prompt_version=_joined(backend.prompt_version for backend in opened.values()),
    )
    return Reviewer(finders, rater, "+".join(opened), provenance)


class Reviewers:
    """Opened reviewers by settings, so that a model is loaded once; the few used last are kept."""

    def __init__(self, keep: int = 4) -> None:
        self._keep = keep
        self._open: OrderedDict[Settings, Reviewer] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, settings: Settings) -> Reviewer:
        """The reviewer that the settings name."""
        key = settings.model_copy(update={"ignore": (), "threshold": "low", "gate": None, "project": ""})
        with self._lock:
            if key not in self._open:
                self._open[key] = open_reviewer(settings)
            self._open.move_to_end(key)
            while len(self._open) > self._keep:
                self._open.popitem(last=False)
            return self._open[key]


def open_rater(settings: Settings) -> Rater:
    """The rater alone, for issues that somebody else found."""
    return _rater_backend(settings)(settings).rater


def start_rater(settings: Settings) -> None:
    """For a program that makes one review and ends: has the embedded rater, if it is the one that rates,
    load in a process of its own from now on."""
    if (settings.rater or settings.backend) == "embedded":
        from service.backends.embedded.rater import load_apart

        load_apart()


def _rater_backend(settings: Settings) -> Callable[[Settings], Backend]:
    return _lookup(settings.rater, "rater") if settings.rater else _lookup(settings.backend, "backend")


def _lookup(name: str, setting: str) -> Callable[[Settings], Backend]:
    try:
        return BACKENDS[name]
    except KeyError:
        raise SettingsError(
            f"{setting}: there is no backend `{name}`; choose one of {', '.join(BACKENDS)}"
        ) from None


def _joined(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(name for name in names if name))


def _explain_from(settings: Settings) -> Severity | None:
    return {"shown": settings.threshold, "all": Severity.LOW, "none": None}[settings.explain]


def _embedded(settings: Settings) -> Backend:
    from service.backends.embedded.finders import embedded_finders
    from service.backends.embedded.rater import EmbeddedRater

    return Backend(embedded_finders(), EmbeddedRater())


def open_endpoint_model(settings: Settings) -> EndpointModel:
    """The model behind the endpoint, not connected yet; `SettingsError` for a URL that is none."""
    from service.backends.endpoint.address import api_key, parse_address
    from service.backends.endpoint.model import EndpointModel
    from service.backends.endpoint.wire import Wire

    address = parse_address(settings.endpoint)
    wire = Wire(
        address,
        key=api_key(address, os.environ),
        timeout_s=settings.endpoint_timeout_s,
        concurrency=settings.endpoint_concurrency,
    )
    return EndpointModel(
        wire,
        settings.adapter or settings.model,
        concurrency=settings.endpoint_concurrency,
        temperature=settings.label_temperature,
    )


def _endpoint(settings: Settings) -> Backend:
    from service.backends.endpoint.address import api_key, notice

    model = open_endpoint_model(settings)
    address = model.wire.address
    warning = notice(address, api_key(address, os.environ))
    if warning is not None:
        log.warning("%s", warning)
    served = model.peek()
    base = settings.model or ((served.asked.parent or served.asked.name) if served else "")
    return _model_backend(model, "endpoint", base, settings.adapter, settings)


def _local(settings: Settings) -> Backend:
    from service.backends.local.model import LocalModel

    if not settings.local_model:
        raise SettingsError(
            "local_model: the local backend needs a model; name its folder or hub id with --local-model or "
            "TERAZI_LOCAL_MODEL"
        )
    model = LocalModel(
        settings.local_model,
        settings.local_adapter,
        device=settings.device,
        dtype=settings.dtype,
        batch=settings.local_batch,
        temperature=settings.label_temperature,
    )
    adapter = Path(settings.local_adapter).name if settings.local_adapter else ""
    return _model_backend(model, "local", settings.local_model, adapter, settings)


def _model_backend(model: LanguageModel, kind: str, base: str, adapter: str, settings: Settings) -> Backend:
    from review_data.prompts import PROMPT_VERSION
    from service.backends.cache import CachedModel, ReplyCache, default_path
    from service.backends.chunking import Layouts
    from service.backends.model_reviewer import ModelFinder, ModelRater

    if settings.cache_mb:
        model = CachedModel(model, ReplyCache(default_path(), settings.cache_mb * 1_000_000))
    shown = adapter or (Path(base).name if kind == "local" else base)
    name = f"{kind}:{shown}" if shown else kind
    layouts = Layouts(model, kind, settings.chunk_tokens)
    finder = ModelFinder(model, layouts, name)
    rater = ModelRater(model, layouts, name, _explain_from(settings))
    return Backend((finder,), rater, base, adapter, PROMPT_VERSION)


BACKENDS: Final[dict[str, Callable[[Settings], Backend]]] = {
    "embedded": _embedded,
    "endpoint": _endpoint,
    "local": _local,
}
