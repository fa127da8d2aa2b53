"""The statements on providers, identities and pending authorization requests (docs/decisions/0045-repositories.md)."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from idp import ids
from idp.accounts.repository.users import emails_by_id
from idp.federation.tables import UpstreamAttempt
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.expiring import Expiring
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one

EXPIRING = (Expiring(UpstreamAttempt, "1 hour"),)

# Providers

_UPSTREAMS = """
    SELECT id, organization_id, config, client_secret, disabled_at FROM upstream ORDER BY position, created_at, id
"""
_HAS_UPSTREAM = "SELECT FROM upstream WHERE organization_id = $1 AND disabled_at IS NULL LIMIT 1"
_INSERT_UPSTREAM = """
    INSERT INTO upstream (id, config, client_secret, organization_id, disabled_at, position, created_at)
    SELECT $1, $2, $3, $4, CASE WHEN $5::boolean THEN now() END, coalesce(max(position), 0) + 1, now() FROM upstream
    ON CONFLICT (id) DO NOTHING
"""
_REORDER_UPSTREAMS = """
    UPDATE upstream SET position = given.place FROM unnest($1::text[]) WITH ORDINALITY AS given (id, place)
    WHERE upstream.id = given.id
"""
_UPDATE_UPSTREAM = """
    UPDATE upstream
    SET config = $2, client_secret = coalesce($3, client_secret), tested_at = NULL, findings = NULL, updated_at = now()
    WHERE id = $1 AND ($4::timestamptz IS NULL OR updated_at = $4)
"""
_VERSION = "SELECT updated_at FROM upstream WHERE id = $1"
_STORE_TEST = "UPDATE upstream SET tested_at = now(), findings = $2 WHERE id = $1 AND updated_at = $3"
_DELETE_UPSTREAM = "DELETE FROM upstream WHERE id = $1 AND ($2::timestamptz IS NULL OR updated_at = $2)"
_DISABLE_UPSTREAM = "UPDATE upstream SET disabled_at = now(), updated_at = now() WHERE id = $1 AND disabled_at IS NULL"
_ENABLE_UPSTREAM = """
    UPDATE upstream SET disabled_at = NULL, updated_at = now() WHERE id = $1 AND disabled_at IS NOT NULL
"""


class StoredUpstream(msgspec.Struct, frozen=True):
    """A provider: its configuration as JSON, and its encrypted client secret."""

    id: str
    organization_id: UUID | None
    config: str
    client_secret: bytes | None
    disabled_at: datetime | None


async def upstreams() -> list[StoredUpstream]:
    """Return all providers, including disabled ones, in display order."""
    return many(StoredUpstream, await fetch(_UPSTREAMS))


async def has_upstream(organization_id: UUID) -> bool:
    """Return whether an organization has a provider that is enabled."""
    return await fetchrow(_HAS_UPSTREAM, organization_id) is not None


async def insert_upstream(
    id: str, config: str, client_secret: bytes | None, organization_id: UUID | None, *, disabled: bool
) -> bool:
    """Add a provider at the end. Returns False if the id is taken."""
    return bool(await execute(_INSERT_UPSTREAM, id, config, client_secret, organization_id, disabled))


async def update_upstream(id: str, config: str, client_secret: bytes | None, expected: datetime | None) -> bool:
    """Replace a configuration. None as ``client_secret`` keeps the secret.

    Args:
        expected: if given, the provider must not have changed since.
    """
    return bool(await execute(_UPDATE_UPSTREAM, id, config, client_secret, expected))


async def version_of_upstream(id: str) -> datetime | None:
    """Return the ``updated_at`` of a provider; None if there is none."""
    row = await fetchrow(_VERSION, id)
    return row["updated_at"] if row is not None else None


async def store_test(id: str, findings: str, expected: datetime) -> bool:
    """Store the findings of a test, as JSON. Returns False if the provider has changed since ``expected``."""
    return bool(await execute(_STORE_TEST, id, findings, expected))


async def delete_upstream(id: str, expected: datetime | None) -> bool:
    """Delete a provider. ``expected`` is as for :func:`update_upstream`."""
    return bool(await execute(_DELETE_UPSTREAM, id, expected))


async def reorder_upstreams(upstream_ids: Sequence[str]) -> int:
    """Number the providers in this order. Returns how many of them exist."""
    return await execute(_REORDER_UPSTREAMS, upstream_ids)


async def disable_upstream(id: str) -> bool:
    """Disable a provider. Returns whether this call changed it."""
    return bool(await execute(_DISABLE_UPSTREAM, id))


async def enable_upstream(id: str) -> bool:
    """Enable a provider. Returns whether this call changed it."""
    return bool(await execute(_ENABLE_UPSTREAM, id))


# Identities

# The lookup row is written in the same statement, and deleted with the identity (foreign key).
_OWNER = "SELECT user_id FROM upstream_subject WHERE issuer = $1 AND subject = $2"
_USE_IDENTITY = """
    UPDATE identity AS i SET last_used_at = now(), email = $4, tokens = coalesce($5, i.tokens), upstream_id = $6
    FROM users AS u
    WHERE i.user_id = $1 AND i.issuer = $2 AND i.subject = $3 AND (i.upstream_id = $6 OR NOT $7) AND u.id = $1
    RETURNING u.disabled_at IS NULL AS enabled
