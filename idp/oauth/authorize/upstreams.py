"""The upstreams that the user of an authorization request may sign in with."""

from idp.federation import realms
from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.clients.models import Client


def offered(asked: AuthorizationRequest, client: Client, email: str | None = None) -> list[str]:
    """Return their ids.

    Args:
        email: the address that the user entered. By default that of ``login_hint``.
    """
    hint = (email or asked.login_hint).strip().lower()
    return [upstream.id for upstream in realms.offered(client.upstreams, hint, asked.organization)]
