"""Row 54: values of a wrong kind inside of parameters that are JSON are a refusal, never a 500."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.conftest import MakeClient
from tests.support.authorization_details import Register, registering
from tests.support.server import Server

OPEN = {"type": "object", "properties": {"type": {"type": "string"}, "locations": {}}, "additionalProperties": False}


@pytest.fixture
async def register(db: str, server: Server, http: httpx.AsyncClient) -> AsyncIterator[Register]:
    async with registering(server, http) as register:
        yield register


@pytest.mark.parametrize("locations", [1, None, True, "x", {"a": 1}, [1], [[]]])
async def test_54_locations_are_a_list_of_texts(make_client: MakeClient, register: Register, locations: object) -> None:
    """RFC 9396 section 2.2, also if the schema of the type does not say so."""
    kind = await register(schema=json.dumps(OPEN), summary="")
    client = await make_client(authorization_details_types=[kind.type])
    details = json.dumps([{"type": kind.type, "locations": locations}])
    answer = await client.post("/par", **client.parameters(authorization_details=details))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_authorization_details")


@pytest.mark.parametrize("depth", [16, 100, *range(940, 990, 5)])
async def test_54_nested_claims(make_client: MakeClient, server: Server, http: httpx.AsyncClient, depth: int) -> None:
    """What can just be decoded cannot be encoded as a part of the request that is stored."""
    client = await make_client()
    claims = '{"id_token": {"acr": {"value": %s}}}' % ("[" * depth + "]" * depth)
    answer = await http.get(f"{server.issuer}/authorize", params=client.parameters(claims=claims))
    assert "error=invalid_request" in answer.headers["location"]
