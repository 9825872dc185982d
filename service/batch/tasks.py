"""What a batch reviews: rows of a JSON Lines file, patch files, the commits of a repository's history.

Owns reading and checking what is given. Rows are read twice, once to check them all before any work and once
when their turn comes, so that a long file takes little memory.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import chain, zip_longest
from pathlib import Path
from typing import Self

from pydantic import Field, field_validator, model_validator

from review_data.dataset import Row
from review_data.errors import ChangeError, DataError, UserError
from review_data.jsonl import parse_row
from review_data.secrets import mask
from service.changes.git import open_repository
from service.changes.revisions import commit_name, range_ends, sides_of

_SOURCES = ("patch", "diff", "patch_file", "range", "commit")


class Task(Row):
    """One merge request to review: a row of the file. Rows of the packaged dataset are such rows too.

    `place` says where it stands, for messages. Relative paths begin at the current folder.
    """

    id: str = Field("", max_length=5000)
    patch: str | None = None
    diff: str | None = None
    patch_file: Path | None = None
    repository: Path | None = None
    range: str | None = None
    commit: str | None = None
    title: str = ""
    project: str = ""
    place: str = Field("", exclude=True)

    @field_validator("id", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("id")
    @classmethod
    def _shown(cls, text: str) -> str:
        return shown(text)

    @field_validator("patch_file", "repository")
    @classmethod
    def _a_path(cls, path: Path | None) -> Path | None:
        if path is not None and "\0" in str(path):
            raise ValueError("holds a NUL character, which no path has")
        return path

    @field_validator("range")
    @classmethod
    def _two_sides(cls, text: str | None) -> str | None:
        if text is not None and ".." not in text:
            raise ValueError(f"`{text}` is no range; write A..B, or give one commit as `commit`")
        return text

    @field_validator("range", "commit")
    @classmethod
    def _nothing_unset(cls, text: str | None) -> str | None:
        if text is not None and not all(sides_of(text)):
            raise ValueError(f"`{text}` lacks a revision; is a variable not set?")
        return text

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        named = [name for name in _SOURCES if getattr(self, name) is not None]
        if len(named) != 1:
            found = f"has {' and '.join(f'`{name}`' for name in named)}" if named else "names no change"
            raise ValueError(f"{found}; give one of `patch` (or `diff`), `patch_file`, `range` and `commit`")
        return self


class Tasks:
    """Merge requests that were all checked; each iteration reads them anew. `ids` are in their order."""

    def __init__(self, sources: Iterable[Iterable[Task]]) -> None:
        self._sources = tuple(sources)
        places: dict[str, str] = {}
        for task in chain.from_iterable(self._sources):
            if task.id in places:
                raise UserError(
                    f"{task.place}: the id `{task.id}` is that of {places[task.id]} too; give each merge "
                    "request an id of its own"
                )
            places[task.id] = task.place
        self.ids = tuple(places)

    def __iter__(self) -> Iterator[Task]:
        place = ""
        for task, name in zip_longest(chain.from_iterable(self._sources), self.ids):
            place = task.place if task else place
            if task is None or task.id != name:
                raise UserError(
                    f"{place}: the rows are not those that were checked at the beginning (`{name or 'none'}` "
                    "stood next); run again with files that nobody changes meanwhile"
                )
            yield task


def shown(name: str) -> str:
    """A name as results and messages have it: secrets masked, bytes that are no UTF-8 written out."""
    return mask(name.encode("utf-8", "backslashreplace").decode())


class RowsFile:
    """The rows of a JSON Lines file, or of `data` that came in by a pipe.

    A row without an id has its line number; one without a repository has `repository`.
    """

    def __init__(self, path: Path, repository: Path, data: bytes | None = None) -> None:
        self._path, self._repository, self._data = path, repository, data

    def __iter__(self) -> Iterator[Task]:
        number = 0
        for number, line in self._lines():
            row = parse_row(line, Task, self._path, number)
            place = shown(f"{self._path}:{number}")
            filled = {
                "id": row.id or place,
                "place": place,
                "repository": row.repository or self._repository,
            }
            yield row.model_copy(update=filled)
        if not number:
            raise DataError("holds no row; write one JSON object per line", file=self._path)

    def _lines(self) -> Iterator[tuple[int, str]]:
        number = 0
        try:
            file = self._path.open("rb") if self._data is None else io.BytesIO(self._data)
            with io.TextIOWrapper(file, "utf-8-sig", "surrogateescape") as lines:
                for number, line in enumerate(lines, start=1):
                    line.encode()
                    if line.strip():
                        yield number, line
        except OSError as error:
            raise DataError(f"can't be read ({error.strerror}); check the path", file=self._path) from None
        except UnicodeEncodeError:
            words = "is not UTF-8 text; unpack the file if it is packed, or save it as UTF-8"
            raise DataError(words, file=self._path, line=number) from None


def patch_task(path: Path, repository: Path) -> Task:
    """A patch file; its name is the id. `ChangeError` when there is none."""
    if not path.is_file():
        raise ChangeError(f"{path}: there is no such file; name patches, or rows in a .jsonl file")
    return Task(id=shown(str(path)), patch_file=path, repository=repository, place=shown(str(path)))


def history(folder: Path, text: str) -> list[Task]:
    """The commits of `A..B`, or of a branch, on the way of first parents, oldest first.

    A merge is what it brought, so that each commit of a trunk is a merge request. `UserError` for none.
    """
    if not all(sides_of(text)):
        raise UserError(f"--history: `{text}` lacks a revision; is a variable not set? Write it as A..B")
    repository = open_repository(folder)
    if ".." in text:
        ends = range_ends(repository, text)
        names = [ends.head, f"^{ends.base}"]
    else:
        names = [commit_name(repository, text)]
    found = repository.ask("rev-list", "--first-parent", "--reverse", *names, "--").decode().split()
    if not found:
        raise ChangeError(f"{repository.where}: `{text}` holds no commit; name a range such as v1.0..main")
    return [Task(id=name, commit=name, repository=folder, place=f"commit {name[:12]}") for name in found]
