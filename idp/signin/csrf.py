"""Form tokens, which prove that one of our pages showed the form to this browser."""

import hmac
from collections.abc import Mapping
from hashlib import sha256

from idp.errors import PageError
from idp.infra.i18n import gettext as _
from idp.keys import vault


def form_token(secret: str, purpose: str) -> str:
    """Return the CSRF token of a form.

    Args:
        secret: of the flow or session that the form belongs to.
        purpose: the purpose of the form; a token is not valid for another purpose.
    """
    return hmac.new(vault.derive("csrf"), f"{purpose}\0{secret}".encode(), sha256).hexdigest()


def check_form_token(form: Mapping[str, str], secret: str, purpose: str) -> None:
    """Refuse a form that none of our pages showed to this browser.

    Raises:
        PageError: the token is missing or wrong.
    """
    if not has_form_token(form, secret, purpose):
        raise expired_form()


def has_form_token(form: Mapping[str, str], secret: str, purpose: str) -> bool:
    """Return whether one of our pages showed the form to this browser."""
    return hmac.compare_digest(form.get("csrf_token", "").encode(), form_token(secret, purpose).encode())


def expired_form() -> PageError:
    """Return the error for a form that none of our pages showed."""
    return PageError(_("This form has expired"), _("Go back, reload the page and try again."))
