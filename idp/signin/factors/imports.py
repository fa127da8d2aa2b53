"""Imports authenticator apps and identities at upstream providers."""

from collections.abc import Sequence
from uuid import UUID

from idp.accounts.import_models import Identity
from idp.federation import linking
from idp.signin.factors import totp
from idp.signin.factors.repository import delete_factors


async def store(user_id: UUID, totp_secret: str | None, identities: Sequence[Identity]) -> bool:
    """Store the imported app and identities of a user, in the caller's transaction. Returns whether it stored the app.

    A user who has an app keeps it.
    """
    stored = totp_secret is not None and await totp.import_secret(user_id, totp_secret)
    for identity in identities:
        await linking.import_identity(user_id, identity.issuer, identity.subject, identity.upstream)
    return stored


async def release(email: str) -> None:
    """Take an address from an account that never proved it, in the caller's transaction."""
    await linking.release_email(email, delete_factors)
