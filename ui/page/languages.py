"""Which languages the page speaks, and which one a browser wants."""

from __future__ import annotations

from typing import Final

from ui.page.english import ENGLISH
from ui.page.turkish import TURKISH

LANGUAGES: Final = {texts.lang: texts for texts in (ENGLISH, TURKISH)}


def preferred(accept_language: str) -> str:
    """The page's language for a browser's `Accept-Language`; English when it asks for neither."""
    for part in accept_language.lower().split(","):
        name = part.split(";")[0].strip().split("-")[0]
        if name in LANGUAGES:
            return name
    return "en"
