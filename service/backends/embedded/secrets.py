"""The finder of secrets in added lines. Which texts are secrets is known to `review_data.secrets` alone."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from review_data.domain import Category, FileChange, Issue, Side
from review_data.secrets import Secret, find_secrets, is_placeholder
from service.backends.embedded.issues import plain_issue
from service.backends.embedded.sources import Source, is_test_path, source_of
from service.ports import Change

WHY: Final = (
    "Whoever can read the repository, a fork, a clone or a build log can use it, and it stays in the history "
    "after it is deleted."
)
FIX: Final = "Revoke it, read it from the environment or a secret store, and issue a new one."

# Documentation, templates, and set-ups of a developer's own machine or of CI's throw-away services.
_FOR_SHOW: Final = re.compile(
    r"(?i)\.(?:md|rst|adoc|txt|example|sample|dist|template)$|(?:^|/)(?:docker-)?compose[^/]*\.ya?ml$"
    r"|(?:^|/)\.github/|\.gitlab-ci|(?:^|/)docs?/|[._-](?:dev|local|test|ci)\b[^/]*$"
)


def exposed_secrets(change: Change, file: FileChange) -> Iterable[Issue]:
    """Secrets whose first line the change adds; under test paths only provider formats count."""
    source = source_of(change, file, Side.NEW)
    before = source_of(change, file, Side.OLD).text if file.removed else ""
    seen: set[int] = set()
    for fragment in source.fragments:
        for secret in find_secrets(fragment.text):
            value = fragment.text[secret.start : secret.end]
            line = fragment.number(fragment.text.count("\n", 0, secret.start))
            if line is None or line not in source.touched or line in seen or value in before:
                continue
            if is_real(secret, value, source.path):
                seen.add(line)
                yield _issue(secret, source, line)


def is_real(secret: Secret, value: str, path: str) -> bool:
    """Whether it is worth a report: no documentation example, no test's made-up password."""
    if secret.certain:
        return not is_placeholder(value[secret.keep :]) and "EXAMPLE" not in value
    return not is_test_path(path) and not path.lower().endswith(
        (".md", ".rst", ".adoc", ".example", ".sample")
    )


def _issue(secret: Secret, source: Source, line: int) -> Issue:
    what = f"the value of `{secret.name}`" if secret.name else _article(secret.kind)
    rule = f"secrets/{'provider-format' if secret.certain else 'hard-coded'}"
    return plain_issue(
        source, line, "secrets", rule, Category.SECURITY, f"Secret in the code: {what}", WHY, FIX
    )


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'AEO' else 'a'} {kind}"
