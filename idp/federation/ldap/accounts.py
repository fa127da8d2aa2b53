"""Users whose password is that of a directory. They have none here, so none is set here."""

from uuid import UUID

from idp.accounts.tables import User
from idp.federation import repository
from idp.federation.models import Upstream
from idp.federation.registry import upstreams


async def directory_of(user: User) -> Upstream | None:
    """Return the directory that has the password of a user. None: the user has one here, or none at all."""
    return await directory_of_id(user.id) if user.password_hash is None else None


async def directory_of_id(user_id: UUID) -> Upstream | None:
    """Return the directory that an account is linked to."""
    issuers = {identity.issuer for identity in await repository.identities_of(user_id)}
    return next((upstream for upstream in upstreams.directories(None) if upstream.issuer in issuers), None)
