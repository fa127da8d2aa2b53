"""Refusal of a step that needs a mail, where the server sends none: the user would wait for it."""

from http import HTTPStatus

from idp.errors import PageError
from idp.infra.i18n import gettext as _
from idp.reasons import Reason
from idp.settings import settings


def require_mail() -> None:
    """Refuse a request that needs a mail.

    Raises:
        PageError: this server sends none.
    """
    if not settings().sends_mail:
        raise PageError(
            _("This server cannot send email at the moment"),
            _("This needs an email to you. Ask an administrator for help."),
            status=HTTPStatus.SERVICE_UNAVAILABLE,
            hint="IDP_SMTP_URL is not set, or IDP_ISOLATED is.",
            reason=Reason.NOT_SUPPORTED,
        )
