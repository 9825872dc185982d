"""The finder that runs ruff over the Python files of a chunk: bug, security, async and performance rules.

Owns the choice of ruff's rules, their categories and the wording of their titles. One process per chunk,
isolated from any configuration; only findings on added lines are kept. Rules that need the whole file (names
that are defined elsewhere in it) count only where the whole file is at hand.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from review_data.domain import Category, Issue, Side
from review_data.errors import BackendError
from service.backends.embedded.issues import plain_issue
from service.backends.embedded.sources import Fragment, Source, is_test_path, language, source_of
from service.ports import Change, Chunk, Found, Plan

NAME: Final = "ruff"
_TIMEOUT_S: Final = 60
_FILES_PER_CHUNK: Final = 100


class _Words(NamedTuple):
    """How a ruff rule is reported; an empty title keeps ruff's message, an empty why ruff's rule name."""

    category: Category
    title: str = ""
    why: str = ""
    fix: str = ""


_SEC: Final = Category.SECURITY
_COR: Final = Category.CORRECTNESS
_RES: Final = Category.RESOURCE
_CON: Final = Category.CONCURRENCY
_ERR: Final = Category.ERROR_HANDLING
_MAI: Final = Category.MAINTAINABILITY
# Which rules ruff runs: those whose hits a reviewer wants to hear of. Left out on purpose: style, and rules
# whose hits are mostly fine (S101, S104, S110, S603, S607, S608 (the pack's own rule is narrower), PERF203).
RULES: Final[dict[str, _Words]] = {
    "B002": _Words(_COR, "`++` does nothing in Python"),
    "B005": _Words(
        _COR, "`strip` with several characters removes a set of characters, not a prefix or suffix"
    ),
    "B006": _Words(
        _COR,
        "The mutable default argument is shared by all calls",
        "The default is made once, when the function is defined; what one call adds, the next one sees.",
        "Use None as the default and make the object in the body.",
    ),
    "B012": _Words(_ERR, "Leaving the `finally` block by {name} swallows the exception"),
    "B015": _Words(_COR, "The comparison's result is not used"),
    "B016": _Words(_ERR, "Raising a literal is a TypeError"),
    "B017": _Words(
        Category.TESTING,
        "The test passes on any exception at all",
        "A typo in the test or a TypeError satisfies it as well, so it does not test what it says.",
        "Name the exception that is expected.",
    ),
    "B018": _Words(_COR, "The expression has no effect"),
    "B019": _Words(
        _RES,
        "The cache on a method keeps every instance alive",
        "functools caches hold `self`, so objects are never freed, and all instances share one cache size.",
        "Cache on the instance (cached_property), or key a module function by plain values.",
    ),
    "B020": _Words(_COR, "The loop variable overwrites the collection that it runs over"),
    "B021": _Words(Category.DOCUMENTATION, "An f-string is no docstring"),
    "B023": _Words(
        _COR,
        "The function made in the loop sees the last value of {name}",
        "The variable is looked up when the function is called, after the loop has moved on.",
        "Bind the value: a default argument or functools.partial.",
    ),
    "B024": _Words(_MAI),
    "B025": _Words(_ERR, "The exception is caught twice; the second handler never runs"),
    "B026": _Words(_COR),
    "B029": _Words(_ERR, "`except ():` catches nothing"),
    "B030": _Words(_ERR, "The except clause names something that is no exception"),
    "B031": _Words(_COR, "The group of `groupby` is read a second time and is empty then"),
    "B032": _Words(_COR, "This is a type annotation, not an assignment"),
    "B035": _Words(_COR, "The dict comprehension has a constant key and keeps one entry"),
    "B039": _Words(_COR, "The context variable's mutable default is shared by all contexts"),
    "S102": _Words(_SEC, "`exec` runs text as code"),
    "S103": _Words(_SEC, "The file becomes writable for everybody"),
    "S113": _Words(
        _RES,
        "The request has no timeout",
        "requests waits for ever by default; one host that does not answer blocks the worker.",
        "Pass `timeout=`.",
    ),
    "S202": _Words(_SEC, "The archive's entries can be written outside the folder"),
    "S301": _Words(
        _SEC,
        "Unpickling runs code that is stored in the data",
        "Whoever can write the data runs any command when it is loaded.",
        "Use a data-only format such as JSON.",
    ),
    "S302": _Words(_SEC, "marshal can crash or run code on crafted data"),
    "S306": _Words(
        _SEC,
        "`mktemp` leaves a gap in which somebody else can create the file",
        "Between the name and the opening, another user can put a link there.",
        "Use NamedTemporaryFile or mkstemp.",
    ),
    "S307": _Words(
        _SEC,
        "`eval` runs text as code",
        "Whoever influences the text runs Python in this process.",
        "Use ast.literal_eval, a parser, or a table of allowed operations.",
    ),
    "S323": _Words(_SEC, "The TLS context does not check certificates"),
    "S324": _Words(
        _SEC,
        "A broken hash function is used",
        "MD5 and SHA-1 collisions can be made in seconds; as a password or token hash they are also too fast.",
        "Use SHA-256, or argon2/bcrypt for passwords; pass `usedforsecurity=False` where it is a mere checksum.",
    ),
    "S501": _Words(
        _SEC,
        "TLS certificates are not checked",
        "Anybody on the way can read and change the traffic.",
        "Remove `verify=False`; give the CA file of a private authority.",
    ),
    "S502": _Words(_SEC, "An insecure TLS version is allowed"),
    "S503": _Words(_SEC, "An insecure TLS version is the default"),
    "S505": _Words(_SEC, "The key is too short"),
    "S506": _Words(
        _SEC,
        "`yaml.load` can instantiate any Python object",
        "Tags in the document call constructors and functions, so whoever writes the YAML runs code.",
        "Use yaml.safe_load.",
    ),
    "S507": _Words(_SEC, "The SSH host key is accepted without a check"),
    "S508": _Words(_SEC),
    "S509": _Words(_SEC),
    "S602": _Words(
        _SEC,
        "A command line is given to the shell",
        "Shell characters in a value start further commands.",
        "Pass a list of arguments without `shell=True`.",
    ),
    "S604": _Words(_SEC, "The call starts a shell"),
    "S605": _Words(
        _SEC,
        "A command line is given to the shell",
        "Shell characters in a value start further commands.",
        "Use subprocess.run with a list of arguments.",
    ),
    "S609": _Words(_SEC, "A wildcard in the command can be read as options"),
    "S611": _Words(_SEC, "RawSQL with a value in it can be injected into"),
    "S612": _Words(_SEC),
    "S701": _Words(
        _SEC,
        "jinja2 does not escape HTML here",
        "Values with `<script>` run in the reader's browser.",
        "Pass `autoescape=True` or select_autoescape().",
    ),
    "S702": _Words(_SEC, "Mako does not escape HTML by default"),
    "ASYNC100": _Words(_CON, "The cancel scope has no await in it, so its deadline never fires"),
    "ASYNC210": _Words(
        _CON,
        "A blocking HTTP call inside a coroutine stops the event loop",
        "While it waits, no other request or task of the process makes progress.",
        "Use an async client, or asyncio.to_thread.",
    ),
    "ASYNC212": _Words(_CON, "A blocking HTTP call inside a coroutine stops the event loop"),
    "ASYNC220": _Words(_CON, "A blocking subprocess call inside a coroutine stops the event loop"),
    "ASYNC221": _Words(_CON, "A blocking subprocess call inside a coroutine stops the event loop"),
    "ASYNC222": _Words(_CON, "Waiting for a process inside a coroutine stops the event loop"),
    "ASYNC251": _Words(
        _CON,
        "`time.sleep` inside a coroutine stops the event loop",
        "While it sleeps, no other request or task of the process makes progress.",
        "Use `await asyncio.sleep`.",
    ),
    "RUF006": _Words(
        _CON,
        "Nobody keeps the task, so it may be collected before it has finished",
        "The event loop holds tasks only weakly, and their exceptions are lost.",
        "Keep the task (a set with a done callback, or a TaskGroup).",
    ),
    "RUF016": _Words(_COR),
    "RUF018": _Words(_COR),
    "RUF024": _Words(_COR, "All keys share one mutable value"),
    "RUF026": _Words(_COR, "`default_factory` as keyword makes an entry of a defaultdict, not its factory"),
    "PLE0100": _Words(_COR),
    "PLE0101": _Words(_COR),
    "PLE0116": _Words(_COR),
    "PLE0117": _Words(_COR),
    "PLE0118": _Words(_COR),
    "PLE0302": _Words(_COR),
    "PLE0307": _Words(_COR),
    "PLE0604": _Words(_COR),
    "PLE0643": _Words(_COR, "The index is beyond the end of the sequence"),
    "PLE0704": _Words(_ERR),
    "PLE1142": _Words(_COR, "`await` stands outside an async function"),
    "PLE1205": _Words(_ERR, "The log call has more values than placeholders and fails"),
    "PLE1206": _Words(_ERR, "The log call has fewer values than placeholders and fails"),
    "PLE1300": _Words(_COR),
    "PLE1307": _Words(_COR, "The format and the value's type do not fit"),
    "PLE1310": _Words(_COR, "`strip` is given a character twice; it removes characters, not a word"),
    "PLE1507": _Words(_COR, "The environment variable's name or default is no string"),
    "PLE1519": _Words(_COR),
    "PLW0120": _Words(_COR, "The loop's `else` always runs, there is no `break`"),
    "PLW0127": _Words(_COR, "The variable is assigned to itself"),
    "PLW0128": _Words(_COR),
    "PLW0129": _Words(Category.TESTING, "The assertion is on a string and can't fail"),
    "PLW0131": _Words(_COR),
    "PLW0177": _Words(_COR, "A comparison with NaN is always false"),
    "PLW0211": _Words(_COR),
    "PLW0245": _Words(_COR, "`super` is missing its parentheses"),
    "PLW0711": _Words(_ERR, "`except A or B` catches only A"),
    "PLW1501": _Words(_COR),
    "PLW1507": _Words(_COR),
    "PLW1509": _Words(_CON, "`preexec_fn` is not safe with threads"),
    "PLW2101": _Words(_CON, "The lock is made and released at once, so it protects nothing"),
    "PLR0124": _Words(_COR, "The value is compared with itself"),
    "F502": _Words(_COR),
    "F503": _Words(_COR),
    "F505": _Words(_COR),
    "F506": _Words(_COR),
    "F507": _Words(_COR),
    "F509": _Words(_COR),
    "F522": _Words(_COR),
    "F524": _Words(_COR),
    "F601": _Words(_COR, "The dict has the same key twice; the first value is lost"),
    "F631": _Words(Category.TESTING, "The assertion is on a tuple and can't fail"),
    "F632": _Words(_COR, "`is` compares identity, not the literal's value"),
    "F633": _Words(_COR),
    "F634": _Words(_COR, "The condition is a tuple and always true"),
    "F702": _Words(_COR),
    "F706": _Words(_COR),
    "F811": _Words(_COR, "{name} is defined twice; the first definition is lost"),
    "E722": _Words(
        _ERR,
        "The bare `except` also catches KeyboardInterrupt and every bug",
        "Errors that nobody thought of disappear, and the process can't be stopped.",
        "Name the exceptions.",
    ),
    "T100": _Words(_MAI, "A debugger call was left in"),
}
_WHOLE_FILE: Final[dict[str, _Words]] = {
    "F401": _Words(
        _MAI,
        "{name} is imported but not used",
        "The name occurs nowhere else in the file.",
        "Remove the import.",
    ),
    "F821": _Words(
        _COR,
        "{name} is not defined",
        "The line raises NameError when it is reached.",
        "Import or define it, or correct the spelling.",
    ),
    "F822": _Words(_COR),
    "F823": _Words(_COR, "{name} is used before it has a value"),
    "F841": _Words(_MAI, "{name} is assigned but never used", "Nothing reads the value.", "Remove it."),
}
# Without the lines around, a piece of a function looks like the top of a module.
_NEEDS_SURROUNDINGS: Final = frozenset(
    {"PLE1142", "F706", "F702", "PLE0118", "F811", "PLE0100", "PLE0101", "PLE0704"}
)
_IN_TESTS: Final = frozenset({"B015", "B017", "F631", "PLW0129", "T100"})
# ruff says so of a command that is a literal.
_HARMLESS: Final = re.compile(r"seems safe")
_ONE_NAME: Final = re.compile(r"`([^`]+)`")


class RuffFinder:
    """The `Finder` that runs ruff."""

    name = NAME
    concurrency = 1

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
        """Issues on added lines; `BackendError` when ruff can't be run or does not answer."""
        with tempfile.TemporaryDirectory(prefix="terazi-ruff-") as folder:
            pieces = dict(_written(chunk, Path(folder)))
            rows = run_ruff(Path(folder)) if pieces else []
        issues = [issue for row in rows if (issue := _issue(row, pieces)) is not None]
        return Found(tuple(issues))


