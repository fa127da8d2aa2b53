"""The rows of clients by document: how many there are, and when they go."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest

from idp.accounts.tables import User
from idp.directory import groups
from idp.errors import TooManyRequestsError
from idp.infra.db.engine import execute, fetchrow
from idp.oauth.access_policies import registration as policies
from idp.oauth.access_policies.decision import refusal
from idp.oauth.clients import repository as clients
from idp.oauth.clients.documents import budgets, resolver, service
from idp.oauth.clients.expiry import delete_expired_clients
from idp.oauth.clients.lookup import authorized_client, client_for_authorization
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import disable_client, register_resource_server
from idp.oauth.clients.registry import registry
from idp.oauth.clients.service import delete_resource_server, update_client
from idp.oauth.clients.stored import stored_client
from idp.oauth.token_hook import registration as hooks
from idp.reasons import Reason
from tests.conftest import MakeUser
from tests.support.documents import ClientSite
from tests.support.elsewhere import answer

pytestmark = pytest.mark.usefixtures("accepted", "no_clients_left")


@pytest.fixture
async def no_clients_left(db: str) -> AsyncIterator[None]:
    """Neither of earlier tests, because these count them, nor of these."""
    await _delete_all()
    yield
    await _delete_all()


async def _delete_all() -> None:
    await execute("DELETE FROM client WHERE origin = 'document'")
    await registry.load()


async def _client(site: ClientSite, path: str) -> Client:
    client = await client_for_authorization(site.url(path))
    assert client is not None
    return client


async def _count() -> int:
    row = await fetchrow("SELECT count(*) AS number FROM client WHERE origin = 'document'")
    assert row is not None
    return int(row["number"])


async def test_a_client_is_stored_once(site: ClientSite, path: str, alice: User) -> None:
    client = await _client(site, path)
    for _ in range(3):
        await service.store(client, alice.id)
    assert await _count() == 1
    # Another worker has not loaded it yet.
    assert registry.client(client.client_id) is None
    assert (await stored_client(client.client_id)) is not None
    assert (await authorized_client(client.client_id)) is not None
    await registry.load()
    assert (await authorized_client(client.client_id)) == registry.client(client.client_id)
    assert site.requests == 1


async def test_one_user_cannot_fill_the_table(site: ClientSite, path: str, alice: User) -> None:
    for number in range(budgets.CLIENTS_OF_USER.burst):
        await service.store(await _client(site, f"/{number}{path}"), alice.id)
    with pytest.raises(TooManyRequestsError):
        await service.store(await _client(site, path), alice.id)
    assert await _count() == budgets.CLIENTS_OF_USER.burst


async def test_there_is_a_maximum(
    site: ClientSite, path: str, make_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = service.settings().model_copy(update={"client_id_metadata_max_clients": 1})
    monkeypatch.setattr(service, "settings", lambda: config)
    await service.store(await _client(site, path), (await make_user()).id)
    with pytest.raises(service.TooManyClientsError):
        await service.store(await _client(site, f"/2{path}"), (await make_user()).id)


async def test_an_unused_client_expires(site: ClientSite, path: str, alice: User) -> None:
    client, other = await _client(site, path), await _client(site, f"/other{path}")
    for each in (client, other):
        await service.store(each, alice.id)
    await execute("UPDATE client SET expires_at = now() - interval '1 second' WHERE origin = 'document'")
    await disable_client(other.client_id)
    await registry.load()
    known = registry.client(client.client_id)
    assert known is not None
    await service.keep(known)
    await delete_expired_clients()
    assert await _count() == 2
    await execute("UPDATE client SET expires_at = now() - interval '1 second' WHERE origin = 'document'")
    await delete_expired_clients()
    # A disabled one is denied, and stays so.
    assert await _count() == 1
    row = await fetchrow("SELECT FROM audit_event WHERE event = 'client_expired' AND client_id = $1", client.client_id)
    assert row is not None


async def test_a_change_that_cannot_be_stored(
    site: ClientSite, path: str, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row does not count as current, also not for requests that came meanwhile."""
    await service.store(await _client(site, path), alice.id)
    await registry.load()
    resolver.fresh.clear()
    await execute("UPDATE client_document SET fresh_until = now() WHERE client_id = $1", site.url(path))
    site.members["client_name"] = "Renamed"
    with monkeypatch.context() as patch:

        async def fails(*_: object) -> None:
            raise ConnectionResetError

        patch.setattr(clients, "update_metadata", fails)
        for outcome in await asyncio.gather(*(_client(site, path) for _ in range(5)), return_exceptions=True):
            assert isinstance(outcome, ConnectionResetError)
    assert {client.client_name for client in await asyncio.gather(*(_client(site, path) for _ in range(5)))} == {
        "Renamed"
    }
    assert (await _client(site, path)) == registry.client(site.url(path))


