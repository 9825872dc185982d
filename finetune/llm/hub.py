"""Whether the model hub answers: asked once, briefly, because its client would try for minutes."""

from __future__ import annotations

import os
from functools import cache
from typing import Final

SECONDS: Final = 5.0
_ON: Final = ("1", "true", "yes", "on")


@cache
def reachable() -> bool:
    """Whether the hub answers at all; no when the user works offline (HF_HUB_OFFLINE)."""
    import httpx

    if os.environ.get("HF_HUB_OFFLINE", "").lower() in _ON:
        return False
    try:
        httpx.head(os.environ.get("HF_ENDPOINT", "https://huggingface.co"), timeout=SECONDS)
    except httpx.HTTPError:
        return False
    return True
