"""Reviews for the tests of the output formats: hypothesis strategies full of hostile text, and one sample."""

from __future__ import annotations

from hypothesis import strategies as st

from review_data.domain import (
    Category,
    DiffLine,
    FileChange,
    Finding,
    Hunk,
    LineKind,
    Outcome,
    Probabilities,
    Provenance,
    Review,
    Side,
    Skip,
    SkipKind,
)
from review_data.severity import Severity

HOSTILE = (
    "\x1b[31mred\x1b[0m",
    "\x1b]8;;http://evil.example\x07click\x1b]8;;\x07",
    "\x9b2J\r\nfake line",
    "\u202eevil\u2066\u2069",
    "zero\u200bwidth\ufeff\u2060",
    "\U000e0041tag",
    "</code></pre><script>alert(1)</script><img src=x onerror=y>",
    "[click](http://evil.example) ![x](https://evil.example/p.png) <https://evil.example>",
    '@everyone @group/sub #12 !34 ~label ~"two words" deadbeef123 www.evil.example me@evil.example',
    "/close\n/merge",
    "```\n/approve\n```\n````\nunclosed",
    "`a`@b` ``c`` `",
    "[bold red]markup[/] [link=http://evil.example]x[/link] :boom:",
    "# heading\n- item\n1. one\n> quote\n===\n---\n| a | b |\n    indented",
    "&lt;b&gt; &#64;all \\@all \\`x\\`",
    "lone \udc80 surrogate",
    "日本語 עברית café 👍🏽",
)

texts = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(max_size=60),
    st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=12)), max_size=4).map(" ".join),
)
paths = st.one_of(
    st.sampled_from(
        (
            "app/db.py",
            "a b/ü.go",
            "tab\there.py",
            "new\nline.py",
            'quo"te.c',
            "c:/x.cs",
            "//x",
            "\udcff.rb",
            "#?%.sh",
        )
    ),
    st.text(min_size=1, max_size=30).filter(lambda path: "\0" not in path),
)
severities = st.sampled_from(list(Severity))
probabilities = st.one_of(
    st.none(), st.lists(st.floats(0.01, 1), min_size=4, max_size=4).map(Probabilities.of)
)

findings = st.builds(
    Finding,
    path=paths,
    line=st.integers(1, 10**6),
    side=st.sampled_from(list(Side)),
    category=st.sampled_from(list(Category)),
    severity=severities,
    title=texts,
    explanation=texts,
    suggestion=texts,
    probabilities=probabilities,
    source=st.one_of(st.sampled_from(("ast-grep", "ruff")), texts),
    sources=st.lists(st.sampled_from(("ast-grep", "ruff", "endpoint")), max_size=2).map(tuple),
    rule=st.one_of(st.none(), st.just("python-sql-format"), texts),
    quote=texts,
    fingerprint=st.sampled_from(("0" * 32, "1" * 32, "ab" * 16)),
)
skips = st.builds(
    Skip,
    path=paths,
    reason=texts,
    kind=st.sampled_from(list(SkipKind)),
    line=st.one_of(st.none(), st.integers(1, 9999)),
)


@st.composite
def reviews(draw: st.DrawFn) -> Review:
    """Any review that the pipeline could make: the outcome fits the findings and skips."""
    every = draw(st.lists(findings, max_size=4))
    left_out = tuple(draw(st.lists(skips, max_size=3)))
    suppressed = tuple(draw(st.lists(findings, max_size=2)))
    outcome = Outcome.FINDINGS if every else Outcome.CLEAN
    if any(skip.is_failure for skip in left_out):
        outcome = Outcome.PARTIAL if every or draw(st.booleans()) else Outcome.FAILED
    review = Review(
        outcome=outcome,
        threshold=Severity.LOW,
        findings=tuple(every),
        suppressed=suppressed,
        skips=left_out,
        backend=draw(texts),
        provenance=Provenance(finders=("ast-grep", "ruff"), rater="embedded"),
        title=draw(texts),
        base=draw(texts),
        head=draw(texts),
        elapsed_s=draw(st.floats(0, 1000)),
    )
    return review.at(draw(severities))


