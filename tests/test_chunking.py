"""Dividing a change for a language model: within the budget, nothing lost, an issue's chunk found again."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from review_data.domain import DiffLine, FileChange, LineKind, MergeRequest, Side, SkipKind
from service.backends.chunking import estimate_tokens, lay_out
from service.backends.enclosing import heads_above
from service.ports import Change
from tests.support.changes import change_of, file_of, issue_on

SOURCE = """\
class Store:
    @property
    def size(self):
        return 1

    def get(self, key):
        if key:
            for part in key:
                use(part)

function outer() {
    const x = 1;
    while (x) {
        run(x);
    }
}
"""


class _Files:
    """Whole files at hand."""

    def __init__(self, text: str) -> None:
        self.text = text

    def read(self, path: str, side: Side) -> str | None:
        """The same text for every path."""
        return self.text


def changed(files: tuple[FileChange, ...]) -> list[tuple[str, DiffLine]]:
    """Every added or removed line with its path."""
    return [
        (file.path, line)
        for file in files
        for hunk in file.hunks
        for line in hunk.lines
        if line.kind is not LineKind.CONTEXT
    ]


LINE = st.tuples(
    st.sampled_from("+- "), st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=60)
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(LINE, min_size=1, max_size=40), min_size=1, max_size=3), st.integers(40, 400))
def test_every_changed_line_is_in_one_chunk_or_a_skip(rows: list[list[tuple[str, str]]], budget: int) -> None:
    """Whatever the change and the budget: chunks hold each changed line once, or a skip names it."""
    files = tuple(
        file_of(f"f{number}.py", "\n".join(mark + "".join(text.splitlines()) for mark, text in lines))
        for number, lines in enumerate(rows)
    )
    layout = lay_out(change_of(*files), estimate_tokens, budget, "test")
    shown = [entry for chunk in layout.plan.chunks for entry in changed(chunk.files)]
    skipped = {(skip.path, skip.line) for skip in layout.plan.skips}
    missing = [entry for entry in changed(files) if entry not in shown]
    assert len(shown) == len(set(map(repr, shown)))
    assert all((path, line.new_line or line.old_line) in skipped for path, line in missing)
    for chunk in layout.plan.chunks:
        size = len(layout.texts[chunk.id].encode())
        assert size <= budget or estimate_tokens(layout.texts[chunk.id]) <= budget


def test_a_line_over_the_budget_is_a_skip_with_its_number() -> None:
    """A minified line does not fit; its neighbours are reviewed, and the review can't be clean."""
    file = file_of("a.js", "+let a = 1\n+" + "x" * 5000 + "\n+let b = 2", start=7)
    layout = lay_out(change_of(file), estimate_tokens, 200, "test")
    (skip,) = layout.plan.skips
    assert (skip.path, skip.line, skip.kind, skip.is_failure) == ("a.js", 8, SkipKind.TOO_LARGE, True)
    assert {line.new_line for chunk in layout.plan.chunks for _, line in changed(chunk.files)} == {7, 9}


def test_a_file_that_fits_is_one_chunk() -> None:
    """Small files are not divided, and each file is a chunk of its own."""
    files = (file_of("a.py", "+a = 1"), file_of("b.py", "+b = 2"))
    layout = lay_out(change_of(*files), estimate_tokens, 500, "test")
    assert [chunk.files for chunk in layout.plan.chunks] == [(files[0],), (files[1],)]


def test_an_issue_is_shown_with_the_chunk_that_holds_its_line() -> None:
    """A long file is divided; the rater sees the part around the issue."""
    file = file_of("a.py", "\n".join(f"+value_{number} = call({number})" for number in range(1, 400)))
    layout = lay_out(change_of(file), estimate_tokens, 300, "test")
    assert len(layout.plan.chunks) > 5
    text = layout.text_for(issue_on(file, 333))
    assert text is not None
    assert "  333 + value_333" in text


def test_enclosing_definitions_come_from_the_whole_file() -> None:
    """The head of the class and the method around a hunk stands before it; plain blocks don't count."""
    file = file_of("a.py", "+                use(part)", start=9)
    layout = lay_out(Change(MergeRequest(files=(file,)), _Files(SOURCE)), estimate_tokens, 500, "test")
    assert "@@ inside class Store > def get(self, key)" in layout.texts["test-1"]
    assert heads_above(SOURCE.splitlines(), 14) == ["function outer()"]
