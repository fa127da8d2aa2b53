"""Requests whose response the client gets at the token endpoint, where it polls for it, and not through the browser.

Sign-in, its required level, and consent are those of every authorization request: the authorization endpoint asks this
table only what to do at the end. There is one entry for each grant of this kind.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from idp.infra.i18n import gettext as _
from idp.oauth.authorize.request import AuthorizationRequest, PolledRequest
from idp.oauth.clients.models import Client
from idp.oauth.device import codes
from idp.oauth.device import service as device
from idp.signin.sessions import SignedIn


class PolledGrant(NamedTuple):
    """The end of a request of one grant.

    Attributes:
        approve, deny: store the decision, in the transaction that finishes the request. A denial may come before the
            user is signed in.
        approved, denied: the paths of the pages that the browser ends at.
        destination: a sentence for the consent page: who gets access.
    """

    approve: Callable[[AuthorizationRequest, Client, SignedIn], Awaitable[None]]
    deny: Callable[[AuthorizationRequest, SignedIn | None], Awaitable[None]]
    approved: str
    denied: str
    destination: Callable[[], str]


GRANTS = {
    codes.GRANT_TYPE: PolledGrant(
        device.approve,
        device.deny,
        "/device/approved",
        "/device/denied",
        lambda: _("You then return to the device that showed you the code. It stays signed in."),
    ),
}


def may_still(polled: PolledRequest, client: Client) -> bool:
    """Return whether a client still has the grant of its request."""
    return polled.grant_type in client.grant_types
