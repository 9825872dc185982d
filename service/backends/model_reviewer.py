"""The finder and the rater that any language model fills: questions out, issues and ratings back.

Which model answers is `service.backends.endpoint` or `service.backends.local`; the words are in
`review_data.prompts`. Text that addresses the reviewer is reported here by rule, whatever the model says,
and gets its severity by rule: it must not be the one to rate itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from review_data.domain import (
    Category,
    DiffLine,
    FileChange,
    Issue,
    LineKind,
    Rating,
    Side,
    Skip,
    SkipKind,
    number_on,
)
from review_data.errors import BackendError, ReplyError
from review_data.prompts import NO_DIFF, explain_messages, find_messages, rate_messages, shown_text
from review_data.replies import FoundIssue, excerpt, issues_before_cut, parse_explain, parse_find
from review_data.severity import Severity
from review_data.untrusted import addresses_reviewer, hidden_characters, one_line, reorders
from service.backends.asking import PLACEHOLDER, Form, LanguageModel, Question, severity_of
from service.backends.chunking import Layouts
from service.ports import Change, Chunk, Found, Plan
from service.workers import run_all

ADDRESSES: Final = "text/addresses-the-reviewer"
HIDES: Final = "text/hidden-characters"
_BY_RULE: Final = {ADDRESSES: Severity.HIGH, HIDES: Severity.HIGH}


class ModelFinder:
    """Asks a model for the faults of each chunk."""

    def __init__(self, model: LanguageModel, layouts: Layouts, name: str) -> None:
        self.model, self.layouts, self.name = model, layouts, name

    @property
    def concurrency(self) -> int:
        """As many chunks at once as the model takes questions."""
        return self.model.concurrency

    def plan(self, change: Change) -> Plan:
        """One chunk per file or part of a file; `BackendError` when the model can't be reached."""
        return self.layouts.of(change).plan

    def find(self, chunk: Chunk) -> Found:
        """The model's issues and those of the rules on hidden text.

        `ReplyError` when the reply can't be read; one that was cut off keeps its whole entries, with a skip.
        """
        file = chunk.files[0]
        text = self.layouts.of(chunk.change).texts[chunk.id]
        project = chunk.change.request.project
        messages = find_messages(text, nonce=PLACEHOLDER, project=project)
        reply = self.model.write(Question(Form.FIND, tuple(messages)))
        rows = issues_before_cut(reply.text) if reply.cut else parse_find(reply.text).issues
        issues = tuple(to_issue(row, file, self.name) for row in rows)
        return Found((*issues, *hidden_text(chunk, self.name)), (_cut_off(file),) if reply.cut else ())


class ModelRater:
    """Asks a model for each issue's severity, and for the reasons from `explain_from` up (None: never)."""

    def __init__(
        self, model: LanguageModel, layouts: Layouts, name: str, explain_from: Severity | None
    ) -> None:
        self.model, self.layouts, self.name, self.explain_from = model, layouts, name, explain_from

    @property
    def concurrency(self) -> int:
        """As many issues at once as the model takes questions."""
        return self.model.concurrency

    def prepare(self) -> None:
        """Nothing: a model that finds is at work already, and one that only rates may not be asked at all."""

    def rate(self, change: Change, issues: Sequence[Issue]) -> Sequence[Rating | Skip]:
        """One rating per issue, in order; an issue that the model could not rate is a skip."""
        layout = self.layouts.of(change)
        answers: dict[int, Rating | Skip] = {}

        def work(number: int) -> Rating:
            issue = issues[number]
            return self._rate(layout.text_for(issue) or NO_DIFF, issue, change.request.project)

        for done in run_all(
            range(len(issues)), work, concurrency=max(1, min(len(issues), self.model.concurrency))
        ):
            answers[done.task] = done.result or _unrated(self.name, issues[done.task], done.error)
        return [answers[number] for number in range(len(issues))]

    def _rate(self, chunk: str, issue: Issue, project: str) -> Rating:
        by_rule = _BY_RULE.get(issue.rule or "")
        if by_rule is not None:
            return Rating(severity=by_rule)
        messages = rate_messages(chunk, issue, nonce=PLACEHOLDER, project=project)
        label = self.model.label(Question(Form.RATE, tuple(messages)))
        severity, probabilities = severity_of(label, self.model.temperature)
        rating = Rating(severity=severity, probabilities=probabilities)
        if self.explain_from is None or severity < self.explain_from:
            return rating
        return self._explained(rating, chunk, issue, project)

    def _explained(self, rating: Rating, chunk: str, issue: Issue, project: str) -> Rating:
        """The rating with the model's reasons; one without readable reasons says so and still counts."""
        messages = explain_messages(chunk, issue, rating.severity, nonce=PLACEHOLDER, project=project)
        try:
            reply = self.model.write(Question(Form.EXPLAIN, tuple(messages)))
            if reply.cut:
                raise ReplyError("it was cut off", reply=reply.text)
            texts = parse_explain(reply.text)
        except BackendError as error:
            return rating.model_copy(update={"explanation": f"(no explanation: {one_line(str(error), 200)})"})
        return rating.model_copy(
            update={"explanation": texts.explanation, "suggestion": one_line(texts.suggestion, 600)}
        )


