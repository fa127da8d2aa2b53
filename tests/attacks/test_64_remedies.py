"""Row 64: what is done against a squatter's account is done to no other. Nobody who comes from elsewhere takes away an
account that the operator made.
"""

import secrets

import pytest

from idp.accounts import imports, registration
from idp.accounts.import_files import Record
from idp.accounts.repository.users import owner_of_email, user_by_email
from idp.accounts.tables import Origin, User
from idp.admin.roles import Role, grant
from idp.federation import linking
from idp.federation.repository import emails_of_identities
from idp.infra.db.engine import execute, fetch, fetchrow, transaction
from idp.signin.factors.imports import release, store
from idp.signin.factors.repository import delete_factors
from tests.attacks.test_21_voided import Come, _by_mail, _vouched_for
from tests.conftest import MakeUser
from tests.federation.conftest import Add, add, provider, sign_in
from tests.support.browser import Browser, as_page, open_browser
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD
from tests.support.stand_ins import OpenIDProvider

__all__ = ["add", "provider"]
pytestmark = pytest.mark.fault(6)

#: Users whose accounts no stranger can have created.
OTHERS = [Origin.OPERATOR, Origin.IMPORT, Origin.INVITATION]
STRANGERS = [Origin.REGISTRATION, Origin.UPSTREAM]


async def _account(make_user: MakeUser, origin: Origin, role: Role | None = None) -> User:
    """One whose address was never proved."""
    user = await make_user(email=f"{secrets.token_hex(6)}@example.com", name="Olive Owner")
    await execute("UPDATE users SET origin = $2 WHERE id = $1", user.id, origin)
    if role is not None:
        await grant(user.id, role)
    return user


async def _state(user: User) -> list[object]:
    rows = await fetch("SELECT email, disabled_at, password_hash FROM users WHERE id = $1", user.id)
    sessions = await fetch("SELECT id FROM session WHERE user_id = $1 AND ended_at IS NULL ORDER BY id", user.id)
    return [*map(tuple, rows), *map(tuple, sessions)]


@pytest.mark.parametrize("origin", OTHERS)
async def test_64_an_account_that_no_stranger_made_stays(
    browser: Browser, provider: OpenIDProvider, add: Add, make_user: MakeUser, mailbox: Mailbox, origin: Origin
) -> None:
    """Its owner signs in once as usual, and the identity is linked."""
    user = await _account(make_user, origin)
    async with open_browser(browser.issuer) as elsewhere:
        await elsewhere.sign_in(as_page(await elsewhere.get("/login")), user.email, PASSWORD)
        before = await _state(user)
        upstream = await add(issuer=provider.issuer, trust_email=True)
        provider.person.email = user.email
        page = as_page(await sign_in(browser, upstream))
        assert not browser.signed_in
        assert await _state(user) == before
        assert as_page(await elsewhere.get("/account")).path == "/account"
    await browser.sign_in(page, user.email, PASSWORD)
    assert browser.signed_in
    row = await fetchrow("SELECT user_id FROM identity WHERE subject = $1", provider.person.sub)
    assert row is not None
    assert row["user_id"] == user.id


async def test_64_proved_by_mail(
    browser: Browser, provider: OpenIDProvider, add: Add, make_user: MakeUser, mailbox: Mailbox
) -> None:
    """The mail is the proof, and the address is verified afterwards."""
    user = await _account(make_user, Origin.OPERATOR)
    await _by_mail(browser, provider, add, mailbox, user.email)
    assert browser.signed_in
    row = await fetchrow(
        "SELECT u.email_verified, u.disabled_at, i.user_id FROM users AS u JOIN identity AS i ON i.user_id = u.id"
        " WHERE u.id = $1 AND i.subject = $2", user.id, provider.person.sub,
    )  # fmt: skip
    assert row is not None
    assert (row["email_verified"], row["disabled_at"], row["user_id"]) == (True, None, user.id)


@pytest.mark.parametrize("come", [_vouched_for, _by_mail], ids=["vouched for", "by mail"])
@pytest.mark.parametrize("origin", STRANGERS)
async def test_64_a_user_with_a_role_is_not_voided(
    browser: Browser, provider: OpenIDProvider, add: Add, make_user: MakeUser, mailbox: Mailbox,
    come: Come, origin: Origin,
) -> None:  # fmt: skip
    """However the account came about."""
    user = await _account(make_user, origin, Role.OWNER)
    before = await _state(user)
    await come(browser, provider, add, mailbox, user.email)
    assert (await _state(user))[0] == before[0]
    assert await fetch("SELECT 1 FROM admin_role WHERE user_id = $1", user.id)


@pytest.mark.parametrize("origin", [*OTHERS, *STRANGERS])
@pytest.mark.parametrize("verified", [True, False])
@pytest.mark.parametrize("role", [None, Role.OWNER])
async def test_64_accounts_that_can_be_voided(
    make_user: MakeUser, origin: Origin, verified: bool, role: Role | None
) -> None:
    """Exactly the unverified accounts that a stranger could have created."""
    user = await _account(make_user, origin, role)
    await execute("UPDATE users SET email_verified = $2 WHERE id = $1", user.id, verified)
    claimed = origin in STRANGERS and not verified and role is None
    assert (await owner_of_email(user.email) is None) is claimed
    async with transaction():
        await linking.release_email(user.email, delete_factors)
    row = await fetchrow("SELECT email, disabled_at, password_hash FROM users WHERE id = $1", user.id)
    assert row is not None
    assert (row["email"] != user.email, row["disabled_at"] is not None, row["password_hash"] is None) == (claimed,) * 3


async def test_64_every_account_has_an_origin(make_user: MakeUser) -> None:
    assert (await make_user()).origin == Origin.OPERATOR
    for invited, origin in ((True, Origin.INVITATION), (False, Origin.REGISTRATION)):
        email = f"{secrets.token_hex(6)}@example.com"
        async with transaction():
            await registration.create_account(email, None, None, invited=invited)
        made = await user_by_email(email)
        assert made is not None
        assert made.origin == origin
    email = f"{secrets.token_hex(6)}@example.com"
    async with transaction():
        await linking.create_user(
            linking.ExternalIdentity("up", "https://x.example", secrets.token_hex(4), email, True, {})
        )
    found = await user_by_email(email)
    assert found is not None
    assert found.origin == Origin.UPSTREAM
    email = f"{secrets.token_hex(6)}@example.com"
    assert [
        batch.imported
        async for batch in imports.import_users([Record(1, {"email": email})], store, emails_of_identities, release)
    ] == [1]
    imported = await user_by_email(email)
    assert imported is not None
    assert imported.origin == Origin.IMPORT
