"""The finder that runs ruff over the Python files of a chunk: bug, security, async and performance rules.

Which rules, and their wording, is in `ruff_rules`. One process per chunk,
isolated from any configuration; only findings on added lines are kept. Rules that need the whole file (names
that are defined elsewhere in it) count only where the whole file is at hand. Of a file that does not parse
ruff tells nothing else: that is a finding where the change brought it, and a skip in any case.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from review_data.domain import Issue, Side, Skip, SkipKind
from review_data.errors import BackendError
from review_data.secrets import mask
from service.backends.embedded.issues import plain_issue
from service.backends.embedded.ruff_rules import IN_TESTS, NEEDS_SURROUNDINGS, RULES, SYNTAX, WHOLE_FILE
from service.backends.embedded.sources import Fragment, Source, is_test_path, language, source_of
from service.ports import Change, Chunk, Found, Plan

NAME: Final = "ruff"
_TIMEOUT_S: Final = 60
# Modules that ruff's rules speak of.
_MODULES: Final = (
    "asyncio",
    "contextvars",
    "functools",
    "hashlib",
    "httpx",
    "itertools",
    "jinja2",
    "marshal",
    "mako",
    "os",
    "paramiko",
    "pickle",
    "requests",
    "shelve",
    "ssl",
    "subprocess",
    "tarfile",
    "tempfile",
    "threading",
    "time",
    "urllib",
    "yaml",
    "zipfile",
)
_FILES_PER_CHUNK: Final = 100


# ruff says so of a command that is a literal.
_HARMLESS: Final = re.compile(r"seems safe")
# ... and so of syntax that a later version of Python has; it reads the file all the same.
_NEWER: Final = re.compile(r"syntax was added in")
# What somebody else sends, by its name.
_FROM_OUTSIDE: Final = re.compile(
    r"(?i)(?<![a-z])req(?:uest)?(?![a-z])|body|payload|param|cookie|header|upload|recv|socket|message"
)
_ONE_NAME: Final = re.compile(r"`([^`]+)`")


class RuffFinder:
    """The `Finder` that runs ruff."""

    name = NAME
    concurrency = 2

    def plan(self, change: Change) -> Plan:
        """Python files, up to a hundred per process."""
        files = [
            file
            for file in change.request.files
            if file.added
            and not file.binary
            and language(file) == "python"
            and not file.path.endswith(".pyi")
        ]
        groups = [files[at : at + _FILES_PER_CHUNK] for at in range(0, len(files), _FILES_PER_CHUNK)]
        return Plan(tuple(Chunk(f"{NAME}-{n}", tuple(group), change) for n, group in enumerate(groups, 1)))

    def find(self, chunk: Chunk) -> Found:
        """Issues on added lines, and a skip for a file that does not parse.

        `BackendError` when ruff can't be run or does not answer.
        """
        with tempfile.TemporaryDirectory(prefix="terazi-ruff-") as folder:
            pieces = dict(_written(chunk, Path(folder)))
            rows = list(_once_unparsed(run_ruff(Path(folder)))) if pieces else []
        issues = [issue for row in rows if (issue := _issue(row, pieces)) is not None]
        skips = [skip for row in rows if (skip := _partly_read(row, pieces)) is not None]
        return Found(tuple(issues), tuple(skips))


def run_ruff(folder: Path) -> list[dict[str, Any]]:
    """ruff's JSON answer for the files of a folder; `BackendError` with what it said otherwise."""
    from ruff import find_ruff_bin

    try:
        command = [find_ruff_bin(), "check", "--isolated", "--no-cache", "--quiet", "--output-format=json"]
        command += [
            "--target-version=py313",
            f"--select={','.join(code for code in (*RULES, *WHOLE_FILE) if code != SYNTAX)}",
            "--exit-zero",
            ".",
        ]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackendError(
            f"ruff could not be run ({error}); reinstall it with `pip install ruff`"
        ) from error
    if done.returncode != 0:
        raise BackendError(f"ruff failed with status {done.returncode}: {done.stderr.strip()[:300]}")
    try:
        rows = json.loads(done.stdout or "[]")
    except json.JSONDecodeError as error:
        raise BackendError(
            f"ruff's answer is not JSON ({error}); check the installed version of ruff"
        ) from error
    return [row for row in rows if isinstance(row, dict)]


