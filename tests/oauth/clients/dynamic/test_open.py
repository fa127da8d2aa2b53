"""Registration without an initial access token: ceiling, limits, and clients that nobody uses."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from idp import clock, housekeeping, ids
from idp.accounts.tables import User
from idp.audit.tables import AuditEvent
from idp.errors import InvalidClientError, OAuthError, TooManyRequestsError
from idp.infra.db.engine import execute, fetchrow
from idp.infra.request_context import client_address
from idp.keys import jose
from idp.oauth.clients.dynamic import expiry, limits, service
from idp.oauth.clients.dynamic.expiry import TooManyClientsError
from idp.oauth.clients.dynamic.recent import find_recent
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.registry import Registry, registry
from idp.settings import settings
from tests.oauth.clients.dynamic.conftest import URI, MakeToken, Registrar
from tests.support.browser import as_page, open_browser
from tests.support.isolated import MoveClock, move_clock
from tests.support.oauth import RelyingParty
from tests.support.server import Server

__all__ = ["move_clock"]

BODY = json.dumps({"redirect_uris": [URI]}).encode()


@pytest.fixture
async def opened(db: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[pytest.MonkeyPatch]:
    """Open registration in this process. No registration is counted before and after."""
    forget = "DELETE FROM throttle WHERE rule LIKE 'registrations of clients%'"
    await execute(forget)
    monkeypatch.setenv("IDP_CLIENT_REGISTRATION", "open")
    settings.cache_clear()
    yield monkeypatch
    await execute(forget)
    monkeypatch.undo()
    settings.cache_clear()


def set_to(opened: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        opened.setenv(f"IDP_CLIENT_REGISTRATION_{name}", value)
    settings.cache_clear()


async def register(**metadata: Any) -> dict[str, Any]:
    body = json.dumps({"redirect_uris": [URI]} | metadata).encode()
    registered = await service.register(body, None)
    row = await fetchrow("SELECT metadata, expires_at FROM client WHERE client_id = $1", registered.client.client_id)
    assert row is not None
    return json.loads(row["metadata"]) | {"expires_at": row["expires_at"], "client_id": registered.client.client_id}


@pytest.mark.usefixtures("db", "opened")
async def test_the_ceiling_of_the_settings() -> None:
    """No secret, no logo, PKCE, and few scopes; what is beyond is left out."""
    found = await register(
        scope="openid address email", logo_uri="https://evil.example/pixel.png",
        token_endpoint_auth_method="client_secret_post",
        grant_types=["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
    )  # fmt: skip
    assert found["scope"] == "openid email"
    assert found["logo_uri"] is None
    assert found["token_endpoint_auth_method"] == "none"
    assert found["require_pkce"] is True
    assert found["grant_types"] == ["authorization_code", "refresh_token"]
    assert timedelta(hours=23) < found["expires_at"] - clock.now() < timedelta(hours=25)
    assert (await register())["token_endpoint_auth_method"] == "none"
    key = {name: value for name, value in jose.generate("ES256").public_jwk.items() if name != "kid"}
    found = await register(token_endpoint_auth_method="private_key_jwt", jwks={"keys": [key]})
    assert found["token_endpoint_auth_method"] == "private_key_jwt"


@pytest.mark.usefixtures("db")
async def test_another_ceiling(opened: pytest.MonkeyPatch) -> None:
    set_to(
        opened, SCOPES="openid", AUTH_METHODS="client_secret_basic", GRANT_TYPES="authorization_code",
        HOSTS=".example.com", LIFETIME="60",
    )  # fmt: skip
    found = await register(grant_types=["authorization_code", "refresh_token"])
    assert found["token_endpoint_auth_method"] == "client_secret_basic"
    assert (found["scope"], found["grant_types"]) == ("openid", ["authorization_code"])
    assert found["expires_at"] - clock.now() <= timedelta(seconds=60)
    for metadata, error in (
        ({"redirect_uris": ["https://evil.example/cb"]}, "invalid_redirect_uri"),
        ({"token_endpoint_auth_method": "none"}, "invalid_client_metadata"),
        ({"grant_types": ["client_credentials"]}, "invalid_client_metadata"),
        ({"scope": "email"}, "invalid_client_metadata"),
        ({"contacts": ["x" * 100] * 50}, "invalid_client_metadata"),
    ):
        with pytest.raises(OAuthError) as raised:
            await register(**metadata)
        assert raised.value.code == error


@pytest.mark.usefixtures("db")
async def test_there_is_a_maximum(opened: pytest.MonkeyPatch) -> None:
    row = await fetchrow("SELECT count(*) AS n FROM client WHERE origin = 'dynamic'")
    assert row is not None
    set_to(opened, MAX_CLIENTS=str(row["n"] + 2))
    for _ in range(2):
        await register()
    with pytest.raises(TooManyClientsError):
        await register()
    after = await fetchrow("SELECT count(*) AS n FROM client WHERE origin = 'dynamic'")
    assert after is not None
    assert after["n"] == row["n"] + 2


@pytest.mark.usefixtures("db", "opened")
async def test_limits() -> None:
    """Of a host, over all clients that it registers, and of all hosts."""
    token = client_address.set("192.0.2.77")
    try:
        for _ in range(limits.BY_HOST.burst):
            await register()
        with pytest.raises(TooManyRequestsError):
            await register()
        client_address.set("192.0.2.78")
        await register()
    finally:
        client_address.reset(token)
    await execute("UPDATE throttle SET free_at = now() + interval '1 hour' WHERE rule = $1", limits.OF_ALL.name)
    with pytest.raises(TooManyRequestsError):
        await register()


@pytest.mark.usefixtures("db", "opened")
async def test_changes_have_a_limit() -> None:
    registered = await service.register(BODY, None)
    client_id, token = registered.client.client_id, registered.registration_token
    body = json.dumps({"client_id": client_id, "redirect_uris": [URI]}).encode()
    for _ in range(limits.CHANGES.burst):
        token = (await service.update(client_id, token, body)).registration_token
    with pytest.raises(TooManyRequestsError):
        await service.update(client_id, token, body)


@pytest.mark.usefixtures("db", "opened")
async def test_an_expired_client_is_unknown_and_deleted() -> None:
    registered = await service.register(BODY, None)
    client_id = registered.client.client_id
    assert registry.client(client_id) is not None
    assert await find_recent(client_id) is not None
    await execute("UPDATE client SET expires_at = now() WHERE client_id = $1", client_id)
    assert await find_recent(client_id) is None
    with pytest.raises(OAuthError, match="not valid"):
        await service.read(client_id, registered.registration_token)
    fresh = Registry()
    await fresh.load()
    assert fresh.client(client_id) is None
    while await housekeeping.round_of_deletions():
        pass
    assert await fetchrow("SELECT FROM client WHERE client_id = $1", client_id) is None
    await registry.load()
    assert registry.client(client_id) is None


@pytest.mark.usefixtures("opened")
async def test_a_use_that_comes_too_late() -> None:
    """The client has expired, or was deleted, after it was looked up: no code or token is issued."""
    client_id = (await service.register(BODY, None)).client.client_id
    client = registry.client(client_id)
    assert client is not None
    await execute("UPDATE client SET expires_at = now() WHERE client_id = $1", client_id)
    for _ in range(2):
        with pytest.raises(InvalidClientError):
            await expiry.keep(client)
        await execute("DELETE FROM client WHERE client_id = $1", client_id)
    await registry.load()


@pytest.mark.usefixtures("opened")
async def test_one_user_keeps_few_clients(opened: pytest.MonkeyPatch) -> None:
    """Else one account could make the number of clients permanent."""
    set_to(opened, LIFETIME="3600")
    client = registry.client((await service.register(BODY, None)).client.client_id)
    assert client is not None
    user = ids.uuid7()
    for _ in range(limits.FIRST_USES.burst):
        await expiry.keep(client, user)
    with pytest.raises(TooManyRequestsError):
        await expiry.keep(client, user)
    await expiry.keep(client, ids.uuid7())


@pytest.mark.usefixtures("opened")
async def test_two_uses_at_once() -> None:
    client_id = (await service.register(BODY, None)).client.client_id
    client = registry.client(client_id)
    assert client is not None
    await asyncio.gather(*(expiry.keep(client) for _ in range(5)))
    rows = await AuditEvent.select().where(AuditEvent.client_id == client_id, AuditEvent.event == "client_kept")
    assert len(rows) == 1


@pytest.mark.usefixtures("db", "opened")
async def test_expiry_in_memory(move_clock: MoveClock) -> None:
    """A worker that loads nothing refuses it in time, too."""
    client_id = (await service.register(BODY, None)).client.client_id
    move_clock(settings().client_registration_lifetime + 5)
    assert registry.client(client_id) is None


@pytest.mark.usefixtures("db", "opened")
async def test_recent_clients(move_clock: MoveClock) -> None:
    """Only those that registered themselves, and only for a moment."""
    client_id = (await service.register(BODY, None)).client.client_id
    assert await find_recent(client_id) is not None
    by_admin, _ = await register_client(client_name="x", redirect_uris=[URI])
    for other in (by_admin.client_id, str(ids.uuid7()), "", "x", "\0", str(UUID(int=0)), "x" * 5000):
        assert await find_recent(other) is None
    move_clock(60)
    assert await find_recent(client_id) is None


@pytest.mark.usefixtures("db", "opened")
async def test_recent_clients_of_a_newer_version() -> None:
    """During a rolling upgrade: what such a client demands is unknown here."""
    client_id = (await service.register(BODY, None)).client.client_id
    await execute(
        "UPDATE client SET metadata = metadata || $2::jsonb WHERE client_id = $1", client_id, '{"profile": "fapi9"}'
    )
    assert await find_recent(client_id) is None
    await execute("DELETE FROM client WHERE client_id = $1", client_id)


async def test_the_first_use(start_server: Any, make_token: MakeToken, http: httpx.AsyncClient, alice: User) -> None:
    """The first code removes the expiry; the client is used like any other from then on."""
    server: Server = start_server(IDP_CLIENT_REGISTRATION="open")
    registrar = Registrar(http, server.issuer)
    assert (await registrar.post("wrong", redirect_uris=[URI])).status_code == 401
    with_token = await registrar.register(await make_token())
    body = await registrar.register(None)
    party = RelyingParty(server.issuer, http, body["client_id"], redirect_uri=URI, scope="openid email")

    async def expires_at(client_id: str) -> Any:
        row = await fetchrow("SELECT expires_at FROM client WHERE client_id = $1", client_id)
        assert row is not None
        return row["expires_at"]

    assert await expires_at(with_token["client_id"]) is None
    async with open_browser(server.issuer) as browser:
        page = as_page(
            await browser.sign_in(as_page(await party.authorize(browser)), alice.email, "correct horse battery staple")
        )
        assert "consent-allow" in page.ids
        assert await expires_at(body["client_id"]) is not None
        tokens = await party.tokens(browser, alice.email)
        assert tokens["scope"] == "openid email"
        assert await expires_at(body["client_id"]) is None
        await party.tokens(browser, alice.email)
    events = await AuditEvent.select().where(
        AuditEvent.client_id == body["client_id"], AuditEvent.event == "client_kept"
    )
    assert len(events) == 1


async def test_another_server_knows_a_new_client(start_server: Any, http: httpx.AsyncClient, alice: User) -> None:
    """Before it has loaded it: the servers get no notices, and look for changes every half a minute."""
    slow = {"IDP_RELOAD_INTERVAL": "30", "IDP_DATABASE_PREPARED_STATEMENTS": "false", "IDP_CLIENT_REGISTRATION": "open"}
    one, two = start_server(**slow), start_server(**slow)
    body = await Registrar(http, one.issuer).register(None)
    party = RelyingParty(two.issuer, http, body["client_id"], redirect_uri=URI, scope="openid email")
    async with open_browser(two.issuer) as browser:
        assert (await party.tokens(browser, alice.email))["scope"] == "openid email"