def to_issue(row: FoundIssue, file: FileChange, source: str) -> Issue:
    """The model's entry as an issue; a quote of a line as shown becomes the line as it is."""
    return Issue(
        path=file.path,
        line=row.line,
        category=row.category,
        title=one_line(row.title, 160) or row.category,
        quote=_original(row, file),
        source=source,
    )


def hidden_text(chunk: Chunk, source: str) -> Iterator[Issue]:
    """An issue per added line that hides characters or addresses the reviewer; names and texts likewise.

    What the file's name or the merge request's text says is reported at the first changed line, once.
    """
    file, request = chunk.files[0], chunk.change.request
    changed = [line for hunk in file.hunks for line in hunk.lines if line.kind is not LineKind.CONTEXT]
    for line in (line for line in changed if line.kind is LineKind.ADDED):
        yield from _hidden(file, line, line.text, "The line", source)
    for text, what in (
        (file.path, "The file's name"),
        (request.title, _WORDS),
        (request.description, _WORDS),
    ):
        if changed and _is_first_part(chunk, file, whole_change=what is _WORDS):
            yield from _hidden(file, changed[0], " ".join(text.split()), what, source)


_WORDS: Final = "The merge request's text"


def _is_first_part(chunk: Chunk, file: FileChange, *, whole_change: bool) -> bool:
    files = [
        one for one in chunk.change.request.files if one.hunks and (whole_change or one.path == file.path)
    ]
    return files[0].path == file.path and files[0].hunks[0].new_start == file.hunks[0].new_start


def _hidden(file: FileChange, line: DiffLine, text: str, what: str, source: str) -> Iterator[Issue]:
    hidden, spoken = hidden_characters(text), addresses_reviewer(text)
    if spoken is None and not hidden:
        return
    title = (
        f"{what} gives orders to the reviewer: “{one_line(spoken, 60)}”"
        if spoken is not None
        else f"{what} {'reorders' if reorders(text) else 'hides'} characters: {', '.join(hidden[:8])}"
    )
    yield Issue(
        path=file.path,
        line=line.new_line or line.old_line or 0,
        side=Side.NEW if line.new_line else Side.OLD,
        category=Category.SECURITY,
        title=title,
        quote=line.text,
        explanation="Such text is reported and never followed; look closely at what stands around it.",
        suggestion="Remove it, or write the characters as escapes where they are needed.",
        source=source,
        rule=ADDRESSES if spoken is not None else HIDES,
    )


def _original(row: FoundIssue, file: FileChange) -> str:
    quote = row.quote.strip()
    matching = [
        line
        for hunk in file.hunks
        for line in hunk.lines
        if quote and shown_text(line.text).strip().startswith(quote.rstrip("…"))
    ]
    numbered = sorted(matching, key=lambda line: abs((number_on(line, Side.NEW) or row.line) - row.line))
    return numbered[0].text if numbered else row.quote


def _cut_off(file: FileChange) -> Skip:
    reason = "the model's reply was cut off before its end; only the entries before that were taken"
    return Skip(path=file.path, reason=reason, kind=SkipKind.UNPARSABLE_REPLY)


def _unrated(name: str, issue: Issue, error: Exception | None) -> Skip:
    if error is not None and not isinstance(error, BackendError):
        raise error
    kind = SkipKind.UNPARSABLE_REPLY if isinstance(error, ReplyError) else SkipKind.BACKEND_ERROR
    reason = f"{excerpt(issue.title)} has no rating: {name} failed: {error}"
    return Skip(path=issue.path, reason=reason, kind=kind, line=issue.line)
