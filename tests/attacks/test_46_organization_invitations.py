"""Row 46: an invitation into an organization is accepted once, by the person with its address, and by nobody else."""

import asyncio
import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from idp.accounts.repository.users import user_by_email
from idp.accounts.tables import User
from idp.accounts.users import create_user
from idp.directory import effective, invitations, organizations
from idp.directory.models import Invitation, InvitationState, Organization
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.signin.transitions import Step
from tests.conftest import MakeUser
from tests.federation.conftest import Add, add, leave, provider
from tests.support.browser import Browser, Page, as_page, open_browser
from tests.support.directory import a_role_in, an_organization
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.person import equip
from tests.support.server import Server
from tests.support.stand_ins import OpenIDProvider

__all__ = ["add", "provider"]

NEW_PASSWORD = "seven tired otters nap"
PATH = invitations.PATH


@pytest.fixture
async def acme(db: str) -> Organization:
    return await an_organization()


@pytest.fixture
def newcomer() -> str:
    return f"{secrets.token_hex(6)}@example.com"


async def _link(acme: Organization, email: str, **offered: object) -> str:
    """Invite an address. The path of the link."""
    parts = urlsplit((await invitations.invite(acme.id, email, **offered)).link)  # type: ignore[arg-type]
    return f"{parts.path}?{parts.query}"


async def _state(acme: Organization, email: str) -> Invitation:
    row = await fetchrow(
        "SELECT id FROM organization_invitation WHERE organization_id = $1 AND email = $2", acme.id, email
    )
    assert row is not None
    return await invitations.found(acme.id, row["id"])


async def _is_member(acme: Organization, email: str) -> bool:
    user = await user_by_email(email)
    return user is not None and await effective.is_member_of(user.id, acme.id)


async def _press(browser: Browser, link: str, button: str) -> Page:
    return as_page(await browser.submit(as_page(await browser.get(link)), button))


async def _sign_in(browser: Browser, user: User) -> None:
    await browser.sign_in(as_page(await browser.get("/login")), user.email, PASSWORD)
    assert browser.signed_in


async def test_46_a_newcomer_registers_and_is_a_member(browser: Browser, acme: Organization, newcomer: str) -> None:
    role = await a_role_in(acme)
    page = await _press(browser, await _link(acme, newcomer, role_ids=[role.id]), "invitation-continue")
    page = as_page(await browser.submit(page, "register-submit", password=NEW_PASSWORD, name="Ada"))
    assert page.path == "/account/organizations"
    assert "You are now a member." in page.text
    assert role.name in page.text
    user = await user_by_email(newcomer)
    assert user is not None
    assert (user.email_verified, user.origin) == (True, "invitation")
    state = await _state(acme, newcomer)
    assert (state.state, state.user_id) == (InvitationState.ACCEPTED, user.id)


async def test_46_a_person_with_an_account_signs_in_first(
    browser: Browser, acme: Organization, make_user: MakeUser
) -> None:
    ada = await make_user(email_verified=True)
    page = await _press(browser, await _link(acme, ada.email), "invitation-continue")
    page = as_page(await browser.sign_in(page, ada.email, PASSWORD))
    assert page.path == PATH
    assert not await _is_member(acme, ada.email)
    page = as_page(await browser.submit(page, "invitation-accept"))
    assert "You are now a member." in page.text
    assert await _is_member(acme, ada.email)


@pytest.mark.parametrize("mode", ["invitation", "closed"])
async def test_46_it_opens_a_closed_registration_for_its_address_only(
    start_server: Callable[..., Server], mailbox: Mailbox, acme: Organization, newcomer: str, mode: str
) -> None:
    server = await asyncio.to_thread(start_server, IDP_REGISTRATION=mode, IDP_SMTP_URL=mailbox.url)
    link, other = await _link(acme, newcomer), f"other-{newcomer}"
    async with open_browser(server.issuer) as browser:
        page = await _press(browser, link, "invitation-continue")
        answer = as_page(await browser.submit(page, "register-submit", username=other, password=NEW_PASSWORD))
        assert (answer.status, browser.signed_in, await user_by_email(other)) == (400, False, None)
        await browser.submit(answer, "register-submit", username=newcomer.upper(), password=NEW_PASSWORD)
        assert browser.signed_in
    assert await _is_member(acme, newcomer)


