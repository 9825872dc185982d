"""What stands above a file's hunks in a diff: names with their quoting and prefixes, modes, blobs, status.

Follows git's "generating patch text with -p" (git help diff-format) and also takes plain `diff -u` headers,
whose names carry a timestamp after a tab. Hunks and the walk over a whole diff are in `review_data.diff`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from review_data.domain import FileStatus

SYMLINK: Final = "120000"
SUBMODULE: Final = "160000"
_NULL: Final = "/dev/null"
_PREFIXES: Final = {("a/", "b/"), ("i/", "w/"), ("c/", "i/"), ("c/", "w/"), ("o/", "w/"), ("1/", "2/")}
_ESCAPES: Final = {"a": 7, "b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13, '"': 34, "\\": 92}
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED: Final = re.compile(r"\\([0-7]{3}|.)|([^\\]+)", re.DOTALL)
_BLOBS: Final = re.compile(r"index ([0-9a-f]{4,64})\.\.([0-9a-f]{4,64})(?: ([0-7]{6}))?$")
_BINARY: Final = re.compile(r"Binary files? (.+?)(?: and (.+))? (?:differ|has changed)$")


@dataclass(slots=True)
class FileHeader:
    """What is known of one file before its hunks. Names are as written until `paths` reads them."""

    at: int
    git_names: str = ""
    old_name: str = ""
    new_name: str = ""
    moved_from: str = ""
    moved_to: str = ""
    status: FileStatus | None = None
    old_mode: str | None = None
    new_mode: str | None = None
    old_blob: str = ""
    new_blob: str = ""
    binary: bool = False

    def paths(self) -> tuple[str, str]:
        """Old and new path, "" on the side that has no file; both "" when the header names none."""
        if self.moved_from and self.moved_to:
            return unquote(self.moved_from), unquote(self.moved_to)
        if self.old_name and self.new_name:
            old, new = strip_prefixes(unquote(self.old_name), unquote(self.new_name))
        else:
            old, new = split_git_names(self.git_names)
        return (
            "" if self.status is FileStatus.ADDED else old,
            "" if self.status is FileStatus.DELETED else new,
        )


def read_line(header: FileHeader, line: str) -> bool:
    """Takes in one line below `diff --git`; False when it is no header line."""
    key, _, value = _split_key(line)
    if key in _FIELDS:
        setattr(header, _FIELDS[key], value)
    if key in _STATUS:
        header.status = _STATUS[key]
    if blobs := _BLOBS.match(line):
        header.old_blob, header.new_blob = blobs[1], blobs[2]
        header.old_mode = header.old_mode or blobs[3]
        header.new_mode = header.new_mode or blobs[3]
    elif line == "GIT binary patch" or _BINARY.match(line):
        header.binary = True
    elif key not in _FIELDS and key not in _IGNORED:
        return False
    return True


_FIELDS: Final = {
    "old mode": "old_mode",
    "new mode": "new_mode",
    "new file mode": "new_mode",
    "deleted file mode": "old_mode",
    "rename from": "moved_from",
    "rename to": "moved_to",
    "copy from": "moved_from",
    "copy to": "moved_to",
}
_STATUS: Final = {
    "new file mode": FileStatus.ADDED,
    "deleted file mode": FileStatus.DELETED,
    "rename to": FileStatus.RENAMED,
    "copy to": FileStatus.COPIED,
}
_IGNORED: Final = {"similarity index", "dissimilarity index"}
_KEYS: Final = (*_FIELDS, *_IGNORED)


def _split_key(line: str) -> tuple[str, str, str]:
    key = next((key for key in _KEYS if line.startswith(key + " ")), "")
    return key, " ", line[len(key) + 1 :] if key else ""


def read_names(header: FileHeader, old: str, new: str) -> None:
    """Takes in the `---` and `+++` lines (without their marks)."""
    header.old_name, header.new_name = _cut_timestamp(old), _cut_timestamp(new)
    if header.status is None and header.old_name == _NULL:
        header.status = FileStatus.ADDED
    elif header.status is None and header.new_name == _NULL:
        header.status = FileStatus.DELETED


def binary_names(line: str) -> tuple[str, str] | None:
    """Both names of a `Binary files … differ` line, None when it is another line."""
    match = _BINARY.match(line)
    return (match[1], match[2] or match[1]) if match else None


def _cut_timestamp(name: str) -> str:
    quoted = _QUOTED.match(name)
    return quoted[0] if quoted else name.split("\t", 1)[0]


def strip_prefixes(old: str, new: str) -> tuple[str, str]:
    """Takes off `a/` and `b/` (or another of git's pairs) where both sides carry their half."""
    pair = old[:2], new[:2]
    if pair in _PREFIXES:
        return old[2:], new[2:]
    if old == _NULL:
        return "", new[2:] if any(new[:2] == b for _, b in _PREFIXES) else new
    if new == _NULL:
        return old[2:] if any(old[:2] == a for a, _ in _PREFIXES) else old, ""
    return old, new


def split_git_names(names: str) -> tuple[str, str]:
    """Both paths of a `diff --git` line without renames: there both sides have one name.

    That makes names with blanks readable: the blank between the two is the one in the middle.
    """
    quoted = _QUOTED.match(names)
    if quoted:
        return strip_prefixes(unquote(quoted[0]), unquote(names[quoted.end() + 1 :]))
    if names.endswith('"') and ' "' in names:
        old, new = names.split(' "', 1)
        return strip_prefixes(old, unquote(f'"{new}'))
    middle = len(names) // 2
    old, new = strip_prefixes(names[:middle], names[middle + 1 :])
    return (old, new) if names[middle : middle + 1] == " " and old == new else ("", "")


def unquote(name: str) -> str:
    """A path as git quotes it (`core.quotePath`) as text; bytes that are no UTF-8 stay as `\\xe9`."""
    quoted = _QUOTED.fullmatch(name)
    if not quoted:
        return name
    raw = bytearray()
    for escape, plain in _ESCAPED.findall(quoted[1]):
        if plain:
            raw += plain.encode("utf-8", "replace")
        elif len(escape) == 3:
            raw.append(int(escape, 8) & 0xFF)
        else:
            raw += bytes([_ESCAPES[escape]]) if escape in _ESCAPES else escape.encode("utf-8", "replace")
    return raw.decode("utf-8", "backslashreplace")
