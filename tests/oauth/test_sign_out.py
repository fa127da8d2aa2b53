"""Revoking what was issued to a user, in a session, or to a client."""

import asyncio
from datetime import timedelta
from typing import NamedTuple
from uuid import UUID

import asyncpg
import pytest

from idp import clock, ids
from idp.accounts.tables import User
from idp.accounts.users import disable_user
from idp.infra.db.engine import fetch, fetchrow, transaction
from idp.oauth.clients.registration import disable_client, register_client
from idp.oauth.sign_out import revoke_tokens_of_client, sign_out_user
from idp.oauth.tables import AuthorizationCode, TokenFamily
from tests.conftest import MakeUser
from tests.support.rows import session_row


class Access(NamedTuple):
    """The session, code and tokens of one sign-in."""

    session_id: UUID
    code_hash: bytes
    families: tuple[UUID, UUID]


async def give_access(user: User, client_id: str) -> Access:
    """A session with a code not redeemed yet and two families, one of them with offline access."""
    now = clock.now()
    proof = {"auth_time": now, "amr": ["pwd"], "acr": "1", "expires_at": now + timedelta(hours=1)}
    session = session_row(user.id, expires_at=proof["expires_at"])
    await session.save()
    grant = {"client_id": client_id, "user_id": user.id, "session_id": session.id, "scope": "openid", "resource": []}
    code = AuthorizationCode(
        family_id=ids.uuid7(),
        code_hash=ids.digest(ids.random_token()),
        redirect_uri="https://shop.example/cb",
        offline_access=False,
        trace_id="",
        **grant,
        **proof,
    )
    families = [TokenFamily(offline_access=offline, **grant, **proof) for offline in (False, True)]
    await AuthorizationCode.insert(code)
    await TokenFamily.insert(*families)
    return Access(session.id, code.code_hash, (families[0].id, families[1].id))


async def new_client() -> str:
    client, _ = await register_client(client_name="Shop", redirect_uris=["https://shop.example/cb"])
    return client.client_id


async def ended(access: Access) -> tuple[bool, bool, list[str | None]]:
    """Return whether the session and the code have ended, and why each family was revoked."""
    session = await fetchrow("SELECT ended_at IS NOT NULL AS over FROM session WHERE id = $1", access.session_id)
    code = await fetchrow(
        "SELECT consumed_at IS NOT NULL AS over FROM authorization_code WHERE code_hash = $1", access.code_hash
    )
    families = await fetch("SELECT revoked_reason FROM token_family WHERE id = ANY($1)", access.families)
    assert session is not None
    assert code is not None
    return session["over"], code["over"], [row["revoked_reason"] for row in families]


NOTHING = (False, False, [None, None])


async def test_everything_of_a_user_and_nothing_of_others(make_user: MakeUser) -> None:
    client_id = await new_client()
    alice, bob = await make_user(), await make_user()
    hers, also_hers, his = [await give_access(user, client_id) for user in (alice, alice, bob)]
    assert await disable_user(alice.id, sign_out_user)
    for access in (hers, also_hers):
        assert await ended(access) == (True, True, ["user_disabled"] * 2)
    assert await ended(his) == NOTHING


async def test_the_first_reason_stays(make_user: MakeUser) -> None:
    alice, client_id = await make_user(), await new_client()
    access = await give_access(alice, client_id)
    await sign_out_user(alice.id, "password_changed")
    await sign_out_user(alice.id, "user_disabled")
    assert await ended(access) == (True, True, ["password_changed"] * 2)


async def test_everything_of_a_client_and_nothing_of_others(make_user: MakeUser) -> None:
    """The users stay signed in: only tokens of the client are revoked."""
    alice, shop, forum = await make_user(), await new_client(), await new_client()
    at_shop, at_forum = await give_access(alice, shop), await give_access(alice, forum)
    assert await disable_client(shop)
    assert await ended(at_shop) == (False, True, ["client_disabled"] * 2)
    assert await ended(at_forum) == NOTHING


async def wait_for_a_lock(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Wait until a statement of another connection waits for a lock of ours."""
    for _ in range(500):
        # Not from the transaction's own snapshot of the statistics.
        await connection.execute("SELECT pg_stat_clear_snapshot()")
        if await connection.fetchval(
            "SELECT count(*) FROM pg_locks AS l, pg_stat_activity AS a WHERE NOT l.granted AND a.pid = l.pid"
            " AND a.datname = current_database() AND pg_backend_pid() = ANY(pg_blocking_pids(l.pid))"
        ):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("Nothing waits.")


@pytest.mark.parametrize("of", ["user", "client"])
async def test_a_code_redeemed_at_the_same_moment_gives_nothing_that_lasts(
    of: str, make_user: MakeUser, db: str
) -> None:
    """The redemption has consumed its code and made a family, and commits while the sign-out waits for it."""
    alice, client_id = await make_user(), await new_client()
    access = await give_access(alice, client_id)
    redeemed = ids.uuid7()

    async def sign_out() -> None:
        async with transaction():
            if of == "user":
                await sign_out_user(alice.id, "password_changed")
            else:
                await revoke_tokens_of_client(client_id, "client_disabled")

    other = await asyncpg.connect(db)
    try:
        redemption = other.transaction()
        await redemption.start()
        await other.execute("UPDATE authorization_code SET consumed_at = now() WHERE code_hash = $1", access.code_hash)
        await other.execute(
            "INSERT INTO token_family (id, client_id, user_id, session_id, scope, resource, offline_access,"
            " auth_time, amr, acr, created_at, expires_at)"
            " SELECT $2, client_id, user_id, session_id, scope, resource, true, auth_time, amr, acr, now(), expires_at"
            " FROM authorization_code WHERE code_hash = $1",
            access.code_hash,
            redeemed,
        )
        signing_out = asyncio.create_task(sign_out())
        await wait_for_a_lock(other)
        await redemption.commit()
        await signing_out
    finally:
        await other.close()
    family = await TokenFamily.objects().get(TokenFamily.id == redeemed)
    assert family is not None
    assert family.revoked_at is not None
