"""What a newer version stored, and this one does not know: the client, the upstream or the role counts as disabled."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from structlog.testing import capture_logs

from idp.admin.roles import Role, roles_of
from idp.federation import registry as upstreams
from idp.infra.db.cache_invalidation import exclusive_change
from idp.infra.db.engine import execute
from idp.oauth.clients.registration import TOPIC, register_client
from idp.oauth.clients.registry import Registry
from idp.oauth.clients.stored import receiver
from tests.admin.console.conftest import Admin, admins, owner
from tests.conftest import MakeClient, MakeUser
from tests.federation.conftest import until_offered
from tests.support.browser import Browser
from tests.support.server import Server

__all__ = ["admins", "owner"]

NEWER: list[dict[str, Any]] = [
    {"profile": "fapi9"},
    {"token_endpoint_auth_method": "by_thought"},
    {"subject_type": "secret"},
    {"id_token_signed_response_alg": "SLH-DSA"},
]


async def _becomes_newer(client_id: str, changes: dict[str, Any]) -> None:
    async with exclusive_change(TOPIC):
        await execute(
            "UPDATE client SET metadata = metadata || $2::jsonb, updated_at = now() WHERE client_id = $1",
            client_id,
            msgspec.json.encode(changes).decode(),
        )


@asynccontextmanager
async def _deleted_at_the_end(client_id: str) -> AsyncIterator[None]:
    """Every server that starts later would log that the client is not usable."""
    try:
        yield
    finally:
        async with exclusive_change(TOPIC):
            await execute("DELETE FROM client WHERE client_id = $1", client_id)


@pytest.mark.parametrize("changes", NEWER)
async def test_a_client(db: str, changes: dict[str, Any]) -> None:
    """Of its own registry, so that those of other tests do not matter."""
    client, _ = await register_client(
        client_name="App", redirect_uris=["https://app.example/cb"], scope="openid",
        backchannel_logout_uri="https://app.example/logout",
    )  # fmt: skip
    async with _deleted_at_the_end(client.client_id):
        registry = Registry()
        await registry.load()
        assert registry.client(client.client_id) is not None
        assert await receiver(client.client_id, "backchannel_logout_uri") is not None
        await _becomes_newer(client.client_id, changes)
        for logged in (1, 0):
            with capture_logs() as logs:
                await registry.load()
            found = [entry for entry in logs if entry.get("client_id") == client.client_id]
            assert len(found) == logged
            assert all(
                entry["event"] == "client_not_usable" and next(iter(changes)) in entry["reason"] for entry in found
            )
            assert registry.client(client.client_id) is None
            assert registry.is_disabled(client.client_id)
        assert await receiver(client.client_id, "backchannel_logout_uri") is None


async def test_a_client_at_the_endpoints(browser: Browser, make_client: MakeClient, owner: Admin) -> None:
    """It gets no token and no code, and the console shows it."""
    party = await make_client()
    async with _deleted_at_the_end(party.client_id):
        await _becomes_newer(party.client_id, {"profile": "fapi9"})
        async with asyncio.timeout(30):
            while (answer := await party.post("/token", grant_type="none-such")).status_code != 401:
                assert answer.status_code == 400
                await asyncio.sleep(0.02)
        assert answer.json()["error"] == "invalid_client"
        page = await party.authorize(browser)
        assert page.status == 400
        shown = await owner.get(f"/admin/clients/{party.client_id}")
        assert (shown.status, "fapi9" in shown.text) == (200, True)
        assert (await owner.get(f"/admin/clients/{party.client_id}/change")).status == 200


@pytest.mark.parametrize("newer", [{"kind": "telepathy"}, {"read_minds": True}])
async def test_an_upstream(server: Server, owner: Admin, newer: dict[str, Any]) -> None:
    """The others stay usable."""
    ids = [f"up-{secrets.token_hex(4)}" for _ in range(2)]
    for id_ in ids:
        assert await upstreams.add(
            upstreams.configure(id=id_, name="Up", issuer="https://up.example", client_id="c", client_secret="s")
        )
    await execute(
        "UPDATE upstream SET config = config || $2::jsonb WHERE id = $1", ids[0], msgspec.json.encode(newer).decode()
    )
    try:
        with capture_logs() as logs:
            assert ids[1] in (found := {upstream.id for upstream in await upstreams.load_stored()})
        assert ids[0] not in found
        assert [entry["path"] for entry in logs if entry["event"] == "upstream_not_usable"] == [ids[0]]
        assert (await owner.get("/admin/upstreams")).status == 200
        assert (await owner.get(f"/admin/upstreams/{ids[0]}")).status == 200
    finally:
        async with exclusive_change(upstreams.TOPIC):
            await execute("DELETE FROM upstream WHERE id = ANY ($1::text[])", ids)
        await until_offered(server.issuer, ids[1], offered=False)


async def test_a_role(make_user: MakeUser) -> None:
    user = await make_user()
    for role in (Role.AUDITOR, "emperor"):
        await execute(
            "INSERT INTO admin_role (id, user_id, role, granted_by) VALUES ($3, $1, $2, 'test')", user.id, role, uuid4()
        )
    assert await roles_of(user.id) == {Role.AUDITOR}
