"""A repository of over 300 commits that holds every kind of change git can make, the same on every machine.

Written by `git fast-import`, so it takes a fraction of a second. `make_repository` is all a test needs.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.support.git import GitRepo

ROUNDS = 9
PATHS = (
    b"src/plain.py",
    b"src/with blank.py",
    b"src/tab\there.py",
    b"src/new\nline.py",
    b'src/quo"te.py',
    b"src/back\\slash.py",
    "src/été.py".encode(),
    "src/日本.py".encode(),
    b"src/latin-\xe9.py",
    b"a/b b/c b/d.py",
    b"-dash.py",
    b"src/ leading.py",
    b"src/bell\x07.py",
)
SUBMODULE = b"1234567890123456789012345678901234567890"


class Writer:
    """Builds the stream for `git fast-import`; commits are numbered by marks."""

    def __init__(self) -> None:
        self.stream: list[bytes] = []
        self.mark = 0

    def commit(self, message: str, *changes: bytes, parents: Iterable[int] = (), branch: str = "main") -> int:
        """A commit with these changes; its first parent is the branch's last commit unless given."""
        self.mark += 1
        name, text = f"refs/heads/{branch}".encode(), message.encode()
        when = b"Ada <ada@example.com> %d +0000" % (1_700_000_000 + self.mark)
        self.stream += [b"commit %s\nmark :%d\ncommitter %s\n" % (name, self.mark, when)]
        self.stream += [b"data %d\n%s\n" % (len(text), text)]
        for order, parent in enumerate(parents):
            self.stream += [b"%s :%d\n" % (b"merge" if order else b"from", parent)]
        self.stream += [*changes, b"\n"]
        return self.mark

    def root(self, branch: str, message: str, *changes: bytes) -> int:
        """A commit without parents."""
        self.stream += [f"reset refs/heads/{branch}\n\n".encode()]
        return self.commit(message, *changes, branch=branch)


def quote(path: bytes) -> bytes:
    """The path as fast-import takes it: every byte that is not a plain letter by its octal number."""
    return (
        b'"'
        + b"".join(b"%c" % byte if chr(byte).isalnum() and byte < 128 else b"\\%03o" % byte for byte in path)
        + b'"'
    )


def put(path: bytes, content: bytes, mode: bytes = b"100644") -> bytes:
    """Writes a file."""
    return b"M %s inline %s\ndata %d\n%s\n" % (mode, quote(path), len(content), content)


def link_module(path: bytes, commit: bytes) -> bytes:
    """Sets a submodule to a commit."""
    return b"M 160000 %s %s\n" % (commit, quote(path))


def drop(path: bytes) -> bytes:
    """Deletes a file."""
    return b"D %s\n" % quote(path)


def move(source: bytes, target: bytes) -> bytes:
    """Renames a file."""
    return b"R %s %s\n" % (quote(source), quote(target))


def copy(source: bytes, target: bytes) -> bytes:
    """Copies a file."""
    return b"C %s %s\n" % (quote(source), quote(target))


def code(rng: random.Random, lines: int, end: str = "\n", last: bool = True) -> bytes:
    """Some lines of Python; `last` says whether the last one is ended."""
    body = [f"value_{n} = compute({rng.randrange(5)}, 'text')" for n in range(lines)]
    return (end.join(body) + (end if last else "")).encode()


