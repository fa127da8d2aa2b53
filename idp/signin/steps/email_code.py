"""Signing in by mail: with a code of six digits, or with the link beside it.

Both count only in the browser that asked. Opening the link changes nothing, because programs that look for malware
open it too: the page that it shows has a button.
"""

from typing import Any
from uuid import UUID

from idp.accounts import email_proofs
from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.accounts.email_proofs import Purpose, VerifiedEmail
from idp.accounts.tables import user_by_email
from idp.infra.db.engine import execute, transaction
from idp.infra.i18n import gettext as _
from idp.mail import outbox
from idp.reasons import Reason
from idp.settings import settings
from idp.signin import limits
from idp.signin.flow import Flow, path
from idp.signin.steps import Browser, Fields, StepRefusedError, VerifiedStep
from idp.signin.transitions import CompletedStep, Step

# The address is proved by this, and must be theirs still.
_STILL_HOLDS = """
    UPDATE users SET email_verified = true WHERE id = $1 AND email = $2 AND disabled_at IS NULL
"""


async def context(flow: Flow) -> dict[str, Any]:
    """The address that a code was sent to, if one was."""
    return {"sent_to": await email_proofs.pending_email(Purpose.SIGN_IN, flow.binding.id)}


async def verify(flow: Flow, fields: Fields, browser: Browser | None) -> Fields:
    """Send a mail, where one is asked for."""
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
    return VerifiedStep(proved.user_id, CompletedStep(Step.EMAIL_CODE, ("otp",)))


async def confirm_email(user_id: UUID, email: str) -> bool:
    """Note that a user reads their address. In the caller's transaction. Returns False where it is theirs no more."""
    return bool(await execute(_STILL_HOLDS, user_id, email))


async def proved_address(purpose: Purpose, flow: Flow, fields: Fields) -> VerifiedEmail:
    """The address that the code or the link in these fields proves.

    Raises:
        StepRefusedError: neither does.
    """
    if token := fields.get("token"):
        proved = await email_proofs.consume_token(token, purpose, flow.binding.id)
    else:
        proved = await email_proofs.consume_code(purpose, flow.binding.id, fields.get("code", ""))
    if proved is None:
        raise wrong_code()
    return proved


async def send_code(flow: Flow, username: str, browser: Browser | None) -> None:
    """Mail a code to an address; nothing tells whether anybody has it.

    Raises:
        StepRefusedError: it is no address.
        TooManyRequestsError: there were too many mails.
    """
    try:
        email = normalise_email(username)
    except InvalidEmailError as error:
        await limits.count_step(browser)
        raise StepRefusedError(_("Enter your email address, such as name@example.com.")) from error
    await limits.count_mail(email, browser)
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
            lifetime=lifetime,
            void=user is None,
            name=user.name if user else None,
            code=sent.code,
            link=mail_link(flow, Step.EMAIL_CODE, sent.token),
            minutes=lifetime // 60,
        )


def mail_link(flow: Flow, step: Step, token: str) -> str:
    """What the mail links to."""
    return f"{settings().issuer}{path(flow.binding)}/{step}?token={token}"


def wrong_code() -> StepRefusedError:
    return StepRefusedError(
        _("That code is not right, or it is too old. Check it, or ask for a new one."), reason=Reason.WRONG_CODE
    )
