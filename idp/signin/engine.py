"""Taking a step of a sign-in: the one way forward, for the pages and for the JSON interface."""

from typing import Any, NamedTuple

from litestar import Request
from litestar.datastructures import Cookie

from idp.accounts.passwords import check_load
from idp.audit import strangers
from idp.audit.events import record
from idp.db.engine import fetchrow, transaction
from idp.errors import TooManyTries
from idp.settings import settings
from idp.signin import devices, limits, machine, sessions
from idp.signin import flow as flows
from idp.signin.factors import Factors, factors_of
from idp.signin.flow import Flow
from idp.signin.machine import FIRST, State, Step
from idp.signin.sessions import SignedIn
from idp.signin.steps import (
    Fields,
    Proof,
    Refused,
    Way,
    email_code,
    enrol,
    passkey,
    password,
    recovery_code,
    registration,
    totp,
    upstream,
)

AnyRequest = Request[Any, Any, Any]

WAYS: dict[Step, Way] = {
    Step.PASSWORD: password,
    Step.EMAIL_CODE: email_code,
    Step.PASSKEY: passkey,
    Step.UPSTREAM: upstream,
    Step.REGISTRATION: registration,
    Step.TOTP: totp,
    Step.RECOVERY_CODE: recovery_code,
    Step.ENROL: enrol,
}

# Whoever changes what the proof stands on waits until the step is noted, and then ends what it led to.
_STILL_ALLOWED = "SELECT email FROM users WHERE id = $1 AND disabled_at IS NULL FOR SHARE"


class NotNow(Exception):
    """This step may not be taken now; another one may."""


class Taken(NamedTuple):
    """What a step led to: a session and the cookies to set, or a flow that goes on."""

    flow: Flow
    session: SignedIn | None = None
    cookies: tuple[Cookie, ...] = ()


async def state_of(browser: AnyRequest | None, flow: Flow) -> State:
    """Where a flow stands.

    Args:
        browser: a request of the browser that may be trusted; None for an app.

    Raises:
        PageError: its user may not sign in any more.
    """
    factors: Factors | None = Factors(frozenset(), False)
    trusted = False
    if flow.user_id is not None:
        factors = await factors_of(flow.user_id)
        trusted = browser is not None and await devices.trusted(browser, flow.user_id)
    if factors is None:
        raise flows.finished()
    return State(flow.done, _offered(flow), factors.has, factors.two_step and not trusted, flow.acr, flow.insist)


def _offered(flow: Flow) -> frozenset[Step]:
    config = settings()
    left_out = set() if config.email_code_sign_in else {Step.EMAIL_CODE}
    invited = flow.registration is not None and flow.registration.invitation_id is not None
    if config.registration == "closed" or (config.registration == "invitation" and not invited):
        left_out.add(Step.REGISTRATION)
    if not upstream.available(flow):
        left_out.add(Step.UPSTREAM)
    return frozenset(FIRST) - left_out


async def take(request: AnyRequest, flow: Flow, step: Step, fields: Fields, *, browser: bool = True) -> Taken:
    """Take a step with what was entered.

    Args:
        browser: whether a browser asks, whose cookies say who was there before. An app gets a session of its own.

    Raises:
        NotNow: the machine does not allow it here.
        Refused: it was not right. The flow stands where it stood.
        PageError: the flow went on or ended meanwhile.
        TooManyTries: from this address, or at this account.
        Overloaded: too many passwords are being hashed. It counts as no try.
    """
    if step is Step.PASSWORD:
        check_load()
    if step not in machine.allowed(await state_of(request if browser else None, flow)):
        raise NotNow
    way, refused = WAYS[step], None
    try:
        await limits.step()
        checked = await way.check(flow, fields, request if browser else None)
        async with transaction():
            try:
                proof = await way.take(flow, checked)
            except Refused as error:
                # Not out of the transaction: the try is counted there.
                refused = error
            else:
                return await _go_on(request, flow, proof, fields, browser)
    except Refused as error:
        refused = error
    except TooManyTries:
        detail = {"reason": f"{step} too often"}
        await record(
            "sign_in", outcome="denied", user_id=flow.user_id, detail=detail, stranger=strangers.subject(flow.user_id)
        )
        raise
    await _note_refusal(step, refused)
    raise refused


async def _note_refusal(step: Step, refused: Refused) -> None:
    await record(
        "sign_in",
        outcome="failure",
        user_id=refused.user_id,
        detail={"reason": f"{step} refused"},
        stranger=strangers.subject(refused.user_id),
    )


async def _go_on(request: AnyRequest, flow: Flow, proof: Proof | None, fields: Fields, browser: bool) -> Taken:
    """Note the step, and end the flow with a session if nothing is missing any more."""
    if proof is None:
        return Taken(await flows.load_bound(flow.binding))
    user = await fetchrow(_STILL_ALLOWED, proof.user_id)
    if user is None:
        raise flows.finished()
    flow = await flows.advance(flow, proof.user_id, proof.done)
    if not machine.complete(await state_of(request if browser else None, flow)):
        return Taken(flow)
    if flow.session_id is not None and not await sessions.is_live(flow.session_id):
        raise flows.expired()
    await flows.finish(flow)
    await upstream.link(flow, proof.user_id)
    session, cookie = await sessions.begin(request, proof.user_id, flow.done, browser=browser)
    await limits.passed(proof.user_id, user["email"], request if browser else None)
    if not browser:
        return Taken(flow, session)
    device = await devices.remember(request, proof.user_id, trust=_trusts(fields, session))
    return Taken(flow, session, (cookie, device))


def _trusts(fields: Fields, session: SignedIn) -> bool:
    return "trust_device" in fields and session.acr != machine.SINGLE_FACTOR
