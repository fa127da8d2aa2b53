"""While PostgreSQL is down, tokens can be verified, all other requests fail at once, and everything recovers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from idp.infra.db.embedded import EmbeddedPostgres
from idp.signin import session_tokens
from tests.conftest import MASTER_KEY
from tests.support.server import Server

MEMORY = ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server", "/.well-known/jwks.json"]
#: Has the form of a session cookie, so the server looks for the session.
COOKIE = {"Cookie": f"__Host-session={session_tokens.new(UUID(int=0))}"}


@pytest.fixture
async def outage(tmp_path: Path) -> AsyncIterator[tuple[Server, EmbeddedPostgres]]:
    """A server with its own database."""
    database = EmbeddedPostgres.start(tmp_path / "data", options={"fsync": "off"})
    server = await asyncio.to_thread(
        Server, tmp_path, IDP_DATABASE_URL=database.dsn, IDP_MASTER_KEY=MASTER_KEY, IDP_LOG_LEVEL="warning"
    )
    yield server, database
    server.stop()
    database.stop()


async def _until(status: int, http: httpx.AsyncClient, url: str) -> None:
    async with asyncio.timeout(20):
        while (await http.get(url)).status_code != status:
            await asyncio.sleep(0.05)


async def test_an_outage(outage: tuple[Server, EmbeddedPostgres], http: httpx.AsyncClient, tmp_path: Path) -> None:
    server, database = outage
    before = {path: (await http.get(f"{server.url}{path}")).content for path in MEMORY}
    database.stop()

    await _until(503, http, f"{server.url}/health/ready")
    assert (await http.get(f"{server.url}/health/live")).status_code == 200
    for path in MEMORY:
        response = await http.get(f"{server.url}{path}")
        assert (response.status_code, response.content) == (200, before[path])
        again = await http.get(f"{server.url}{path}", headers={"If-None-Match": response.headers["etag"]})
        assert again.status_code == 304

    page = await http.get(f"{server.url}/", headers=COOKIE | {"Accept": "text/html"})
    assert (page.status_code, page.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert int(page.headers["retry-after"]) > 0
    assert page.headers["x-request-id"] in page.text

    restarted = EmbeddedPostgres.start(tmp_path / "data", options={"fsync": "off"})
    try:
        await _until(200, http, f"{server.url}/health/ready")
        assert (await http.get(f"{server.url}/", headers=COOKIE)).status_code == 200
    finally:
        restarted.stop()
    assert "Traceback" not in server.log
