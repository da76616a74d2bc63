"""The OpenAPI document is true: schemathesis asks the app, in process, everything that it describes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from simway_flask_app.web.api import PREFIX, operations
from simway_flask_app.web.openapi import document
from simway_flask_app.web.operations import Operation
from simway_testing.web_site import DEVICE, TOKEN, Site

AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}
CHECKED = [
    not_a_server_error, checks.status_code_conformance, checks.content_type_conformance, checks.response_headers_conformance,
    checks.response_schema_conformance, checks.negative_data_rejection, checks.missing_required_header,
    checks.unsupported_method, checks.allow_header_conformance,
]  # fmt: skip


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    site = Site(tmp_path_factory.mktemp("site"), stream_max_s=0.02, stream_poll_s=0.01)
    site.enrol()
    site.hold()
    site.attach()
    site.measure("cpu", 1.5, 2, 3.5, unit="%")
    for value in (True, "text", {"a": 1}):
        site.measure(type(value).__name__, value)
    site.client.post(f"{PREFIX}/devices/{DEVICE}/commands", json={"kind": "ping"})
    yield schemathesis.openapi.from_wsgi(f"{PREFIX}/openapi.json", site.app, headers=AUTHORIZED)
    site.close()


def questions() -> Iterator[Any]:
    """Every operation with good and, where it takes any, bad input, of a device that is there and of any other."""
    for operation in operations:
        modes = [GenerationMode.POSITIVE, *([GenerationMode.NEGATIVE] if operation.query or operation.body else [])]
        for mode in modes:
            for known in (True, False) if operation.path_parameters else (True,):
                yield pytest.param(operation, mode, known, id=f"{operation.name}-{mode}-{'known' if known else 'any'}")


@pytest.mark.parametrize(("operation", "mode", "known"), list(questions()))
def test_what_is_answered_is_what_is_described(schema: Any, operation: Operation, mode: GenerationMode, known: bool) -> None:
    described = schema[PREFIX + operation.template][operation.method]
    fixed = {"device": DEVICE} if known and "device" in operation.path_parameters else None
    cases = described.as_strategy(mode, path_parameters=fixed)

    @settings(max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=cases)
    def ask(case: Any) -> None:
        case.call_and_validate(headers=AUTHORIZED, checks=CHECKED)

    ask()


@pytest.mark.parametrize(
    ("path", "method", "given_"),
    [
        ("/devices/{device}/import", "POST", {"body": "time,cpu\n1767225600,1\nnever,2\n", "media_type": "text/csv"}),
        ("/devices/{device}/readings", "GET", {"query": {"window": "1d", "agg": "avg,p50,last", "fill": "null"}}),
        ("/devices/{device}/readings", "GET", {"query": {"points": "10"}}),
        ("/devices/{device}/export", "GET", {"query": {"format": "parquet"}}),
        ("/export", "GET", {"query": {"format": "csv", "compress": "gzip"}}),
    ],
)
def test_good_questions_are_answered_as_described(schema: Any, path: str, method: str, given_: Any) -> None:
    """Those that generated input seldom or never asks."""
    fixed = {"path_parameters": {"device": DEVICE}} if "{device}" in path else {}
    response = schema[PREFIX + path][method].Case(**fixed, **given_).call_and_validate(headers=AUTHORIZED, checks=CHECKED)
    assert response.status_code == 200


def test_it_describes_every_operation_and_refers_to_nothing_that_is_not_there() -> None:
    made = document()
    assert made["openapi"] == "3.1.0"
    described_names = {operation["operationId"] for path in made["paths"].values() for operation in path.values()}
    assert described_names == {operation.name for operation in operations}
    missing = [name for name in references(made) if name.rsplit("/", 1)[1] not in made["components"]["schemas"]]
    assert missing == []


def references(node: Any) -> Iterator[str]:
    """Every ``$ref`` below a node."""
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)