"""
_INSERT_IDENTITY = """
    WITH taken AS (
        INSERT INTO upstream_subject (issuer, subject, user_id) VALUES ($3, $4, $1)
        ON CONFLICT (issuer, subject) DO NOTHING RETURNING user_id
    )
    INSERT INTO identity (user_id, id, issuer, subject, upstream_id, email, tokens, created_at, last_used_at)
    SELECT user_id, $2, $3, $4, $5, $6, $7, now(), CASE WHEN $8::boolean THEN now() END FROM taken
"""
_OWNERS = """
    SELECT issuer, subject, user_id FROM upstream_subject
    WHERE (issuer, subject) IN (SELECT * FROM unnest($1::text[], $2::text[]))
"""
_IDENTITIES = """
    SELECT id, upstream_id, issuer, subject, email, created_at, last_used_at FROM identity
    WHERE user_id = $1 ORDER BY id
"""
_LAST_USED = "SELECT upstream_id FROM identity WHERE user_id = $1 ORDER BY last_used_at DESC NULLS LAST LIMIT 1"
_USERS_AT_UPSTREAM = "SELECT DISTINCT user_id FROM identity WHERE user_id = ANY ($1) AND upstream_id = $2"
# $2 null: all
_DELETE_IDENTITIES = """
    WITH gone AS (
        DELETE FROM identity WHERE user_id = $1 AND ($2::uuid IS NULL OR id = $2)
        RETURNING issuer, subject, upstream_id
    ), known AS (
        DELETE FROM upstream_subject AS s USING gone WHERE s.issuer = gone.issuer AND s.subject = gone.subject
    )
    SELECT upstream_id FROM gone
"""
_DELETE_TOKENS = "UPDATE identity SET tokens = NULL WHERE upstream_id = $1 AND tokens IS NOT NULL"


class IdentityOwner(msgspec.Struct, frozen=True):
    """The user of an identity."""

    user_id: UUID
    enabled: bool


class _Enabled(msgspec.Struct, frozen=True):
    enabled: bool


class LinkedIdentity(msgspec.Struct, frozen=True):
    """An identity as users and administrators see it."""

    id: UUID
    upstream_id: str
    issuer: str
    subject: str
    email: str | None
    created_at: datetime
    last_used_at: datetime | None


class _Owner(msgspec.Struct, frozen=True):
    issuer: str
    subject: str
    user_id: UUID


async def use_identity(
    user_id: UUID,
    issuer: str,
    subject: str,
    *,
    email: str | None,
    tokens: bytes | None,
    upstream_id: str,
    linked_by_it: bool = False,
) -> IdentityOwner | None:
    """Record that an identity of a user was used. Returns None if the user does not have it.

    Args:
        tokens: the encrypted tokens; None keeps the stored ones.
        linked_by_it: only an identity that this upstream linked or used last.
    """
    row = await fetchrow(_USE_IDENTITY, user_id, issuer, subject, email, tokens, upstream_id, linked_by_it)
    found = one(_Enabled, row)
    return IdentityOwner(user_id, found.enabled) if found is not None else None


async def insert_identity(
    user_id: UUID,
    issuer: str,
    subject: str,
    *,
    upstream_id: str,
    email: str | None = None,
    tokens: bytes | None = None,
    used: bool = True,
) -> bool:
    """Link an identity. Returns False if a user has it already.

    Args:
        used: whether it was used now.
    """
    return bool(
        await execute(_INSERT_IDENTITY, user_id, ids.uuid7(), issuer, subject, upstream_id, email, tokens, used)
    )  # fmt: skip


async def owner_of_identity(issuer: str, subject: str) -> UUID | None:
    """Return the user of an identity."""
    row = await fetchrow(_OWNER, issuer, subject)
    return UUID(str(row["user_id"])) if row is not None else None


async def emails_of_identities(identities: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the addresses of the users who have these identities, by issuer and subject."""
    issuers, subjects = [issuer for issuer, _ in identities], [subject for _, subject in identities]
    found = many(_Owner, await fetch(_OWNERS, issuers, subjects))
    emails = await emails_by_id({row.user_id for row in found})
    return {(row.issuer, row.subject): emails[row.user_id] for row in found if row.user_id in emails}


async def identities_of(user_id: UUID) -> list[LinkedIdentity]:
    """Return the identities of a user, oldest first."""
    return many(LinkedIdentity, await fetch(_IDENTITIES, user_id))


async def users_at_upstream(users: Sequence[UUID], upstream_id: str) -> list[UUID]:
    """Return those of these users who have an identity at a provider."""
    return [row["user_id"] for row in await fetch(_USERS_AT_UPSTREAM, users, upstream_id)]


async def last_used_upstream(user_id: UUID) -> str | None:
    """Return the id of the upstream of the identity that a user used last."""
    row = await fetchrow(_LAST_USED, user_id)
    return row["upstream_id"] if row is not None else None


