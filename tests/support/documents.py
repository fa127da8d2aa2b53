"""A server on loopback with the metadata document of a client (Client ID Metadata Document)."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from idp.oauth.clients import repository as clients
from idp.oauth.clients.documents import repository
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import change
from tests.support.elsewhere import Handler, answer, serving

REDIRECT_URI = "https://app.example.com/callback"


class ClientSite:
    """A site that serves one document at every path, as its test wants it at that moment.

    Attributes:
        members: of the document; ``client_id`` is the URL that is asked for.
        headers: of the response.
        handler: answers in place of the document, if it is set.
        requests: how often the site was called.
    """

    def __init__(self) -> None:
        self.port = 0
        self.members: dict[str, Any] = {
            "client_name": "Example client",
            "redirect_uris": [REDIRECT_URI],
            "grant_types": ["authorization_code", "refresh_token"],
        }
        self.headers = ["Content-Type: application/json"]
        self.handler: Handler | None = None
        self.requests = 0

    def url(self, path: str = "/client.json") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def handle(self, head: bytes, writer: Any) -> None:
        self.requests += 1
        path = head.split(b" ")[1].decode()
        body = json.dumps({"client_id": self.url(path)} | self.members).encode()
        await (self.handler or answer(body, *self.headers))(head, writer)


async def store_document(url: str, **metadata: Any) -> Client:
    """Store a client by document, as if a user had allowed it."""
    values = {"client_name": "Example client", "redirect_uris": (REDIRECT_URI,), "token_endpoint_auth_method": "none"}
    client = Client(
        client_id=url,
        origin="document",
        expires_at=datetime.now(UTC) + timedelta(days=120),
        **{"scope": ""} | values | metadata,
    )
    async with change():
        assert await clients.insert_client(client)
        await repository.insert_state(url, 3600)
    return client


@asynccontextmanager
async def client_site() -> AsyncIterator[ClientSite]:
    site = ClientSite()
    async with serving() as serve:
        site.port = await serve(site.handle)
        yield site
