"""A server with SCIM, and clients of it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from idp.infra.db.engine import execute
from idp.scim import tokens
from tests.conftest import MASTER_KEY
from tests.support.isolated import isolated
from tests.support.postgres import Cluster
from tests.support.server import TLS, Server

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


class ScimClient:
    """A system with a SCIM token."""

    def __init__(self, server: Server, http: httpx.AsyncClient, id: UUID, token: str) -> None:
        self.url, self.http, self.id, self.token = f"{server.issuer}/scim/v2", http, id, token
        self.client_id = ""

    async def __call__(self, method: str, path: str, json: Any = None, **options: Any) -> httpx.Response:
        """Send a request, and check that the response is one of SCIM."""
        headers = {"Authorization": f"Bearer {self.token}"} | options.pop("headers", {})
        if json is not None:
            headers = {"Content-Type": "application/scim+json"} | headers
            options["content"] = json if isinstance(json, bytes) else msgspec.json.encode(json)
        response = await self.http.request(method, f"{self.url}{path}", headers=headers, **options)
        assert response.status_code < 500 or response.status_code == 501, response.text
        if response.content:
            assert response.headers["content-type"] == "application/scim+json"
        if response.status_code >= 400:
            error = response.json()
            assert error["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
            assert error["status"] == str(response.status_code)
        return response

    async def ok(self, method: str, path: str, json: Any = None, **options: Any) -> dict[str, Any]:
        """Send a request that succeeds, and return the body."""
        response = await self(method, path, json, **options)
        assert response.is_success, response.text
        found: dict[str, Any] = response.json() if response.content else {}
        return found

    async def refused(self, method: str, path: str, json: Any = None, **options: Any) -> tuple[int, str | None]:
        """Send a request that fails, and return the status and the ``scimType``."""
        response = await self(method, path, json, **options)
        assert response.is_error, response.text
        return response.status_code, response.json().get("scimType")

    async def user(self, **values: Any) -> dict[str, Any]:
        """Create a user."""
        name = values.pop("userName", None) or f"{tokens.ids.uuid7()}@example.com"
        return await self.ok("POST", "/Users", {"schemas": [USER], "userName": name} | values)

    async def group(self, *members: str, **values: Any) -> dict[str, Any]:
        """Create a group."""
        given = {"displayName": f"Group {tokens.ids.uuid7()}", "members": [{"value": each} for each in members]}
        return await self.ok("POST", "/Groups", {"schemas": [GROUP]} | given | values)

    async def patch(self, path: str, *operations: dict[str, Any]) -> httpx.Response:
        return await self("PATCH", path, {"schemas": [PATCH], "Operations": list(operations)})


@pytest.fixture(scope="module")
async def provider(
    db: str, cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    """A server with SCIM, on a database of its own."""
    async with isolated(await cluster.create_database(template)) as dsn:
        settings = {"IDP_DATABASE_URL": dsn, "IDP_MASTER_KEY": MASTER_KEY, "IDP_ADDRESS_LIMITS": "false"}
        folder = tmp_path_factory.mktemp("scim")
        server = await asyncio.to_thread(lambda: Server(folder, **settings, IDP_SCIM="true"))
        yield server
        server.kill()


@pytest.fixture
async def scim_http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=30, verify=TLS) as http:
        yield http


async def client(provider: Server, http: httpx.AsyncClient, **options: Any) -> ScimClient:
    """Create a token."""
    return ScimClient(provider, http, *await tokens.create("Test", **options))


@pytest.fixture
async def scim(provider: Server, scim_http: httpx.AsyncClient) -> ScimClient:
    """A system that may write."""
    return await client(provider, scim_http)


@pytest.fixture
async def empty(provider: Server) -> None:
    """No users and no groups."""
    await execute("TRUNCATE users, groups CASCADE")
