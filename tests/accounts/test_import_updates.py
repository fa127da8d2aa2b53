"""Imports that follow the other system: users whom nobody has changed here are updated, others never."""

import secrets
from base64 import b32decode
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import bcrypt
import pyotp
import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP

from idp import clock
from idp.accounts.import_files import Record
from idp.accounts.import_updates import TAKEN, UNVERIFIED
from idp.accounts.imports import Batch, import_users
from idp.accounts.passwords import hash_password, verify_password
from idp.accounts.repository import users
from idp.accounts.tables import User
from idp.admin import roles
from idp.audit.tables import AuditEvent
from idp.federation import linking
from idp.federation.repository import emails_of_identities, identities_of
from idp.infra.db.engine import execute, fetch, transaction
from idp.oauth.credentials import credentials_changed
from idp.signin.factors import service as factors
from idp.signin.factors import totp
from idp.signin.factors.imports import release, store
from idp.signin.factors.repository import find_totp
from idp.signin.tables import Session
from tests.support.rows import session_row

SECRET = "JBSWY3DPEHPK3PXP"


@pytest.fixture
def domain(db: str) -> str:
    return f"{secrets.token_hex(6)}.example.com"


async def run(*records: dict[str, Any], dry_run: bool = False) -> Batch:
    given = [Record(number, values) for number, values in enumerate(records, 1)]
    (batch,) = [
        one
        async for one in import_users(
            given, store, emails_of_identities, release, dry_run=dry_run, update=credentials_changed
        )
    ]
    return batch


