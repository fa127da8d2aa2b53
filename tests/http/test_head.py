"""HEAD is answered as GET, without the body (RFC 9110 section 9.3.2). Link checkers use it."""

import httpx
import pytest

from tests.support.server import Server


@pytest.mark.parametrize(
    "path", ["/", "/health/live", "/.well-known/jwks.json", "/authorize?client_id=nobody", "/none"]
)
async def test_head(server: Server, http: httpx.AsyncClient, path: str) -> None:
    get, head = await http.get(f"{server.issuer}{path}"), await http.head(f"{server.issuer}{path}")
    assert head.status_code == get.status_code
    assert head.content == b""
    assert head.headers["content-type"] == get.headers["content-type"]


async def test_head_of_a_route_without_get(server: Server, http: httpx.AsyncClient) -> None:
    assert (await http.head(f"{server.issuer}/token")).status_code == 405
