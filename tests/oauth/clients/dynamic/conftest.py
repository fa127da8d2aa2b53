"""Registration at the shared server, with initial access tokens."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from idp.infra.db.engine import execute
from idp.oauth.clients.dynamic import initial_tokens
from idp.oauth.clients.dynamic.ceiling import Ceiling
from tests.support.server import Server

URI = "https://app.example.com/callback"

MakeToken = Callable[..., Awaitable[str]]


class Registrar:
    """Calls the registration endpoint of a server."""

    def __init__(self, http: httpx.AsyncClient, issuer: str) -> None:
        self.http, self.issuer = http, issuer

    async def post(self, token: str | None, content: bytes | None = None, **metadata: Any) -> httpx.Response:
        """Register a client. ``content`` is sent in place of the metadata."""
        body: dict[str, Any] = {"json": metadata} if content is None else {"content": content}
        headers = self._headers(token) | {"Content-Type": "application/json"}
        return await self.http.post(f"{self.issuer}/register", headers=headers, **body)

    async def register(self, token: str | None, **metadata: Any) -> dict[str, Any]:
        """Register a client with one redirect URI, if nothing else is said."""
        response = await self.post(token, **({"redirect_uris": [URI]} | metadata))
        assert response.status_code == 201, response.text
        registered: dict[str, Any] = response.json()
        return registered

    async def call(
        self, method: str, registered: dict[str, Any], token: str | None = None, **more: Any
    ) -> httpx.Response:
        """Call the configuration endpoint of a client, by default with its own token."""
        headers = self._headers(token or registered["registration_access_token"])
        return await self.http.request(method, registered["registration_client_uri"], headers=headers, **more)

    @staticmethod
    def _headers(token: str | None) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"} if token is not None else {}


@pytest.fixture
def registrar(http: httpx.AsyncClient, server: Server) -> Registrar:
    return Registrar(http, server.issuer)


@pytest.fixture
async def make_token(db: str) -> AsyncIterator[MakeToken]:
    """Create initial access tokens; they are deleted at the end."""

    async def make(uses: int = 1, lifetime: int = 600, **ceiling: Any) -> str:
        _, token = await initial_tokens.create("Test", Ceiling(**ceiling), uses=uses, lifetime=lifetime)
        return token

    yield make
    await execute("DELETE FROM initial_access_token")


@pytest.fixture
async def token(make_token: MakeToken) -> str:
    """An initial access token for many clients."""
    return await make_token(uses=100)
