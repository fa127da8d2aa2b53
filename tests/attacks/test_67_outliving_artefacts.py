"""Row 67: nothing that was given or begun before a change of credentials works after it.

Every table that holds something of a person, and every purpose of a mail, is listed here. A new one fails until it is
either ended by :func:`idp.oauth.credentials.credentials_changed` or said to be none.
"""

import ast
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pyotp
import pytest

import idp
from idp import ids
from idp.accounts import email_proofs
from idp.accounts.email_proofs import Purpose
from idp.accounts.tables import User
from idp.accounts.users import disable_user, set_password
from idp.admin.incidents import contain_user
from idp.federation import authorization_requests
from idp.federation.repository import identities_of, insert_identity
from idp.infra.db.engine import execute, fetchrow, transaction
from idp.oauth.credentials import credentials_changed
from idp.piccolo_app import APP_CONFIG
from idp.settings import DAY
from idp.signin import flow as flows
from idp.signin import sessions
from idp.signin.browser import Browser as AnyBrowser
from idp.signin.browser import BrowserKey
from idp.signin.csrf import form_token
from idp.signin.factors import service as factors
from idp.signin.factors import totp
from idp.signin.repository.devices import DeviceUse, insert_device
from idp.signin.transitions import CompletedStep, Step
from tests.conftest import MakeClient
from tests.support.browser import Browser, as_page, open_browser
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.person import equip
from tests.support.server import Server

pytestmark = pytest.mark.fault(10)

NEW_PASSWORD = "seven tired otters nap"

#: Tables with rows of a user, and the effect of a credential change on them.
TABLES = {
    "users": "the person",
    "email_proof": "ended",
    "session": "ended, with the challenge of a new passkey",
    "signin_flow": "ended",
    "device": "ended: trusted no more, but known",
    "totp": "ended while pending; else a credential itself",
    "authorization_code": "ended",
    "device_authorization": "ended where it is approved; else of no user yet",
    "backchannel_request": "ended once approved; else asks for a sign-in, and gives nothing by itself",
    "token_family": "ended",
    "refresh_token": "ended with its family",
    "upstream_attempt": "ended where it links; else of a flow",
    "passkey": "a credential itself",
    "recovery_code": "a credential itself",
    "identity": "a credential itself",
    "user_email": "a lookup, which goes with the address",
    "device_token": "a lookup, which goes with the device",
    "passkey_credential": "a lookup, which goes with the passkey",
    "upstream_subject": "a lookup, which goes with the identity",
    "consent": "what the person allows; gives nothing by itself",
    "authorization_request": "asks for a sign-in; gives nothing by itself",
    "scim_member": "what another system calls the member; gives nothing by itself",
    "scim_user": "what another system calls the person; gives nothing by itself",
    "provisioned_user": "what an application calls the person; gives nothing by itself",
    "provisioned_member": "what was sent to an application; gives nothing by itself",
    "provisioning_drift": "what a check of an application found; gives nothing by itself",
    "admin_role": "what the person may do, once signed in",
    "group_member": "what the person may do, once signed in",
    "organization_member": "what the person may do, once signed in",
    "organization_invitation": "for the person with an address; gives nothing without a sign-in",
    "user_role": "what the person may do, once signed in",
    "user_attribute": "what is known of the person",
    "user_picture": "what is known of the person",
    "audit_event": "what happened",
    "trace": "what happened",
    "session_client": "who is told that the session has ended; gives nothing by itself",
    "bulk_item": "on whom an administrator acts; gives nothing by itself",
    "delivery": "a message to another system; gives nothing by itself",
    "asserted_family": "which issuer a family is of; ended with the family",
    "event_stream_subject": "whom a receiver is told of; gives nothing by itself",
    "upstream_session": "which session a provider can end; gives nothing by itself",
    "upstream_sid": "a lookup, which goes with the session",
}
PURPOSES = {
    Purpose.SIGN_IN: "ended",
    Purpose.UPSTREAM: "ended",
    Purpose.EMAIL_CHANGE: "ended",
    Purpose.PASSWORD_RESET: "ended",
    Purpose.UNLOCK: "ended",
    Purpose.NEW_BROWSER: "kept: the change may be that of an intruder; it only signs out",
    Purpose.REGISTRATION: "of no user yet",
}
#: How a row of each table refers to its user.
OF_PERSON = {"user_id", "session_id", "family_id", "consented_by"}


def test_67_every_table_is_listed() -> None:
    found = {"users"}
    for table in APP_CONFIG.table_classes:
        if OF_PERSON & {column._meta.name for column in table._meta.columns}:
            found.add(table._meta.tablename)
    assert found == TABLES.keys()


def test_67_every_purpose_is_listed() -> None:
    assert PURPOSES.keys() == set(Purpose)


