"""The grant of a user: the content of tokens."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.details.granted import from_json, to_json
from idp.oauth.details.requested import allowed_type


class Grant(msgspec.Struct, frozen=True):
    """The authorization of a redeemed code or a rotated refresh token.

    Attributes:
        auth_age: the seconds by which the proof was older than the sign-in at ``auth_time``; None: unknown.
        organization_id: the organization that the user signed in for.
        directory_version: the version of what the user was given (:mod:`idp.directory.effective`), as of the statement
            that returned the grant; None: unknown.
    """

    family_id: UUID
    user_id: UUID
    session_id: UUID | None
    scope: str
    resource: Sequence[str]
    claims: str | None
    authorization_details: str | None
    nonce: str | None
    auth_time: datetime
    auth_age: int | None
    amr: Sequence[str]
    acr: str
    organization_id: UUID | None = None
    directory_version: int | None = None

    @property
    def proved_at(self) -> datetime | None:
        """When the user proved their identity; None: unknown."""
        return None if self.auth_age is None else self.auth_time - timedelta(seconds=self.auth_age)

    @property
    def authentication_claims(self) -> dict[str, Any]:
        """Return ``acr``, ``amr`` and, if known, ``auth_time`` (OpenID Connect Core section 2)."""
        claims = {"acr": self.acr, "amr": list(self.amr)}
        if self.auth_age is None:
            return claims
        return claims | {"auth_time": int(self.auth_time.timestamp()) - self.auth_age}


def within_registration(grant: Grant, client: Client) -> Grant:
    """Return the grant without the scopes, resources and authorization details that its client may no longer have.

    What is stored stays, so that what the client gets back is in its tokens again.
    """
    scopes, details = client.scopes, from_json(grant.authorization_details)
    return msgspec.structs.replace(
        grant,
        scope=" ".join(name for name in grant.scope.split() if name in scopes),
        resource=[name for name in grant.resource if registry.may_access(client, name)],
        authorization_details=to_json(tuple(detail for detail in details if allowed_type(detail, client))),
    )
