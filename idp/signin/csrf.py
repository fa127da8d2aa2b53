"""Form tokens: proof that a form was shown to this browser by a page of ours."""

import hmac
from collections.abc import Mapping

from idp.errors import PageError
from idp.infra.i18n import gettext as _
from idp.keys import vault
from idp.signin.browser import csrf_token


def form_token(secret: str, purpose: str) -> str:
    """The CSRF token of a form."""
    return csrf_token(vault.derive("csrf"), secret, purpose)


def check_form_token(form: Mapping[str, str], secret: str, purpose: str) -> None:
    """Refuse a form that our own page did not make for this browser.

    Raises:
        PageError: the token is missing or wrong.
    """
    if not hmac.compare_digest(form.get("csrf_token", "").encode(), form_token(secret, purpose).encode()):
        raise PageError(_("This form is out of date"), _("Go back, reload the page and try again."))
