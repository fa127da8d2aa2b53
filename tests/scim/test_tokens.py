"""Who may call: SCIM tokens and access tokens, what they may do, and until when."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID, uuid4

import httpx
import pytest

from idp import ids
from idp.directory import names
from idp.errors import ValidationError
from idp.infra import rate_limits
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.oauth.clients.registration import register_client
from idp.scim import access, tokens
from idp.settings import DAY
from tests.scim.conftest import ScimClient, client
from tests.support.server import Server

SCOPE = f"{access.READ} {access.WRITE}"


_UNKNOWN = "A" * 43


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer x", f"Bearer {_UNKNOWN}", "Basic eDp5", "Bearer a.b.c", "DPoP x"]
)
async def test_without_a_token(provider: Server, scim_http: httpx.AsyncClient, header: str) -> None:
    for path in ("/Users", f"/Users/{uuid4()}", "/Groups", "/Me"):
        response = await scim_http.get(f"{provider.issuer}/scim/v2{path}", headers={"Authorization": header})
        assert response.status_code == 401
        assert response.headers["www-authenticate"].startswith(("Bearer", "DPoP"))
        assert response.json()["status"] == "401"


async def test_the_token_is_a_hash(scim: ScimClient) -> None:
    row = await fetchrow("SELECT * FROM scim_token WHERE id = $1", scim.id)
    assert row is not None
    assert row["token_hash"] == ids.digest(scim.token)
    assert scim.token not in str(dict(row))
    await scim.ok("GET", "/Users?count=0")
    row = await fetchrow("SELECT last_used_at FROM scim_token WHERE id = $1", scim.id)
    assert row is not None
    assert row["last_used_at"] is not None


async def test_a_token_that_only_reads(provider: Server, scim: ScimClient, scim_http: httpx.AsyncClient) -> None:
    reader = await client(provider, scim_http, writes=False)
    user = await scim.user()
    assert (await reader.ok("GET", f"/Users/{user['id']}"))["id"] == user["id"]
    await reader.ok("POST", "/Users/.search", {"filter": 'displayName eq "x"'})
    for kind in ("Users", "Groups"):
        assert await reader.refused("POST", f"/{kind}", {"userName": "a@b.example"}) == (403, None)
        for method in ("PUT", "PATCH", "DELETE"):
            body = None if method == "DELETE" else {}
            assert await reader.refused(method, f"/{kind}/{user['id']}", body) == (403, None)
    assert await reader.refused("POST", "/Bulk", {}) == (403, None)


async def test_rotation(scim: ScimClient) -> None:
    first = scim.token
    user = await scim.user(externalId="kept")
    second = await tokens.rotate(scim.id, overlap=DAY)
    for token in (first, second):
        scim.token = token
        assert (await scim.ok("GET", f"/Users/{user['id']}"))["externalId"] == "kept"
        await scim.user()
    third = await tokens.rotate(scim.id)
    scim.token = first
    assert (await scim("GET", "/Users")).status_code == 401
    for token in (second, third):
        scim.token = token
        assert (await scim("GET", "/Users?count=0")).status_code == 200
    last = await tokens.rotate(scim.id, overlap=0)
    scim.token = third
    assert (await scim("GET", "/Users")).status_code == 401
    scim.token = last
    assert (await scim("GET", "/Users?count=0")).status_code == 200


async def test_expiry(scim: ScimClient) -> None:
    first = scim.token
    await tokens.rotate(scim.id)
    scim.token = first
    await execute("UPDATE scim_token SET old_expires_at = now() WHERE id = $1", scim.id)
    assert (await scim("GET", "/Users")).status_code == 401
    scim.token = await tokens.rotate(scim.id)
    await execute("UPDATE scim_token SET expires_at = now() WHERE id = $1", scim.id)
    assert (await scim("GET", "/Users")).status_code == 401


async def test_deletion(scim: ScimClient) -> None:
    user = await scim.user(externalId="x")
    group = await scim.group(user["id"], externalId="x")
    await tokens.delete(scim.id)
    assert (await scim("GET", "/Users")).status_code == 401
    origin = f"scim:{scim.id}"
    assert not await fetch("SELECT FROM scim_user WHERE origin = $1", origin)
    assert not await fetch("SELECT FROM scim_group WHERE origin = $1", origin)
    assert await fetch("SELECT FROM group_member WHERE group_id = $1 AND origin = $2", UUID(group["id"]), origin)
    with pytest.raises(tokens.UnknownTokenError):
        await tokens.delete(scim.id)
    with pytest.raises(tokens.UnknownTokenError):
        await tokens.rotate(scim.id)
    events = await fetch("SELECT event FROM audit_event WHERE detail ->> 'id' = $1 ORDER BY id", str(scim.id))
    assert [event["event"] for event in events] == ["scim_token_created", "scim_token_deleted"]


async def test_what_a_token_may_be() -> None:
    for name in ("", "a\nb", "x" * 101):
        with pytest.raises(names.InvalidNameError):
            await tokens.create(name)
    for lifetime in (0, tokens.MAX_LIFETIME + 1):
        with pytest.raises(ValidationError):
            await tokens.create("x", lifetime=lifetime)
    with pytest.raises(ValidationError):
        await tokens.rotate(uuid4(), overlap=tokens.MAX_OVERLAP + 1)


async def test_a_deleted_token_changes_nothing_more(scim: ScimClient) -> None:
    """A deletion waits for the changes under way, and none begins after it."""
    users = [await scim.user() for _ in range(8)]

    async def change(user: dict[str, str]) -> int:
        return (
            await scim.patch(f"/Users/{user['id']}", {"op": "add", "path": "nickName", "value": "late"})
        ).status_code

    started = [asyncio.create_task(change(user)) for user in users]
    await tokens.delete(scim.id)
    changed_at_deletion = await fetch("SELECT id FROM users WHERE nickname = 'late'")
    statuses = await asyncio.gather(*started)
    assert await fetch("SELECT id FROM users WHERE nickname = 'late'") == changed_at_deletion
    assert statuses.count(200) == len(changed_at_deletion)
    assert set(statuses) <= {200, 401}


async def test_a_client_with_too_many_requests_waits(scim: ScimClient, monkeypatch: pytest.MonkeyPatch) -> None:
    event = (access.REQUESTS, f"scim:{scim.id}")
    await rate_limits.spend(event)
    await execute("UPDATE throttle SET free_at = now() + interval '1 hour' WHERE key = $1", rate_limits.key(*event))
    response = await scim("GET", "/Users")
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) > 60
    await rate_limits.forget(event)
    assert (await scim("GET", "/Users?count=0")).status_code == 200


Party = Callable[..., Awaitable[ScimClient]]


@pytest.fixture
def party(provider: Server, scim_http: httpx.AsyncClient) -> Party:
    """Returns a client of the server with an access token for SCIM."""

    async def make(scope: str = SCOPE, resource: str = "/scim/v2") -> ScimClient:
        found, secret = await register_client(
            client_name="Directory", grant_types=["client_credentials"], scope=SCOPE,
            token_endpoint_auth_method="client_secret_post",
        )  # fmt: skip
        form = {
            "grant_type": "client_credentials", "scope": scope, "client_id": found.client_id,
            "client_secret": str(secret), "resource": f"{provider.issuer}{resource}",
        }  # fmt: skip
        async with asyncio.timeout(30):
            while (answer := await scim_http.post(f"{provider.issuer}/token", data=form)).status_code == 401:
                await asyncio.sleep(0.02)
        assert answer.status_code == 200, answer.text
        made = ScimClient(provider, scim_http, UUID(int=0), answer.json()["access_token"])
        made.client_id = found.client_id
        return made

    return make


async def test_a_client_with_an_access_token(party: Party) -> None:
    other = await party()
    user = await other.user(externalId="mine")
    group = await other.group(user["id"])
    origin = f"scim:{other.client_id}"
    assert await fetch("SELECT FROM group_member WHERE group_id = $1 AND origin = $2", UUID(group["id"]), origin)
    assert await fetch("SELECT FROM scim_user WHERE origin = $1", origin)
    large = {"displayName": "x", "members": [{"value": str(UUID(int=n)), "display": "x" * 40} for n in range(2000)]}
    assert await other.refused("POST", "/Groups", large) == (400, "invalidValue")


async def test_the_scope_of_an_access_token(party: Party) -> None:
    reader = await party(access.READ)
    await reader.ok("GET", "/Users?count=0")
    assert await reader.refused("POST", "/Users", {"userName": "a@b.example"}) == (403, None)


async def test_the_resource_of_an_access_token(party: Party) -> None:
    elsewhere = await party(resource="/admin/api")
    answer = await elsewhere("GET", "/Users")
    assert answer.status_code == 401
    assert answer.json()["detail"].endswith("/scim/v2. Request one with this resource.")


async def test_scim_scopes_are_those_of_administrators() -> None:
    """So only an owner lets a client request them (idp.admin.access.check_scope)."""
    assert all(scope.startswith("admin:") for scope in SCOPE.split())
