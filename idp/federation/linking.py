"""Links identities at providers to users, by issuer and subject. An email address never links an existing account."""

import json
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import msgspec

from idp import ids
from idp.accounts.tables import Origin, User, user_by_id
from idp.accounts.users import insert_user
from idp.audit.events import record
from idp.errors import ProofError
from idp.federation.models import UserInfo
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.i18n import locale
from idp.keys import vault
from idp.mail import outbox
from idp.reasons import Reason

_USE = """
    UPDATE identity AS i SET last_used_at = now(), email = $3, tokens = coalesce($4, i.tokens), upstream_id = $5
    FROM users AS u
    WHERE i.issuer = $1 AND i.subject = $2 AND u.id = i.user_id RETURNING i.user_id, u.disabled_at IS NULL AS enabled
"""
_INSERT = """
    INSERT INTO identity (id, issuer, subject, user_id, upstream_id, email, tokens, created_at, last_used_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, now(), now()) ON CONFLICT (issuer, subject) DO NOTHING
"""
_KEEP = """
    INSERT INTO identity (id, issuer, subject, user_id, upstream_id, created_at)
    VALUES ($1, $2, $3, $4, $5, now()) ON CONFLICT (issuer, subject) DO NOTHING
"""
_OWNER = "SELECT user_id FROM identity WHERE issuer = $1 AND subject = $2"
_LIST = "SELECT id, upstream_id, issuer, email, created_at, last_used_at FROM identity WHERE user_id = $1 ORDER BY id"
# Accounts that anybody could have created with an address that they do not own. Accounts that the operator created,
# imported or gave a role are excluded, and so are accounts with a verified address.
_CLAIMED = f"""
    NOT u.email_verified AND u.origin IN ('{Origin.REGISTRATION}', '{Origin.UPSTREAM}')
    AND NOT EXISTS (SELECT FROM admin_role WHERE user_id = u.id)
"""
_OWNED = f"SELECT u.id FROM users AS u WHERE u.email = $1 AND NOT ({_CLAIMED})"  # noqa: S608
_VOID = f"""
    UPDATE users AS u
    SET email = u.id || '@voided.invalid', disabled_at = coalesce(u.disabled_at, now()), password_hash = NULL
    WHERE u.email = $1 AND {_CLAIMED} RETURNING u.id
"""  # noqa: S608
# The last way to sign in is not removed. The user is locked, so that two concurrent calls do not remove both.
_UNLINK = """
    WITH held AS (SELECT id, password_hash, email_verified FROM users WHERE id = $1 FOR UPDATE)
    DELETE FROM identity AS i USING held WHERE i.id = $2 AND i.user_id = held.id AND (
        held.password_hash IS NOT NULL OR ($3 AND held.email_verified)
        OR EXISTS (SELECT FROM passkey WHERE user_id = held.id)
        OR EXISTS (SELECT FROM identity AS o WHERE o.user_id = held.id AND o.id <> i.id)
    ) RETURNING i.upstream_id
"""


class AccountDisabledError(ProofError):
    """The account is disabled."""

    reason = Reason.USER_DISABLED


class ExternalIdentity(msgspec.Struct, frozen=True):
    """An identity that a provider confirmed, stored in the flow until the sign-in completes.

    Attributes:
        email: the address, verified or not.
        email_verified: the address was verified by a trusted provider or by our mail.
        tokens: the provider's tokens, encrypted, if they are to be stored.
        auth_time: time of the sign-in at the provider in seconds since the epoch, if the provider reports it.
    """

    upstream_id: str
    issuer: str
    subject: str
    email: str | None
    email_verified: bool
    claims: dict[str, str]
    two_factors: bool = False
    tokens: bytes | None = None
    auth_time: int | None = None


def external_identity(upstream_id: str, person: UserInfo, *, keep_tokens: bool) -> ExternalIdentity:
    """Return the part of a provider's response that is stored."""
    tokens = None
    if keep_tokens and person.tokens is not None:
        # json escapes lone surrogates, which msgspec cannot encode.
        tokens = vault.seal(json.dumps(person.tokens).encode(), _context(person.issuer, person.subject))
    return ExternalIdentity(
        upstream_id, person.issuer, person.subject, person.email, person.email_verified, person.claims,
        person.two_factors, tokens, person.auth_time,
    )  # fmt: skip


