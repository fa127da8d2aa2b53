"""Row 59: what was proved is what is used, also when something else is kept between the proof and its use.

A request that read its flow before another one changed it is simulated by passing the old flow to
:func:`idp.signin.service.take_step`. So every interleaving of two requests is tried, and none depends on timing.
"""

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import msgspec
import pyotp
import pytest

from idp.accounts import email_change, email_proofs, invitations, recovery
from idp.accounts.email_proofs import Purpose
from idp.accounts.passwords import verify_password
from idp.accounts.repository.users import user_by_email, user_by_id
from idp.accounts.tables import User
from idp.errors import FlowError, TooManyRequestsError
from idp.federation.linking import ExternalIdentity, release_email
from idp.infra.db.engine import execute, fetchrow, transaction
from idp.infra.request_context import client_address
from idp.mail import outbox
from idp.oauth import consent
from idp.oauth.authorize import pending_request
from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.clients.registry import registry
from idp.oauth.credentials import credentials_changed
from idp.settings import settings
from idp.signin import flow as flows
from idp.signin import service, sessions
from idp.signin.browser import Browser, BrowserKey
from idp.signin.factors import passkeys, totp
from idp.signin.factors.repository import delete_factors
from idp.signin.flow import Flow, Registration
from idp.signin.sessions import SignedIn
from idp.signin.steps import StepRefusedError, registration, upstream
from idp.signin.transitions import CompletedStep, Step
from tests.conftest import MakeUser
from tests.support.authenticator import Authenticator
from tests.support.oauth import RelyingParty

pytestmark = pytest.mark.fault(1)

PASSWORDS = ("five odd fishes swim", "seven tired otters nap")
#: With a request of an app: its flow remains, so that an old request finds it.
APP = Browser(keeps_cookies=False)
PASSWORD = CompletedStep(Step.PASSWORD, ("pwd",))


