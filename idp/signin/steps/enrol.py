"""Setting up a second factor during a sign-in, because the application asks for one."""

from typing import Any

from idp import clock
from idp.accounts.repository.users import user_by_id
from idp.audit.events import record
from idp.errors import FlowExpiredError
from idp.infra import geoip
from idp.infra.i18n import gettext as _
from idp.mail import outbox
from idp.reasons import Reason
from idp.signin import flow as flows
from idp.signin import limits
from idp.signin.browser import Browser
from idp.signin.factors import passkeys, recovery_codes, totp
from idp.signin.factors import service as factors
from idp.signin.factors.passkey_providers import provider
from idp.signin.flow import Flow
from idp.signin.steps import Fields, StepRefusedError, VerifiedStep
from idp.signin.transitions import PHISHING_RESISTANT, CompletedStep, State, Step, falls_short


async def context(flow: Flow, _entered: Fields) -> dict[str, Any]:
    """Return the secret for an authenticator app, if that is enough, and the options to create a passkey."""
    assert flow.user_id is not None  # noqa: S101 -- a first step comes before this one
    user = await user_by_id(flow.user_id)
    assert user is not None  # noqa: S101 -- a flow is deleted with its user
    own = await passkeys.passkeys_of(flow.user_id)
    return {
        "setup": await _setup(flow, user.email),
        "passkey_options": passkeys.registration_options(user, flow.challenge, own),
        "may_skip": _may_skip(flow),
    }


def _target(flow: Flow) -> str:
    """Return the level to reach with the new factor."""
    return State(flow.done, acr=flow.acr, required=flow.required).target


def _may_skip(flow: Flow) -> bool:
    return falls_short(flow.required, _target(flow))


async def _setup(flow: Flow, account_name: str) -> totp.Setup | None:
    assert flow.user_id is not None  # noqa: S101
    if _target(flow) == PHISHING_RESISTANT:
        return None
    try:
        return await totp.start_setup(flow.user_id, flow.binding.id, account_name)
    except totp.AlreadyEnabledError:
        # It was set up in another tab.
        return None


async def verify(flow: Flow, fields: Fields, browser: Browser) -> Fields:
    """Count the attempt: a code of a new app like one of an old app. Note the browser, which can name a passkey."""
    assert flow.user_id is not None  # noqa: S101
    if fields.get("action") == "totp":
        await limits.count_second_step(flow.user_id, browser)
    else:
        await limits.count_step(browser)
    return {**fields, "device": geoip.device(browser.user_agent) if browser.user_agent else ""}


async def complete(flow: Flow, entered: Fields) -> VerifiedStep:
    """Store the new factor, or note that it was skipped.

    A new factor reaches its level, but does not prove who created it. Its step has a time, so that it makes no proof
    fresher.
    """
    assert flow.user_id is not None  # noqa: S101
    match entered.get("action"):
        case "totp" | "passkey" if flow.session_id is not None and not flows.may_enrol(flow.done):
            # The session that this flow continues became too old.
            raise FlowExpiredError
        case "totp" if _target(flow) != PHISHING_RESISTANT:
            return await _enable_totp(flow, entered.get("code", ""))
        case "passkey":
            return await _add_passkey(flow, entered.get("credential", ""), entered.get("device", ""))
        case "skip" if _may_skip(flow):
            return VerifiedStep(flow.user_id, CompletedStep(Step.ENROL))
    raise StepRefusedError(_("Choose how you want to protect your account."), flow.user_id)


async def _enable_totp(flow: Flow, code: str) -> VerifiedStep:
    assert flow.user_id is not None  # noqa: S101
    if not await totp.confirm(flow.user_id, flow.binding.id, code):
        raise StepRefusedError(
            _("That code is wrong. Wait for the next one and try again."), flow.user_id, reason=Reason.WRONG_CODE
        )
    await factors.set_two_step(flow.user_id, True)
    await _tell(flow, "totp_enabled")
    step = CompletedStep(Step.TOTP, ("otp",), clock.timestamp())
    return VerifiedStep(flow.user_id, step, recovery_codes=await _codes(flow))


async def _add_passkey(flow: Flow, credential: str, device: str) -> VerifiedStep:
    assert flow.user_id is not None  # noqa: S101
    try:
        passkey = await passkeys.register(flow.user_id, "", flow.challenge, credential, device=device)
    except passkeys.InvalidPasskeyError as error:
        raise StepRefusedError(str(error), flow.user_id, reason=error.reason) from error
    await _tell(flow, "passkey_added", passkey=provider(passkey.aaguid))
    done = CompletedStep(Step.PASSKEY, ("swk" if passkey.backup_eligible else "hwk", "user"), clock.timestamp())
    return VerifiedStep(flow.user_id, done, recovery_codes=await _codes(flow))


async def _codes(flow: Flow) -> tuple[str, ...]:
    """Return recovery codes for a user who has none: without them, a lost phone would lock its owner out."""
    assert flow.user_id is not None  # noqa: S101
    if await recovery_codes.count_unused(flow.user_id):
        return ()
    codes = await recovery_codes.generate(flow.user_id)
    await _tell(flow, "recovery_codes_made")
    return tuple(codes)


async def _tell(flow: Flow, what: str, **context: Any) -> None:
    """Record a new factor, and mail the owner. ``context`` is for the template of the mail."""
    assert flow.user_id is not None  # noqa: S101
    await record(what, user_id=flow.user_id)
    user = await user_by_id(flow.user_id)
    if user is not None:
        await outbox.queue(user.email, what, language=user.locale, name=user.name, **context)
