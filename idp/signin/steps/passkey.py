"""Signing in with a passkey: as the only step, or as the second one."""

from typing import Any

from idp.infra.i18n import gettext as _
from idp.signin import limits, passkeys
from idp.signin.flow import Flow
from idp.signin.steps import Browser, Fields, StepRefusedError, VerifiedStep
from idp.signin.transitions import CompletedStep, Step


async def context(flow: Flow) -> dict[str, Any]:
    """What the browser's part of it needs."""
    return {"passkey_options": await options(flow)}


async def options(flow: Flow) -> str:
    """The request for a passkey, as JSON (WebAuthn section 5.5): of this user, once it is known who it is."""
    own = await passkeys.passkeys_of(flow.user_id) if flow.user_id is not None else None
    return passkeys.authentication_options(flow.challenge, own)


async def verify(flow: Flow, fields: Fields, browser: Browser | None) -> str:
    await limits.count_step(browser)
    if not fields.get("credential"):
        raise StepRefusedError(_("Your browser sent no passkey. Try again, or sign in another way."))
    return fields["credential"]


async def complete(flow: Flow, entered: str) -> VerifiedStep:
    """Verify the signature over this flow's challenge."""
    try:
        verified = await passkeys.verify(flow.challenge, entered, user_id=flow.user_id)
    except passkeys.InvalidPasskeyError as error:
        raise StepRefusedError(str(error), flow.user_id, reason=error.reason) from error
    return VerifiedStep(verified.user_id, CompletedStep(Step.PASSKEY, tuple(passkeys.amr(verified))))