def hashed(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


async def found(sub: str) -> User:
    user = await users.user_by_id(UUID(sub))
    assert user is not None
    return user


async def test_what_changed_there_changes_here(domain: str) -> None:
    ada = {"sub": str(uuid4()), "email": f"ada@{domain}", "name": "Ada", "password_hash": hashed("one")}
    bob = {"sub": str(uuid4()), "email": f"bob@{domain}"}
    assert await run(ada, bob) == Batch(2, 0, [], 0)
    assert await run(ada, bob) == Batch(0, 2, [], 0)
    changed = ada | {"name": "Ada L", "password_hash": hashed("two"), "email": f"lovelace@{domain}", "disabled": True}
    assert await run(changed, bob, dry_run=True) == Batch(0, 2, [], 1)
    assert (await found(ada["sub"])).name == "Ada"
    assert await run(changed, bob) == Batch(0, 2, [], 1)
    user = await found(ada["sub"])
    assert (user.name, user.email, user.disabled_at is not None) == ("Ada L", f"lovelace@{domain}", True)
    assert await verify_password(user.password_hash, "two")
    # The address that she had is free.
    assert await users.ids_of_emails([f"ada@{domain}", user.email]) == {user.email: user.id}
    assert await run(changed, bob) == Batch(0, 2, [], 0)
    assert await run(changed | {"disabled": False}, bob) == Batch(0, 2, [], 1)
    assert (await found(ada["sub"])).disabled_at is None


async def test_an_app_and_identities_are_added_once(domain: str) -> None:
    ada = {"sub": str(uuid4()), "email": f"ada@{domain}"}
    assert await run(ada) == Batch(1, 0, [], 0)
    identity = {"issuer": f"https://{domain}", "subject": "1"}
    more = ada | {"totp_secret": SECRET, "identities": [identity]}
    assert await run(more) == Batch(0, 1, [], 1)
    assert await run(more) == Batch(0, 1, [], 0)
    user = await found(ada["sub"])
    assert user.two_step
    assert await find_totp(user.id) is not None
    assert [(one.issuer, one.subject) for one in await identities_of(user.id)] == [(f"https://{domain}", "1")]


async def test_whoever_was_changed_here_is_left_alone(domain: str) -> None:
    by_admin, by_user = ({"sub": str(uuid4()), "email": f"{name}@{domain}", "name": "Old"} for name in ("a", "b"))
    await run(by_admin, by_user)
    await users.disable_user(UUID(by_admin["sub"]), "admin", admin=True)
    await users.set_password_hash(UUID(by_user["sub"]), await hash_password("a new password of hers"))
    new = [one | {"name": "New"} for one in (by_admin, by_user)]
    assert await run(*new) == Batch(0, 2, [], 0)
    assert {(await found(one["sub"])).name for one in new} == {"Old"}
    assert (await found(by_admin["sub"])).disabled_at is not None


async def test_a_hash_that_a_sign_in_replaced_stays(domain: str) -> None:
    """It is one of the same password, with our costs."""
    ada = {"sub": str(uuid4()), "email": f"ada@{domain}", "password_hash": hashed("one")}
    await run(ada)
    user = await found(ada["sub"])
    ours = await hash_password("a password of at least fifteen")
    await users.upgrade_password_hash(user.id, user.password_hash, ours)
    assert await run(ada) == Batch(0, 1, [], 0)
    assert (await found(ada["sub"])).password_hash == ours


async def test_an_address_of_somebody_else_is_refused(domain: str) -> None:
    """Whoever has the address here has another sub, which applications would not know."""
    await run({"sub": str(uuid4()), "email": f"ada@{domain}"})
    batch = await run({"sub": str(uuid4()), "email": f"ada@{domain}"})
    assert [(one.line, one.reason) for one in batch.refused] == [(1, TAKEN)]
    bob = {"sub": str(uuid4()), "email": f"bob@{domain}"}
    await run(bob)
    (refused,) = (await run(bob | {"email": f"ada@{domain}"})).refused
    assert refused.reason == TAKEN


async def test_without_a_sub_the_address_decides(domain: str) -> None:
    ada = {"email": f"ada@{domain}", "email_verified": True}
    await run(ada | {"name": "Ada"})
    assert await run(ada | {"name": "Ada L"}) == Batch(0, 1, [], 1)


@pytest.mark.parametrize(("here", "there"), [(True, False), (False, True), (False, False)])
async def test_an_address_that_is_not_verified_does_not_decide(domain: str, here: bool, there: bool) -> None:
    """Anybody can register with an address of somebody else at the other system."""
    ada = {"email": f"ada@{domain}", "password_hash": hashed("one")}
    await run(ada | {"email_verified": here})
    for dry_run in (True, False):
        batch = await run(ada | {"password_hash": hashed("two"), "email_verified": there}, dry_run=dry_run)
        assert [(one.line, one.reason) for one in batch.refused] == [(1, UNVERIFIED)]
    user = await users.user_by_email(ada["email"])
    assert user is not None
    assert await verify_password(user.password_hash, "one")


async def test_a_verified_address_stays_verified(domain: str) -> None:
    """A sign-in with a code by mail has verified it here."""
    ada = {"sub": str(uuid4()), "email": f"ada@{domain}", "email_verified": False}
    await run(ada)
    await users.confirm_email(UUID(ada["sub"]), ada["email"])
    assert await run(ada) == Batch(0, 1, [], 0)
    assert (await found(ada["sub"])).email_verified


async def test_users_of_another_origin_are_left_alone(domain: str) -> None:
    ada = {"sub": str(uuid4()), "email": f"ada@{domain}", "name": "Ada"}
    await run(ada)
    await execute("UPDATE users SET origin = 'scim' WHERE id = $1", UUID(ada["sub"]))
    assert await run(ada | {"name": "Other"}) == Batch(0, 1, [], 0)


async def test_administrators_are_left_alone(domain: str) -> None:
    """Whoever can edit the export could take over the server."""
    ada = {"sub": str(uuid4()), "email": f"ada@{domain}", "password_hash": hashed("one")}
    await run(ada)
    await roles.grant(UUID(ada["sub"]), roles.Role.SUPPORT)
    identity = {"issuer": f"https://{domain}", "subject": "1"}
    stolen = ada | {"email": f"eve@{domain}", "password_hash": hashed("two"), "totp_secret": SECRET, "disabled": True}
    for dry_run in (True, False):
        assert await run(stolen | {"identities": [identity]}, dry_run=dry_run) == Batch(0, 1, [], 0, 1)
    user = await found(ada["sub"])
    assert (user.email, user.disabled_at, user.two_step) == (ada["email"], None, False)
    assert await verify_password(user.password_hash, "one")
    assert await identities_of(user.id) == []


async def test_an_app_of_a_user_does_not_stop_an_import(domain: str) -> None:
    """One that is pending is replaced, and one that is confirmed stays."""
    ada, bob, eve = ({"sub": str(uuid4()), "email": f"{name}@{domain}"} for name in ("ada", "bob", "eve"))
    await run(ada, bob, eve)
    await totp.start_setup(UUID(ada["sub"]), "session", ada["email"])
    other, secret = pyotp.random_base32(), pyotp.random_base32()
    await totp.import_secret(UUID(bob["sub"]), other)
    assert await run(*(one | {"totp_secret": secret} for one in (ada, bob, eve))) == Batch(0, 3, [], 2)
    for one, held in ((ada, secret), (bob, other), (eve, secret)):
        user = await found(one["sub"])
        assert await totp.verify(user.id, pyotp.TOTP(held).now())
        assert user.two_step == (one is not bob)


async def test_an_app_with_a_secret_of_80_bits_is_accepted(domain: str) -> None:
    """Google Authenticator, and systems that followed it, made such secrets."""
    ada = {"sub": str(uuid4()), "email": f"ada@{domain}", "totp_secret": SECRET}
    await run(ada)
    code = HOTP(b32decode(SECRET), 6, SHA1(), enforce_key_length=False).generate(clock.timestamp() // totp.STEP)
    assert await totp.verify(UUID(ada["sub"]), code.decode())


async def events_of(user_id: UUID) -> list[str]:
    rows = await AuditEvent.select(AuditEvent.event).where(AuditEvent.user_id == user_id).order_by(AuditEvent.id)
    return [row["event"] for row in rows if row["event"] != "session_ended"]


@pytest.mark.parametrize(
    ("change", "event"),
    [
        ({"disabled": True}, "user_disabled"),
        ({"email": "new@"}, "email_changed"),
        ({"password_hash": hashed("two")}, "password_changed"),
        ({"name": "Ada L"}, None),
    ],
)
async def test_a_lockout_ends_sessions_and_is_recorded(domain: str, change: dict[str, Any], event: str | None) -> None:
    ada = {"sub": str(uuid4()), "email": f"ada@{domain}", "password_hash": hashed("one")}
    await run(ada)
    user_id = UUID(ada["sub"])
    session = session_row(user_id)
    await session.save()
    if "email" in change:
        change = {"email": f"new@{domain}"}
    for dry_run in (True, False, False):
        await run(ada | change, dry_run=dry_run)
    (row,) = await Session.select(Session.ended_at).where(Session.id == session.id)
    assert (row["ended_at"] is not None) == (event is not None)
    assert await events_of(user_id) == [event] * (event is not None)
    mails = await fetch("SELECT FROM mail WHERE recipient = $1 AND template = 'email_changed'", ada["email"])
    assert len(mails) == (event == "email_changed")
    if event == "user_disabled":
        await run(ada)
        assert await events_of(user_id) == ["user_disabled", "user_enabled"]


async def _disable_app(user_id: UUID) -> None:
    assert await totp.disable(user_id)


async def _remove_factors(user_id: UUID) -> None:
    assert await factors.remove_all(user_id, credentials_changed)


async def _unlink(user_id: UUID) -> None:
    async def passkeys(user_id: UUID) -> list[object]:
        return []

    (identity,) = await identities_of(user_id)
    async with transaction():
        assert await linking.unlink(user_id, identity.id, by_mail=True, passkeys_of=passkeys)


@pytest.mark.parametrize("remove", [_disable_app, _remove_factors, _unlink])
async def test_what_was_removed_here_is_not_restored(domain: str, remove: Callable[[UUID], Awaitable[None]]) -> None:
    """It may have been the way in of somebody else."""
    identity = {"issuer": f"https://{domain}", "subject": "1"}
    ada = {"sub": str(uuid4()), "email": f"ada@{domain}", "email_verified": True, "totp_secret": SECRET}
    ada |= {"identities": [identity]}
    await run(ada)
    user_id = UUID(ada["sub"])
    await remove(user_id)
    left = await find_totp(user_id), len(await identities_of(user_id))
    assert await run(ada | {"name": "Ada L"}) == Batch(0, 1, [], 0)
    assert (await find_totp(user_id), len(await identities_of(user_id))) == left
    assert left[0] is None or left[1] != 1
