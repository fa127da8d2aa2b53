"""Taking a step of a sign-in: the one way forward, for the pages and for the JSON interface."""

from typing import Any, Final, NamedTuple, TypeGuard

import msgspec
from litestar import Request
from litestar.datastructures import Cookie

from idp.accounts import passwords
from idp.audit import unauthenticated_limit
from idp.audit.events import record
from idp.errors import ConflictError, TooManyRequestsError
from idp.infra.db.engine import transaction
from idp.reasons import Reason
from idp.settings import settings
from idp.signin import completion, sessions, subject, transitions
from idp.signin import flow as flows
from idp.signin.browser import BrowserKey
from idp.signin.factors import Factors
from idp.signin.flow import Flow
from idp.signin.sessions import SignedIn
from idp.signin.steps import (
    AuthenticationMethod,
    Fields,
    StepRefusedError,
    VerifiedStep,
    email_code,
    enrol,
    passkey,
    password,
    recovery_code,
    registration,
    totp,
    upstream,
)
from idp.signin.subject import SignInSubject
from idp.signin.transitions import FIRST, SECOND, CompletedStep, State, Step

AnyRequest = Request[Any, Any, Any]

AUTHENTICATION_METHODS: dict[Step, AuthenticationMethod] = {
    Step.PASSWORD: password,
    Step.EMAIL_CODE: email_code,
    Step.PASSKEY: passkey,
    Step.UPSTREAM: upstream,
    Step.REGISTRATION: registration,
    Step.TOTP: totp,
    Step.RECOVERY_CODE: recovery_code,
    Step.ENROL: enrol,
}

#: Of somebody who is not known yet.
NONE: Final = Factors(frozenset(), False)


class StepNotAllowedError(ConflictError):
    """This step may not be taken now; another one may."""


class StepResult(NamedTuple):
    """What a step led to: a session and the cookies to set, or a flow that goes on. ``codes`` are shown once."""

    flow: Flow
    session: SignedIn | None = None
    cookies: tuple[Cookie, ...] = ()
    codes: tuple[str, ...] = ()


async def state_of(browser: AnyRequest | None, flow: Flow) -> State:
    """Where a flow stands.

    Args:
        browser: a request of the browser that may be trusted; None for an app.

    Raises:
        PageError: its user may not sign in any more.
    """
    person = None
    if flow.user_id is not None:
        person = await subject.of(flow.user_id, browser)
        if person is None or person.disabled:
            raise flows.finished()
    return _state(flow, flow.done, person)


def _state(flow: Flow, done: tuple[CompletedStep, ...], person: SignInSubject | None) -> State:
    factors, trusted = (person.factors, person.trusted) if person is not None else (NONE, False)
    return State(done, _offered(flow), factors.has, factors.two_step and not trusted, flow.acr, flow.required)


def _offered(flow: Flow) -> frozenset[Step]:
    config = settings()
    left_out = set() if config.email_code_sign_in else {Step.EMAIL_CODE}
    invited = flow.registration is not None and flow.registration.invitation_id is not None
    if config.registration == "closed" or (config.registration == "invitation" and not invited):
        left_out.add(Step.REGISTRATION)
    if not upstream.available(flow):
        left_out.add(Step.UPSTREAM)
    return frozenset(FIRST) - left_out


def check_load(step: Step | None) -> None:
    """Refuse a step now that would be refused anyhow, before anything is read or counted for it.

    Raises:
        OverloadedError: too many passwords are being hashed.
    """
    if step is Step.PASSWORD:
        passwords.check_load()


