"""Text to token ids for the severity encoder, the same in training and serving.

Layout: [CLS] text [SEP] context [SEP], with token type 1 for the context. The text is kept whole as far as
possible: the context gives way first, down to half of the room.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from review_data.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Segments(Protocol):
    """What the encoder reads of a `review_data.rater_input.RaterInput`; hashable."""

    @property
    def text(self) -> str: ...

    @property
    def context(self) -> str: ...


class Encoded(NamedTuple):
    """Token ids and their token types (0 text, 1 context), equally long, without padding."""

    ids: list[int]
    types: list[int]


class Encoder:
    """A tokenizer with the rater's layout and length limit."""

    def __init__(self, tokenizer: Tokenizer, max_tokens: int) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.tokenizer, self.max_tokens = tokenizer, max_tokens
        self.start, self.end = (_special(tokenizer, token) for token in ("[CLS]", "[SEP]"))

    @classmethod
    def load(cls, path: Path, max_tokens: int) -> Encoder:
        """From a `tokenizer.json`; `UserError` when it can't be read."""
        from tokenizers import Tokenizer

        try:
            return cls(Tokenizer.from_file(str(path)), max_tokens)
        except UserError:
            raise
        except Exception as error:  # tokenizers raises bare `Exception`
            raise UserError(f"{path} is no tokenizer ({error}); point at a folder with a model") from error

    def encode(self, inputs: Sequence[Segments]) -> list[Encoded]:
        """One entry per input, each at most `max_tokens` long."""
        texts = self._tokens([entry.text for entry in inputs])
        contexts = self._tokens([entry.context for entry in inputs])
        return [self._join(text, context) for text, context in zip(texts, contexts, strict=True)]

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        return [row.ids for row in self.tokenizer.encode_batch(texts, add_special_tokens=False)]

    def _join(self, text: list[int], context: list[int]) -> Encoded:
        room = self.max_tokens - 3
        text = text[: room - min(len(context), room // 2)]
        context = context[: room - len(text)]
        ids = [self.start, *text, self.end]
        tail = [*context, self.end] if context else []
        return Encoded(ids + tail, [0] * len(ids) + [1] * len(tail))


def _special(tokenizer: Tokenizer, token: str) -> int:
    number = tokenizer.token_to_id(token)
    if number is None:
        raise UserError(f"the tokenizer has no {token}; the base must be a BERT-like encoder")
    return int(number)
