"""From rows to chats: what the model is shown, and what it must answer.

Code generation is built here; the reviewer's two calls come from `review_data.prompts`, the code that serves.
Owns no tokens: `finetune.llm.tokens` does those.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from finetune.llm.decontaminate import Decontamination, decontaminate
from finetune.llm.sources import Problems, codegen_rows
from finetune.recipes import Recipe, Stage
from review_data.codegen_sets import CodegenRow, part
from review_data.domain import Record

Message = dict[str, str]


class Example(Record):
    """A chat up to the model's turn, and the turn to learn. `kind` is codegen, find or rate."""

    id: str
    kind: str
    messages: tuple[Message, ...]
    completion: str


class StageData(Record):
    """What one stage learns from and is watched on; `hash` covers every example of both."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    decontamination: Decontamination | None = None
    hash: str


def stage_data(recipe: Recipe, stage: Stage, problems: Problems) -> StageData:
    """Train and validation examples of one stage; the test split is never read."""
    if recipe.task == "review":
        return _review_data(recipe)
    rows = codegen_rows(stage.data, recipe.data.target, recipe.data.validation_share)
    kept, report = (
        decontaminate(part(rows, "train"), problems.texts, problems.names)
        if recipe.data.decontaminate
        else (part(rows, "train"), None)
    )
    return _with_hash(
        codegen_examples(kept, recipe), codegen_examples(part(rows, "validation"), recipe), report
    )


def codegen_examples(rows: Sequence[CodegenRow], recipe: Recipe) -> tuple[Example, ...]:
    """One chat per problem."""
    system = ({"role": "system", "content": recipe.system_prompt},) if recipe.system_prompt else ()
    return tuple(
        Example(
            id=row.id or f"row-{number}",
            kind="codegen",
            messages=(*system, {"role": "user", "content": row.input}),
            completion=row.completion(recipe.data.target),
        )
        for number, row in enumerate(rows, start=1)
    )


def _review_data(recipe: Recipe) -> StageData:
    from finetune.llm.review_examples import review_examples

    return _with_hash(review_examples("train", recipe.data), review_examples("validation", recipe.data), None)


def _with_hash(
    train: tuple[Example, ...], validation: tuple[Example, ...], report: Decontamination | None
) -> StageData:
    digest = hashlib.sha256()
    for example in (*train, *validation):
        digest.update(example.model_dump_json().encode() + b"\n")
    return StageData(train=train, validation=validation, decontamination=report, hash=digest.hexdigest())
