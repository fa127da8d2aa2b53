"""Lookups agree with their tables through the life of an account (docs/decisions/0050-lookups-and-lock-order.md)."""

import asyncio
import secrets
from uuid import UUID

import pytest

from idp import housekeeping, ids
from idp.accounts.import_files import Record
from idp.accounts.imports import import_users
from idp.accounts.profile import delete_user
from idp.accounts.repository import users
from idp.accounts.repository.users import ChangedEmail, change_email, user_by_email
from idp.accounts.tables import Origin, User
from idp.accounts.users import create_user
from idp.federation import linking
from idp.federation.linking import ExternalIdentity
from idp.federation.models import UpstreamSession
from idp.federation.repository import emails_of_identities, identities_of, owner_of_identity
from idp.infra.db.engine import execute, fetch, transaction
from idp.oauth.sign_out import sign_out_for_deletion
from idp.signin import devices, sessions
from idp.signin.browser import Browser
from idp.signin.factors import imports
from idp.signin.factors.passkeys import remove
from idp.signin.factors.repository import delete_factors
from idp.signin.repository import upstream_sessions
from idp.signin.transitions import CompletedStep, Step
from tests.conftest import MakeUser
from tests.support.lookups import LOOKUPS, differences
from tests.support.person import equip

ISSUER = "https://elsewhere.example.com"


def address() -> str:
    return f"{secrets.token_hex(6)}@example.com"


async def looked_up(user_id: UUID) -> dict[str, int]:
    """How many rows of each lookup lead to a user, after a check that every one is right."""
    assert str(user_id) not in {user for _, user in await differences()}
    return {name: len(await fetch(f"SELECT FROM {name} WHERE user_id = $1", user_id)) for name in LOOKUPS}


async def owns(email: str) -> UUID | None:
    user = await user_by_email(email)
    return user.id if user is not None else None


async def test_the_life_of_an_account(make_user: MakeUser) -> None:
    user, other, old, new = await make_user(), await make_user(), address(), address()
    assert await looked_up(user.id) == {
        "user_email": 1, "device_token": 0, "passkey_credential": 0, "upstream_sid": 0, "upstream_subject": 0
    }  # fmt: skip
    first = user.email
    for email, before in ((first, first), (old, first), (new, old), (first, new)):
        changed = await change_email(user.id, email)
        assert changed is not None
        assert changed.before == before
        assert (await looked_up(user.id))["user_email"] == 1
        assert [await owns(known) == user.id for known in (first, old, new)] == [
            email == known for known in (first, old, new)
        ]
    assert await change_email(user.id, other.email) is None
    assert (await owns(first), await owns(other.email)) == (user.id, other.id)
    await equip(user, "https://op.example.com", [Step.PASSKEY, Step.TOTP, Step.RECOVERY_CODE], two_step=True)
    identity = ExternalIdentity("test", ISSUER, ids.random_token(), None, False, {})
    async with transaction():
        assert await linking.link(user.id, identity)
        assert not await linking.link(other.id, identity)
        token = await devices.remember(Browser(), user.id, trust=False, second_step=False)
        # Another user of the browser, under a new cookie, and the first one again.
        token = await devices.remember(Browser(device_token=token), other.id, trust=False, second_step=False)
        token = await devices.remember(Browser(device_token=token), user.id, trust=False, second_step=False)
        started = await sessions.start(Browser(), user.id, (CompletedStep(Step.UPSTREAM, ("fed",)),))
        for _ in range(2):
            # The second time after a step-up with the same session there.
            there = UpstreamSession(ISSUER, identity.subject, "there")
            await upstream_sessions.insert(user.id, started.session.id, there)
    assert await owner_of_identity(ISSUER, identity.subject) == user.id
    assert await looked_up(user.id) == dict.fromkeys(LOOKUPS, 1)
    assert (await looked_up(other.id))["device_token"] == 1
    known = await devices.find_known(Browser(device_token=token))
    assert known is not None
    assert known.email == first
    assert await delete_user(user.id, sign_out_for_deletion)
    assert await looked_up(user.id) == dict.fromkeys(LOOKUPS, 0)
    assert (await owns(first), await owner_of_identity(ISSUER, identity.subject)) == (None, None)
    # The browser knows the remaining user by now.
    known = await devices.find_known(Browser(device_token=token))
    assert known is not None
    assert known.email == other.email


