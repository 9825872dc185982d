"""Which backends exist: two plain tables from name to loader, and their combination by the settings.

Loaders import their backend when called, so that an unused one costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from review_data.domain import Provenance
from review_data.errors import SettingsError
from service.ports import Finder, Rater, Reviewer
from service.settings import Settings

_T = TypeVar("_T")


def open_reviewer(settings: Settings) -> Reviewer:
    """The finders and the rater that the settings name; `SettingsError` for an unknown name."""
    finder_names = settings.finders or (settings.backend,)
    rater_name = settings.rater or settings.backend
    finders = tuple(finder for name in finder_names for finder in _lookup(FINDERS, name, "finders")(settings))
    rater = open_rater(settings)
    name = "+".join(dict.fromkeys((*finder_names, rater_name)))
    return Reviewer(
        finders, rater, name, Provenance(finders=tuple(f.name for f in finders), rater=rater.name)
    )


def open_rater(settings: Settings) -> Rater:
    """The rater alone, for issues that somebody else found."""
    return _lookup(RATERS, settings.rater or settings.backend, "rater")(settings)


def _lookup(table: dict[str, Callable[[Settings], _T]], name: str, setting: str) -> Callable[[Settings], _T]:
    try:
        return table[name]
    except KeyError:
        raise SettingsError(
            f"{setting}: there is no backend `{name}`; choose one of {', '.join(table)}"
        ) from None


def _embedded_finders(settings: Settings) -> tuple[Finder, ...]:
    from service.backends.embedded.finders import embedded_finders

    return embedded_finders()


def _embedded_rater(settings: Settings) -> Rater:
    from service.backends.embedded.rater import EmbeddedRater

    return EmbeddedRater()


FINDERS: Final[dict[str, Callable[[Settings], tuple[Finder, ...]]]] = {"embedded": _embedded_finders}
RATERS: Final[dict[str, Callable[[Settings], Rater]]] = {"embedded": _embedded_rater}
