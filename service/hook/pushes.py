"""What git and pre-commit say is being pushed.

git: one line per ref on standard input, `<local ref> <local oid> <remote ref> <remote oid>`; an object name
of zeros (40 or 64) stands for "none" (githooks(5), pre-push). pre-commit: `PRE_COMMIT_*` variables, and of
several refs only the first (pre-commit.com, "pre-push").
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from review_data.domain import Record
from review_data.errors import UserError

NO_OBJECT = "0" * 40
_ZEROS = re.compile(r"0+")
_OID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Update(Record):
    """One ref that a push creates, moves or deletes. `local` is a commit's name or any revision."""

    local_ref: str
    local: str
    remote_ref: str
    remote: str

    @property
    def is_deletion(self) -> bool:
        """Whether the push deletes the remote ref."""
        return bool(_ZEROS.fullmatch(self.local))

    @property
    def is_new(self) -> bool:
        """Whether the remote has no such ref yet."""
        return bool(_ZEROS.fullmatch(self.remote))

    @property
    def name(self) -> str:
        """The remote ref as people say it."""
        return re.sub(r"^refs/(heads|tags)/", "", self.remote_ref)


def parse_updates(text: str) -> tuple[Update, ...]:
    """The lines that git gives a pre-push hook; `UserError` for a line of another form."""
    return tuple(_update(line) for line in text.split("\n") if line.strip())


def _update(line: str) -> Update:
    # The local side may be any revision, `HEAD@{1 day ago}` too, so the line is read from its end.
    words = line.rsplit(" ", 3)
    if len(words) != 4 or not all(_OID.fullmatch(words[place]) for place in (1, 3)):
        raise UserError(
            f"hook run: `{line}` is no line of git's pre-push protocol; `terazi hook install` sets the hook "
            "up, `terazi hook run --pre-commit` is for the pre-commit framework"
        )
    return Update(local_ref=words[0], local=words[1], remote_ref=words[2], remote=words[3])


def from_pre_commit(env: Mapping[str, str]) -> tuple[Update, ...]:
    """The one ref that pre-commit names, none when it names none.

    FROM_REF and TO_REF are not set when the push holds a root commit; the branch names are.
    """
    local_ref = env.get("PRE_COMMIT_LOCAL_BRANCH", "")
    local = env.get("PRE_COMMIT_TO_REF") or local_ref
    if not local:
        return ()
    return (
        Update(
            local_ref=local_ref or local,
            local=local,
            remote_ref=env.get("PRE_COMMIT_REMOTE_BRANCH") or local_ref or local,
            remote=env.get("PRE_COMMIT_FROM_REF") or NO_OBJECT,
        ),
    )
