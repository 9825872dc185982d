"""Disturbs how a text is written and which fields come with it, so that only what it says decides.

One author wrote the packaged rows; other people's comments are terse, formatted, mistyped, opened by a bot's
heading, and come without context. Pure functions of a random generator; no label is looked at, hence no
heading or prefix can hint at one.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Final

from review_data.rater_input import RaterFields

_MARKUP: Final = re.compile(r"[`*_#>~]+")
_SENTENCES: Final = re.compile(r"(?<=[.!?])\s+")
_PUNCTUATION: Final = re.compile(r"[.,;:!?]")
_OPENINGS: Final = (
    "nit: ", "Bot: ", "Nitpick (non-blocking): ", "issue: ", "suggestion: ", "question: ", "Hmm, ", "FYI: ",
    "**Potential issue**\n", "I think ", "@author ", "_⚠️ Potential issue_\n\n", "[Major] ", "[minor] ",
    "blocker: ", "praise aside, ", "**Suggestion**: ",
)  # fmt: skip
_CLOSINGS: Final = (
    " wdyt?", " Please fix.", " Thanks!", " Can you check?", " Thoughts?", " :)", "\n\n---\nReviewed by bot",
)  # fmt: skip


def augment_text(text: str, generator: random.Random) -> str:
    """The text with each disturbance applied by chance."""
    for chance, disturb in _DISTURBANCES:
        if generator.random() < chance:
            text = disturb(text, generator)
    return text


def drop_fields(fields: RaterFields, chance: float, generator: random.Random) -> RaterFields:
    """The fields with all context gone by `chance`, otherwise each field by itself; the text always stays."""
    if generator.random() < chance:
        return RaterFields(text=fields.text)
    kept = {
        name: value
        for name, value in fields.model_dump().items()
        if name == "text" or generator.random() >= (chance / 2 if name == "lines" else chance)
    }
    return RaterFields.model_validate(kept)


def _without_markup(text: str, generator: random.Random) -> str:
    return _MARKUP.sub("", text)


def _without_a_sentence(text: str, generator: random.Random) -> str:
    sentences = _SENTENCES.split(text)
    if len(sentences) < 2:
        return text
    return " ".join(sentences[:-1] if generator.random() < 0.7 else sentences[1:])


def _without_punctuation(text: str, generator: random.Random) -> str:
    return _PUNCTUATION.sub("", text)


def _opened(text: str, generator: random.Random) -> str:
    return generator.choice(_OPENINGS) + text


def _closed(text: str, generator: random.Random) -> str:
    return text + generator.choice(_CLOSINGS)


def _with_words_lost(text: str, generator: random.Random) -> str:
    return " ".join(word for word in text.split() if generator.random() > 0.1) or text


_DISTURBANCES: Final[tuple[tuple[float, Callable[[str, random.Random], str]], ...]] = (
    (0.25, _without_markup),
    (0.2, _without_a_sentence),
    (0.1, _without_punctuation),
    (0.12, _opened),
    (0.1, _closed),
    (0.1, _with_words_lost),
)