def _context(issuer: str, subject: str) -> str:
    return f"identity.tokens:{issuer} {subject}"


async def find_user(somebody: ExternalIdentity) -> UUID | None:
    """Return the user of an identity, or None, and record that it was used.

    Raises:
        AccountDisabledError: the user is disabled.
    """
    row = await fetchrow(_USE, somebody.issuer, somebody.subject, somebody.email, somebody.tokens, somebody.upstream_id)
    if row is None:
        return None
    if not row["enabled"]:
        raise AccountDisabledError
    return UUID(str(row["user_id"]))


async def link(user_id: UUID, somebody: ExternalIdentity) -> bool:
    """Link an identity to a user, in the caller's transaction. Returns False if another user has it."""
    inserted = await execute(
        _INSERT, ids.uuid7(), somebody.issuer, somebody.subject, user_id, somebody.upstream_id, somebody.email,
        somebody.tokens,
    )  # fmt: skip
    if not inserted:
        row = await fetchrow(_OWNER, somebody.issuer, somebody.subject)
        return row is not None and row["user_id"] == user_id
    await record("identity_linked", user_id=user_id, detail={"upstream": somebody.upstream_id})
    return True


async def import_identity(user_id: UUID, issuer: str, subject: str, upstream_id: str | None) -> None:
    """Link an imported identity to a new user, in the caller's transaction.

    Args:
        upstream_id: None: the host of the issuer is shown as the name until the first sign-in.
    """
    name = upstream_id or urlsplit(issuer).hostname or issuer
    await execute(_KEEP, ids.uuid7(), issuer, subject, user_id, name)


async def create_user(somebody: ExternalIdentity) -> UUID | None:
    """Create a user with a verified address and the provider's claims, and link the identity.

    Runs in the caller's transaction. Returns None if another user has the address.
    """
    assert somebody.email is not None and somebody.email_verified  # noqa: S101, PT018
    claims: dict[str, Any] = {"locale": locale.get()} | somebody.claims
    user = User(email=somebody.email, email_verified=True, origin=Origin.UPSTREAM, **claims)
    if not await insert_user(user):
        return None
    await outbox.queue(somebody.email, "welcome", name=user.name)
    await link(user.id, somebody)
    return user.id


async def find_email_owner(email: str) -> UUID | None:
    """Return the user who owns an address: it is verified, or the operator assigned it."""
    row = await fetchrow(_OWNED, email)
    return row["id"] if row is not None else None


async def release_email(email: str) -> None:
    """Remove an address from an account that registered with it and never verified it.

    Runs in the caller's transaction. The account stays, disabled and without credentials, so that the operator can
    inspect it. Other accounts are not changed (:data:`_CLAIMED`).
    """
    row = await fetchrow(_VOID, email)
    if row is None:
        return
    for table in ("passkey", "totp", "recovery_code", "identity"):
        await execute(f"DELETE FROM {table} WHERE user_id = $1", row["id"])  # noqa: S608
    await record("account_voided", user_id=row["id"])


async def list_identities(user_id: UUID) -> list[asyncpg.Record]:
    """Return the identities of a user, oldest first."""
    return await fetch(_LIST, user_id)


async def unlink(user_id: UUID, identity_id: UUID, *, by_mail: bool) -> str | None:
    """Unlink an identity unless it is the last way to sign in. Runs in the caller's transaction.

    Args:
        by_mail: sign-in by email code is enabled.

    Returns:
        the id of the upstream; None if nothing was unlinked.
    """
    row = await fetchrow(_UNLINK, user_id, identity_id, by_mail)
    if row is None:
        return None
    await record("identity_unlinked", user_id=user_id, detail={"upstream": row["upstream_id"]})
    return str(row["upstream_id"])


async def notify(user_id: UUID, template: str, upstream_name: str) -> None:
    """Mail a user that an identity was linked or unlinked."""
    user = await user_by_id(user_id)
    if user is not None:
        await outbox.queue(user.email, template, name=user.name, upstream=upstream_name)
