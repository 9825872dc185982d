"""The finder of text that is not what a reader sees, or that talks to an automatic reviewer.

Such text is reported, never followed. What counts as such is known to `review_data.untrusted` alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from review_data.domain import Category, FileChange, Issue, Side
from review_data.untrusted import addresses_reviewer, hidden_characters
from service.backends.embedded.issues import plain_issue
from service.backends.embedded.sources import source_of
from service.ports import Change

NAME: Final = "hidden-text"
HIDDEN_WHY: Final = (
    "Bidirectional controls, zero-width characters and line ends inside a line let code look harmless in a "
    "review while the compiler sees something else (CVE-2021-42574)."
)
HIDDEN_FIX: Final = "Delete them, or write them as escapes where they are really needed."
ORDERS_WHY: Final = (
    "Code that tells its reviewer what to say tries to get something past the review. Terazi reports such "
    "text and does not follow it."
)
ORDERS_FIX: Final = "Remove the text, and look closely at what stands around it."
# Where orders to a model are the subject matter.
_PROMPTS: Final = re.compile(
    r"(?i)(?:^|/)(?:prompts?|agents?|llm|skills)(?:/|[._-])|prompts?\.\w+$|(?:AGENTS|CLAUDE)\.md$"
)


def hidden_text(change: Change, file: FileChange) -> Iterable[Issue]:
    """One issue per added line that hides characters or addresses the reviewer."""
    source = source_of(change, file, Side.NEW)
    about_prompts = _PROMPTS.search(file.path) is not None
    for number, text in source.touched.items():
        hidden = hidden_characters(text)
        if hidden:
            title = f"The line holds characters that can't be seen: {', '.join(hidden[:4])}"
            yield plain_issue(
                source,
                number,
                NAME,
                "text/hidden-characters",
                Category.SECURITY,
                title,
                HIDDEN_WHY,
                HIDDEN_FIX,
            )
        elif not about_prompts and addresses_reviewer(text):
            title = "Text in the change gives orders to an automatic reviewer"
            yield plain_issue(
                source,
                number,
                NAME,
                "text/orders-to-reviewer",
                Category.SECURITY,
                title,
                ORDERS_WHY,
                ORDERS_FIX,
            )
