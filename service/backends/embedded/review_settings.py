"""The finder of changes that take something out of their own review: by terazi.toml or .gitattributes.

Both count from the work tree, so that a change may bring what hides its faults. What a setting means is
`service.settings`', which files are left out `service.changes.selection`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import Final

from pydantic import ValidationError

from review_data.domain import Category, FileChange, Issue, Side
from review_data.errors import SettingsError
from review_data.language import language_of
from service.backends.embedded.issues import plain_issue
from service.backends.embedded.sources import Source, source_of
from service.changes.selection import by_name
from service.ports import Change
from service.settings import REPOSITORY_TABLES, Settings, parse_toml

NAME: Final = "review-settings"
RULE: Final = "review/loosened"
TITLE: Final = "The change decides what its own review leaves out"
WHY: Final = (
    "A fault in what is left out reaches the main branch unseen and passes the gate, because nobody reviews "
    "it."
)
FIX: Final = (
    "Decide it in a change of its own, or where a change can't: by a flag or a TERAZI_ variable of the job."
)
_LEFT_OUT: Final = re.compile(r"\s(?:linguist-(?:generated|vendored)(?:=true|=1)?|-diff|binary)(?=\s|$)")
_MOST_NAMED: Final = 3


def review_settings(change: Change, file: FileChange) -> Iterable[Issue]:
    """At most one issue per file of settings or attributes."""
    name = PurePosixPath(file.path).name
    if name != ".gitattributes" and name not in REPOSITORY_TABLES:
        return
    old, new = source_of(change, file, Side.OLD), source_of(change, file, Side.NEW)
    said = dict(_left_out(new) if name == ".gitattributes" else _loosened(name, old, new))
    source = new if new.touched else old
    if said and source.touched:
        line = next(
            (at for at, text in source.touched.items() if next(iter(said)) in text), min(source.touched)
        )
        title = f"{TITLE}: {', '.join([*said.values()][:_MOST_NAMED])}"
        yield plain_issue(source, line, NAME, RULE, Category.SECURITY, title, WHY, FIX)


def _left_out(new: Source) -> Iterator[tuple[str, str]]:
    """Patterns of code that attributes take out; not those that are left out by their name anyway."""
    for text in new.touched.values():
        if not _LEFT_OUT.search(text) or text.lstrip().startswith("#"):
            continue
        pattern = text.strip().split(" ")[0].split("\t")[0]
        code = "." not in pattern.rpartition("/")[2] or language_of(pattern) or pattern.endswith("*")
        if code and not by_name(pattern):
            yield pattern, f"`{pattern}`"


def _loosened(name: str, old: Source, new: Source) -> Iterator[tuple[str, str]]:
    """What the new settings let through, by the name of the setting."""
    before, after = _settings(old, name), _settings(new, name)
    if before is None or after is None:
        return
    ignored = [f"`{pattern}`" for pattern in after.ignore if pattern not in before.ignore]
    if ignored:
        yield "ignore", ", ".join(ignored[:_MOST_NAMED])
    for key in ("threshold", "gate", "hook_block"):
        was, now = getattr(before, key), getattr(after, key)
        if was is not None and (now is None or now > was):
            yield key, f"`{key}` {now or 'none'} instead of {was}"
    for key in ("backend", "finders", "rater"):
        if getattr(before, key) != getattr(after, key):
            yield key, f"another `{key}`"


def _settings(source: Source, name: str) -> Settings | None:
    """The settings in a file, the defaults where there is none; None when they can't be read."""
    if not source.text.strip():
        return Settings()
    if not source.whole:
        return None
    try:
        layer = parse_toml(source.text, source.path, REPOSITORY_TABLES[name])
        return Settings.model_validate(dict(layer.values))
    except (SettingsError, ValidationError):
        return None