def line(kind: LineKind, text: str, old: int | None, new: int | None) -> DiffLine:
    """One line of a hunk."""
    return DiffLine(kind=kind, text=text, old_line=old, new_line=new)


SAMPLE_FILES = (
    FileChange(
        path="app/users.py",
        language="python",
        hunks=(
            Hunk(
                old_start=40,
                old_count=6,
                new_start=40,
                new_count=5,
                section="def find(name):",
                lines=(
                    line(LineKind.CONTEXT, "def find(name):", 40, 40),
                    line(LineKind.REMOVED, "    require_login()", 41, None),
                    line(LineKind.CONTEXT, "\tcursor = db.cursor()", 42, 41),
                    line(LineKind.REMOVED, '    cursor.execute("... WHERE n = %s", [name])', 43, None),
                    line(LineKind.ADDED, "    cursor.execute(f\"... WHERE n = '{name}'\")", None, 42),
                    line(LineKind.CONTEXT, "    return cursor.fetchone()\r", 44, 43),
                    line(LineKind.CONTEXT, "", 45, 44),
                ),
            ),
        ),
    ),
)


def finding(**changes: object) -> Finding:
    """The sample's first finding with changes."""
    values: dict[str, object] = {
        "path": "app/users.py",
        "line": 42,
        "side": Side.NEW,
        "category": Category.SECURITY,
        "severity": Severity.CRITICAL,
        "title": "SQL is built from the caller's text",
        "explanation": "`name` comes from the request.\nWhoever sends it can read every row.",
        "suggestion": "Pass the value as a parameter:\n```python\ncursor.execute(sql, [name])\n```",
        "probabilities": Probabilities(low=0.05, medium=0.15, high=0.3, critical=0.5),
        "source": "ast-grep",
        "sources": ("ast-grep", "ruff"),
        "rule": "python-sql-format",
        "quote": "cursor.execute(f\"... WHERE n = '{name}'\")",
        "fingerprint": "4a" * 16,
    }
    return Finding.model_validate(values | changes)


SAMPLE = Review(
    outcome=Outcome.PARTIAL,
    threshold=Severity.MEDIUM,
    findings=(
        finding(),
        finding(
            line=41,
            side=Side.OLD,
            severity=Severity.HIGH,
            title="A login check\u202e was removed",
            explanation="Anybody can call `find` now; ask @security or see https://example.com/x.",
            suggestion="",
            probabilities=None,
            sources=("guards",),
            source="guards",
            rule=None,
            fingerprint="5b" * 16,
        ),
        finding(
            path="docs/a b [x].md",
            line=7,
            category=Category.DOCUMENTATION,
            severity=Severity.MEDIUM,
            title="<b>The</b> \x1b[31mexample\x1b[0m is wrong",
            explanation="1. It [never](http://evil.example) ran.\n/close",
            suggestion="Correct it.",
            quote="run `me`",
            fingerprint="6c" * 16,
        ),
    ),
    below=(finding(severity=Severity.LOW, title="A name says nothing", fingerprint="7d" * 16),),
    suppressed=(finding(severity=Severity.HIGH, title="Known", fingerprint="8e" * 16),),
    skips=(
        Skip(path="poetry.lock", reason="a lock file", kind=SkipKind.LOCK_FILE),
        Skip(
            path="big\n.py", reason="the backend hung up: \x1b]0;x\x07", kind=SkipKind.BACKEND_ERROR, line=3
        ),
    ),
    backend="embedded",
    provenance=Provenance(finders=("ast-grep", "ruff", "guards"), rater="embedded"),
    title="Look users up by name",
    base="main",
    head="feature/users",
    elapsed_s=0.4211,
)
