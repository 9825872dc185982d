"""What came of one piece of generated code."""

from __future__ import annotations

from enum import StrEnum

from review_data.domain import Record


class Outcome(StrEnum):
    """One class per way to pass or fail; only `PASSED` counts as right, all are in the denominator."""

    PASSED = "passed"
    WRONG_ANSWER = "wrong-answer"
    EXCEPTION = "exception"
    TIME_OUT = "time-out"
    MEMORY = "memory"
    OUTPUT_LIMIT = "output-limit"
    NO_CODE = "no-code"
    TRUNCATED = "truncated"
    OVER_REASONING = "over-reasoning"
    MISSING = "missing"
    HARNESS_ERROR = "harness-error"


class Verdict(Record):
    """The outcome, what was seen, how many tests passed, and whether a busy machine may be to blame."""

    outcome: Outcome
    detail: str = ""
    tests_passed: int = 0
    wall_time_out: bool = False

    @property
    def passed(self) -> bool:
        """Whether it counts as right."""
        return self.outcome is Outcome.PASSED