async def take_step(request: AnyRequest, flow: Flow, step: Step, fields: Fields, *, browser: bool = True) -> StepResult:
    """Take a step with what was entered.

    Args:
        browser: whether a browser asks, whose cookies say who was there before. An app gets a session of its own.

    Raises:
        StepNotAllowedError: the machine does not allow it here.
        StepRefusedError: it was not right. The flow stands where it stood.
        PageError: the flow went on or ended meanwhile.
        TooManyRequestsError: from this address, or at this account.
        OverloadedError: too many passwords are being hashed. It counts as no try.
    """
    check_load(step)
    if step not in transitions.allowed(await state_of(request if browser else None, flow)):
        raise StepNotAllowedError
    if browser and flow.user_id is None:
        # Whoever used the browser before may hold a copy of its key, and may have begun this very flow.
        flow = msgspec.structs.replace(flow, key=BrowserKey.renewed(request))
    way, refused = AUTHENTICATION_METHODS[step], None
    try:
        checked = await way.verify(flow, fields, request if browser else None)
        if _stands_alone(checked, flow) and (taken := await _go_on(request, flow, checked, fields, browser)):
            return taken
        async with transaction():
            await _hold_session(flow)
            try:
                proof = await way.complete(flow, checked)
            except StepRefusedError as error:
                # Not out of the transaction: the try is counted there.
                refused = error
            else:
                if taken := await _go_on(request, flow, proof, fields, browser):
                    return taken
                raise flows.finished()
    except StepRefusedError as error:
        refused = error
    except TooManyRequestsError:
        detail = {"reason": Reason.TOO_MANY_TRIES, "step": step}
        await record(
            "sign_in",
            outcome="denied",
            user_id=flow.user_id,
            detail=detail,
            limit_key=unauthenticated_limit.limit_key(flow.user_id),
        )
        raise
    await _note_refusal(flow, step, refused)
    raise refused


async def _hold_session(flow: Flow) -> None:
    """Check that the session whose steps a flow counts is live, also for a step that only adds a factor.

    Raises:
        PageError: it ended meanwhile.
    """
    if flow.session_id is None or flow.user_id is None:
        return
    if not await sessions.lock_live(flow.user_id, flow.session_id):
        raise flows.expired()


async def _note_refusal(flow: Flow, step: Step, refused: StepRefusedError) -> None:
    """Write a refusal down, with whose account it was about.

    How much is written goes by who is known in this flow. By whose account was tried, the time that an answer takes
    would tell whether there is one.
    """
    await record(
        "sign_in",
        outcome="failure",
        user_id=refused.user_id,
        detail={"reason": refused.reason, "step": step},
        limit_key=unauthenticated_limit.limit_key(flow.user_id),
    )


def _stands_alone(checked: Any, flow: Flow) -> TypeGuard[VerifiedStep]:
    """Whether a step is proved already and nothing else takes part in what it leads to: no transaction is needed."""
    if not isinstance(checked, VerifiedStep) or checked.by is None:
        return False
    return flow.identity is None and flow.session_id is None and checked.by.session_id is None


async def _go_on(
    request: AnyRequest, flow: Flow, proof: VerifiedStep | None, fields: Fields, browser: bool
) -> StepResult | None:
    """Note the step, and end the flow with a session if nothing is missing any more. None: something has changed."""
    cookies = tuple(flow.key.cookies()) if flow.key is not None else ()
    if proof is None:
        now = await flows.reload(flow)
        return StepResult(now, cookies=cookies if now.binding != flow.binding else ())
    flow = proof.flow or flow
    person = proof.by or await subject.of(proof.user_id, request if browser else None)
    if person is None or person.disabled:
        raise flows.finished()
    done = (*flow.done, proof.done)
    if not transitions.complete(_state(flow, done, person)):
        later = await completion.go_on(flow, person, proof.done)
        return StepResult(later, cookies=cookies, codes=proof.codes) if later is not None else None
    trust = (
        "trust_device" in fields
        and transitions.reached(done) != transitions.SINGLE_FACTOR
        and proof.done.step in SECOND
    )
    ended = await completion.end(request, flow, person, proof.done, browser=browser, trust=trust)
    if ended is None:
        return None
    await upstream.link_identity(ended.flow, person.user_id)
    return StepResult(ended.flow, ended.session, (*ended.cookies, *cookies), proof.codes)
