"""Values as the database keeps them: times, texts, compressed bytes."""

from __future__ import annotations

import time
import zlib


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return int(time.time() * 1000)


def clean(text: str) -> str:
    """Text that both databases take: no NUL, no lone surrogates."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")


def packed(data: bytes | None) -> bytes | None:
    """Compressed bytes; None stays None."""
    return None if data is None else zlib.compress(data, 1)


def unpacked(data: bytes | None) -> bytes | None:
    """What `packed` was given."""
    return None if data is None else zlib.decompress(data)