async def delete_identity(user_id: UUID, identity_id: UUID) -> str | None:
    """Delete an identity of a user. Returns the id of its upstream, or None if there is no such identity."""
    row = await fetchrow(_DELETE_IDENTITIES, user_id, identity_id)
    return row["upstream_id"] if row is not None else None


async def delete_identities(user_id: UUID) -> int:
    """Delete all identities of a user. Returns their number."""
    return len(await fetch(_DELETE_IDENTITIES, user_id, None))


async def delete_tokens_of_upstream(upstream_id: str) -> int:
    """Delete the stored tokens of a provider. Returns the number of identities that had some."""
    return await execute(_DELETE_TOKENS, upstream_id)


# Pending authorization requests

_INSERT_REQUEST = """
    INSERT INTO upstream_attempt
        (state_hash, upstream_id, flow_id, session_id, acr, auth_after, created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, now() - make_interval(secs => $6), now(), now() + make_interval(secs => $7))
    RETURNING flow_id, session_id, acr, auth_after
"""
_LIVE = "state_hash = $1 AND upstream_id = $2 AND consumed_at IS NULL AND expires_at > now()"
_FIND_REQUEST = f"SELECT flow_id, session_id, acr, auth_after FROM upstream_attempt WHERE {_LIVE}"  # noqa: S608
_CONSUME_REQUEST = f"UPDATE upstream_attempt SET consumed_at = now() WHERE {_LIVE}"  # noqa: S608
_CONSUME_OF_UPSTREAM = """
    UPDATE upstream_attempt SET consumed_at = now() WHERE upstream_id = $1 AND consumed_at IS NULL
"""

_FLOWS_OF_UPSTREAM = "SELECT flow_id FROM upstream_attempt WHERE upstream_id = $1 AND flow_id IS NOT NULL"
_CONSUME_OF_SESSIONS = """
    UPDATE upstream_attempt SET consumed_at = now() WHERE session_id = ANY($1::uuid[]) AND consumed_at IS NULL
"""


class PendingRequest(msgspec.Struct, frozen=True):
    """A pending authorization request. Either ``flow_id`` or ``session_id`` names its owner."""

    flow_id: str | None
    session_id: UUID | None
    acr: str | None
    auth_after: datetime | None


async def insert_request(
    state_hash: bytes,
    upstream_id: str,
    *,
    flow_id: str | None,
    session_id: UUID | None,
    acr: str | None,
    max_age: float | None,
    lifetime: float,
) -> PendingRequest:
    """Insert a request.

    Args:
        max_age: maximum age of the sign-in at the provider in seconds.
        lifetime: in seconds.
    """
    row = await fetchrow(_INSERT_REQUEST, state_hash, upstream_id, flow_id, session_id, acr, max_age, lifetime)
    stored = one(PendingRequest, row)
    assert stored is not None  # noqa: S101 -- INSERT … RETURNING returns the row
    return stored


async def find_request(state_hash: bytes, upstream_id: str) -> PendingRequest | None:
    """Return a request that is neither consumed nor expired."""
    return one(PendingRequest, await fetchrow(_FIND_REQUEST, state_hash, upstream_id))


async def consume_request(state_hash: bytes, upstream_id: str) -> bool:
    """Consume a request. Returns False if it was already consumed or has expired."""
    return bool(await execute(_CONSUME_REQUEST, state_hash, upstream_id))


async def consume_requests_of_upstream(upstream_id: str) -> int:
    """Consume all requests to a provider. Returns their number."""
    return await execute(_CONSUME_OF_UPSTREAM, upstream_id)


async def flows_of_upstream(upstream_id: str) -> list[str]:
    """Return the sign-in flows that have sent a browser to a provider, consumed requests included."""
    return [row["flow_id"] for row in await fetch(_FLOWS_OF_UPSTREAM, upstream_id)]


async def consume_requests_of_sessions(session_ids: Sequence[UUID]) -> int:
    """Consume the requests that would link an identity in these sessions. Returns their number."""
    return await execute(_CONSUME_OF_SESSIONS, session_ids)


async def consume_all_requests() -> int:
    """Consume all requests. Returns their number."""
    return await execute("UPDATE upstream_attempt SET consumed_at = now() WHERE consumed_at IS NULL")


# The list for administrators

UPSTREAMS = Listing(
    source="upstream AS p",
    columns="p.id, p.organization_id, p.config, p.position, p.client_secret IS NOT NULL AS has_client_secret,"
    " p.created_at, p.updated_at, p.disabled_at, p.tested_at, p.findings",
    key=Sort("p.id", "text"),
    sorts={"position": Sort("p.position", "int")},
    default_sort="position",
    filters={
        "id": Filter("p.id = {}", help="One upstream."),
        "organization_id": Filter("p.organization_id = {}", "uuid", "Of one organization."),
        "disabled": Filter("(p.disabled_at IS NOT NULL) = {}", "boolean", "Whether it is disabled."),
    },
)
