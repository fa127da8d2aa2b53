"""Users whose password is that of a directory. They have none here, so none is set here."""

from uuid import UUID

from idp.accounts.tables import User
from idp.federation import repository
from idp.federation.ldap.option_names import PREFIX
from idp.federation.registry import upstreams


def is_directory(issuer: str) -> bool:
    """Return whether an identity is one of a directory, also if that is disabled or deleted."""
    return issuer.startswith(PREFIX)


async def directory_of(user: User) -> str | None:
    """Return the name of the directory that has the password of a user. None: the user has one here, or none at all."""
    return await directory_of_id(user.id) if user.password_hash is None else None


async def directory_of_id(user_id: UUID) -> str | None:
    """Return the name of the directory that an account is linked to, or the id of one that is disabled or deleted.

    A user who chose a password here while it is disabled would be none of those whom it is asked about later.
    """
    for identity in await repository.identities_of(user_id):
        if is_directory(identity.issuer):
            known = upstreams.get(identity.upstream_id)
            return known.name if known is not None else identity.upstream_id
    return None
