"""Request and response bodies of the operations on initial access tokens."""

from datetime import datetime
from uuid import UUID

from idp.admin.api.models.base import Sent, Shown
from idp.oauth.clients.dynamic.ceiling import USER_GRANTS
from idp.oauth.clients.dynamic.initial_tokens import DEFAULT_LIFETIME
from idp.oauth.scopes import SELF_SERVICE_SCOPES


class InitialAccessToken(Shown):
    """A token that registers clients, without its value. ``redirect_hosts`` is empty if any host is allowed."""

    id: UUID
    name: str
    uses_left: int
    scopes: list[str]
    grant_types: list[str]
    redirect_hosts: list[str]
    require_pkce: bool
    created_at: datetime
    expires_at: datetime


class NewInitialAccessToken(Sent):
    """``uses`` is the number of registrations, and ``lifetime`` in seconds. The other members are the ceiling of its
    clients.
    """

    name: str
    uses: int = 1
    lifetime: int = DEFAULT_LIFETIME
    scopes: tuple[str, ...] = SELF_SERVICE_SCOPES
    grant_types: tuple[str, ...] = USER_GRANTS
    redirect_hosts: tuple[str, ...] = ()
    require_pkce: bool = True


class NewToken(Shown):
    """An initial access token, which is shown only this once."""

    id: UUID
    initial_access_token: str
