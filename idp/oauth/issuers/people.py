"""Who a verified token of a trusted issuer is about."""

from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from idp.accounts.addresses import InvalidEmailError, is_same_spelling, normalise_email
from idp.accounts.repository.users import user_by_email
from idp.federation import linking
from idp.federation.linking import ExternalIdentity
from idp.federation.repository import owner_of_identity
from idp.infra.db.engine import transaction
from idp.oauth.issuers.models import SubjectSource, TrustedIssuer
from idp.signin.factors.repository import delete_factors


async def find_user(issuer: TrustedIssuer, subject: str, claims: dict[str, Any]) -> UUID | None:
    """Return the user to whom an identity is linked, or whom the rule of its issuer finds or creates by their address.

    The user may be disabled.
    """
    user_id = await owner_of_identity(issuer.issuer, subject)
    email = _vouched_email(issuer, claims)
    if user_id is not None or email is None:
        return user_id
    user = await user_by_email(email)
    if user is not None and user.email_verified:
        return user.id if issuer.subject is SubjectSource.EMAIL else None
    return await _create(issuer, subject, email) if issuer.create_users else None


def _vouched_email(issuer: TrustedIssuer, claims: dict[str, Any]) -> str | None:
    """Return the address that a token calls verified, if it is in a domain that the issuer vouches for."""
    text = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(text, str):
        return None
    try:
        email = normalise_email(text)
    except InvalidEmailError:
        return None
    vouched = email.rpartition("@")[2] in issuer.email_domains
    return email if vouched and is_same_spelling(text, email) else None


async def _create(issuer: TrustedIssuer, subject: str, email: str) -> UUID | None:
    """Create a user with this address. Returns None if another user has it."""
    name = urlsplit(issuer.issuer).hostname or issuer.issuer
    async with transaction():
        await linking.release_email(email, delete_factors)
        return await linking.create_user(ExternalIdentity(name, issuer.issuer, subject, email, True, {}))
