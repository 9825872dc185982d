"""The sandbox in which tests run programs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from finetune.sandbox.machine import Sandbox, open_sandbox
from review_data.errors import UserError


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """The full sandbox; a machine that refuses it skips, with the refusal as the reason."""
    try:
        with open_sandbox() as opened:
            yield opened
    except UserError as error:
        pytest.skip(str(error))
