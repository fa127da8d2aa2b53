"""Users: creation, and changes in one transaction with everything that depends on them."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from idp import clock, ids
from idp.accounts import users
from idp.accounts.addresses import InvalidEmailError
from idp.accounts.passwords import InvalidPasswordError, verify_password
from idp.accounts.repository.users import user_by_email, user_by_id
from idp.accounts.tables import User
from idp.accounts.users import EmailTakenError, create_user
from idp.audit.tables import AuditEvent
from idp.signin.tables import Session
from tests.conftest import MakeUser
from tests.support.oauth import PASSWORD
from tests.support.rows import session_row

pytestmark = pytest.mark.usefixtures("db")


async def nobody_is_signed_in(user_id: UUID, reason: str) -> None:
    """For users without sessions."""


async def end_sessions(user_id: UUID, reason: str) -> None:
    await Session.update({Session.ended_at: clock.now()}).where(Session.user_id == user_id)


async def session_of(user: User) -> Session:
    session = session_row(user.id)
    await session.save()
    return session


async def events_of(user: User) -> list[str]:
    """Return the events of a user, without the ends of sessions: a server that runs beside announces them."""
    rows = await AuditEvent.select(AuditEvent.event).where(AuditEvent.user_id == user.id).order_by(AuditEvent.id)
    return [row["event"] for row in rows if row["event"] != "session_ended"]


async def stored(user: User) -> User:
    found = await user_by_id(user.id)
    assert found is not None
    return found


@pytest.mark.fault(1)
async def test_a_verification_of_another_spelling_does_not_count() -> None:
    name = ids.uuid7_text()
    plain = await create_user(f" Plain-{name}@Example.com", None, email_verified=True)
    wide = await create_user(f"\uff56ictim-{name}@example.com", None, email_verified=True)
    assert (plain.email, plain.email_verified) == (f"plain-{name}@example.com", True)
    assert (wide.email, wide.email_verified) == (f"victim-{name}@example.com", False)
    assert not (await stored(wide)).email_verified


async def test_a_new_user_is_found_by_every_spelling_of_the_address() -> None:
    user = await create_user(" Carol@EXAMPLE.com", PASSWORD, name="Carol", address={"country": "FR", "planet": "x"})
    found = await user_by_email("carol@example.com")
    assert found is not None
    assert (found.id, found.name, found.email_verified) == (user.id, "Carol", False)
    assert found.address == '{"country": "FR"}'
    assert found.password_hash != PASSWORD
    assert await verify_password(found.password_hash, PASSWORD)
    assert await events_of(user) == ["user_created"]


async def test_a_user_without_password_cannot_be_guessed() -> None:
    user = await create_user(f"{ids.random_token()[:8]}@example.com", None)
    assert (await stored(user)).password_hash is None
    assert not await verify_password(None, "")


@pytest.mark.parametrize("email", ["Dan@example.com", "DAN@EXAMPLE.COM", "\uff44an@example.com"])
async def test_an_address_is_taken_in_whatever_spelling(email: str) -> None:
    if await user_by_email("dan@example.com") is None:
        await create_user("dan@example.com", None)
    with pytest.raises(EmailTakenError):
        await create_user(email, PASSWORD)


async def test_one_of_several_concurrent_users_gets_the_address() -> None:
    email = f"{ids.random_token()[:8]}@example.com"
    results = await asyncio.gather(*(create_user(email, None) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(result, User) for result in results) == 1
    assert sum(isinstance(result, EmailTakenError) for result in results) == 19


async def test_bad_input_makes_no_user() -> None:
    with pytest.raises(InvalidEmailError):
        await create_user("nobody", PASSWORD)
    with pytest.raises(InvalidPasswordError):
        await create_user("short-password@example.com", "short")
    with pytest.raises(TypeError):
        await create_user("short-password@example.com", None, is_admin=True)
    assert await user_by_email("short-password@example.com") is None


async def test_a_new_password_replaces_the_old_one_and_ends_sessions(make_user: MakeUser) -> None:
    user = await make_user()
    session = await session_of(user)
    assert await users.set_password(user.id, "another password", end_sessions)
    password_hash = (await stored(user)).password_hash
    assert await verify_password(password_hash, "another password")
    assert not await verify_password(password_hash, PASSWORD)
    assert await Session.exists().where((Session.id == session.id) & Session.ended_at.is_not_null())
    assert await events_of(user) == ["user_created", "password_changed"]


async def test_no_password_for_an_unknown_user() -> None:
    assert not await users.set_password(ids.uuid7(), PASSWORD, nobody_is_signed_in)


async def test_disabling_counts_once(make_user: MakeUser) -> None:
    user = await make_user()
    results = await asyncio.gather(*(users.disable_user(user.id, end_sessions) for _ in range(5)))
    assert sorted(results) == [False] * 4 + [True]
    assert (await stored(user)).disabled_at is not None
    assert await users.enable_user(user.id)
    assert not await users.enable_user(user.id)
    assert (await stored(user)).disabled_at is None
    assert await events_of(user) == ["user_created", "user_disabled", "user_enabled"]


@pytest.mark.parametrize(
    "change",
    [
        lambda user_id, sign_out: users.disable_user(user_id, sign_out),
        lambda user_id, sign_out: users.set_password(user_id, "another password", sign_out),
    ],
    ids=["disable", "set_password"],
)
async def test_all_or_nothing(change: Callable[[UUID, users.SignOut], Awaitable[bool]], make_user: MakeUser) -> None:
    """A sign-out that fails leaves the user as they were."""
    user = await make_user()
    session = await session_of(user)

    async def fail(user_id: UUID, reason: str) -> None:
        await end_sessions(user_id, reason)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await change(user.id, fail)
    after = await stored(user)
    assert after.disabled_at is None
    assert after.password_hash == user.password_hash
    assert await Session.exists().where((Session.id == session.id) & Session.ended_at.is_null())
    assert await events_of(user) == ["user_created"]
