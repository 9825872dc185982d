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
from review_data.domain import Category, FileChange, Issue, MergeRequest, Side
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
    shown_text,
)
from review_data.replies import LABELS, FoundIssue, explain_completion, find_completion
from review_data.untrusted import one_line
from service.backends.chunking import Layout, estimate_tokens, lay_out
from service.ports import Change
from service.rating import NoFiles

SECRET: Final = b"training"


def review_examples(split: Split, data: Data) -> tuple[Example, ...]:
    """Every chosen task's conversations of one packaged split."""
    made = {"find": _find, "rate": _rate, "explain": _explain}
    return tuple(example for task in data.tasks for example in made[task](split, data))


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


def labelled_prompts(
    split: Split, data: Data
) -> Iterator[tuple[Sequence[Message], LabelledFinding | LabelledComment]]:
    """Every rating prompt of a split with the labelled row it asks about."""
    for _, chunk, issue, project, row in _rated(split, data):
        yield rate_messages(chunk, issue, nonce=nonce_for(chunk, SECRET), project=project), row


def _rate(split: Split, data: Data) -> Iterator[Example]:
    for identifier, chunk, issue, project, row in _rated(split, data):
        messages = rate_messages(chunk, issue, nonce=nonce_for(chunk, SECRET), project=project)
        yield _example(f"{identifier}/rate", "rate", messages, row.severity.label)


def _explain(split: Split, data: Data) -> Iterator[Example]:
    for identifier, chunk, issue, project, row in _rated(split, data):
        if not row.explanation:
            continue
        nonce = nonce_for(chunk, SECRET)
        messages = explain_messages(chunk, issue, row.severity, nonce=nonce, project=project)
        suggestion = row.suggestion if isinstance(row, LabelledFinding) else ""
        yield _example(
            f"{identifier}/explain", "explain", messages, explain_completion(row.explanation, suggestion)
        )


def _find(split: Split, data: Data) -> Iterator[Example]:
    for request in merge_requests(split):
        layout = _layout(request, data)
        for chunk in layout.plan.chunks:
            file, text = chunk.files[0], layout.texts[chunk.id]
            messages = find_messages(text, nonce=nonce_for(text, SECRET), project=request.project)
            answer = find_completion(_issues_of(request, file))
            yield _example(f"{request.id}/{chunk.id}/find", "find", messages, answer)


def _layout(request: LabelledMergeRequest, data: Data) -> Layout:
    """The chunks that a server with this budget would be shown, tokens estimated from above."""
    files = parse_diff(request.diff).files
    change = Change(MergeRequest(project=request.project, files=files), NoFiles())
    return lay_out(change, estimate_tokens, data.chunk_tokens, "part")


def _issues_of(request: LabelledMergeRequest, file: FileChange) -> list[FoundIssue]:
    """The labelled findings on the lines that the chunk shows, the worst first, as a reply states them."""
    own = [
        finding
        for finding in request.findings
        if finding.path == file.path and file.line(finding.line, finding.side) is not None
    ]
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
    split: Split, data: Data
) -> Iterator[tuple[str, str, Issue, str, LabelledFinding | LabelledComment]]:
    """(id, chunk, issue, project, labelled row) of every severity label in a split."""
    for request in merge_requests(split):
        layout = _layout(request, data)
        files = {file.path: file for file in layout.change.request.files}
        for number, finding in enumerate(request.findings):
            issue = finding_issue(finding, files.get(finding.path))
            chunk = layout.text_for(issue) or NO_DIFF
            yield f"{request.id}#{number}", chunk, issue, request.project, finding
    more = wording_comments() if data.wording and split == "train" else ()
    for line, comment in enumerate((*comments(split), *more), start=1):
        yield comment.id, NO_DIFF, comment_issue(comment, line), "", comment


def _example(identifier: str, kind: str, messages: Sequence[Message], completion: str) -> Example:
    chat = tuple({"role": message["role"], "content": message["content"]} for message in messages)
    return Example(id=identifier, kind=kind, messages=chat, completion=completion)
