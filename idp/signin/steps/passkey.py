"""Signing in with a passkey: as the only step, or as the second one."""

from typing import Any

from idp.infra.i18n import gettext as _
from idp.signin import limits
from idp.signin.browser import Browser
from idp.signin.factors import passkeys
from idp.signin.flow import Flow
from idp.signin.steps import Fields, StepRefusedError, VerifiedStep
from idp.signin.transitions import CompletedStep, Step


async def context(flow: Flow, _entered: Fields) -> dict[str, Any]:
    """Return the options of ``navigator.credentials.get()``."""
    return {"passkey_options": await options(flow)}


async def options(flow: Flow) -> str:
    """Return the request for a passkey as JSON (WebAuthn section 5.5): one of this user, if the user is known."""
    own = await passkeys.passkeys_of(flow.user_id) if flow.user_id is not None else None
    return passkeys.authentication_options(flow.challenge, own)


async def verify(flow: Flow, fields: Fields, browser: Browser) -> str:
    """Count the attempt."""
    await limits.count_step(browser)
    if not fields.get("credential"):
        raise StepRefusedError(_("Your browser sent no passkey. Try again, or sign in another way."))
    return fields["credential"]


async def complete(flow: Flow, entered: str) -> VerifiedStep:
    """Verify the signature over the challenge of this flow and turn."""
    try:
        verified = await passkeys.verify(flow.challenge, entered, user_id=flow.user_id)
    except passkeys.InvalidPasskeyError as error:
        raise StepRefusedError(str(error), flow.user_id, reason=error.reason) from error
    step = CompletedStep(Step.PASSKEY, tuple(passkeys.amr(verified)))
    return VerifiedStep(verified.user_id, step, user_locked=True)
