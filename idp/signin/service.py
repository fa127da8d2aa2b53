"""Taking a step of a sign-in, for the pages and for the JSON interface."""

from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from idp.accounts import passwords
from idp.accounts.repository.users import lock_user
from idp.audit import unauthenticated_limit
from idp.audit.events import record
from idp.errors import ConflictError, FlowExpiredError, FlowFinishedError, TooManyRequestsError
from idp.infra.db.engine import transaction
from idp.infra.metrics.declared import Counter
from idp.infra.request_context import Refusal, refusal
from idp.reasons import Reason
from idp.settings import settings
from idp.signin import completion, enforcement, sessions, transitions, upstream_accounts
from idp.signin import flow as flows
from idp.signin.browser import Browser, BrowserKey
from idp.signin.flow import Flow, Registration
from idp.signin.repository.subjects import subject_by_id
from idp.signin.sessions import SignedIn
from idp.signin.steps import (
    AuthenticationMethod,
    Fields,
    StepRefusedError,
    VerifiedStep,
    attributes,
    email_code,
    enrol,
    passkey,
    password,
    recovery_code,
    registration,
    totp,
    upstream,
)
from idp.signin.subject import Factors, SignInSubject
from idp.signin.transitions import FIRST, SECOND, CompletedStep, State, Step
from idp.trace import recorder

AUTHENTICATION_METHODS: dict[Step, AuthenticationMethod] = {
    Step.PASSWORD: password,
    Step.EMAIL_CODE: email_code,
    Step.PASSKEY: passkey,
    Step.UPSTREAM: upstream,
    Step.REGISTRATION: registration,
    Step.TOTP: totp,
    Step.RECOVERY_CODE: recovery_code,
    Step.ENROL: enrol,
    Step.ATTRIBUTES: attributes,
}

STEPS = Counter("idp_sign_in_steps", "Steps of sign-ins, by way, outcome and reason.", "step", "outcome", "reason")

_NO_FACTORS: Final = Factors(frozenset(), False)


class StepNotAllowedError(ConflictError):
    """This step is not one of those that may follow."""


class StepResult(NamedTuple):
    """The result of a step: a session, or a flow that goes on.

    Attributes:
        session_token, device_token: for the cookies of a browser.
        key: the key that the browser needs from now on.
        recovery_codes: to be shown once.
    """

    flow: Flow
    session: SignedIn | None = None
    session_token: str | None = None
    device_token: str | None = None
    key: BrowserKey | None = None
    recovery_codes: tuple[str, ...] = ()


async def state_of(browser: Browser, flow: Flow) -> State:
    """Return the state of a flow, which decides the steps that may follow.

    Raises:
        FlowFinishedError: its user is disabled or deleted.
    """
    if flow.user_id is None:
        return await _state(flow, flow.done, None)
    person = await subject_by_id(flow.user_id, browser)
    if person is None or person.disabled:
        raise FlowFinishedError
    return await _state(flow, flow.done, person)


async def _state(flow: Flow, done: tuple[CompletedStep, ...], person: SignInSubject | None) -> State:
    factors, trusted = (person.factors, person.trusted) if person is not None else (_NO_FACTORS, False)
    missing = person is not None and bool(await attributes.missing(flow, person.id))
    return State(
        done, _offered(flow), factors.has, factors.two_step and not trusted, flow.acr, flow.required, missing=missing
    )


def _offered(flow: Flow) -> frozenset[Step]:
    config = settings()
    left_out = set() if config.email_code_sign_in and config.sends_mail else {Step.EMAIL_CODE}
    if not _may_register(flow.registration):
        left_out.add(Step.REGISTRATION)
    if not upstream.available(flow) and flow.identity is None:
        left_out.add(Step.UPSTREAM)
    offered = frozenset(FIRST) - left_out
    return offered & set(flow.ways) if flow.ways else offered


def _may_register(kept: Registration | None) -> bool:
    # An invitation into an organization lets its person register in every mode. Either invitation proves the address.
    if kept is not None and kept.organization_invitation_id is not None:
        return True
    invited = kept is not None and kept.invited
    return settings().registers_by_mail or (invited and settings().registration != "closed")


def check_load(step: Step | None) -> None:
    """Refuse a step early that would be refused anyway, before anything is read or counted for it.

    Raises:
        OverloadedError: too many passwords are being hashed.
    """
    if step is Step.PASSWORD:
        passwords.check_load()