async def test_46_another_account_cannot_accept(browser: Browser, acme: Organization, make_user: MakeUser) -> None:
    """The page offers to use the other one, and the form without its button does not help."""
    mallory, ada = await make_user(email_verified=True), await make_user(email_verified=True)
    link = await _link(acme, ada.email)
    await _sign_in(browser, mallory)
    page = as_page(await browser.get(link))
    assert "invitation-accept" not in page.ids
    assert mallory.email in page.text
    form = next(form for form in page.forms if "invitation-switch" in form.buttons)
    refused = as_page(await browser.post(PATH, form.fields | {"action": "accept"}))
    assert "invitation-switch" in refused.ids
    path = f"/account/organizations/invitations/{(await _state(acme, ada.email)).id}"
    account = next(form for form in as_page(await browser.get("/account")).forms if "profile-save" in form.buttons)
    token = {"csrf_token": account.fields["csrf_token"]}
    for action in ("accept", "decline"):
        assert as_page(await browser.post(path, token | {"action": action})).status == 400
    assert (await _state(acme, ada.email)).state is InvitationState.OPEN
    for user in (mallory, ada):
        assert not await _is_member(acme, user.email)
    page = as_page(await browser.submit(page, "invitation-switch"))
    page = as_page(await browser.sign_in(page, ada.email, PASSWORD))
    await browser.submit(page, "invitation-accept")
    assert await _is_member(acme, ada.email)


async def test_46_the_sign_in_of_another_account_leads_back(
    browser: Browser, acme: Organization, make_user: MakeUser
) -> None:
    mallory, ada = await make_user(email_verified=True), await make_user(email_verified=True)
    page = await _press(browser, await _link(acme, ada.email), "invitation-continue")
    page = as_page(await browser.sign_in(page, mallory.email, PASSWORD))
    assert page.path == PATH
    assert "invitation-switch" in page.ids
    # The page of another browser's flow says nothing.
    async with open_browser(browser.issuer) as other:
        assert as_page(await other.get(page.url)).status == 400
        await _sign_in(other, ada)
        assert as_page(await other.get(page.url)).status == 400


async def test_46_an_account_that_a_stranger_prepared_is_not_the_member(
    browser: Browser, client: RelyingParty, acme: Organization, make_user: MakeUser
) -> None:
    """It loses the address and all credentials; the owner of the address gets a new account."""
    squatted = await make_user(name="Mallory")
    await execute("UPDATE users SET origin = 'registration' WHERE id = $1", squatted.id)
    link = await _link(acme, squatted.email)
    async with open_browser(browser.issuer) as attacker:
        tokens = await client.tokens(attacker, squatted.email)
        await equip(squatted, browser.issuer, [Step.TOTP, Step.PASSKEY, Step.RECOVERY_CODE], two_step=False)
        assert "invitations/" not in as_page(await attacker.get("/account/organizations")).text
        # Even with the link: the browser of the owner may be signed in to the account of the attacker.
        shown = as_page(await attacker.get(link))
        assert "invitation-accept" not in shown.ids
        form = next(f for f in shown.forms if "invitation-decline" in f.buttons)
        await attacker.post(PATH, form.fields | {"action": "accept"})
        assert not await _is_member(acme, squatted.email)

        page = await _press(browser, link, "invitation-continue")
        assert "register-submit" in page.ids
        await browser.submit(page, "register-submit", password=NEW_PASSWORD)
        assert browser.signed_in
        assert as_page(await attacker.get("/account")).path.startswith("/login/")
        assert (await client.refresh(tokens["refresh_token"])).status_code == 400
    user = await user_by_email(squatted.email)
    assert user is not None
    assert user.id != squatted.id
    assert await effective.is_member_of(user.id, acme.id)
    assert not await effective.is_member_of(squatted.id, acme.id)
    for table in ("passkey", "totp", "recovery_code", "identity"):
        assert await fetch(f"SELECT 1 FROM {table} WHERE user_id = $1", squatted.id) == []
    row = await fetchrow("SELECT disabled_at FROM users WHERE id = $1", squatted.id)
    assert row is not None
    assert row["disabled_at"] is not None