@pytest.fixture(autouse=True)
def mails(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process may send mail, so that the steps that need one are offered."""
    monkeypatch.setenv("IDP_SMTP_URL", "smtp://127.0.0.1:9")
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


class Letter(NamedTuple):
    """A mail that was written."""

    recipient: str
    template: str
    context: dict[str, Any]


@pytest.fixture
def letters(db: str, monkeypatch: pytest.MonkeyPatch) -> list[Letter]:
    """Every mail, as it is written."""
    written: list[Letter] = []
    queue = outbox.queue

    async def note(to: str, template: str, **more: Any) -> None:
        written.append(Letter(to, template, more))
        await queue(to, template, **more)

    monkeypatch.setattr(outbox, "queue", note)
    return written


@pytest.fixture(autouse=True)
def far_from_others(db: str) -> Iterator[None]:
    """An address of our own, so that tries of other tests are not counted with these."""
    token = client_address.set(f"10.{secrets.randbelow(256)}.{secrets.randbelow(256)}.{secrets.randbelow(256)}")
    yield
    client_address.reset(token)


def _address() -> str:
    return f"{secrets.token_hex(6)}@example.com"


async def _nowhere(_user: User | None) -> str | None:
    """No directory has the password."""
    return None


async def _flow(**more: Any) -> Flow:
    return await flows.load_bound(await flows.start(BrowserKey.new(), "/", **more))


async def _now(flow: Flow) -> Flow:
    return await flows.load_bound(flow.binding)


async def _session(user: User) -> SignedIn:
    return (await sessions.start(Browser(), user.id, (PASSWORD,))).session


async def _take(flow: Flow, step: Step, **fields: str) -> None:
    """Take a step with a flow as it was read earlier, whether it succeeds or not."""
    with suppress(StepRefusedError, FlowError, TooManyRequestsError, service.StepNotAllowedError):
        await service.take_step(APP, flow, step, fields)


# Registration

CHANGES = {
    "the other address": {"username": "victim", "password": PASSWORDS[1]},
    "another password": {"username": "own", "password": PASSWORDS[1]},
    "the mail again": {"action": "send"},
    "from the start": {"action": "restart"},
}


@pytest.mark.parametrize("first", CHANGES)
@pytest.mark.parametrize("second", CHANGES)
@pytest.mark.parametrize("stale", [True, False], ids=["at once", "in turn"])
async def test_59_registration(letters: list[Letter], first: str, second: str, stale: bool) -> None:
    """A user who reads mail at one address gets an account for that address, with the data entered for it."""
    own, victim = _address(), _address()
    names = {"own": own, "victim": victim}
    start = await _flow()
    hashes: dict[str, str] = {}
    seen = [start]
    for fields in ({"username": "own", "password": PASSWORDS[0]}, CHANGES[first], CHANGES[second]):
        if "username" in fields:
            fields = fields | {"username": names[fields["username"]]}
        count = len(letters)
        await _take(seen[min(1, len(seen) - 1) if stale else -1], Step.REGISTRATION, **fields)
        seen.append(await _now(start))
        kept = seen[-1].registration
        for letter in letters[count:]:
            if letter.recipient == own and kept is not None:
                hashes[letter.context["code"]] = kept.password_hash
    for code, flow in product(hashes, seen):
        await execute("UPDATE email_proof SET tries = 0 WHERE flow_id = $1", start.binding.id)
        await _take(flow, Step.REGISTRATION, code=code)
        assert await user_by_email(victim) is None
        if (made := await user_by_email(own)) is not None:
            assert made.password_hash == hashes[code]
            return
    # Only another address entered afterwards ends the proof by those mails.
    assert "the other address" in (first, second) or "from the start" in (first, second)


async def test_59_a_code_belongs_to_the_data_of_its_mail(letters: list[Letter]) -> None:
    """A request that still has the first data cannot combine it with the code for the newer data."""
    own = _address()
    start = await _flow()
    await _take(start, Step.REGISTRATION, username=own, password=PASSWORDS[0], name="First")
    stale = await _now(start)
    await _take(stale, Step.REGISTRATION, username=own, password=PASSWORDS[1], name="Second")
    code = letters[-1].context["code"]
    with pytest.raises(FlowError):
        await service.take_step(APP, stale, Step.REGISTRATION, {"code": code})
    assert await user_by_email(own) is None
    await service.take_step(APP, await _now(start), Step.REGISTRATION, {"code": code})
    made = await user_by_email(own)
    assert made is not None
    assert (made.name, await verify_password(made.password_hash, PASSWORDS[1])) == ("Second", True)


async def test_59_a_mail_again_is_for_the_flow_as_it_is(letters: list[Letter]) -> None:
    own, victim = _address(), _address()
    start = await _flow()
    await _take(start, Step.REGISTRATION, username=own, password=PASSWORDS[0])
    stale = await _now(start)
    await _take(stale, Step.REGISTRATION, username=victim, password=PASSWORDS[0])
    count = len(letters)
    with pytest.raises(FlowError):
        await service.take_step(APP, stale, Step.REGISTRATION, {"action": "send"})
    assert len(letters) == count
    assert await email_proofs.pending_email(Purpose.REGISTRATION, start.binding.id) == victim


async def test_59_all_at_once(letters: list[Letter]) -> None:
    """Concurrent requests, as a browser sends them, in any order of execution."""
    own, victim = _address(), _address()
    start = await _flow()
    await _take(start, Step.REGISTRATION, username=own, password=PASSWORDS[0])
    flow = await _now(start)
    await asyncio.gather(
        *(_take(flow, Step.REGISTRATION, action="send") for _ in range(4)),
        *(_take(flow, Step.REGISTRATION, username=name, password=PASSWORDS[1]) for name in (own, victim)),
    )
    for letter in [letter for letter in letters if letter.recipient == own]:
        await _take(await _now(start), Step.REGISTRATION, code=letter.context.get("code", ""))
    assert await user_by_email(victim) is None


async def test_59_an_invitation_is_for_its_own_address() -> None:
    own, victim = _address(), _address()
    await invitations.invite(own)
    row = await fetchrow("SELECT id FROM invitation WHERE email = $1", own)
    assert row is not None
    kept = Registration(email=victim, invited_email=victim, invitation_id=row["id"], password_hash="x")
    with pytest.raises(StepRefusedError):
        async with transaction():
            await registration.complete(await _flow(registration=kept), kept)
    assert await user_by_email(victim) is None
    assert await invitations.consume(row["id"]) == own


# Every kind of proof by mail


@pytest.mark.parametrize("purpose", Purpose)
async def test_59_one_live_proof(alice: User, purpose: Purpose) -> None:
    """If several are requested concurrently, one can be used."""
    for flow_id in (f"flow-{secrets.token_hex(6)}", None):
        sent = await asyncio.gather(
            *(
                email_proofs.create(purpose, f"{number}@example.com", lifetime=60, flow_id=flow_id, user_id=alice.id)
                for number in range(8)
            )
        )
        found = [await email_proofs.verify_token(mail.token, purpose, flow_id) for mail in sent]
        (live,) = [proof for proof in found if proof is not None]
        taken = [await email_proofs.consume_token(mail.token, purpose, flow_id) for mail in sent]
        assert [proof for proof in taken if proof is not None] == [live]


async def test_59_a_proof_that_was_replaced_is_no_proof(alice: User, make_user: MakeUser) -> None:
    """The row is the same one, its content is not."""
    bob, flow_id = await make_user(), f"flow-{secrets.token_hex(6)}"
    mine = await email_proofs.create(
        Purpose.PASSWORD_RESET, alice.email, lifetime=60, flow_id=flow_id, user_id=alice.id
    )
    proved = await email_proofs.verify_code(Purpose.PASSWORD_RESET, flow_id, mine.code)
    assert proved is not None
    await recovery.send_reset(bob.email, flow_id, _nowhere)
    assert not await recovery.reset_password(proved, PASSWORDS[0], credentials_changed)
    for user in (alice, bob):
        again = await user_by_id(user.id)
        assert again is not None
        assert again.password_hash == user.password_hash


async def test_59_a_new_address(alice: User, letters: list[Letter]) -> None:
    session, own, victim = await _session(alice), _address(), _address()
    await email_change.send_confirmation(alice, own, session.id)
    code = letters[-1].context["code"]

    release = partial(release_email, delete_factors=delete_factors)

    async def confirm() -> None:
        async with transaction():
            await email_change.confirm(alice, session.id, credentials_changed, release, code=code)

    await asyncio.gather(email_change.send_confirmation(alice, victim, session.id), confirm())
    await confirm()
    again = await user_by_id(alice.id)
    assert again is not None
    assert again.email in (alice.email, own)


def _somebody(subject: str) -> ExternalIdentity:
    return ExternalIdentity("test", "https://elsewhere.example.com", subject, None, False, {})


async def test_59_the_identity_from_a_provider(letters: list[Letter], monkeypatch: pytest.MonkeyPatch) -> None:
    """The address is linked with the identity that the flow has now, not with that of when the request began."""
    monkeypatch.setattr(upstream, "available", lambda flow: [flow])
    own = _address()
    start = await _flow()
    first = await flows.store_identity(start, _somebody("first"))
    await _take(first, Step.UPSTREAM, action="send", username=own)
    code = letters[-1].context["code"]
    assert await flows.store_identity(first, _somebody("second"))
    with pytest.raises(FlowError):
        await service.take_step(APP, first, Step.UPSTREAM, {"code": code})
    assert await user_by_email(own) is None


# Factors


async def test_59_an_app_is_the_one_that_was_shown_here(alice: User) -> None:
    """A thief with the password opens the page first; the owner confirms a secret that only she has seen."""
    theirs = pyotp.TOTP((await totp.start_setup(alice.id, "their flow", alice.email)).secret)
    own = pyotp.TOTP((await totp.start_setup(alice.id, "her session", alice.email)).secret)
    assert own.secret != theirs.secret
    for holder in ("their flow", "her session"):
        assert not await totp.confirm(alice.id, holder, theirs.now())
    assert not await totp.confirm(alice.id, "their flow", own.now())
    assert await totp.confirm(alice.id, "her session", own.now())


async def test_59_a_passkey_of_a_session_that_has_ended(alice: User) -> None:
    session = await _session(alice)
    await sessions.store_challenge(session, b"c" * 32)
    await sessions.end(session, "x")
    assert await sessions.consume_challenge(session) is None


async def test_59_a_passkey_of_an_earlier_turn(alice: User) -> None:
    flow = await _flow(acr="2", required="2")
    options = passkeys.registration_options(alice, flow.challenge, [])
    later = msgspec.structs.replace(flow, turn=flow.turn + 1, user_id=alice.id)
    with pytest.raises(passkeys.InvalidPasskeyError):
        await passkeys.register(alice.id, "", later.challenge, Authenticator().create(options))


# Consent


def _asked(client: RelyingParty) -> AuthorizationRequest:
    return AuthorizationRequest(
        client.client_id, client.redirect_uri, "code", scope=("openid",), prompt=frozenset({"consent"})
    )


async def test_59_a_consent_is_of_who_gave_it(client: RelyingParty, alice: User, make_user: MakeUser) -> None:
    """Another user who signs in at this browser in the meantime is asked for consent."""
    await registry.load()
    known = registry.client(client.client_id)
    assert known is not None
    hers, his = await _session(alice), await _session(await make_user())
    first = msgspec.structs.replace(known, skip_consent=True)
    pending = await pending_request.store(BrowserKey.new(), _asked(client))
    await pending_request.mark_consented(pending, hers.user_id)
    pending = await pending_request.load_bound(pending.binding)
    assert not await consent.is_needed(pending.asked, first, hers, pending)
    assert await consent.is_needed(pending.asked, first, his, pending)


async def test_59_a_consent_is_to_the_shown_terms(client: RelyingParty, alice: User) -> None:
    """The form is invalid once the client has other terms."""
    await registry.load()
    known = registry.client(client.client_id)
    assert known is not None
    session = await _session(alice)
    changed = msgspec.structs.replace(known, tos_uri="https://rp.example.com/new")
    shown, later = (consent.form_purpose(_asked(client), each, session) for each in (known, changed))
    assert shown != later