def one_round(rng: random.Random, number: int) -> Iterator[tuple[str, list[bytes]]]:
    """Messages and changes of one pass through all cases; `number` keeps their paths apart."""
    folder = b"round%d/" % number
    for path in rng.sample(PATHS, 4):
        yield "Edit a file with a strange name", [put(path, code(rng, rng.randrange(1, 40)))]
    long = code(rng, 40)
    yield "Add files to move", [put(folder + b"a.py", long), put(folder + b"b c.py", long[:-40])]
    yield "Rename without a change", [move(folder + b"a.py", folder + b"\xc3\xa4 new.py")]
    yield (
        "Rename with a change",
        [drop(folder + b"b c.py"), put(folder + b"d.py", long[:-40] + b"more = 1\n")],
    )
    yield (
        "Copy and change the source",
        [copy(folder + b"d.py", folder + b"e.py"), put(folder + b"d.py", long)],
    )
    yield "Make executable", [put(folder + b"d.py", long, b"100755")]
    yield "Binary", [put(folder + b"x.png", bytes(rng.randrange(256) for _ in range(200)) + b"\0")]
    yield "Binary again", [put(folder + b"x.png", b"\0\1\2")]
    yield "CRLF", [put(folder + b"crlf.py", code(rng, 12, "\r\n"))]
    yield "CRLF to LF", [put(folder + b"crlf.py", code(rng, 12))]
    yield (
        "Lone carriage returns and form feeds",
        [put(folder + b"odd.py", b"a\rb\fc\xe2\x80\xa8d\n\r\n\x0b\n")],
    )
    yield "No newline at the end", [put(folder + b"end.py", code(rng, 3, last=False))]
    yield "Newline at the end", [put(folder + b"end.py", code(rng, 3))]
    yield (
        "Not UTF-8",
        [
            put(folder + b"latin.py", b"# caf\xe9 \x81 \xff\n"),
            put(folder + b"utf16.txt", "aé\n".encode("utf-16")),
        ],
    )
    yield "Byte order mark", [put(folder + b"bom.py", b"\xef\xbb\xbfx = 1\n")]
    yield "Symlink", [put(folder + b"link", b"../src/plain.py", b"120000")]
    yield "Symlink becomes a file", [put(folder + b"link", code(rng, 4))]
    yield "File becomes a symlink", [put(folder + b"link", b"elsewhere", b"120000")]
    yield "Submodule", [link_module(folder + b"module", SUBMODULE)]
    yield "Submodule moves on", [link_module(folder + b"module", SUBMODULE[::-1])]
    yield "File instead of a submodule", [drop(folder + b"module"), put(folder + b"module", b"x\n")]
    yield "Folder instead of a file", [drop(folder + b"module"), put(folder + b"module/x.py", b"x = 1\n")]
    yield "Delete", [drop(folder + b"end.py"), drop(folder + b"link")]
    yield "Empty commit", []
    yield "Empty file", [put(folder + b"empty.py", b"")]
    yield "Lines in the empty file", [put(folder + b"empty.py", b"x = 1\n")]
    yield "Nobody's files", [
        put(folder + b"package-lock.json", b"{}\n"), put(folder + b"vendor/x.go", b"package x\n"),
        put(folder + b"app.min.js", b"a()\n"), put(folder + b"api.pb.go", b"package x\n"),
        put(folder + b"made.py", b"# @generated\nx = 1\n"), put(folder + b"long.js", b"a;" * 4000),
    ]  # fmt: skip
    yield "Attributes", [
        put(folder + b".gitattributes", b"*.gen linguist-generated\n*.dat -diff\nvendor/** !diff\n"),
        put(folder + b"x.gen", b"x\n"), put(folder + b"x.dat", b"x\n"), put(folder + b"vendor/y.go", b"y\n"),
    ]  # fmt: skip
    yield (
        "Text like a diff",
        [put(folder + b"patch.txt", b"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n-- \n2.1\n")],
    )
    yield "Text like a diff, changed", [put(folder + b"patch.txt", b"-- a/x\n++ b/x\ndiff --git a/x b/y\n")]


def make_repository(path: Path, *options: str) -> tuple[GitRepo, list[str]]:
    """The repository on branch `main`, and the names of all its commits, oldest first.

    It has several roots, merges of two and of three parents, and a detached HEAD. `options` go to `git init`;
    a SHA-256 repository has no submodules, whose names here are SHA-1 ones.
    """
    rng, writer = random.Random(20260102), Writer()
    repo = GitRepo(path, *options)
    sha256 = "--object-format=sha256" in options
    last = writer.root("main", "First", *(put(name, code(rng, 20)) for name in PATHS))
    for number in range(ROUNDS):
        for message, changes in one_round(rng, number):
            kept = [change for change in changes if not (sha256 and change.startswith(b"M 160000"))]
            last = writer.commit(f"{message}\n\nRound {number}.", *kept)
        side = writer.commit("Side", put(b"side.py", code(rng, number + 1)), parents=[last], branch="side")
        island = writer.root(f"island{number}", "Another root", put(b"island.py", code(rng, 3)))
        last = writer.commit("Meanwhile", put(b"main.py", code(rng, number + 2)))
        parents = [last, side, island] if number % 2 else [last, side]
        last = writer.commit("Merge", put(b"side.py", code(rng, number + 1)), parents=parents)
    repo.run("fast-import", "--quiet", data=b"".join(writer.stream))
    repo.run("checkout", "--quiet", "--detach", "--force", "main")
    return repo, repo.run("rev-list", "--reverse", "--all").decode().split()