async def test_46_an_upstream_creates_the_account_only_for_the_invited_address(
    start_server: Callable[..., Server], provider: OpenIDProvider, add: Add, acme: Organization, newcomer: str
) -> None:
    """On a server where nobody registers."""
    server = await asyncio.to_thread(start_server, IDP_REGISTRATION="closed")
    upstream = await add(server, issuer=provider.issuer, trust_email=True)
    link = await _link(acme, newcomer)
    for email, comes in ((f"other-{newcomer}", False), (newcomer, True)):
        provider.person.email, provider.person.sub = email, email
        async with open_browser(server.issuer) as browser:
            page = await _press(browser, link, "invitation-continue")
            page = Page(await browser.client.get(f"{server.issuer}{page.path.removesuffix('/registration')}"))
            await browser.get(await leave(browser, page, upstream))
            assert browser.signed_in is comes
        assert await _is_member(acme, email) is comes


async def test_46_one_of_several_accepts(browser: Browser, acme: Organization, newcomer: str) -> None:
    """Any number of concurrent requests with the link make one account."""
    link, count = await _link(acme, newcomer), 20
    ready = asyncio.Barrier(count)

    async def one() -> bool:
        async with open_browser(browser.issuer) as own:
            page = await _press(own, link, "invitation-continue")
            await ready.wait()
            answer = as_page(await own.submit(page, "register-submit", password=NEW_PASSWORD))
            assert answer.status in (200, 400, 503)
            return own.signed_in

    assert (await asyncio.gather(*(one() for _ in range(count)))).count(True) == 1
    assert len(await fetch("SELECT FROM users WHERE email = $1", newcomer)) == 1
    assert await _is_member(acme, newcomer)


async def test_46_used_once(browser: Browser, acme: Organization, newcomer: str) -> None:
    link = await _link(acme, newcomer)
    async with open_browser(browser.issuer) as early:
        held = await _press(early, link, "invitation-continue")
        page = await _press(browser, link, "invitation-continue")
        await browser.submit(page, "register-submit", password=NEW_PASSWORD)
        await execute("DELETE FROM users WHERE email = $1", newcomer)
        assert as_page(await early.submit(held, "register-submit", password=NEW_PASSWORD)).status == 400
    assert as_page(await browser.get(link)).status == 400
    assert await user_by_email(newcomer) is None


async def _expire(acme: Organization, email: str) -> None:
    await execute("UPDATE organization_invitation SET expires_at = now() WHERE email = $1", email)


async def _revoke(acme: Organization, email: str) -> None:
    await invitations.revoke(acme.id, (await _state(acme, email)).id)


async def _resend(acme: Organization, email: str) -> None:
    await invitations.resend(acme.id, (await _state(acme, email)).id)


async def _disable(acme: Organization, email: str) -> None:
    await organizations.disable(acme.id)


async def _delete(acme: Organization, email: str) -> None:
    await organizations.delete(acme.id)


@pytest.mark.parametrize(
    ("end", "says"),
    [
        (_expire, "has expired"), (_revoke, "was revoked"), (_resend, "newer email"), (_disable, "switched off"),
        (_delete, "no longer works"),
    ],
)  # fmt: skip
async def test_46_not_once_it_has_ended(
    browser: Browser, acme: Organization, newcomer: str, end: Callable[[Organization, str], object], says: str
) -> None:
    """Neither the link nor the forms behind it, each with a page that says why."""
    link = await _link(acme, newcomer)
    async with open_browser(browser.issuer) as early:
        held = await _press(early, link, "invitation-continue")
        shown = as_page(await browser.get(link))
        await end(acme, newcomer)  # type: ignore[misc]
        assert as_page(await early.submit(held, "register-submit", password=NEW_PASSWORD)).status == 400
    for answer in (
        await browser.get(link),
        *[await browser.submit(shown, f"invitation-{it}") for it in ("continue", "decline")],
    ):
        page = as_page(answer)
        assert page.status == 400
        assert says in page.text
    assert await user_by_email(newcomer) is None