def test_67_every_change_uses_the_one_function() -> None:
    """Only signing out, at which no credential changes, ends less."""
    package = Path(idp.__file__).parent
    users = set()
    for path in package.rglob("*.py"):
        names = {getattr(node, "id", "") for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))}
        if "sign_out_user" in names:
            users.add(str(path.relative_to(package)))
    assert users == {"oauth/credentials.py", "oauth/sign_out.py", "selfservice/devices.py"}


class Artefact(NamedTuple):
    """Something that was issued or started. ``works`` calls the code that would accept it."""

    name: str
    works: Callable[[], Awaitable[object]]


async def _mails(user: User) -> list[Artefact]:
    found = []
    for purpose in (purpose for purpose, what in PURPOSES.items() if what == "ended"):
        for flow_id in (f"flow-{secrets.token_hex(6)}", None):
            sent = await email_proofs.create(purpose, user.email, lifetime=600, flow_id=flow_id, user_id=user.id)
            found.append(
                Artefact(f"{purpose} {flow_id}", lambda t=sent.token, p=purpose: email_proofs.verify_token(t, p))
            )
    return found


async def _session(user: User) -> Artefact:
    session = (await sessions.start(AnyBrowser(), user.id, (CompletedStep(Step.PASSWORD, ("pwd",)),))).session
    await sessions.store_challenge(session, b"c" * 32)
    return Artefact("challenge of a passkey", lambda: sessions.consume_challenge(session))


async def _link(user: User) -> Artefact:
    row = await fetchrow("SELECT id FROM session WHERE user_id = $1 ORDER BY id LIMIT 1", user.id)
    assert row is not None
    attempt = await authorization_requests.create("test", session_id=row["id"])
    return Artefact("link of an identity", lambda: authorization_requests.find(attempt.state, "test"))


async def _flow(user: User) -> Artefact:
    flow = await flows.load_bound(await flows.start(BrowserKey.new(), "/"))
    assert await flows.note_step(flow, user.id, CompletedStep(Step.PASSWORD, ("pwd",)), finish=False)
    row = "SELECT 1 FROM signin_flow WHERE id = $1 AND finished_at IS NULL"
    return Artefact("a half done sign-in", lambda: fetchrow(row, flow.binding.id))


async def _device(user: User) -> Artefact:
    token = secrets.token_bytes(32)
    await insert_device(ids.uuid7(), DeviceUse(user.id, token, DAY, second_step=False, lifetime=DAY))
    row = "SELECT 1 FROM device WHERE token_hash = $1 AND trusted_until > now()"
    return Artefact("a trusted browser", lambda: fetchrow(row, token))


async def _app(user: User) -> list[Artefact]:
    """A secret that was shown and not confirmed, for a user without an app."""
    try:
        setup = await totp.start_setup(user.id, "thief", user.email)
    except totp.AlreadyEnabledError:
        return []
    return [Artefact("pending app", lambda: totp.confirm(user.id, "thief", pyotp.TOTP(setup.secret).now()))]


class Victim(NamedTuple):
    """A user with everything issued and started, and her own browser."""

    user: User
    browser: Browser
    artefacts: list[Artefact]
    elsewhere: Browser
    party: RelyingParty
    code: str
    tokens: dict[str, Any]

    def form(self) -> dict[str, str]:
        """Return the fields that every form of the account pages has."""
        session = next(value for name, value in self.browser.cookies.items() if name.endswith("session"))
        return {"csrf_token": form_token(session, "account")}

    async def nothing_works(self) -> None:
        assert [artefact.name for artefact in self.artefacts if await artefact.works()] == []
        assert "login-submit" in as_page(await self.elsewhere.get("/account")).ids
        assert (await self.party.redeem(self.code)).json()["error"] == "invalid_grant"
        assert (await self.party.refresh(self.tokens["refresh_token"])).json()["error"] == "invalid_grant"
        assert (await self.party.userinfo(self.tokens["access_token"])).status_code == 401


async def _prepared(user: User, browser: Browser, elsewhere: Browser, party: RelyingParty) -> Victim:
    tokens = await party.tokens(elsewhere, user.email)
    code = await party.sign_in(elsewhere, user.email)
    await browser.sign_in(as_page(await browser.get("/login")), user.email, PASSWORD)
    assert browser.signed_in
    artefacts = [
        *await _mails(user), await _session(user), await _link(user), await _flow(user), await _device(user),
        *await _app(user),
    ]  # fmt: skip
    return Victim(user, browser, artefacts, elsewhere, party, code, tokens)


# Actions of the user on the pages. The user's own browser stays signed in.


async def _new_password(victim: Victim, mailbox: Mailbox) -> None:
    page = as_page(await victim.browser.get("/account/password"))
    await victim.browser.submit(page, "password-save", password=NEW_PASSWORD)


async def _new_address(victim: Victim, mailbox: Mailbox) -> None:
    new = f"{secrets.token_hex(6)}@example.com"
    page = as_page(await victim.browser.get("/account/email"))
    page = as_page(await victim.browser.submit(page, "email-send", email=new))
    await victim.browser.submit(page, "code-submit", code=(await mailbox.next(new)).code)


