"""The texts that the page needs in every language; `english.py` and `turkish.py` hold them. No markup."""

from __future__ import annotations

from typing import NamedTuple

from review_data.domain import Category, Record, SkipKind
from review_data.errors import ErrorKind
from review_data.severity import Severity


class Texts(Record):
    """One language's texts; names in braces are filled in."""

    lang: str
    tagline: str
    other: str
    other_lang: str
    tab_review: str
    tab_history: str
    tab_batch: str
    tab_model: str
    severities: dict[Severity, str]
    meanings: dict[Severity, str]
    categories: dict[Category, str]
    new: str
    percent: str
    patch: str
    patch_hint: str
    upload: str
    repository: str
    range: str
    range_hint: str
    from_repository: str
    options: str
    title: str
    backend: str
    adapter: str
    adapter_hint: str
    review: str
    sample: str
    empty: str
    waiting: str
    running: str
    chunks: str
    error: str
    nothing_given: str
    two_given: str
    upload_lost: str
    invalid: str
    not_found: str
    interrupted: str
    clean: str
    unchanged: str
    found: str
    partial: str
    failed: str
    threshold: str
    threshold_hint: str
    hidden: str
    suppressed: str
    none_shown: str
    more: str
    fix: str
    probabilities: str
    removed_line: str
    marked: str
    diff: str
    downloads: str
    copy_link: str
    copied: str
    verdict: str
    right: str
    wrong: str
    not_issue: str
    saved: str
    not_saved: str
    skipped: str
    not_reviewed: str
    missed: str
    missed_hint: str
    missed_saved: str
    missed_known: str
    file: str
    line: str
    category: str
    severity: str
    what: str
    send: str
    untitled: str
    search: str
    search_hint: str
    at_least: str
    any: str
    all_repositories: str
    find: str
    older: str
    history_empty: str
    trend: str
    trend_empty: str
    date: str
    outcome: str
    findings: str
    table: str
    batch_upload: str
    batch_ranges: str
    batch_ranges_hint: str
    batch_go: str
    batch_empty: str
    batch_done: str
    histogram: str
    model_empty: str
    confusion: str
    confusion_note: str
    reliability: str
    reliability_note: str
    learning: str
    learning_note: str
    card: str
    statuses: dict[str, str]
    outcomes: dict[str, str]
    skips: dict[SkipKind, str]
    errors: dict[ErrorKind, str]


class Said(NamedTuple):
    """Words in the page's language, and the English ones of an error or a tool; either may be empty."""

    own: str
    english: str = ""
