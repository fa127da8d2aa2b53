"""Test mails: sent at once, without the outbox, so that the response of the SMTP server is known."""

import asyncio
from email.message import EmailMessage

from idp.audit.events import note, storable
from idp.errors import RemoteError
from idp.infra.rate_limits import Rate, spend
from idp.mail import deliver
from idp.mail.smtp import MailNotSentError
from idp.settings import SettingsError

#: Maximum duration of the conversation.
SECONDS = 20.0
#: Test mails of one administrator, and to one address.
OF_ADMIN = Rate("test mails of an administrator", burst=10, interval=30)
TO_ADDRESS = Rate("test mails to an address", burst=3, interval=600)
MAX_RESPONSE_LENGTH = 300


class TrialFailedError(RemoteError):
    """The mail was not accepted. The text says why: the response of the SMTP server, or what is not configured."""


async def limit(to: str, admin: str) -> None:
    """Count a test mail.

    Args:
        admin: who sends it.

    Raises:
        TooManyRequestsError: there were too many.
    """
    await spend((OF_ADMIN, admin), (TO_ADDRESS, to.lower()))


async def send(message: EmailMessage, template: str, to: str) -> str:
    """Send a message and return the response of the SMTP server.

    Args:
        template: the name of the mail, for the audit trail.
        to: the address, masked, for the audit trail.

    Raises:
        TrialFailedError: it was not accepted.
    """
    try:
        async with asyncio.timeout(SECONDS):
            response = await deliver.hand_over(message)
    except (TimeoutError, MailNotSentError, deliver.MailNotConfiguredError, SettingsError) as error:
        reason = f"No answer within {SECONDS:.0f} seconds." if isinstance(error, TimeoutError) else str(error)
        _note(template, to, reason, "failure")
        raise TrialFailedError(f"The email was not sent: {reason.rstrip('.')}.") from error
    _note(template, to, response, "success")
    return response


def _note(template: str, to: str, response: str, outcome: str) -> None:
    text = str(storable(response))[:MAX_RESPONSE_LENGTH]
    note("mail_test_sent", outcome=outcome, detail={"template": template, "to": to, "response": text})
