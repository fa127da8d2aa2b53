"""The link of a mail, opened in another browser than the one that asked for the mail.

It does not sign this browser in, and does not continue the sign-in of the other one: an attacker may have started it,
and wait for the owner of the address to open the link. It shows the code of the same mail instead.
"""

from collections.abc import Mapping
from typing import Final

from litestar import Response

from idp.accounts import email_proofs
from idp.accounts.email_proofs import Purpose
from idp.errors import PageError
from idp.http.pages import page
from idp.infra.i18n import gettext as _
from idp.signin.transitions import Step

#: What the mail of a step proves.
PURPOSES: Final[Mapping[str, Purpose]] = {
    Step.EMAIL_CODE: Purpose.SIGN_IN,
    Step.REGISTRATION: Purpose.REGISTRATION,
    Step.UPSTREAM: Purpose.UPSTREAM,
}


async def show_code(token: str, purpose: Purpose | None, flow_id: str) -> Response[str]:
    """Return the page with the code.

    Args:
        purpose: of the link. None: there is no such link.

    Raises:
        PageError: the link is no longer valid.
    """
    code = await email_proofs.code_of_link(token, purpose, flow_id) if purpose is not None else None
    if code is None:
        raise dead_link(_("Sign in"), "/login")
    return page("code_elsewhere.html", code=code)


def dead_link(way: str, path: str) -> PageError:
    """Return the page for a link that was used or is too old.

    Args:
        way, path: the label and the path of a link to continue.
    """
    return PageError(
        _("This link no longer works"),
        _("The link was already used or has expired."),
        way_out=((way, path),),
        template="flow_gone.html",
    )
