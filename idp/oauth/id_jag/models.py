"""A policy of identity assertions."""

from datetime import datetime
from uuid import UUID

import msgspec


class IdJagPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """For whom a client gets identity assertions. It is never changed, so that its id in the trail keeps its meaning.

    Attributes:
        client_id: the client here.
        audience: the issuer of the authorization server that the assertions are for.
        audience_client_id: the ``client_id`` of the client there.
        relying_party: the client by which that server signs users in here: it knows a user by the ``sub`` for this
            client. None: by the public one.
        resources: the resources there that may be named.
        scope: the scopes there that may be asked for.
        email: whether the assertion has the address of the user.
        email_domains: the domains of users with a verified address; empty: all users.
        user_ids: the users; empty: all.
        acr: the level that the sign-in must have reached; None: any.
    """

    id: UUID
    client_id: str
    audience: str
    audience_client_id: str
    relying_party: str | None = None
    resources: tuple[str, ...] = ()
    scope: str = ""
    email: bool = False
    email_domains: tuple[str, ...] = ()
    user_ids: tuple[UUID, ...] = ()
    acr: str | None = None
    created_at: datetime
