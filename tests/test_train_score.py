"""Checkpoints are scored by the task's own measure: programs that pass, severities that agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from finetune.llm.base import load_model
from finetune.llm.score_codegen import Sample, passes, program_in, samples_of
from finetune.llm.score_review import label_probabilities
from finetune.sandbox.machine import open_sandbox
from tests.support.training import tiny_base

__all__ = ["tiny_base"]
pytestmark = pytest.mark.train
CODEFORCES = """Input

One number.

Output

The next one.

Examples

Input

3

Output

4

Input

10

Output

11

Note

Easy."""
ATCODER = "Add.\n\n### Sample Input 1\n```\n1 2\n```\n### Sample Output 1\n```\n3\n```\n"


def test_sample_tests_are_read_from_a_statement() -> None:
    """Both common layouts give their pairs; the description's own headings and a bare text give none."""
    assert samples_of(CODEFORCES) == (Sample("3\n", "4\n"), Sample("10\n", "11\n"))
    assert samples_of(ATCODER) == (Sample("1 2\n", "3\n"),)
    assert samples_of("What is 1 plus 1?") == ()


def test_the_program_is_what_follows_the_reasoning() -> None:
    """The last fenced block after </think>; a bare answer is taken whole."""
    reply = "<think>\n```python\nwrong\n```\n</think>\nSo:\n```python\nprint(1)\n```\nDone."
    assert program_in(reply) == "print(1)"
    assert program_in("print(2)") == "print(2)"


def test_a_program_passes_when_every_sample_does() -> None:
    """Run in the sandbox; a wrong, crashing or empty program does not pass."""
    samples = samples_of(CODEFORCES)
    with open_sandbox() as sandbox:
        assert passes(sandbox, "print(int(input()) + 1)", samples)
        assert not passes(sandbox, "print(4)", samples)
        assert not passes(sandbox, "print(int(input()) + 1)\nraise SystemExit(1)", samples)
        assert not passes(sandbox, "", samples)


def test_ratings_do_not_depend_on_the_batch(tiny_base: Path) -> None:
    """A short prompt beside a long one gets the probabilities it gets alone; they sum to 1."""
    model = load_model(str(tiny_base), "main", "float32").eval()
    prompts, labels = [[5, 6, 7], [5, 6, 7, 8, 9, 10, 11, 12]], (20, 21, 22, 23)
    together = label_probabilities(model, prompts, labels, pad=0)
    for prompt, given in zip(prompts, together, strict=True):
        assert label_probabilities(model, [prompt], labels, pad=0)[0] == pytest.approx(given, abs=1e-5)
        assert sum(given) == pytest.approx(1)
