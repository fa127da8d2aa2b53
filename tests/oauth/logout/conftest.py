"""A separate database, whose sessions no server announces, and receivers on loopback."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from idp import clock, ids
from idp.accounts.tables import User
from idp.accounts.users import create_user
from idp.delivery import outbox
from idp.infra.db.engine import execute, fetch
from idp.keys import lifecycle, root_key
from idp.keys.key_set import key_set
from idp.oauth.authorize import repository as authorize
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.registry import registry
from idp.oauth.logout import announce, backchannel
from idp.settings import settings
from tests.support.isolated import isolated
from tests.support.postgres import Cluster
from tests.support.receivers import Receivers
from tests.support.rows import session_row


@pytest.fixture(scope="module")
async def database(db: str, cluster: Cluster, template: str) -> AsyncIterator[str]:
    """A database for the tests of a module, because all sessions of a database are announced."""
    async with isolated(await cluster.create_database(template)) as dsn:
        await root_key.unlock()
        for alg in ("RS256", "ES256"):
            await lifecycle.ensure_signing_key(alg)
        await key_set.load()
        yield dsn


@pytest.fixture
async def receivers(database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receivers]:
    await execute("TRUNCATE delivery, delivery_stream, session CASCADE")
    monkeypatch.setenv("IDP_OUTBOUND_ALLOW_HTTP", "true")
    monkeypatch.setenv("IDP_OUTBOUND_ALLOWED_HOSTS", "127.0.0.1/32")
    settings.cache_clear()
    async with Receivers() as receivers:
        yield receivers
    monkeypatch.undo()
    settings.cache_clear()


class Participation(NamedTuple):
    """A live session of a user, and the clients that took part in it."""

    user: User
    session_id: UUID
    clients: tuple[Client, ...]


Participate = Callable[..., Awaitable[Participation]]


@pytest.fixture
def participate(receivers: Receivers) -> Participate:
    """Start a session in which a client with a receiver takes part, and further ones with these metadata."""

    async def start(*metadata: dict[str, Any], user: User | None = None) -> Participation:
        user = user or await create_user(f"{ids.uuid7()}@example.com", None)
        session = session_row(user.id)
        await session.save()
        clients = []
        for values in metadata or ({},):
            client, _ = await register_client(
                **{
                    "client_name": "Shop",
                    "redirect_uris": ["https://shop.example/cb"],
                    "backchannel_logout_uri": receivers.url("shop"),
                    **values,
                }
            )
            clients.append(client)
            await take_part(user.id, session.id, client.client_id)
        await registry.load()
        return Participation(user, session.id, tuple(clients))

    return start


async def take_part(user_id: UUID, session_id: UUID, client_id: str) -> None:
    """Issue a code in a session."""
    code = authorize.NewCode(
        user_id=user_id, code_hash=ids.digest(ids.random_token()), pushed=None, family_id=ids.uuid7(),
        client_id=client_id, session_id=session_id, redirect_uri="https://shop.example/cb", code_challenge=None,
        nonce=None, scope="openid", resource="", claims=None, confirmation=None, authorization_details=None,
        offline_access=False, auth_time=clock.now(), auth_age=0, amr="pwd", acr="1", trace_id="", lifetime=60,
    )  # fmt: skip
    assert await authorize.insert_code(code)


async def send() -> None:
    """Announce what has ended, and serve every stream that is due once."""
    while await announce.announce():
        pass
    await outbox.deliver_due({backchannel.KIND: backchannel.HANDLER})


async def make_due() -> None:
    """End all waits and pauses."""
    await execute(
        "UPDATE delivery SET next_attempt_at = least(next_attempt_at, now()) WHERE next_attempt_at IS NOT NULL"
    )
    await execute("UPDATE delivery_stream SET free_at = now()")


async def queued() -> list[tuple[UUID, str]]:
    """Return the session and the receiver of each delivery."""
    rows = await fetch("SELECT session_id, stream FROM delivery ORDER BY id")
    return [(row["session_id"], row["stream"]) for row in rows]
