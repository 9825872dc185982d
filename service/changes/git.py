"""The one place that speaks git, through GitPython's command class: discovery, objects, diffs, attributes.

What a user's configuration or environment could change in the output is set here for every call. Revision
syntax is in `service.changes.revisions`; GitPython's own `Repo`, object database and diffs are not used: they
don't know SHA-256 repositories, and its `Diff` objects cost a process per file.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from review_data.errors import ChangeError
from service.changes.size import LARGEST_FILE

if TYPE_CHECKING:
    from git.cmd import Git

_EMPTY_TREES: Final = {
    40: "4b825dc642cb6eb9a060e54bf8d69288fbee4904",
    64: "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
}
_LOCAL_VARIABLES: Final = """
    GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_COMMON_DIR GIT_OBJECT_DIRECTORY GIT_NAMESPACE
    GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_PREFIX GIT_SHALLOW_FILE GIT_GRAFT_FILE
"""
_CONFIG: Final = (
    "core.quotePath=true",
    "core.safecrlf=false",
    "core.fsmonitor=false",
    f"core.bigFileThreshold={LARGEST_FILE}",
    "diff.suppressBlankEmpty=false",
)
_DIFF_FLAGS: Final = """
    --patch --no-color --no-ext-diff --no-textconv --src-prefix=a/ --dst-prefix=b/ --full-index
    --find-renames --find-copies -l500 --unified=3 --inter-hunk-context=0 --diff-algorithm=myers
    --indent-heuristic --submodule=short --ignore-submodules=dirty -O/dev/null
"""


class Answer(NamedTuple):
    """What one git process said."""

    status: int
    out: bytes
    err: str


class GitObject(NamedTuple):
    """An object by name: `kind` is blob, commit, tree or tag; `data` stops at the limit it was read with."""

    name: str
    kind: str
    size: int
    data: bytes


class Program:
    """git in one folder with one environment; `without` names variables that it must not see."""

    def __init__(self, folder: Path, environment: dict[str, str], without: Sequence[str] = ()) -> None:
        try:
            from git.cmd import Git
        except ImportError:
            raise ChangeError(_NO_GIT) from None
        self._folder, self._environment, self._without = folder, environment, without
        self._git: Git = Git(str(folder))
        self._git.update_environment(GIT_OPTIONAL_LOCKS="0", **environment)
        hide = ["env", *(part for name in without for part in ("-u", name))] if without else []
        settings = (part for pair in _CONFIG for part in ("-c", pair))
        self._command = [*hide, "git", "--no-pager", *settings]

    def having(self, **environment: str) -> Program:
        """The same git with more variables."""
        return Program(self._folder, {**self._environment, **environment}, self._without)

    def run(self, *arguments: str) -> Answer:
        """Runs git to its end, whatever its status."""
        from git.exc import GitCommandNotFound

        try:
            status, out, err = self._git.execute(
                [*self._command, *arguments],
                with_extended_output=True,
                with_exceptions=False,
                stdout_as_string=False,
                strip_newline_in_stdout=False,
            )
        except GitCommandNotFound:
            raise ChangeError(_NO_GIT) from None
        return Answer(int(status), out, err)

    def start(self, *arguments: str) -> Any:
        """A running git with pipes, which ends when it is no longer referred to."""
        return self._git.execute([*self._command, *arguments], istream=subprocess.PIPE, as_process=True)


class Repository:
    """A repository found from a path. Methods raise `ChangeError` with git's words. Thread-safe."""

    def __init__(self, program: Program, where: Path, root: Path | None, shallow: bool) -> None:
        self.program, self.where, self.root, self.shallow = program, where, root, shallow
        self._objects: Any = None
        self._lock = threading.Lock()

    def ask(self, *arguments: str) -> bytes:
        """What git prints; `ChangeError` with its words when it fails."""
        answer = self.program.run(*arguments)
        if answer.status:
            raise ChangeError(f"{self.where}: `git {arguments[0]}` failed: {answer.err.strip()}")
        return answer.out

    def diff(self, *arguments: str) -> bytes:
        """`git diff` as bytes in one fixed form; `arguments` are object names and options of ours."""
        return self.ask("diff", *_DIFF_FLAGS.split(), *arguments, "--")

    def find(self, name: str, limit: int = LARGEST_FILE) -> GitObject | None:
        """The object that `name` (any revision syntax) leads to, None when there is none."""
        if "\n" in name or "\0" in name:
            return None
        if "@{" in name:  # at `@{upstream}` of a branch that has none, cat-file ends
            answer = self.program.run("rev-parse", "--verify", "--quiet", "--end-of-options", name)
            name = answer.out.decode().strip()
        if not name:
            return None
        with self._lock:
            if self._objects is None:
                self._objects = self.program.start("cat-file", "--batch")
                weakref.finalize(self, _end, self._objects)
            return read_object(self._objects.stdin, self._objects.stdout, name, limit)

    def empty_tree(self) -> str:
        """Name of the tree without files in the repository's hash."""
        sha256 = self.ask("rev-parse", "--show-object-format").strip() == b"sha256"
        return _EMPTY_TREES[64 if sha256 else 40]

    def untracked(self) -> list[bytes]:
        """Paths below `root` that are neither tracked nor ignored; a nested repository ends in `/`."""
        return _split(self.ask("ls-files", "--others", "--exclude-standard", "-z"))

    def attributes(self, paths: Iterable[str], names: Sequence[str], tree: str) -> dict[str, dict[str, str]]:
        """`.gitattributes` values (`set`, `unset` or a word) per path, of those attributes that are given.

        They are read from the work tree; in a bare repository from `tree`.
        """
        asked = "\0".join(paths).encode()
        if not asked:
            return {}
        if self.root is not None:
            return self._attributes(self.program, asked, names)
        with tempfile.TemporaryDirectory() as folder:
            index = self.program.having(GIT_INDEX_FILE=str(Path(folder, "index")))
            index.run("read-tree", tree)
            return self._attributes(index, asked, ["--cached", *names])

    def _attributes(
        self, program: Program, asked: bytes, arguments: Sequence[str]
    ) -> dict[str, dict[str, str]]:
        process = program.start("check-attr", "--stdin", "-z", *arguments)
        out, _ = process.communicate(asked + b"\0")
        found: dict[str, dict[str, str]] = {}
        fields = [field.decode("utf-8", "replace") for field in _split(out)]
        for path, name, value in zip(fields[::3], fields[1::3], fields[2::3], strict=True):
            if value != "unspecified":
                found.setdefault(path, {})[name] = value
        return found