def _written(chunk: Chunk, folder: Path) -> Iterator[tuple[str, tuple[Source, Fragment]]]:
    """Writes each piece of text under a neutral name; yields the name with its source."""
    for place, file in enumerate(chunk.files):
        source = source_of(chunk.change, file, Side.NEW)
        for number, fragment in enumerate(source.fragments):
            name = f"f{place}_{number}.py"
            complete = fragment if source.whole else _with_imports(fragment)
            (folder / name).write_text(complete.text, encoding="utf-8", errors="replace")
            yield name, (source, complete)


def _with_imports(fragment: Fragment) -> Fragment:
    """The piece with the imports it seems to rely on: ruff follows names to their modules."""
    used = [name for name in _MODULES if re.search(rf"(?<![\w.]){name}\.", fragment.text)]
    missing = [name for name in used if not re.search(rf"(?m)^\s*(?:import|from).*\b{name}\b", fragment.text)]
    head = "".join(f"import {name}\n" for name in missing)
    return Fragment(head + fragment.text, (*(None for _ in missing), *fragment.numbers))


def _issue(row: dict[str, Any], pieces: dict[str, tuple[Source, Fragment]]) -> Issue | None:
    code, message = row.get("code") or "", str(row.get("message", ""))
    words = RULES.get(code) or WHOLE_FILE.get(code)
    piece = pieces.get(Path(str(row.get("filename", ""))).name)
    if words is None or piece is None or _HARMLESS.search(message):
        return None
    source, fragment = piece
    if not _counts(code, source):
        return None
    line = _touched_line(row, source, fragment)
    if line is None or not _matters(code, source.touched[line]):
        return None
    if code == "S506" and "SafeLoader" in fragment.text:
        return None
    name = _ONE_NAME.search(message)
    title = words.title.replace("{name}", name[0] if name else "the name").replace("{message}", message)
    why = words.why or f"ruff {code} ({row.get('name', '')}): {message}"
    fix = words.fix or str(
        (row.get("fix") or {}).get("message") or f"See {row.get('url', 'ruff rule ' + code)}"
    )
    return plain_issue(source, line, NAME, f"ruff/{code}", words.category, title or message, why, fix)


def _once_unparsed(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Of the errors that keep a file from being parsed the first: the others follow from it."""
    seen: set[str] = set()
    for row in rows:
        if row.get("code") == SYNTAX:
            if _NEWER.search(str(row.get("message", ""))) or row["filename"] in seen:
                continue
            seen.add(row["filename"])
        yield row


def _partly_read(row: dict[str, Any], pieces: dict[str, tuple[Source, Fragment]]) -> Skip | None:
    piece = pieces.get(Path(str(row.get("filename", ""))).name)
    if row.get("code") != SYNTAX or piece is None or not piece[0].whole:
        return None
    line = piece[1].number(row["location"]["row"] - 1)
    reason = mask(f"does not parse as Python ({row['message']}), so ruff's rules saw nothing of it")
    return Skip(path=piece[0].path, reason=reason, kind=SkipKind.UNDECODABLE, line=line)


def _counts(code: str, source: Source) -> bool:
    if code == SYNTAX:
        return source.whole
    if code in WHOLE_FILE or code in NEEDS_SURROUNDINGS:
        return source.whole and not source.path.endswith("__init__.py")
    return code in IN_TESTS or not is_test_path(source.path)


def _matters(code: str, text: str) -> bool:
    """Weak hashes matter where they protect something, unpickling where it is no own cache."""
    if code == "S324":
        return bool(re.search(r"(?i)passw|token|secret|sign|auth|user|mail|session|\bkey\b", text))
    return code != "S301" or not re.search(r"(?i)cache", text) or bool(_FROM_OUTSIDE.search(text))


def _touched_line(row: dict[str, Any], source: Source, fragment: Fragment) -> int | None:
    """The first touched line of the reported range, if it is not longer than a statement."""
    first, last = row["location"]["row"] - 1, row["end_location"]["row"] - 1
    numbers = (fragment.number(index) for index in range(first, min(last, first + 8) + 1))
    return next((number for number in numbers if number is not None and number in source.touched), None)
