"""The API under schemathesis: whatever the OpenAPI document allows or forbids, no reply is a 5xx."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import SearchStrategy
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.support.reviews import four_findings, put_review
from tests.support.server import Served, serving

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "store.db"


@pytest.fixture(scope="module")
def served(store: Path) -> Iterator[Served]:
    with serving(store, "--no-page") as running:
        yield running


def test_no_request_is_a_server_error(served: Served, store: Path) -> None:
    """Valid and invalid requests to every address get replies of a documented status, type and shape."""
    known = {"review_id": put_review(store), "fingerprint": four_findings()[0].fingerprint}
    document = schemathesis.openapi.from_url(f"{served.url}/openapi.json").exclude(path_regex="/events$")
    seen: set[int] = set()
    for operation in (result.ok() for result in document.get_all_operations()):
        for mode in GenerationMode:
            for parameters in ({}, known) if "{" in operation.path else ({},):
                fuzz(operation.as_strategy(generation_mode=mode), parameters, seen)
    assert {200, 201, 404, 422} <= seen


def fuzz(cases: SearchStrategy[schemathesis.Case], parameters: dict[str, str], seen: set[int]) -> None:
    """Sends what `cases` makes, with these values in the address, and checks every reply."""

    @given(case=cases)
    @settings(
        max_examples=12,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def send(case: schemathesis.Case) -> None:
        case.path_parameters.update({k: v for k, v in parameters.items() if k in case.path_parameters})
        reply = case.call_and_validate(checks=CHECKS)
        seen.add(reply.status_code)

    with contextlib.suppress(Unsatisfiable):  # an address without parameters has no invalid request
        send()
