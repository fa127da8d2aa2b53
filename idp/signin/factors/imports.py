"""Imports authenticator apps and identities at upstream providers."""

from collections.abc import Sequence
from uuid import UUID

from idp.accounts.imports import Identity
from idp.federation import linking
from idp.signin.factors import totp


async def store(user_id: UUID, totp_secret: str | None, identities: Sequence[Identity]) -> None:
    """Store the imported app and identities of a new user, in the caller's transaction."""
    if totp_secret is not None:
        await totp.import_secret(user_id, totp_secret)
    for identity in identities:
        await linking.import_identity(user_id, identity.issuer, identity.subject, identity.upstream)