def run_ruff(folder: Path) -> list[dict[str, Any]]:
    """ruff's JSON answer for the files of a folder; `BackendError` with what it said otherwise."""
    from ruff import find_ruff_bin

    try:
        command = [find_ruff_bin(), "check", "--isolated", "--no-cache", "--quiet", "--output-format=json"]
        command += [
            "--target-version=py313",
            f"--select={','.join((*RULES, *_WHOLE_FILE))}",
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
            (folder / name).write_text(fragment.text, encoding="utf-8", errors="replace")
            yield name, (source, fragment)


def _issue(row: dict[str, Any], pieces: dict[str, tuple[Source, Fragment]]) -> Issue | None:
    code, message = row.get("code") or "", str(row.get("message", ""))
    words = RULES.get(code) or _WHOLE_FILE.get(code)
    piece = pieces.get(Path(str(row.get("filename", ""))).name)
    if words is None or piece is None or _HARMLESS.search(message):
        return None
    source, fragment = piece
    if not _counts(code, source):
        return None
    line = _touched_line(row, source, fragment)
    if line is None:
        return None
    name = _ONE_NAME.search(message)
    title = words.title.replace("{name}", name[0] if name else "the name") or message
    why = words.why or f"ruff {code} ({row.get('name', '')}): {message}"
    fix = words.fix or str(
        (row.get("fix") or {}).get("message") or f"See {row.get('url', 'ruff rule ' + code)}"
    )
    return plain_issue(source, line, NAME, f"ruff/{code}", words.category, title, why, fix)


def _counts(code: str, source: Source) -> bool:
    if code in _WHOLE_FILE or code in _NEEDS_SURROUNDINGS:
        return source.whole and not source.path.endswith("__init__.py")
    return code in _IN_TESTS or not is_test_path(source.path)


def _touched_line(row: dict[str, Any], source: Source, fragment: Fragment) -> int | None:
    """The first touched line of the reported range, if it is not longer than a statement."""
    first, last = row["location"]["row"] - 1, row["end_location"]["row"] - 1
    numbers = (fragment.number(index) for index in range(first, min(last, first + 8) + 1))
    return next((number for number in numbers if number is not None and number in source.touched), None)