def open_repository(path: Path | str) -> Repository:
    """The repository that holds `path`; `ChangeError` when there is none or git refuses it.

    `GIT_DIR`, `GIT_INDEX_FILE` and the like, which git sets for its hooks, count only when `path` is the
    current folder: they are about the repository that the hook runs in, not about another one.
    """
    where = Path(path).absolute()
    if not where.is_dir():
        raise ChangeError(f"{where}: there is no such folder; name the repository with --repo")
    present = [name for name in _LOCAL_VARIABLES.split() if name in os.environ]
    foreign = present if where.resolve() != Path.cwd() else []
    answer = Program(where, {}, foreign).run("rev-parse", *_QUESTIONS.split())
    told = os.fsdecode(answer.out).split("\n")
    if len(told) < len(_QUESTIONS.split()):
        raise ChangeError(_refusal(where, answer.err))
    root = Path(told[3]) if told[1] == "true" else None
    known = {"GIT_DIR": told[2], "GIT_WORK_TREE": told[3]}
    environment = {} if foreign else {name: known.get(name) or _absolute(name) for name in present}
    return Repository(Program(root or where, environment, foreign), where, root, told[0] == "true")


_QUESTIONS: Final = """
    --is-shallow-repository --is-inside-work-tree --absolute-git-dir --show-toplevel
"""
_NO_GIT: Final = "the program `git` was not found: install git, or add its folder to PATH"


def _absolute(name: str) -> str:
    """The variable's value, of use in any folder: git is run from the work tree's root."""
    value = os.environ[name]
    return str(Path(value).absolute()) if name in ("GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY") else value


def read_object(requests: IO[bytes], answers: IO[bytes], name: str, limit: int) -> GitObject | None:
    """One exchange with `git cat-file --batch` (git help cat-file, BATCH OUTPUT)."""
    requests.write(name.encode("utf-8", "replace") + b"\n")
    requests.flush()
    match = re.fullmatch(rb"([0-9a-f]{40,64}) (blob|commit|tree|tag) (\d+)\n", answers.readline())
    if match is None:
        return None
    size = int(match[3])
    data = answers.read(min(size, limit))
    left = size - len(data) + 1
    while left > 0:
        left -= len(answers.read(min(left, 1 << 16))) or left
    return GitObject(match[1].decode(), match[2].decode(), size, data)


def _end(process: Any) -> None:
    for stream in (process.stdin, process.stdout, process.stderr):
        stream.close()
    process.proc.wait()


def _split(data: bytes) -> list[bytes]:
    return data.split(b"\0")[:-1]


def _refusal(where: Path, words: str) -> str:
    if "dubious ownership" in words:
        return (
            f"{where}: git refuses this repository because it belongs to another user; if you trust it, run "
            f"`git config --global --add safe.directory {where}`"
        )
    if "not a git repository" in words:
        return f"{where}: is not in a git repository; run terazi inside one, or name it with --repo"
    return f"{where}: git can't open this repository: {words.strip()}"
