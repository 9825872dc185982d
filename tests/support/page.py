"""The page's buttons without a browser: hand-made calls of Gradio's queue."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Any

import httpx


def press(client: httpx.Client, values: Sequence[object], lang: str = "en") -> tuple[bool, str]:
    """Whether a call of the Review button (7 values) or the Batch button (3) came through, and its markup."""
    calls = client.get(f"/{lang}/config").json()["dependencies"]
    (button,) = (
        call["id"] for call in calls if (len(call["inputs"]), len(call["outputs"])) == (len(values), 2)
    )
    session = secrets.token_hex(8)
    body = {"data": list(values), "fn_index": button, "session_hash": session}
    assert client.post(f"/{lang}/gradio_api/queue/join", json=body).status_code == 200
    answer = client.get(f"/{lang}/gradio_api/queue/data", params={"session_hash": session}).text
    events = [json.loads(line.removeprefix("data: ")) for line in answer.splitlines() if line]
    (end,) = (event for event in events if event["msg"] == "process_completed")
    return end["success"], str(end["output"].get("data", [""])[0])


def review_values(**given: Any) -> list[Any]:
    """The Review tab's fields in their order; what is not given is empty."""
    fields = {"patch": "", "upload": None, "repository": "", "range": "", "title": "", "backend": "embedded"}
    return list((fields | {"adapter": ""} | given).values())