async def _remove_passkey(victim: Victim, mailbox: Mailbox) -> None:
    row = await fetchrow("SELECT id FROM passkey WHERE user_id = $1", victim.user.id)
    assert row is not None
    await victim.browser.post(f"/account/passkeys/{row['id']}", victim.form() | {"action": "remove"})


async def _remove_app(victim: Victim, mailbox: Mailbox) -> None:
    await victim.browser.post("/account/totp/remove", victim.form())


async def _part(victim: Victim, mailbox: Mailbox) -> None:
    subject = ids.random_token()
    assert await insert_identity(victim.user.id, "https://elsewhere.example.com", subject, upstream_id="test")
    (identity,) = [one for one in await identities_of(victim.user.id) if one.subject == subject]
    await victim.browser.post(f"/account/upstreams/{identity.id}/unlink", victim.form())


BY_PERSON = {
    "password": (_new_password, ()),
    "address": (_new_address, ()),
    "passkey": (_remove_passkey, (Step.PASSKEY,)),
    "app": (_remove_app, (Step.TOTP,)),
    "identity": (_part, ()),
}


@pytest.fixture
async def party(make_client: MakeClient) -> RelyingParty:
    return await make_client(scope="openid email offline_access")


@pytest.mark.parametrize("change", BY_PERSON)
async def test_67_a_change_by_the_person(
    server: Server, browser: Browser, party: RelyingParty, alice: User, mailbox: Mailbox, change: str
) -> None:
    act, has = BY_PERSON[change]
    await equip(alice, server.issuer, has, two_step=False)
    async with open_browser(server.issuer) as elsewhere:
        victim = await _prepared(alice, browser, elsewhere, party)
        # A factor is removed by who has proved it.
        await execute(
            "UPDATE session SET acr = '2', steps = array_append(steps, 'totp otp') WHERE user_id = $1", alice.id
        )
        await act(victim, mailbox)
        await victim.nothing_works()
        assert "login-submit" not in as_page(await browser.get("/account")).ids


# Actions of others. No session survives.


async def _set_password(user: User) -> None:
    assert await set_password(user.id, NEW_PASSWORD, credentials_changed)


async def _disable(user: User) -> None:
    assert await disable_user(user.id, credentials_changed)
    await execute("UPDATE users SET disabled_at = NULL WHERE id = $1", user.id)


async def _contain(user: User) -> None:
    await contain_user(user.id, disable=False)


async def _reset_factors(user: User) -> None:
    assert await factors.remove_all(user.id, credentials_changed)


BY_OTHERS: dict[str, tuple[Callable[[User], Awaitable[None]], tuple[Step, ...]]] = {
    "password": (_set_password, ()),
    "disabled": (_disable, ()),
    "contained": (_contain, ()),
    "factors": (_reset_factors, (Step.PASSKEY, Step.TOTP, Step.RECOVERY_CODE)),
}


@pytest.mark.parametrize("change", BY_OTHERS)
async def test_67_a_change_by_others(
    server: Server, browser: Browser, party: RelyingParty, alice: User, change: str
) -> None:
    act, has = BY_OTHERS[change]
    await equip(alice, server.issuer, has, two_step=False)
    async with open_browser(server.issuer) as elsewhere:
        victim = await _prepared(alice, browser, elsewhere, party)
        await act(alice)
        await victim.nothing_works()
        assert "login-submit" in as_page(await browser.get("/account")).ids


async def test_67_a_reset(server: Server, browser: Browser, party: RelyingParty, alice: User, mailbox: Mailbox) -> None:
    async with open_browser(server.issuer) as elsewhere, open_browser(server.issuer) as phone:
        page = as_page(await phone.get(f"{as_page(await phone.get('/login')).path}/forgot"))
        await phone.submit(page, "forgot-submit", username=alice.email)
        letter = await mailbox.next(alice.email)
        victim = await _prepared(alice, browser, elsewhere, party)
        await phone.submit(as_page(await phone.get(letter.path)), "reset-submit", password=NEW_PASSWORD)
        await victim.nothing_works()
        assert "login-submit" in as_page(await browser.get("/account")).ids


async def test_67_an_intruder_cannot_end_the_way_to_sign_them_out(alice: User) -> None:
    sent = await email_proofs.create(Purpose.NEW_BROWSER, alice.email, lifetime=600, flow_id="x", user_id=alice.id)
    await _set_password(alice)
    assert await email_proofs.verify_token(sent.token, Purpose.NEW_BROWSER) is not None


async def test_67_it_is_all_or_nothing(alice: User) -> None:
    sent = await email_proofs.create(Purpose.SIGN_IN, alice.email, lifetime=600, flow_id="x", user_id=alice.id)

    async def fail() -> None:
        async with transaction():
            await credentials_changed(alice.id, "password_changed")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await email_proofs.verify_token(sent.token, Purpose.SIGN_IN) is not None
