"""Masking of secrets in a whole review, once, before any format sees it.

What a secret is and how it is masked is `review_data.secrets`' business.
"""

from __future__ import annotations

from collections.abc import Sequence

from review_data.domain import Finding, Review, Skip


def mask(text: str) -> str:
    """Placeholder until `review_data.secrets` is there."""
    return text


def masked(review: Review) -> Review:
    """The review with the secrets masked in every text that people wrote or a model did."""
    return review.model_copy(
        update={
            "findings": tuple(map(_finding, review.findings)),
            "below": tuple(map(_finding, review.below)),
            "suppressed": tuple(map(_finding, review.suppressed)),
            "skips": tuple(map(_skip, review.skips)),
            "title": mask(review.title),
        }
    )


def mask_lines(lines: Sequence[str]) -> list[str]:
    """The lines masked as one text, so that a key over several lines is seen; as many lines as came in."""
    masked_lines = mask("\n".join(lines)).split("\n")
    return masked_lines if len(masked_lines) == len(lines) else [mask(line) for line in lines]


def _finding(finding: Finding) -> Finding:
    return finding.model_copy(
        update={
            "title": mask(finding.title),
            "explanation": mask(finding.explanation),
            "suggestion": mask(finding.suggestion),
            "quote": mask(finding.quote),
        }
    )


def _skip(skip: Skip) -> Skip:
    return skip.model_copy(update={"reason": mask(skip.reason)})