async def take_step(browser: Browser, flow: Flow, step: Step, fields: Fields) -> StepResult:
    """Take a step with the entered values.

    Raises:
        StepNotAllowedError: another step must come first.
        StepRefusedError: an entered value is wrong. The flow is unchanged.
        FlowError: the flow changed or ended since it was read.
        TooManyRequestsError: there were too many attempts from this address, or at this account.
        OverloadedError: too many passwords are being hashed. The attempt is not counted.
    """
    check_load(step)
    if step not in transitions.allowed(await state_of(browser, flow)):
        raise StepNotAllowedError
    if browser.keeps_cookies and flow.user_id is None:
        # An earlier user of the browser may have copied its key, and may have started this flow.
        flow = msgspec.structs.replace(flow, key=browser.renewed_key())
    try:
        result = await _take(browser, flow, step, fields)
    except StepRefusedError as error:
        STEPS.add(step, "failure", error.reason or "")
        _note_refusal("access_denied", f"The step {step} of the sign-in is refused.", error.reason, error.user_id)
        recorder.step("step_refused", step=step, reason=error.reason)
        recorder.refused(error.reason, error.user_id)
        await _record_refusal(browser, flow, step, error)
        raise
    except TooManyRequestsError as error:
        STEPS.add(step, "denied", Reason.TOO_MANY_TRIES)
        recorder.step("step_refused", step=step, reason=Reason.TOO_MANY_TRIES)
        tried = flow.user_id or error.user_id
        _note_refusal("temporarily_unavailable", "A limit of requests is exceeded.", Reason.TOO_MANY_TRIES, tried)
        recorder.refused(Reason.TOO_MANY_TRIES, tried)
        await record(
            "sign_in",
            outcome="denied",
            user_id=tried,
            detail={"reason": Reason.TOO_MANY_TRIES, "step": step, "user_agent": browser.user_agent},
            limit_key=unauthenticated_limit.limit_key(flow.user_id),
        )
        raise
    STEPS.add(step, "success", "")
    recorder.step("step_taken", step=step)
    recorder.about(user_id=result.flow.user_id)
    if result.session is not None:
        recorder.about(session_id=result.session.id)
        recorder.step("signed_in", acr=result.session.acr, amr=result.session.amr)
    return result


def _note_refusal(error: str, hint: str, reason: Reason | None, user_id: UUID | None) -> None:
    """Say in the log why a step is refused. The response is a page, or an error of the caller's own."""
    refusal.set(Refusal(error, hint, recorder.client_id(), reason, str(user_id) if user_id else None))


async def _take(browser: Browser, flow: Flow, step: Step, fields: Fields) -> StepResult:
    method = AUTHENTICATION_METHODS[step]
    entered = await method.verify(flow, fields, browser)
    async with transaction():
        try:
            await upstream_accounts.hold(flow)
            await _lock(flow)
            verified = await method.complete(flow, entered)
        except StepRefusedError as error:
            # Raised after the commit: the attempt stays counted.
            refused = error
        else:
            return await _note(browser, flow, verified, trust="trust_device" in fields)
    raise refused


async def _lock(flow: Flow) -> None:
    """Lock what the flow knows already: its user, and the live session whose steps it counts.

    The user is locked first, as by every change of a credential. Otherwise the two could deadlock.

    Raises:
        FlowExpiredError: the session ended. This also applies to a step that only adds a factor.
    """
    if flow.user_id is None:
        return
    if flow.session_id is None:
        await lock_user(flow.user_id)
    elif not await sessions.lock_live(flow.user_id, flow.session_id):
        raise FlowExpiredError


async def _record_refusal(browser: Browser, flow: Flow, step: Step, refused: StepRefusedError) -> None:
    """Record a refused step with the account that was tried.

    The limit key is the user that this flow knows already. With the account that was tried as key, the time of the
    response would tell whether it exists.
    """
    await record(
        "sign_in",
        outcome="failure",
        user_id=refused.user_id,
        detail={"reason": refused.reason, "step": step, "user_agent": browser.user_agent},
        limit_key=unauthenticated_limit.limit_key(flow.user_id),
    )


async def _note(browser: Browser, flow: Flow, verified: VerifiedStep | None, *, trust: bool) -> StepResult:
    """Note a step, and finish the flow with a session if nothing is missing. In the caller's transaction."""
    if verified is None:
        now = await flows.reload(flow)
        return StepResult(now, key=flow.key if now.binding != flow.binding else None)
    flow, step = verified.flow or flow, verified.step
    if flow.user_id is None and not verified.user_locked:
        await lock_user(verified.user_id)
    # Read after the lock, so that what decides about the step does not change before the commit.
    person = await subject_by_id(verified.user_id, browser)
    if person is None or person.disabled:
        raise FlowFinishedError
    done = (*flow.done, step)
    await enforcement.check_account(person.id, person.email, done)
    if not transitions.complete(await _state(flow, done, person)):
        later = await flows.note_step(flow, person.id, step, finish=False, upstream=verified.upstream)
        return StepResult(later, key=flow.key, recovery_codes=verified.recovery_codes)
    trust = trust and transitions.reached(done) != transitions.SINGLE_FACTOR and step.step in SECOND
    completed = await completion.complete(browser, flow, person, step, trust=trust, upstream=verified.upstream)
    await upstream_accounts.link_identity(completed.flow, person.id)
    return StepResult(
        completed.flow,
        completed.session,
        completed.session_token,
        completed.device_token,
        flow.key,
        verified.recovery_codes,
    )
