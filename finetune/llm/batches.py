"""Micro-batches: rows padded to their longest, or laid behind the one prefix that they share.

Every row of the reviewer begins with the same system text. Laid out as prefix, row, row, row, with positions
that go on from the prefix and a mask by which a row sees the prefix and itself, the prefix is computed once
for all rows; loss and gradients are those of the rows alone. Only attention as `sdpa` takes such a mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from finetune.llm.tokens import IGNORED

WORTH: Final = 0.25
Row = Mapping[str, list[int]]


def shared_prefix(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all rows begin with alike; a row is never all prefix."""
    first, last = min(map(tuple, rows)), max(map(tuple, rows))
    limit = min(len(row) for row in rows) - 1
    return next((at for at in range(limit) if first[at] != last[at]), limit)


def worth_sharing(rows: Sequence[Sequence[int]]) -> bool:
    """Whether the common prefix of all rows is a quarter of their tokens or more."""
    mean = sum(len(row) for row in rows) / len(rows)
    return len(rows) > 1 and shared_prefix(rows) >= WORTH * mean


class Padded:
    """Rows beside each other, padded at the end to the longest; padding is never learned."""

    def __init__(self, pad: int) -> None:
        self.pad = pad

    def __call__(self, rows: Sequence[Row]) -> dict[str, Any]:
        import torch

        longest = max(len(row["input_ids"]) for row in rows)
        filled = [longest - len(row["input_ids"]) for row in rows]
        pairs = list(zip(rows, filled, strict=True))
        return {
            "input_ids": torch.tensor([row["input_ids"] + [self.pad] * more for row, more in pairs]),
            "attention_mask": torch.tensor([[1] * len(row["input_ids"]) + [0] * more for row, more in pairs]),
            "labels": torch.tensor([row["labels"] + [IGNORED] * more for row, more in pairs]),
        }


class Shared:
    """Rows behind their common prefix, as one sequence with its own mask and positions."""

    def __call__(self, rows: Sequence[Row]) -> dict[str, Any]:
        import torch

        prefix = shared_prefix([row["input_ids"] for row in rows]) if len(rows) > 1 else 0
        first = rows[0]["input_ids"][:prefix]
        tails = [row["input_ids"][prefix:] for row in rows]
        labels = [IGNORED] * prefix + [label for row in rows for label in row["labels"][prefix:]]
        positions = list(range(prefix)) + [prefix + at for tail in tails for at in range(len(tail))]
        owners = [0] * prefix + [number for number, tail in enumerate(tails, start=1) for _ in tail]
        return {
            "input_ids": torch.tensor([first + [token for tail in tails for token in tail]]),
            "labels": torch.tensor([labels]),
            "position_ids": torch.tensor([positions]),
            "attention_mask": attention_to_own(torch.tensor(owners)),
        }


def attention_to_own(owners: Any) -> Any:
    """(1, 1, length, length), true where a token may look: back, at the prefix (owner 0) or its own row."""
    length = len(owners)
    back = (owners >= 0).expand(length, length).tril()
    own = (owners[:, None] == owners[None, :]) | (owners[None, :] == 0)
    return (back & own)[None, None]
