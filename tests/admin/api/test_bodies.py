"""Invalid bodies of every kind, generated from the OpenAPI document: each is refused as a problem, never with 500."""

import json
from typing import Any

import httpx
import pytest

from idp.admin.api.openapi import document
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.repository import clients
from tests.admin.api.conftest import API, Caller

DOCUMENT = document()
OPERATIONS = [
    (method.upper(), path, operation["requestBody"]["content"]["application/json"]["schema"])
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if "requestBody" in operation and path != "/not_before"  # which would end the tokens of these tests
]
#: Values that no field accepts, and values that look almost acceptable.
WRONG: list[Any] = [
    *(None, True, -1, 2**70, 1.5, "", " ", "\0", "\u202e", "x" * 10_000, "é\r\nX: y", "null", "2026-13-45T99:99:99Z"),
    *("2026-01-01T00:00:00", "2026-01-01", "9999-12-31T23:59:59.999999+14:00"),
    *([], [None], [[]], ["\0"], ["x" * 10_000], {}, {"\0": "\0"}, {"a": {"b": [1]}}, {"a": [{"b": {"\0": 1}}]}),
]
NOT_OBJECTS = [b"", b"{", b"null", b"[]", b"1", b'"x"', b"\xff", b'{"a":NaN}', b"[" * 20_000, b'{"a":1,"a":2}']
NOWHERE = "00000000-0000-7000-8000-000000000000"


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return dict(schema.get("properties", {}))


def _type(schema: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in schema.items() if name not in ("description", "default")})


async def _path(path: str) -> str:
    """Return a path with values. If a client is changed, it is a new one."""
    if path.startswith("/clients/{client_id}"):
        client, _ = await register_client(client_name="X", redirect_uris=["https://x.example.com/"])
        return path.replace("{client_id}", client.client_id)
    return "/".join(NOWHERE if part.startswith("{") else part for part in path.split("/"))


def _fits(answer: httpx.Response, said: object) -> None:
    assert answer.status_code < 500, f"{said}: {answer.text}"
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json", said
        assert answer.json()["status"] == answer.status_code


@pytest.mark.parametrize(("method", "path", "schema"), OPERATIONS, ids=[f"{m} {p}" for m, p, _ in OPERATIONS])
async def test_a_wrong_value_in_each_field(owner: Caller, method: str, path: str, schema: dict[str, Any]) -> None:
    properties = _properties(schema)
    assert properties, "nothing to get wrong"
    if len(properties) > 50:
        # Client metadata: one member of each type; tests/oauth/clients/test_validation.py has the others.
        properties = {_type(schema): (name, schema) for name, schema in properties.items()}
        properties = dict(properties.values())
    url = await _path(path)
    for name in [*properties, "\0", "client_secret_hash"]:
        for value in WRONG:
            answer = await owner(method, url, {name: value}, If_Match="*")
            _fits(answer, (name, value))


@pytest.mark.parametrize(("method", "path", "schema"), OPERATIONS, ids=[f"{m} {p}" for m, p, _ in OPERATIONS])
async def test_a_body_must_be_an_object(owner: Caller, method: str, path: str, schema: dict[str, Any]) -> None:
    url = f"{owner.issuer}{API}{await _path(path)}"
    for body in NOT_OBJECTS:
        headers = {"Authorization": f"Bearer {owner.token}", "If-Match": "*", "Content-Type": "application/json"}
        _fits(await owner.http.request(method, url, content=body, headers=headers), body[:20])


async def test_a_body_may_be_nested_to_a_limit(owner: Caller) -> None:
    """Around the depth that the decoder accepts, too: what reads the body after it needs more of the stack."""
    headers = {"Authorization": f"Bearer {owner.token}", "Content-Type": "application/json"}
    for depth in (50, 100, 101, *range(900, 1000)):
        body = b'{"name":' + b"[" * (depth - 1) + b'"a"' + b"]" * (depth - 1) + b"}"
        answer = await owner.http.post(f"{owner.issuer}{API}/groups", content=body, headers=headers)
        _fits(answer, depth)
        assert answer.status_code == (422 if depth <= 100 else 400), depth


@pytest.mark.fault(15)
@pytest.mark.parametrize("value", ["2026-01-01T00:00:00", "2026-01-01", "\0", 1, {"\0": 1}])
async def test_a_moment_needs_a_time_zone(owner: Caller, value: object) -> None:
    answer = await owner("POST", "/not_before", {"not_before": value})
    _fits(answer, value)
    assert answer.status_code in (400, 422)


async def test_nothing_of_it_was_kept(owner: Caller) -> None:
    """A value that no field accepts was stored nowhere."""
    found = await clients()
    assert found
    for client in found:
        assert client.client_name.isprintable()
        assert client.scope.isprintable()
