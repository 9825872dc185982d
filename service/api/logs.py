"""Logs as one JSON object per line on standard error.

An unexpected error is logged by its type and the places in the code, never by its message: messages of
validation and database errors quote the data, and the data is people's code.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Final

LOGGER: Final = logging.getLogger("terazi")
_FIELDS: Final = ("request_id", "method", "route", "status", "ms", "actor", "review", "outcome", "detail")


class JsonFormatter(logging.Formatter):
    """One line per record: time, level, event, and the fields given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {"at": at, "level": record.levelname.lower(), "logger": record.name}
        line["event"] = record.getMessage()
        line.update({name: getattr(record, name) for name in _FIELDS if hasattr(record, name)})
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = type(record.exc_info[1]).__name__
            frames = traceback.extract_tb(record.exc_info[2])[-8:]
            line["places"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        return json.dumps(line)


def configure(level: int = logging.INFO) -> None:
    """Sends the program's and the server's logs to standard error as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name in ("terazi", "uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers = [handler] if name in ("terazi", "uvicorn") else []
        logger.propagate = name not in ("terazi", "uvicorn")
        logger.setLevel(level)
    logging.getLogger("uvicorn.access").disabled = True
