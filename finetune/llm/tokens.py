"""From chats to token ids with a loss mask: the one place that decides what is learned.

Prompt and completion are encoded apart, exactly as they meet when serving: the prompt by the base's chat
template, the completion after it. Only the completion and its end token are supervised. Rows that are too
long are counted and refused above the recipe's limit; nothing is cut in silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from finetune.llm.examples import Example
from finetune.recipes import Length
from review_data.domain import Record
from review_data.errors import UserError

IGNORED: Final = -100
_MARK: Final = "\u2402answer\u2403"
_PADS: Final = ("<|endoftext|>", "<|fim_pad|>", "<pad>", "<|pad|>", "[PAD]", "<unk>")


class Encoded(NamedTuple):
    """One row: token ids, and labels that are -100 where nothing is learned."""

    id: str
    kind: str
    input_ids: list[int]
    labels: list[int]

    @property
    def supervised(self) -> int:
        """How many tokens are learned."""
        return sum(label != IGNORED for label in self.labels)


class Lengths(Record):
    """What encoding found, in tokens per row before anything was dropped or cut."""

    rows: int
    too_long: int
    kept: int
    tokens: int
    supervised: int
    median: int
    p95: int
    longest: int


class Coded(NamedTuple):
    """Encoded rows and what is known of their lengths."""

    rows: tuple[Encoded, ...]
    lengths: Lengths


def prepare(tokenizer: Any) -> int:
    """Gives the tokenizer a pad token that is not the end token; returns the end token's id.

    The end token is what the chat template writes after the assistant's words; `UserError` when the base has
    no chat template or its template ends a turn with nothing.
    """
    if not getattr(tokenizer, "chat_template", None):
        raise UserError(
            "base: its tokenizer has no chat template; choose an instruct model or add a template"
        )
    end = _end_of_turn(tokenizer)
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == end:
        tokenizer.pad_token = _other_pad(tokenizer, end)
    return end


def encode(tokenizer: Any, example: Example, end: int) -> Encoded:
    """The whole row: prompt tokens masked, completion tokens and the end token supervised."""
    prompt = prompt_ids(tokenizer, example)
    answer = [*tokenizer.encode(example.completion, add_special_tokens=False), end]
    return Encoded(example.id, example.kind, prompt + answer, [IGNORED] * len(prompt) + answer)


def prompt_ids(tokenizer: Any, example: Example) -> list[int]:
    """The prompt as a server encodes it, up to the point where the model goes on."""
    text = tokenizer.apply_chat_template(list(example.messages), tokenize=False, add_generation_prompt=True)
    return list(tokenizer.encode(text, add_special_tokens=False))


def encode_all(tokenizer: Any, examples: Sequence[Example], length: Length, what: str) -> Coded:
    """Rows that fit, with the count of those that don't; `UserError` when those are too many."""
    if not examples:
        raise UserError(f"{what}: there are no rows left to use; check the data and its splits")
    end = prepare(tokenizer)
    rows = [encode(tokenizer, example, end) for example in examples]
    fitting = [row for row in rows if len(row.input_ids) <= length.tokens]
    too_long = len(rows) - len(fitting)
    if too_long > length.limit * len(rows):
        raise UserError(_refusal(rows, too_long, length, what))
    kept = [cut(row, length.tokens) for row in rows] if length.too_long == "cut" else fitting
    kept = [row for row in kept if row.supervised]
    if not kept:
        raise UserError(f"{what}: no row is left within length.tokens = {length.tokens}; raise it")
    return Coded(tuple(kept), _lengths(rows, kept, too_long))


def cut(row: Encoded, tokens: int) -> Encoded:
    """The row's first `tokens` tokens; a row that was cut does not end in an end token."""
    return row._replace(input_ids=row.input_ids[:tokens], labels=row.labels[:tokens])


def show(tokenizer: Any, row: Encoded) -> str:
    """The row as text, with what is learned between ⟦ and ⟧."""
    boundary = next(place for place, label in enumerate(row.labels) if label != IGNORED)
    prompt, answer = row.input_ids[:boundary], row.input_ids[boundary:]
    return f"{tokenizer.decode(prompt)}⟦{tokenizer.decode(answer)}⟧"


def _end_of_turn(tokenizer: Any) -> int:
    chat = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _MARK}]
    _, _, tail = tokenizer.apply_chat_template(chat, tokenize=False).partition(_MARK)
    ids = tokenizer.encode(tail, add_special_tokens=False)
    special = set(tokenizer.all_special_ids) | set(getattr(tokenizer, "added_tokens_decoder", {}))
    if not ids or ids[0] not in special:
        raise UserError(
            "base: its chat template does not end the assistant's turn with a special token, so stopping "
            "can't be "
            "learned; choose a base with such a template"
        )
    return int(ids[0])


def _other_pad(tokenizer: Any, end: int) -> str:
    vocabulary = tokenizer.get_vocab()
    pad = next((name for name in _PADS if name in vocabulary and vocabulary[name] != end), None)
    if pad is None:
        raise UserError(
            "base: its tokenizer has no token to pad with besides the end token; add one, such as <pad>"
        )
    return pad


def _refusal(rows: Sequence[Encoded], too_long: int, length: Length, what: str) -> str:
    longest = max(len(row.input_ids) for row in rows)
    return (
        f"{what}: {too_long} of {len(rows)} rows ({too_long / len(rows):.1%}) are longer than length.tokens "
        "= "
        f"{length.tokens} (the longest has {longest}), more than length.limit = {length.limit:.1%} allows; "
        "raise "
        "length.tokens, or raise length.limit to leave them out knowingly"
    )


def _lengths(rows: Sequence[Encoded], kept: Sequence[Encoded], too_long: int) -> Lengths:
    sizes = sorted(len(row.input_ids) for row in rows)
    return Lengths(
        rows=len(rows),
        too_long=too_long,
        kept=len(kept),
        tokens=sum(len(row.input_ids) for row in kept),
        supervised=sum(row.supervised for row in kept),
        median=sizes[len(sizes) // 2],
        p95=sizes[min(len(sizes) - 1, int(0.95 * len(sizes)))],
        longest=sizes[-1],
    )
