"""The finder of text that is not what a reader sees, or that talks to an automatic reviewer.

Owns the two kinds: invisible and direction-changing characters (the "Trojan Source" attack,
CVE-2021-42574) and instructions to the reviewer ("prompt injection"). Such text is reported, never followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from review_data.domain import Category, FileChange, Issue, Side
from service.backends.embedded.issues import plain_issue
from service.backends.embedded.sources import source_of
from service.ports import Change

_DIRECTION: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")
# A joiner between emoji or in scripts that need it is honest; between ASCII characters it hides something.
_INVISIBLE: Final = re.compile(
    "(?<=[\x20-\x7e])[\u200b\u200c\u200d\u2060\u00ad\ufeff\u180e]+(?=[\x20-\x7e])|[\U000e0000-\U000e007f]{2,}|\u3164"
)
_WHO: Final = (
    r"(?:ai|llm|language model|gpt|claude|copilot|gemini|assistant|automated|automatic|code)[- ]?"
    r"(?:code |security |review )?(?:reviewers?|review (?:bot|tool|agent|assistant|model)s?|assistants?|models?|agents?|bots?|tools?)"
)
_ADDRESSED: Final = re.compile(
    r"(?i)(?:"
    r"(?:ignore|disregard|forget|override|bypass)\s+(?:all\s+|any\s+|the\s+|your\s+|these\s+|of\s+)*"
    r"(?:previous|prior|above|earlier|preceding|system|original|initial|review(?:er)?'?s?)\s+"
    r"(?:instructions?|prompts?|directions?|rules|guidelines|context|messages?|findings)"
    rf"|\b(?:note|attention|important|instructions?|message|hint|dear|hello|hey)\b[^\n]{{0,12}}?\b(?:to|for|,)?\s*(?:the\s+|any\s+|all\s+)?{_WHO}"
    rf"|\b{_WHO}\b\s*[,:]\s*(?:please|do not|don't|you|this|ignore|skip|approve|mark|rate|report|treat|consider|always|never)"
    r"|\b(?:do not|don't|never|must not|no need to)\s+(?:report|flag|mention|comment on|list|raise)\s+(?:any\s+|this\s+|the\s+|these\s+)*"
    r"(?:issues?|findings?|vulnerabilit\w+|problems?|bugs?|security)\b"
    r"|\b(?:rate|mark|classify|report|treat|consider|score|label)\s+(?:this|the|all|every|any)\s+(?:\w+\s+){0,4}?"
    r"(?:as|with)\s+(?:severity\s+)?[`'\"]?(?:low|clean|safe|approved|lgtm|no issues?|not a vulnerability|harmless|pre-?approved)\b"
    r"|\b(?:respond|reply|answer|output|return)\s+(?:only\s+)?with\s+(?:only\s+)?(?:an?\s+)?[`'\"\[{]*(?:\[\]|lgtm|no (?:issues|findings)|approved?|empty (?:list|array|json))"
    r"|<\|(?:im_start|im_end|system|user|assistant|endoftext)\|>|\[/?INST\]|<</?SYS>>"
    r"|\byou are (?:now )?(?:an?|the) (?:helpful |expert |senior )*(?:ai|llm|code review(?:er)?|assistant|language model)\b"
    r"|^\W*(?:system|assistant)\s*(?:prompt|message|override|instruction)?\s*:\s*(?:you|ignore|approve|the (?:diff|change|code))"
    r")"
)
_PROMPT_FILES: Final = re.compile(
    r"(?i)(?:^|/)(?:prompts?|agents?|llm|skills)(?:/|[._-])|prompts?\.\w+$|(?:AGENTS|CLAUDE)\.md$"
)


def hidden_text(change: Change, file: FileChange) -> Iterable[Issue]:
    """One issue per added line that hides characters or addresses the reviewer."""
    source = source_of(change, file, Side.NEW)
    for number, text in source.touched.items():
        if not text.isascii() and (_DIRECTION.search(text) or _INVISIBLE.search(text)):
            yield plain_issue(
                source,
                number,
                "hidden-text",
                "text/hidden-characters",
                Category.SECURITY,
                "Invisible or direction-changing characters make this line read differently from what runs",
                "Bidirectional controls and zero-width characters let code look harmless in a review while the "
                "compiler sees something else (CVE-2021-42574).",
                "Delete the characters, or write them as escapes where they are really needed.",
            )
        elif _ADDRESSED.search(text) and not _PROMPT_FILES.search(file.path):
            yield plain_issue(
                source,
                number,
                "hidden-text",
                "text/addresses-the-reviewer",
                Category.SECURITY,
                "Text in the change gives instructions to an automatic reviewer",
                "Code that tells its reviewer what to say tries to get something past the review; Terazi reports "
                "such text and does not follow it.",
                "Remove the text, and look closely at what stands around it.",
            )
