"""Callers of every role at the admin API, each a service."""

import asyncio
from typing import Any

import httpx
import pytest

from idp.admin.roles import Permission, Role
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.service import set_admin_role
from tests.support.server import Server

API = "/admin/api/v1"


class Caller:
    """A client with an access token for the admin API."""

    def __init__(self, issuer: str, http: httpx.AsyncClient, client_id: str, secret: str) -> None:
        self.issuer, self.http, self.client_id, self.secret = issuer, http, client_id, secret
        self.token = ""

    async def authenticate(self, scope: str = " ".join(Permission), **changes: str) -> str:
        form = {"grant_type": "client_credentials", "scope": scope, "resource": f"{self.issuer}/admin/api"} | changes
        form |= {"client_id": self.client_id, "client_secret": self.secret}
        # A new client is known to the server after it has reloaded its registry.
        async with asyncio.timeout(30):
            while (answer := await self.http.post(f"{self.issuer}/token", data=form)).status_code == 401:
                await asyncio.sleep(0.01)
        assert answer.status_code == 200, answer.text
        self.token = answer.json()["access_token"]
        return self.token

    async def __call__(self, method: str, path: str, json: Any = None, **headers: str) -> httpx.Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.request(
            method,
            path if path.startswith("http") else f"{self.issuer}{API}{path}",
            json=json,
            headers={"Authorization": f"Bearer {self.token}"} | names,
        )

    async def changed(self, method: str, path: str, json: Any = None) -> httpx.Response:
        """A change with the tag that the record has now."""
        tag = (await self("GET", path)).headers["etag"]
        return await self(method, path, json, If_Match=tag)


async def make_caller(server: Server, http: httpx.AsyncClient, role: Role | None) -> Caller:
    client, secret = await register_client(
        client_name="Administration",
        grant_types=["client_credentials"],
        scope=" ".join(Permission),
        token_endpoint_auth_method="client_secret_post",
    )
    if role is not None:
        await set_admin_role(client.client_id, role)
    caller = Caller(server.issuer, http, client.client_id, str(secret))
    await caller.authenticate()
    async with asyncio.timeout(30):
        while role is not None and (await caller("GET", "/me")).json().get("roles") != [role]:
            await asyncio.sleep(0.01)
    return caller


@pytest.fixture
async def owner(server: Server, http: httpx.AsyncClient) -> Caller:
    return await make_caller(server, http, Role.OWNER)
