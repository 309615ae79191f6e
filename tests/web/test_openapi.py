"""The description of the API: complete, true, and strong enough to fuzz the server with."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

from search.home import Home
from web.app import create_app
from web.documents.searching import SEARCH_EXAMPLE, SearchAnswer
from web.problems import MEDIA_TYPE
from web.settings import ServerSettings

TOKEN = "abc"
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
ROOT = Path(__file__).parents[2]
NOT_FUZZED = {
    "POST /api/jobs": "each one that is taken starts a run of the indexer",
    "GET /api/events": "the stream has no end",
}


@pytest.fixture(scope="session")
def document(client: TestClient) -> dict[str, Any]:
    description: dict[str, Any] = client.get("/openapi.json").json()
    return description


# What is checked of every answer, whether the request was sound or not.
TRUE_TO_THE_DESCRIPTION = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_is_as_it_is_described(home_to_change: Home, mode: GenerationMode) -> None:
    """Sound requests and such as break the description, of every address that takes them, bodies included."""
    # The name under which schemathesis calls an application in its own process.
    app = create_app(home_to_change, ServerSettings(allowed_hosts=("testserver",), token=TOKEN))
    api = schemathesis.openapi.from_asgi("/openapi.json", app, headers=AUTHORIZED)
    tried, passed_over, statuses, fuzzed = 0, set(NOT_FUZZED), set[int](), set[str]()
    for operation in api.get_all_operations():
        if operation.ok().label in passed_over:  # type: ignore[union-attr]
            passed_over.remove(operation.ok().label)  # type: ignore[union-attr]
            continue
        strategy = operation.ok().as_strategy(generation_mode=mode)  # type: ignore[union-attr]

        @given(case=strategy)
        @settings(
            max_examples=15, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
        )
        def fuzz(case: Any) -> None:
            nonlocal tried
            tried += 1
            response = case.call(headers=AUTHORIZED)
            statuses.add(response.status_code)
            if response.status_code >= 400:
                assert response.headers["content-type"] == [MEDIA_TYPE]
            case.validate_response(response, checks=TRUE_TO_THE_DESCRIPTION)

        with contextlib.suppress(Unsatisfiable):  # nothing of a request without fields can be broken
            fuzz()
            fuzzed.add(operation.ok().label)  # type: ignore[union-attr]
    assert not passed_over and statuses >= {200, 404, 422}
    assert tried > 150 and len(fuzzed) > 20


def test_every_address_is_described_for_people(document: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert f"`{method.upper()} {path}`" in text, "docs/api.md does not describe this address"
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "query":
                    assert f"`{parameter['name']}" in text, (path, parameter["name"])


def test_every_address_says_what_it_is_and_how_it_fails(document: dict[str, Any]) -> None:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["summary"] and operation["description"], path
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert MEDIA_TYPE in response["content"], (path, status)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in re.findall(r"'\$ref': '#/components/schemas/(\w+)'", str(document)):
        assert reference in document["components"]["schemas"]


def test_the_example_is_an_answer() -> None:
    SearchAnswer.model_validate(SEARCH_EXAMPLE)


def test_the_pages_load_nothing_from_elsewhere() -> None:
    for file in sorted((ROOT / "web" / "static").rglob("*.*")):
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        if file.name == "facts.js":  # a link that a person may follow
            text = text.replace("https://www.openstreetmap.org/?${place}", "")
        assert not re.search(r"https?://|//cdn|@import", text), file
        assert "innerHTML" not in re.sub(r"//.*", "", text) and " style=" not in text and " onclick=" not in text, file
