"""Row 54: values of a wrong kind inside of parameters that are JSON are a refusal, never a 500."""

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from idp.errors import OAuthError
from idp.oauth.clients.registration import register_client
from tests.conftest import MakeClient
from tests.oauth.clients.dynamic.conftest import URI, MakeToken, Registrar, make_token, registrar
from tests.support.authorization_details import Register, registering
from tests.support.request_objects import jwks
from tests.support.server import Server

__all__ = ["make_token", "registrar"]

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


@pytest.mark.parametrize("depth", [200, 500, *range(920, 990, 5)])
async def test_54_nested_keys(registrar: Registrar, make_token: MakeToken, depth: int) -> None:
    """Of a client that registers itself. Administrators could neither read nor disable it."""
    token = await make_token(max_bytes=4 * 1024)
    key = jwks("ES256")["keys"][0] | {"extra": "@"}
    metadata = {"redirect_uris": [URI], "jwks": {"keys": [key]}, "token_endpoint_auth_method": "private_key_jwt"}
    body = json.dumps(metadata).replace('"@"', "[" * depth + "]" * depth).encode()
    answer = await registrar.post(token, body)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")


async def test_54_nested_keys_of_an_administrator(db: str) -> None:
    key: dict[str, object] = jwks("ES256")["keys"][0]
    for depth, refused in ((150, False), (250, True)):
        key["extra"] = json.loads("[" * depth + "]" * depth)
        metadata = {"client_name": "Nested", "redirect_uris": [URI], "jwks": {"keys": [key]}}
        if refused:
            with pytest.raises(OAuthError, match="jwks is nested too deeply"):
                await register_client(token_endpoint_auth_method="private_key_jwt", **metadata)
        else:
            await register_client(token_endpoint_auth_method="private_key_jwt", **metadata)