async def test_46_an_account_made_meanwhile_is_not_changed(browser: Browser, acme: Organization, newcomer: str) -> None:
    page = await _press(browser, await _link(acme, newcomer), "invitation-continue")
    user = await create_user(newcomer, None, name="First")
    answer = as_page(await browser.submit(page, "register-submit", password=NEW_PASSWORD))
    assert (answer.status, browser.signed_in) == (400, False)
    assert not await effective.is_member_of(user.id, acme.id)
    assert (await _state(acme, newcomer)).state is InvitationState.OPEN


async def test_46_tokens_cannot_be_made_up(browser: Browser, acme: Organization, newcomer: str) -> None:
    link = await _link(acme, newcomer)
    (row,) = await fetch("SELECT id, token_hash FROM organization_invitation WHERE email = $1", newcomer)
    token = link.partition("=")[2]
    made_up = [
        "", "x", "%", "*", newcomer, str(row["id"]), row["token_hash"].hex(), token[:-1], f"{token}x", token.swapcase(),
        secrets.token_urlsafe(32), "' OR '1'='1", "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    ]  # fmt: skip
    for text in made_up:
        for answer in (
            await browser.get(PATH, token=text),
            await browser.get(PATH, kept=text),
            *[await browser.post(PATH, {"token": text, "action": it}) for it in ("accept", "decline", "continue")],
        ):
            assert as_page(answer).status == 400
    for answer in (await browser.get(f"{PATH}?token=%00"), await browser.get(f"{PATH}?kept=%00")):
        assert as_page(answer).status == 400
    assert (await _state(acme, newcomer)).state is InvitationState.OPEN


async def test_46_one_of_the_other_kind_is_none(browser: Browser, acme: Organization, newcomer: str) -> None:
    link = await _link(acme, newcomer)
    assert as_page(await browser.get("/invitation", token=link.partition("=")[2])).status == 400


async def test_46_declining_needs_no_account(browser: Browser, acme: Organization, newcomer: str) -> None:
    link = await _link(acme, newcomer)
    page = await _press(browser, link, "invitation-decline")
    assert "invitation-declined" in page.ids
    assert (await _state(acme, newcomer)).state is InvitationState.DECLINED
    assert "was declined" in as_page(await browser.get(link)).text


async def test_46_accepting_needs_the_form_of_the_session(
    browser: Browser, acme: Organization, make_user: MakeUser
) -> None:
    """Nobody joins by the form that another browser was shown, or after the sign-out."""
    ada = await make_user(email_verified=True)
    link = await _link(acme, ada.email)
    async with open_browser(browser.issuer) as other:
        for each in (browser, other):
            await _sign_in(each, ada)
        theirs = next(f for f in as_page(await other.get(link)).forms if "invitation-accept" in f.buttons)
        made_up = theirs.fields | {"action": "accept"}
        for fields in (made_up, made_up | {"csrf_token": "x"}, {"token": theirs.fields["token"], "action": "accept"}):
            assert "form has expired" in as_page(await browser.post(PATH, fields)).text
        await other.submit(as_page(await other.get("/logout")), "logout-confirm")
        assert as_page(await other.post(PATH, made_up)).path.startswith("/login/")
    assert not await _is_member(acme, ada.email)


async def test_46_the_account_lists_what_is_open(browser: Browser, acme: Organization, make_user: MakeUser) -> None:
    ada, other = await make_user(email_verified=True), await an_organization(name="Other")
    await _sign_in(browser, ada)
    assert "/account/organizations" not in as_page(await browser.get("/account")).text
    for each in (acme, other):
        await _link(each, ada.email)
    assert "/account/organizations" in as_page(await browser.get("/account")).text
    page = as_page(await browser.get("/account/organizations"))
    page = as_page(await browser.submit(page, f"decline-{other.slug}"))
    assert "declined" in page.text
    page = as_page(await browser.submit(page, f"join-{acme.slug}"))
    assert "You are now a member." in page.text
    assert f"join-{acme.slug}" not in page.ids
    assert await _is_member(acme, ada.email)
    assert not await _is_member(other, ada.email)
