"""Scores code generation: the share of validation problems whose sample tests the program passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from finetune.llm.prepare import Prepared, StageRows
    from finetune.llm.score import Scorer


class CodegenScorer:
    @staticmethod
    def of(prepared: Prepared, rows: StageRows) -> Scorer | None:
        return None
