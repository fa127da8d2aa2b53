"""The conversation with the SMTP server, without a mail or with a test mail."""

from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid

from idp import clock
from idp.doctor.models import Context, Finding, Findings, error, note, ok, warning
from idp.errors import OperatorError
from idp.mail import smtp
from idp.mail.messages import sending_host
from idp.settings import Settings

_MENDS = {
    "connect": "Check host and port of IDP_SMTP_URL, and the firewalls between. Many clouds block port 25; use 587.",
    "tls": "Use a server with a valid certificate, and the port for the scheme: smtp:// with STARTTLS on 587, smtps:// "
    "on 465.",
    "login": "Check user and password in IDP_SMTP_URL. Special characters must be escaped, @ as %40.",
}
#: The finding for each step that fails.
NAMES = {"connect": "smtp_unreachable", "tls": "smtp_tls_failed", "login": "smtp_login_refused"}


async def check(context: Context) -> Findings:
    """Greet, start TLS and log in, as for a mail."""
    settings = context.settings
    if settings.smtp_url is None:
        return
    url = settings.smtp_url.get_secret_value()
    try:
        options = smtp.connection_options(url)
        conversation = await smtp.test(url, greeting=sending_host())
    except OperatorError:
        return  # the check of the settings says it
    except smtp.TestFailedError as failure:
        text = failure.description.rstrip(".")[:300]
        yield error(NAMES[failure.step], f"The SMTP server cannot be used: {text}.", _MENDS[failure.step])
        return
    remote = options["hostname"] not in ("localhost", "127.0.0.1", "::1")
    if not conversation.encrypted and (remote or conversation.authenticated):
        yield warning(
            "smtp_not_encrypted",
            "The SMTP server offers no TLS: codes and links are sent without encryption.",
            "Use a server with STARTTLS, and append ?starttls=require to IDP_SMTP_URL.",
        )
    else:
        yield ok(
            "The SMTP server accepts the connection" + (" and the password." if conversation.authenticated else ".")
        )
    if context.send_test is not None:
        yield await _send(settings, url, context.send_test)


async def _send(settings: Settings, url: str, address: str) -> Finding:
    try:
        response = await smtp.send(_message(settings, address), url, greeting=sending_host())
    except smtp.MailNotSentError as failure:
        return error(
            "test_mail_refused",
            f"The SMTP server refuses the test mail: {failure.description.rstrip('.')[:300]}.",
            "Check that it may send as IDP_MAIL_FROM and to this address.",
        )
    return note(
        "test_mail_sent",
        f"The SMTP server took the test mail: {response.strip().rstrip('.')[:200]}.",
        "Look whether it arrives, and not as spam. Its headers show the results of SPF, DKIM and DMARC.",
    )


def _message(settings: Settings, address: str) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["Subject"] = f"Test mail of {settings.product_name}"
    message["From"], message["To"] = settings.mail_from, address
    message["Date"], message["Message-ID"] = format_datetime(clock.now()), make_msgid(domain=sending_host())
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(f"This is a test mail of {settings.issuer}. Nothing has to be done.\n")
    return message
