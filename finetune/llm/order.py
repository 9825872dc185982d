"""The order of rows in training: micro-batches of like lengths, their order shuffled anew every epoch.

Unlike grouping a whole step by length, a step's micro-batches are of any length, so that steps stay alike.
The order follows from seed and epoch alone: a run that resumes in the middle of an epoch meets the same rows.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Final

POOL: Final = 32


class GroupedOrder:
    """A sampler over row numbers; `lengths` in tokens, `rows` per micro-batch."""

    def __init__(self, lengths: Sequence[int], rows: int, seed: int) -> None:
        self.lengths, self.rows, self.seed, self.epoch = tuple(lengths), rows, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """The trainer calls this before every epoch, also when it resumes in one."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = random.Random(f"{self.seed}:{self.epoch}")
        numbers = list(range(len(self.lengths)))
        generator.shuffle(numbers)
        batches = [batch for pool in self._cut(numbers, POOL * self.rows) for batch in self._grouped(pool)]
        whole = [batch for batch in batches if len(batch) == self.rows]
        generator.shuffle(whole)
        rest = [batch for batch in batches if len(batch) < self.rows]
        return (number for batch in (*whole, *rest) for number in batch)

    def _grouped(self, pool: Sequence[int]) -> list[Sequence[int]]:
        return self._cut(sorted(pool, key=self.lengths.__getitem__), self.rows)

    @staticmethod
    def _cut(numbers: Sequence[int], size: int) -> list[Sequence[int]]:
        return [numbers[at : at + size] for at in range(0, len(numbers), size)]
