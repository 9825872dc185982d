"""Masking of secrets in a whole review, once, before any format sees it.

What a secret is and how it is masked is `review_data.secrets`' business.
"""

from __future__ import annotations

from collections.abc import Sequence

from review_data.domain import Finding, Review, Skip
from review_data.secrets import MASK, find_secrets, mask


def masked(review: Review) -> Review:
    """The review with the secrets masked in every text that people wrote or a model did."""
    return review.model_copy(
        update={
            "findings": tuple(map(_finding, review.findings)),
            "below": tuple(map(_finding, review.below)),
            "suppressed": tuple(map(_finding, review.suppressed)),
            "skips": tuple(map(_skip, review.skips)),
            "title": mask(review.title),
            "base": mask(review.base),
            "head": mask(review.head),
        }
    )


def mask_lines(lines: Sequence[str]) -> list[str]:
    """The lines masked as one text, so that a key over several lines is seen; as many lines as came in."""
    text, at = "\n".join(lines), 0
    parts: list[str] = []
    for secret in find_secrets(text):
        value = text[secret.start + secret.keep : secret.end]
        parts.extend((text[at : secret.start + secret.keep], "\n".join(MASK for _ in value.split("\n"))))
        at = secret.end
    return ("".join(parts) + text[at:]).split("\n")


def _finding(finding: Finding) -> Finding:
    return finding.model_copy(
        update={
            "path": mask(finding.path),
            "title": mask(finding.title),
            "explanation": mask(finding.explanation),
            "suggestion": mask(finding.suggestion),
            "quote": mask(finding.quote),
        }
    )


def _skip(skip: Skip) -> Skip:
    return skip.model_copy(update={"path": mask(skip.path), "reason": mask(skip.reason)})
