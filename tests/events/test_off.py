"""Shared signals are off by default."""

import httpx

from tests.support.server import Server


async def test_it_is_off_by_default(server: Server, http: httpx.AsyncClient) -> None:
    for path in ("/.well-known/ssf-configuration", "/ssf/streams", "/ssf/status?stream_id=x"):
        assert (await http.get(f"{server.issuer}{path}")).status_code == 404