async def test_its_tokens_outlive_its_document_for_a_day(site: ClientSite, path: str, alice: User) -> None:
    client = await _client(site, path)
    await service.store(client, alice.id)
    await registry.load()
    site.handler = answer(status="503 Away")
    for hours, usable in ((23, True), (25, False)):
        resolver.fresh.clear()
        resolver.failed.clear()
        await execute(
            "UPDATE client_document SET fetched_at = now() - $2 * interval '1 h', fresh_until = now()"
            " WHERE client_id = $1",
            client.client_id,
            hours,
        )
        assert (await authorized_client(client.client_id) is not None) == usable
    site.handler = None
    resolver.failed.clear()
    assert await authorized_client(client.client_id) is not None


async def test_a_host_that_is_not_accepted_any_more(
    site: ClientSite, path: str, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await _client(site, path)
    await service.store(client, alice.id)
    await registry.load()
    monkeypatch.undo()
    await registry.load()
    assert registry.client(client.client_id) is None
    assert registry.is_disabled(client.client_id)
    assert await authorized_client(client.client_id) is None


async def test_the_ceiling_of_scopes(site: ClientSite, path: str) -> None:
    name = secrets.token_hex(6)
    opened, closed = f"https://open.{name}.example", f"https://closed.{name}.example"
    await register_resource_server(opened, "Open", scope=f"{name}:read {name}:write", self_registered_clients=True)
    await register_resource_server(closed, "Closed", scope=f"{name}:admin")
    await registry.load()
    try:
        client = await _client(site, path)
        assert {f"{name}:read", f"{name}:write", "openid"} <= client.scopes
        assert f"{name}:admin" not in client.scopes
        assert registry.may_access(client, opened)
        assert not registry.may_access(client, closed)
        assert registry.audience(client, [f"{name}:read"]) == (opened,)
        assert registry.audience(client, [f"{name}:admin"]) == ()
        site.members["scope"] = f"openid {name}:read {name}:admin phone"
        assert (await _client(site, f"/2{path}")).scopes == {"openid", f"{name}:read"}
    finally:
        for identifier in (opened, closed):
            await delete_resource_server(identifier)
        await registry.load()


async def test_a_client_for_which_an_administrator_set_something_stays(
    site: ClientSite, path: str, alice: User, make_user: MakeUser
) -> None:
    """A refused user would only have to wait: the next consent makes a row without what an administrator set."""
    mallory = await make_user()
    client = await client_for_authorization(site.url(path))
    assert client is not None
    await service.store(client, alice.id)
    for_staff = client.client_id
    staff = await groups.create(f"Staff {secrets.token_hex(4)}")
    await policies.set_policy(for_staff, groups=[staff.id])
    other = await client_for_authorization(site.url("/of-the-hook.json"))
    assert other is not None
    await service.store(other, alice.id)
    await hooks.add(other.client_id, "https://hook.example/")
    changed = await client_for_authorization(site.url("/changed.json"))
    assert changed is not None
    await service.store(changed, alice.id)
    await update_client(changed.client_id, single_session=True)
    unused = await client_for_authorization(site.url("/unused.json"))
    assert unused is not None
    await service.store(unused, alice.id)
    await execute(
        "UPDATE client SET expires_at = now() - interval '1 second' WHERE origin = 'document' AND expires_at > now()"
    )
    await delete_expired_clients()
    await registry.load()
    assert await clients.find_client(unused.client_id) is None
    kept = await clients.find_client(changed.client_id)
    assert kept is not None
    assert (kept.single_session, kept.expires_at) == (True, None)
    await service.keep(kept)
    again = await client_for_authorization(for_staff)
    assert again is not None
    assert await refusal(again, mallory.id) is Reason.NOT_IN_GROUP
    assert registry.token_hook(other) is not None
    # Its next use keeps it, as that of any.
    await service.keep(again)
    row = await fetchrow("SELECT expires_at > now() AS kept FROM client WHERE client_id = $1", for_staff)
    assert row is not None
    assert row["kept"]


async def test_a_document_that_another_worker_stored_is_compared(site: ClientSite, path: str, alice: User) -> None:
    """This worker has read the newer document. The row, and not only the worker, has the newer one from then on."""
    url = site.url(path)
    site.headers.append("Cache-Control: max-age=86400")
    site.members["redirect_uris"] = ["https://old.example.com/cb"]
    old = await client_for_authorization(url)
    assert old is not None
    resolver.fresh.clear()
    site.members["redirect_uris"] = ["https://new.example.com/cb"]
    new = await client_for_authorization(url)
    assert new is not None
    read = resolver.fresh.get(url)
    assert read is not None
    # The other worker stores the old one, which it has read, when a user allows the client there.
    resolver.fresh.clear()
    await service.store(old, alice.id)
    resolver.fresh.put(url, read, 86400)
    await registry.load()
    for _ in range(2):
        found = await client_for_authorization(url)
        assert found is not None
        assert found.redirect_uris == new.redirect_uris
    stored = await clients.find_client(url)
    assert stored is not None
    assert stored.redirect_uris == new.redirect_uris
    assert site.requests == 3
