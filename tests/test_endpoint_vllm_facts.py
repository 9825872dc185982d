"""What the endpoint backend relies on of vLLM, asked of a real server."""

from __future__ import annotations

import httpx
import pytest

from tests.support.vllm import VllmServer

pytestmark = pytest.mark.vllm


def test_the_server_lists_the_base_and_both_adapters(vllm_server: VllmServer) -> None:
    """/v1/models names what can be asked for, with each adapter's parent."""
    rows = httpx.get(f"{vllm_server.url}/models").json()["data"]
    assert {row["id"]: row["parent"] for row in rows} == {"tiny": None, "strict": "tiny", "lenient": "tiny"}
