"""The teacher's rows as the reviewer's conversations: find, rate and explain, in the words that serve.

Prompts and replies come from `review_data.prompts` and `review_data.replies`. The teacher's explanation is
only ever an answer; merge request titles and descriptions are not shown, as when serving.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from finetune.llm.examples import Example
from finetune.recipes import Data
from finetune.severity.examples import WORDING_FOLDER
from review_data.dataset import (
    LabelledComment,
    LabelledFinding,
    LabelledMergeRequest,
    Split,
    comments,
    load_comments,
    merge_requests,
)
from review_data.diff import parse_diff
from review_data.domain import Category, FileChange, Issue, Side
from review_data.errors import UserError
from review_data.prompts import (
    MAX_QUOTE,
    MAX_TITLE,
    NO_DIFF,
    Message,
    explain_messages,
    find_messages,
    nonce_for,
    rate_messages,
    render_file,
    shown_text,
)
from review_data.replies import LABELS, FoundIssue, explain_completion, find_completion
from review_data.untrusted import one_line

SECRET: Final = b"training"


def review_examples(split: Split, data: Data) -> tuple[Example, ...]:
    """Every chosen task's conversations of one packaged split."""
    made = {"find": _find, "rate": _rate, "explain": _explain}
    return tuple(example for task in data.tasks for example in made[task](split, data.wording))


def wording_comments() -> tuple[LabelledComment, ...]:
    """The project-written comments in many voices; for training alone."""
    return load_comments(WORDING_FOLDER / "train.jsonl")


def label_ids(tokenizer: Any) -> tuple[int, ...]:
    """The token ids of "1" to "4"; `UserError` when the base has no single token for one of them."""
    found = [tokenizer.encode(label, add_special_tokens=False) for label in LABELS]
    if any(len(ids) != 1 for ids in found):
        raise UserError(
            "base: its tokenizer has no single token for each of the labels 1 to 4; choose another base"
        )
    return tuple(ids[0] for ids in found)


def comment_issue(comment: LabelledComment, line: int) -> Issue:
    """A comment as `terazi rate` and `terazi evaluate` hand it over: its words, category and a place."""
    category = comment.category or Category.CORRECTNESS
    return Issue(path="", line=line, category=category, title=comment.comment, quote="", source="comment")


def finding_issue(finding: LabelledFinding, file: FileChange | None) -> Issue:
    """A labelled finding as the issue that a finder would report: no explanation."""
    line = file.line(finding.line, finding.side) if file else None
    return Issue(
        path=finding.path,
        line=finding.line,
        side=finding.side,
        category=finding.category,
        title=finding.title,
        quote=line.text if line else "",
        source="teacher",
    )


def _rate(split: Split, wording: bool) -> Iterator[Example]:
    for identifier, chunk, issue, project, row in _rated(split, wording):
        messages = rate_messages(chunk, issue, nonce=nonce_for(chunk, SECRET), project=project)
        yield _example(f"{identifier}/rate", "rate", messages, row.severity.label)


def _explain(split: Split, wording: bool) -> Iterator[Example]:
    for identifier, chunk, issue, project, row in _rated(split, wording):
        if not row.explanation:
            continue
        nonce = nonce_for(chunk, SECRET)
        messages = explain_messages(chunk, issue, row.severity, nonce=nonce, project=project)
        suggestion = row.suggestion if isinstance(row, LabelledFinding) else ""
        yield _example(
            f"{identifier}/explain", "explain", messages, explain_completion(row.explanation, suggestion)
        )


def _find(split: Split, wording: bool) -> Iterator[Example]:
    for request in merge_requests(split):
        for file in parse_diff(request.diff).files:
            if not file.hunks:
                continue
            chunk = render_file(file)
            messages = find_messages(chunk, nonce=nonce_for(chunk, SECRET), project=request.project)
            answer = find_completion(_issues_of(request, file))
            yield _example(f"{request.id}/{file.path}/find", "find", messages, answer)


def _issues_of(request: LabelledMergeRequest, file: FileChange) -> list[FoundIssue]:
    """The file's labelled findings, the worst first, as a find reply states them."""
    own = [finding for finding in request.findings if finding.path in (file.path, file.old_path)]
    own.sort(key=lambda finding: (-finding.severity.rank, finding.line))
    return [_found(finding, file) for finding in own]


def _found(finding: LabelledFinding, file: FileChange) -> FoundIssue:
    line = file.line(finding.line, finding.side)
    return FoundIssue(
        line=finding.line if finding.side is Side.NEW else 0,
        quote=one_line(shown_text(line.text), MAX_QUOTE) if line else "",
        category=finding.category,
        title=one_line(finding.title, MAX_TITLE),
    )


def _rated(
    split: Split, wording: bool
) -> Iterator[tuple[str, str, Issue, str, LabelledFinding | LabelledComment]]:
    """(id, chunk, issue, project, labelled row) of every severity label in a split."""
    for request in merge_requests(split):
        files = {file.path: file for file in parse_diff(request.diff).files}
        for number, finding in enumerate(request.findings):
            file = files.get(finding.path)
            chunk = render_file(file) if file else NO_DIFF
            yield f"{request.id}#{number}", chunk, finding_issue(finding, file), request.project, finding
    more = wording_comments() if wording and split == "train" else ()
    for line, comment in enumerate((*comments(split), *more), start=1):
        yield comment.id, NO_DIFF, comment_issue(comment, line), "", comment


def _example(identifier: str, kind: str, messages: Sequence[Message], completion: str) -> Example:
    chat = tuple({"role": message["role"], "content": message["content"]} for message in messages)
    return Example(id=identifier, kind=kind, messages=chat, completion=completion)