async def test_what_is_taken_off_an_account(make_user: MakeUser) -> None:
    user = await make_user()
    await equip(user, "https://op.example.com", [Step.PASSKEY], two_step=False)
    identity = ExternalIdentity("test", ISSUER, ids.random_token(), None, False, {})
    async with transaction():
        assert await linking.link(user.id, identity)
        await devices.remember(Browser(), user.id, trust=False, second_step=False)
    (linked,) = await identities_of(user.id)
    (passkey,) = await fetch("SELECT id FROM passkey WHERE user_id = $1", user.id)
    assert await linking.unlink(user.id, linked.id, by_mail=False, passkeys_of=fetch_nothing) == "test"
    assert await remove(user.id, passkey["id"])
    await execute("UPDATE device SET expires_at = now() - interval '2 days' WHERE user_id = $1", user.id)
    (table,) = [table for table in housekeeping.EXPIRING if table.name == "device"]
    while await fetch("SELECT FROM device WHERE user_id = $1", user.id):
        await housekeeping.clean(table)
    assert await looked_up(user.id) == dict.fromkeys(LOOKUPS, 0) | {"user_email": 1}


async def fetch_nothing(_user_id: UUID) -> list[object]:
    return []


async def test_an_address_that_is_released(make_user: MakeUser) -> None:
    user = await make_user()
    email = user.email
    await execute("UPDATE users SET origin = 'registration' WHERE id = $1", user.id)
    async with transaction():
        await linking.release_email(email, delete_factors)
        made = await create_user(email, None)
    assert (await owns(email), await owns(f"{user.id}@voided.invalid")) == (made.id, user.id)
    assert [(await looked_up(each))["user_email"] for each in (user.id, made.id)] == [1, 1]


async def test_imported_users() -> None:
    known, new, subject = address(), address(), ids.random_token()
    user = await create_user(known, None)
    records = [
        Record(1, {"email": known, "name": "Another"}),
        Record(2, {"email": new, "sub": str(ids.uuid7()), "identities": [{"issuer": ISSUER, "subject": subject}]}),
    ]
    for imported in (1, 0):
        (batch,) = [
            batch async for batch in import_users(iter(records), imports.store, emails_of_identities, imports.release)
        ]
        assert (batch.imported, batch.existing, batch.refused) == (imported, 2 - imported, [])
    assert await owns(known) == user.id
    owner = await owns(new)
    assert owner is not None
    assert await owner_of_identity(ISSUER, subject) == owner
    assert await looked_up(owner) == dict.fromkeys(LOOKUPS, 0) | {"user_email": 1, "upstream_subject": 1}
    # An id that exists gets no second address.
    assert await users.insert_users([_row(owner)], Origin.IMPORT) == set()
    assert (await looked_up(owner))["user_email"] == 1


def _row(user_id: UUID) -> dict[str, object]:
    verified = {"email_verified": False, "phone_number_verified": False, "two_step": False}
    return {"id": user_id, "email": address(), **verified}


async def test_of_many_who_change_to_an_address_at_once_one_gets_it(make_user: MakeUser) -> None:
    """And of those who register with it."""
    users, email = [await make_user() for _ in range(10)], address()
    created = [create_user(email, None) for _ in range(10)]
    changed = [change_email(user.id, email) for user in users]
    results = await asyncio.gather(*created, *changed, return_exceptions=True)
    assert sum(isinstance(result, User) for result in results[:10]) + sum(
        isinstance(result, ChangedEmail) for result in results[10:]
    ) == 1  # fmt: skip
    assert sum(result is None for result in results[10:]) >= 9
    assert not {str(user.id) for user in users} & {user for _, user in await differences()}


#: What makes a lookup disagree with its table, though no code does so. $1 user
WRONG = {
    "user_email": "DELETE FROM user_email WHERE user_id = $1",
    "device_token": "INSERT INTO device (user_id, id, token_hash, expires_at) VALUES ($1, $1, 'a', now())",
    "passkey_credential": "INSERT INTO passkey (user_id, id, credential_id, public_key, sign_count, transports, aaguid,"
    " backup_eligible, name) VALUES ($1, $1, 'a', 'a', 0, '{}', $1, true, 'a')",
    "upstream_sid": "WITH session AS (INSERT INTO session (user_id, id, token_hash, auth_time, steps, amr, acr,"
    " user_agent, ip_address, last_seen_at, expires_at)"
    " VALUES ($1, $1, 'a', now(), '{}', '{}', '1', '', '', now(), now()))"
    " INSERT INTO upstream_session (user_id, session_id, issuer, subject, sid) VALUES ($1, $1, 'a', 'a', 'a')",
    "upstream_subject": "INSERT INTO identity (user_id, id, issuer, subject, upstream_id)"
    " VALUES ($1, $1, 'a', 'a', 'a')",
}


@pytest.mark.parametrize("lookup", LOOKUPS)
async def test_a_lookup_that_is_wrong_would_be_seen(own_database: str, lookup: str) -> None:
    """The check runs at the end of all tests on the shared database."""
    user = await create_user("alice@example.com", None)
    await execute("ALTER TABLE users DROP CONSTRAINT users_id_email_fkey")
    await execute(WRONG[lookup], user.id)
    assert await differences() == [(lookup, str(user.id))]
