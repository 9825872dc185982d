"""The severity scale: levels, their order, and the rubric that defines them.

The one source of the rubric's words: prompts, page, judge, model card and docs/severity.md quote it from
here. Owns no thresholds and no ratings.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from review_data.errors import SettingsError


class Severity(StrEnum):
    """How bad merging would be; ordered `low < medium < high < critical`."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for low to 3 for critical."""
        return _RANKS[self.value]

    @property
    def label(self) -> str:
        """The single-token label a language model answers with: "1" for low to "4" for critical."""
        return str(self.rank + 1)

    @classmethod
    def from_rank(cls, rank: int) -> Severity:
        """The level of `rank` (0 to 3); `IndexError` beyond."""
        return tuple(cls)[rank]

    @classmethod
    def parse(cls, text: str, what: str = "severity") -> Severity:
        """The level named `text` in any case; `SettingsError` names the choices."""
        try:
            return cls(text.strip().lower())
        except ValueError:
            choices = ", ".join(cls)
            raise SettingsError(f"{what}: `{text}` is not a severity; choose one of {choices}") from None

    def __lt__(self, other: str) -> bool:
        return self.rank < Severity(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= Severity(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > Severity(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= Severity(other).rank


_RANKS: Final = {"low": 0, "medium": 1, "high": 2, "critical": 3}
SEVERITIES: Final[tuple[Severity, ...]] = tuple(Severity)


class Definition(NamedTuple):
    """What a level means, what follows from it, and examples."""

    meaning: str
    action: str
    examples: str


PRINCIPLE: Final = (
    "Severity is impact × reachability of what merging the change would cause; never how hard the fix is."
)

DEFINITIONS: Final[dict[Severity, Definition]] = {
    Severity.CRITICAL: Definition(
        "a breach that an untrusted party can exploit, irreversible loss or corruption of data, or an outage "
        "of the whole service, reachable in normal operation",
        "Blocks the merge at once.",
        "injection from request input; an authentication or permission check removed or bypassed; a live "
        "secret committed; an unguarded destructive migration; money moved twice; remote code execution; "
        "deadlock or crash on every request or at start",
    ),
    Severity.HIGH: Definition(
        "wrong results, a crash, a leak of private data or a hang on a path that ordinary use reaches; a "
        "security weakness that needs a further condition; a data race; a public API broken without notice",
        "Fix before merging.",
        "",
    ),
    Severity.MEDIUM: Definition(
        "misbehaviour limited to edge cases or to degraded quality",
        "Fix soon; may merge with a follow-up.",
        "an unhandled but plausible failure, N+1 queries, slow unbounded growth, missing validation of small "
        "effect, missing timeouts, risky logic without a test, a misleading metric or log, configuration "
        "that bites later",
    ),
    Severity.LOW: Definition(
        "no effect on what production does",
        "Fix if convenient.",
        "naming, dead code, duplication, comments, docs, formatting, a weak test name, an inconsistent "
        "idiom, a tiny inefficiency off the hot path",
    ),
}

TIE_BREAKS: Final[tuple[str, ...]] = (
    "Only an administrator or the developer can trigger it: one level lower.",
    "Test-only, example or one-off script code: low; medium if it hides real failures.",
    "Behind a flag that is off by default: one level lower.",
    "Data loss that a backup or a retry restores: high, not critical.",
    "Internal network only, no untrusted caller: one level lower for security.",
    "Judge from what the diff, title, description and project line say; do not assume facts they do not "
    "give.",
)


def rubric() -> str:
    """The whole rubric as Markdown: the principle, the levels from critical down, the tie-breaks."""
    lines = [PRINCIPLE, ""]
    for severity in reversed(SEVERITIES):
        meaning, action, examples = DEFINITIONS[severity]
        tail = f" Examples: {examples}." if examples else ""
        lines.append(f"- **{severity}**: {meaning}. {action}{tail}")
    return "\n".join([*lines, "", "Tie-breaks", *(f"- {rule}" for rule in TIE_BREAKS)]) + "\n"
