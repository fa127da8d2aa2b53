"""Signing in by mail: with a code of six digits, or with the link next to it.

Both work only in the browser that requested the mail. Opening the link changes nothing, because malware scanners open
it too: its page has a button.
"""

from typing import Any

from idp.accounts import email_proofs
from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.accounts.email_proofs import Purpose
from idp.accounts.repository.email_proofs import VerifiedEmail
from idp.accounts.repository.users import confirm_email, user_by_email
from idp.infra.db.engine import transaction
from idp.infra.i18n import gettext as _
from idp.mail import outbox
from idp.reasons import Reason
from idp.settings import settings
from idp.signin import enforcement, limits
from idp.signin.browser import Browser
from idp.signin.flow import Flow, path
from idp.signin.steps import Fields, StepRefusedError, VerifiedStep
from idp.signin.transitions import CompletedStep, Step


async def context(flow: Flow, _entered: Fields) -> dict[str, Any]:
    """Return the address that a code was sent to, if one was."""
    return {"sent_to": await email_proofs.pending_email(Purpose.SIGN_IN, flow.binding.id)}


async def verify(flow: Flow, fields: Fields, browser: Browser) -> Fields:
    """Count the attempt, and send a mail if requested."""
    if fields.get("action") == "send":
        sent_to = await email_proofs.pending_email(Purpose.SIGN_IN, flow.binding.id)
        await send_code(flow, fields.get("username") or sent_to or "", browser)
    else:
        await limits.count_step(browser)
    return fields


async def complete(flow: Flow, entered: Fields) -> VerifiedStep | None:
    """Use the code or the link."""
    if entered.get("action") == "send":
        return None
    proved = await proved_address(Purpose.SIGN_IN, flow, entered)
    if proved.user_id is None or not await confirm_email(proved.user_id, proved.email):
        raise wrong_code()
    return VerifiedStep(proved.user_id, CompletedStep(Step.EMAIL_CODE, ("otp",)), user_locked=True)


async def proved_address(purpose: Purpose, flow: Flow, fields: Fields) -> VerifiedEmail:
    """Return the address that the code or link in these fields proves. Locks its user if the flow has none yet.

    Raises:
        StepRefusedError: neither is valid.
    """
    flow_id, lock = flow.binding.id, flow.user_id is None
    if token := fields.get("token"):
        proved = await email_proofs.consume_token(token, purpose, flow_id, lock=lock)
    else:
        proved = await email_proofs.consume_code(purpose, flow_id, fields.get("code", ""), lock=lock)
    if proved is None:
        raise wrong_code()
    return proved


async def recipient(username: str, browser: Browser) -> str:
    """Normalise the entered address, and count a mail to it.

    Raises:
        StepRefusedError: it is not an address.
        TooManyRequestsError: too many mails were sent.
    """
    try:
        email = normalise_email(username)
    except InvalidEmailError as error:
        await limits.count_step(browser)
        raise StepRefusedError(_("Enter your email address, such as name@example.com.")) from error
    await limits.count_mail(email, browser)
    return email


async def send_code(flow: Flow, username: str, browser: Browser) -> None:
    """Mail a code to an address. Unknown addresses cause the same work and the same response.

    Raises:
        StepRefusedError: it is not an address, or its domain is enforced.
        TooManyRequestsError: too many mails were sent.
    """
    email = await recipient(username, browser)
    await enforcement.check_address(email)
    user = await user_by_email(email)
    if user is not None and user.disabled_at is not None:
        user = None
    lifetime, flow_id = settings().email_code_lifetime, flow.binding.id
    async with transaction():
        sent = await email_proofs.create(
            Purpose.SIGN_IN, email, lifetime=lifetime, flow_id=flow_id, user_id=user and user.id, decoy=user is None
        )
        await outbox.queue(
            email,
            "sign_in_code",
            language=user.locale if user else None,
            lifetime=lifetime,
            void=user is None,
            name=user.name if user else None,
            code=sent.code,
            link=mail_link(flow, Step.EMAIL_CODE, sent.token),
            minutes=lifetime // 60,
        )


def mail_link(flow: Flow, step: Step, token: str) -> str:
    """Return the link for the mail of a step."""
    return f"{settings().issuer}{path(flow.binding)}/{step}?token={token}"


def wrong_code() -> StepRefusedError:
    return StepRefusedError(
        _("That code is wrong or has expired. Check it, or ask for a new one."), reason=Reason.WRONG_CODE
    )
