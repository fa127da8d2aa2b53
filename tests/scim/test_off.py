"""SCIM is off by default."""

import httpx
import pytest

from idp.http.body import MAX_BODY_BYTES
from idp.scim import tokens
from tests.support.server import Server


@pytest.mark.parametrize(
    "path",
    ["/Users", "/Groups/x", "/.search", "/ServiceProviderConfig", "/Schemas", "/ResourceTypes/User", "/Me", "/x"],
)
async def test_it_is_off_by_default(server: Server, http: httpx.AsyncClient, path: str) -> None:
    token_id, token = await tokens.create("Off")
    headers = {"Authorization": f"Bearer {token}"}
    assert (await http.get(f"{server.issuer}/scim/v2{path}", headers=headers)).status_code in (404, 405)
    await tokens.delete(token_id)


async def test_bodies_are_as_short_as_anywhere(server: Server, http: httpx.AsyncClient) -> None:
    """Only SCIM needs longer ones."""
    for path in ("/Groups", "/Bulk"):
        answer = await http.post(f"{server.issuer}/scim/v2{path}", content=b"x" * (MAX_BODY_BYTES + 1))
        assert answer.status_code == 413
        answer = await http.post(f"{server.issuer}/scim/v2{path}", content=b"x" * MAX_BODY_BYTES)
        assert answer.status_code == 404
