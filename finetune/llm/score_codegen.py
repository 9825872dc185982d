"""Scores code generation: the share of validation problems whose sample tests the program passes.

Sample tests are read from the problem's own text (competition statements show input and output). Programs are
written greedily in process and run in `finetune.sandbox`; lines are compared without trailing blanks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from finetune.llm.score import Answer, load_weights
from finetune.llm.tokens import IGNORED
from finetune.sandbox.job import Limits
from finetune.sandbox.machine import Sandbox, open_sandbox

if TYPE_CHECKING:
    from finetune.llm.examples import Example
    from finetune.llm.prepare import Prepared, StageRows

MOST: Final = 64
NEW_TOKENS: Final = 1024
LIMITS: Final = Limits(wall_s=6.0, cpu_s=6)
_HEADING: Final = r"(?:sample |example )?{word}(?: \d+)?:?"
_FENCE: Final = re.compile(r"```(?:python)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)


class Sample(NamedTuple):
    """What a program reads and what it must write."""

    stdin: str
    stdout: str


class Problem(NamedTuple):
    """A validation row that can be run: its prompt's tokens and its sample tests."""

    id: str
    prompt: list[int]
    samples: tuple[Sample, ...]


class CodegenScorer:
    """Writes and runs a program for each problem."""

    def __init__(self, prepared: Prepared, problems: Sequence[Problem]) -> None:
        self._tokenizer, self._problems = prepared.tokenizer, problems

    @staticmethod
    def of(prepared: Prepared, rows: StageRows) -> CodegenScorer | None:
        """The scorer over at most 64 validation rows with sample tests; None when none has any."""
        texts = {example.id: samples_of(_statement(example)) for example in rows.data.validation}
        found = [
            Problem(row.id, _prompt(row.input_ids, row.labels), texts[row.id])
            for row in rows.validation.rows
            if texts.get(row.id)
        ]
        return CodegenScorer(prepared, found[:MOST]) if found else None

    def answers(self, model: Any, checkpoint: Path | None) -> Sequence[Answer]:
        """One verdict per problem; `UserError` where the machine can't isolate programs."""
        model.eval()
        if checkpoint is None:
            with model.disable_adapter():
                return self._solve(model)
        load_weights(model, checkpoint)
        return self._solve(model)

    def _solve(self, model: Any) -> list[Answer]:
        programs = [program_in(self._write(model, problem.prompt)) for problem in self._problems]
        with open_sandbox() as sandbox:
            return [
                Answer(id=problem.id, right=passes(sandbox, program, problem.samples))
                for problem, program in zip(self._problems, programs, strict=True)
            ]

    def _write(self, model: Any, prompt: list[int]) -> str:
        import torch

        device = next(model.parameters()).device
        ids = torch.tensor([prompt], device=device)
        with torch.no_grad():
            written = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=NEW_TOKENS,
                do_sample=False,
                use_cache=True,
                pad_token_id=self._tokenizer.pad_token_id,
            )
        return str(self._tokenizer.decode(written[0, len(prompt) :], skip_special_tokens=True))


def samples_of(statement: str) -> tuple[Sample, ...]:
    """The sample tests that a statement shows, under headings such as "Input" and "Output"."""
    words = "|".join((_HEADING.format(word="input"), _HEADING.format(word="output"), "note", "explanation"))
    heading = re.compile(rf"^[ \t#*]*({words})[ \t*]*$", re.IGNORECASE | re.MULTILINE)
    after = re.split(r"^[ \t#*-]*(?:examples?|samples?)[ \t:*-]*$", statement, maxsplit=1, flags=re.I | re.M)
    parts = heading.split(after[-1] if len(after) > 1 else statement)[1:]
    pairs = list(zip(parts[::2], parts[1::2], strict=False))
    return tuple(
        Sample(_bare(text), _bare(answer))
        for (word, text), (next_word, answer) in pairwise(pairs)
        if "input" in word.lower() and "output" in next_word.lower() and _bare(answer)
    )


def program_in(reply: str) -> str:
    """The last fenced block after the reasoning, or the whole answer where there is none."""
    answer = reply.rpartition("</think>")[2]
    blocks = _FENCE.findall(answer)
    return str(blocks[-1] if blocks else answer).strip()


def passes(sandbox: Sandbox, program: str, samples: Sequence[Sample]) -> bool:
    """Whether the program writes what every sample says."""
    from finetune.sandbox.examine import run_program

    runs = (run_program(sandbox, program, sample.stdin, LIMITS) for sample in samples)
    return bool(program) and all(
        ran.code == 0 and _lines(ran.stdout.decode(errors="replace")) == _lines(sample.stdout)
        for ran, sample in zip(runs, samples, strict=True)
    )


def _statement(example: Example) -> str:
    return example.messages[-1]["content"]


def _prompt(ids: list[int], labels: list[int]) -> list[int]:
    return ids[: next(place for place, label in enumerate(labels) if label != IGNORED)]


def _bare(text: str) -> str:
    return re.sub(r"^```\w*$", "", text, flags=re.MULTILINE).strip("\n") + "\n" if text.strip() else ""


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]
