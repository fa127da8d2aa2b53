"""The statements on users, their addresses and roles, email proofs and invitations.

The address of a user is in ``users`` and in the lookup ``user_email``: what changes one changes both, in one statement
(docs/decisions/0045-repositories.md, 0049-lookups-by-person.md).
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from idp import ids
from idp.accounts.claims import TEXT_CLAIMS, VERIFICATION_CLAIMS
from idp.accounts.tables import AdminRole, EmailProof, Invitation, Origin, User
from idp.infra.db.columns import all_columns
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.expiring import Expiring
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one

EXPIRING = (Expiring(EmailProof, "1 hour"), Expiring(Invitation, "30 days"))

# Users

_ID_OF_EMAIL = "SELECT user_id AS id FROM user_email WHERE email = $1"
_BY_ID = f"SELECT {all_columns(User)} FROM users WHERE id = $1"  # noqa: S608
_LOCK = "SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE"
_LOCK_WITH_PASSWORD = """
    SELECT FROM users WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL FOR NO KEY UPDATE
"""
_UPGRADE_PASSWORD_HASH = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2"
_CONFIRM_EMAIL = "UPDATE users SET email_verified = true WHERE id = $1 AND email = $2 AND disabled_at IS NULL"
_SET_TWO_STEP = "UPDATE users SET two_step = $2 WHERE id = $1 AND two_step <> $2"
_SET_PASSWORD = "UPDATE users SET password_hash = $2, password_changed_at = now() WHERE id = $1"
# The mail verifies the address. A disabled user stays disabled.
_RESET_PASSWORD = """
    UPDATE users SET password_hash = $3, password_changed_at = now(), email_verified = true
    WHERE id = $1 AND email = $2 AND disabled_at IS NULL RETURNING name
"""
_DISABLE = "UPDATE users SET disabled_at = now(), updated_at = now() WHERE id = $1 AND disabled_at IS NULL"
_ENABLE = "UPDATE users SET disabled_at = NULL, updated_at = now() WHERE id = $1 AND disabled_at IS NOT NULL"
# Changes nothing if another user has the address.
_CHANGE_EMAIL = """
    WITH old AS (SELECT id, email, name FROM users WHERE id = $1 AND disabled_at IS NULL),
    taken AS (
        INSERT INTO user_email AS e (email, user_id) SELECT $2, id FROM old
        ON CONFLICT (email) DO UPDATE SET user_id = EXCLUDED.user_id WHERE e.user_id = EXCLUDED.user_id
        RETURNING user_id
    ),
    released AS (DELETE FROM user_email AS e USING taken WHERE e.user_id = taken.user_id AND e.email <> $2)
    UPDATE users AS u SET email = $2, email_verified = true, updated_at = now() FROM old, taken
    WHERE u.id = $1 AND old.id = u.id AND taken.user_id = u.id
    RETURNING old.email AS before, u.name
"""
#: The text claims that users change themselves, in the order of the parameters of the statement.
_PROFILE = tuple(sorted(TEXT_CLAIMS - {"email"}))
_SET_PROFILE = ", ".join(f"{name} = ${number}" for number, name in enumerate(_PROFILE, 4))
_PHONE = f"${_PROFILE.index('phone_number') + 4}"
# A changed phone number is no longer verified.
_UPDATE_PROFILE = f"""
    UPDATE users SET {_SET_PROFILE}, address = $3, updated_at = now(),
        phone_number_verified = phone_number_verified AND phone_number IS NOT DISTINCT FROM {_PHONE}
    WHERE id = $1 AND updated_at = $2
"""  # noqa: S608
_GIVEN = ", ".join(
    sorted(TEXT_CLAIMS | VERIFICATION_CLAIMS.keys() | {"id", "address", "password_hash", "disabled_at", "two_step"})
)
# All users are one JSON parameter, which PostgreSQL converts to rows of the table. Those whose id or address exists are
# left out. The order avoids a deadlock of two imports.
_INSERT_USERS = f"""
    WITH given AS (SELECT {_GIVEN} FROM jsonb_populate_recordset(NULL::users, $1::jsonb)),
    taken AS (
        INSERT INTO user_email (email, user_id) SELECT email, id FROM given
        WHERE NOT EXISTS (SELECT FROM users WHERE users.id = given.id) ORDER BY email
        ON CONFLICT (email) DO NOTHING RETURNING user_id
    )
    INSERT INTO users ({_GIVEN}, origin, created_at, updated_at)
    SELECT {_GIVEN}, $2, now(), now() FROM given JOIN taken ON taken.user_id = given.id RETURNING id
"""  # noqa: S608
#: Above this number, users are estimated and not counted, so that a large table is not read.
_COUNTED = 10_000
_COUNT_USERS = f"""
    SELECT CASE WHEN found > {_COUNTED} THEN greatest(estimated, found) ELSE found END AS number,
           found > {_COUNTED} AS estimated
    FROM (SELECT (SELECT count(*) FROM (SELECT FROM users LIMIT {_COUNTED + 1}) AS u) AS found,
                 (SELECT reltuples::bigint FROM pg_class WHERE oid = 'users'::regclass) AS estimated) AS counts
"""  # noqa: S608
_COUNT_EMAILS = "SELECT count(*) FROM user_email WHERE email = ANY($1)"
_EMAILS_BY_ID = "SELECT id, email FROM users WHERE id = ANY($1)"
# Accounts that anyone could have created with another person's address. Accounts that the operator created, imported or
# gave a role are excluded, and so are accounts with a verified address.
_CLAIMED = f"""
    NOT u.email_verified AND u.origin IN ('{Origin.REGISTRATION}', '{Origin.UPSTREAM}')
    AND NOT EXISTS (SELECT FROM admin_role WHERE user_id = $1)
"""
_OWNS_EMAIL = f"SELECT u.id FROM users AS u WHERE u.id = $1 AND u.email = $2 AND NOT ({_CLAIMED})"  # noqa: S608
_RELEASE_EMAIL = f"""
    WITH voided AS (
        UPDATE users AS u
        SET email = u.id || '@voided.invalid', disabled_at = coalesce(u.disabled_at, now()), password_hash = NULL
        WHERE u.id = $1 AND u.email = $2 AND {_CLAIMED} RETURNING u.id, u.email
    ),
    taken AS (INSERT INTO user_email (email, user_id) SELECT email, id FROM voided)
    DELETE FROM user_email AS e USING voided WHERE e.email = $2 AND e.user_id = voided.id RETURNING voided.id
"""  # noqa: S608


class ChangedEmail(msgspec.Struct, frozen=True):
    """The address before a change, and the name of the user."""

    before: str
    name: str | None


class ListedUser(msgspec.Struct, frozen=True):
    """A user as the command line lists it."""

    id: UUID
    email: str
    email_verified: bool
    name: str | None
    created_at: datetime
    disabled_at: datetime | None


class UserCount(msgspec.Struct, frozen=True):
    """The number of users, and whether it is an estimate."""

    number: int
    estimated: bool


class _Id(msgspec.Struct, frozen=True):
    id: UUID


class _Email(msgspec.Struct, frozen=True):
    id: UUID
    email: str


class _Name(msgspec.Struct, frozen=True):
    name: str | None


async def id_of_email(email: str | None) -> UUID:
    """Return the id of the user of a normalised email address, disabled or not.

    For None and an unknown address it is a new id, which no user has: the caller then does the same work.
    """
    row = one(_Id, await fetchrow(_ID_OF_EMAIL, email))
    return row.id if row is not None else ids.uuid7()


async def user_by_email(email: str) -> User | None:
    """Return the user of a normalised email address, disabled or not."""
    user = await user_by_id(await id_of_email(email))
    # The address may have changed between the two statements.
    return user if user is not None and user.email == email else None


async def user_by_id(user_id: UUID) -> User | None:
    """Return a user, disabled or not."""
    return _user(await fetchrow(_BY_ID, user_id))


def _user(row: asyncpg.Record | None) -> User | None:
    # As Piccolo does, without building the query each time.
    return User(_exists_in_db=True, **row) if row is not None else None


async def latest_users(limit: int) -> list[ListedUser]:
    """Return the most recent users, newest first."""
    columns = (getattr(User, name) for name in ListedUser.__struct_fields__)
    return many(ListedUser, await User.select(*columns).order_by(User.id, ascending=False).limit(limit))


async def lock_user(user_id: UUID) -> bool:
    """Lock a user until the end of the transaction. Returns False if there is no such user.

    Every change of a credential locks its user, so that a change and a sign-in happen one after the other.
    """
    return await fetchrow(_LOCK, user_id) is not None


async def lock_users(user_ids: Collection[UUID]) -> None:
    """Lock several users, in the order of their ids, so that two transactions do not deadlock."""
    for user_id in sorted(user_ids):
        await lock_user(user_id)


async def lock_user_with_password(user_id: UUID, password_hash: str | None) -> bool:
    """As :func:`lock_user`. Returns whether the user is enabled and still has this password."""
    return await fetchrow(_LOCK_WITH_PASSWORD, user_id, password_hash) is not None


async def upgrade_password_hash(user_id: UUID, old: str | None, new: str) -> bool:
    """Replace the hash of a password by another hash of the same password, unless the password was changed."""
    return bool(await execute(_UPGRADE_PASSWORD_HASH, user_id, old, new))


async def confirm_email(user_id: UUID, email: str) -> bool:
    """Mark a user's address as verified. Returns False if the address is no longer theirs, or they are disabled."""
    return bool(await execute(_CONFIRM_EMAIL, user_id, email))


async def set_two_step(user_id: UUID, wanted: bool) -> bool:
    """Require a second factor for a user, or stop requiring it. Returns whether this changed something."""
    return bool(await execute(_SET_TWO_STEP, user_id, wanted))


async def insert_user(user: User) -> bool:
    """Insert a user. Returns False if the address is taken."""
    row = {name: getattr(user, name) for name in _GIVEN.split(", ")}
    row["address"] = msgspec.Raw(user.address) if user.address is not None else None
    user._exists_in_db = bool(await insert_users([row], Origin(user.origin)))
    return user._exists_in_db


async def set_password_hash(user_id: UUID, password_hash: str) -> bool:
    """Change the password hash. Returns False if there is no such user."""
    return bool(await execute(_SET_PASSWORD, user_id, password_hash))


async def reset_password(user_id: UUID, email: str, password_hash: str) -> tuple[bool, str | None]:
    """Change the password hash of an enabled user with this address, and verify the address.

    Returns:
        whether there is such a user, and their name.
    """
    row = one(_Name, await fetchrow(_RESET_PASSWORD, user_id, email, password_hash))
    return (True, row.name) if row is not None else (False, None)


async def disable_user(user_id: UUID) -> bool:
    """Disable a user. Returns whether this call changed it."""
    return bool(await execute(_DISABLE, user_id))


async def enable_user(user_id: UUID) -> bool:
    """Enable a user. Returns whether this call changed it."""
    return bool(await execute(_ENABLE, user_id))


async def change_email(user_id: UUID, email: str) -> ChangedEmail | None:
    """Set a verified address. Returns None if another user has it, or this user is disabled."""
    return one(ChangedEmail, await fetchrow(_CHANGE_EMAIL, user_id, email))


async def update_profile(
    user_id: UUID, expected: datetime, claims: Mapping[str, str | None], address: str | None
) -> bool:
    """Replace the profile. Returns False if the user has changed since ``expected``.

    Args:
        claims: every text claim except the email address.
        address: as JSON.
    """
    return bool(await execute(_UPDATE_PROFILE, user_id, expected, address, *(claims[name] for name in _PROFILE)))


async def delete_user(user_id: UUID) -> bool:
    """Delete a user and all rows that reference them. Returns False if there is no such user."""
    return bool(await execute("DELETE FROM users WHERE id = $1", user_id))


async def insert_users(rows: Sequence[Mapping[str, Any]], origin: Origin) -> set[UUID]:
    """Insert users, except those whose id or address exists. Returns the ids of the inserted ones."""
    inserted = await fetch(_INSERT_USERS, msgspec.json.encode(rows).decode(), origin)
    return {row.id for row in many(_Id, inserted)}


async def count_users() -> UserCount:
    """Return the number of users, estimated if they are more than 10,000."""
    count = one(UserCount, await fetchrow(_COUNT_USERS))
    assert count is not None  # noqa: S101 -- the statement returns one row
    return count


async def count_emails(emails: Collection[str]) -> int:
    """Return the number of users who have one of these addresses."""
    row = await fetchrow(_COUNT_EMAILS, list(emails))
    return int(row["count"]) if row is not None else 0


async def emails_by_id(user_ids: Collection[UUID]) -> dict[UUID, str]:
    """Return the addresses of those of these ids that exist."""
    return {row.id: row.email for row in many(_Email, await fetch(_EMAILS_BY_ID, list(user_ids)))}


async def owner_of_email(email: str) -> UUID | None:
    """Return the user who owns an address: it is verified, or the operator assigned it."""
    row = one(_Id, await fetchrow(_OWNS_EMAIL, await id_of_email(email), email))
    return row.id if row is not None else None


async def release_email(email: str) -> UUID | None:
    """Take an address from an account that registered with it and never verified it, and disable the account.

    Returns:
        the id of the account; None if no such account has the address.
    """
    row = one(_Id, await fetchrow(_RELEASE_EMAIL, await id_of_email(email), email))
    return row.id if row is not None else None


# Roles of administrators

_LOCK_ROLES = "SELECT role FROM admin_role WHERE user_id = $1 FOR SHARE"
_GRANT = """
    INSERT INTO admin_role (id, user_id, role, granted_by, granted_at)
    VALUES (gen_random_uuid(), $1, $2, $3, now()) ON CONFLICT DO NOTHING
"""
_REVOKE = "DELETE FROM admin_role WHERE user_id = $1 AND role = $2"
_HAS_OTHER_OWNER = """
    SELECT FROM admin_role AS r JOIN users AS u ON u.id = r.user_id
    WHERE r.role = 'owner' AND r.user_id <> $1 AND u.disabled_at IS NULL LIMIT 1
"""


async def roles_of_user(user_id: UUID) -> list[str]:
    """Return the roles of a user."""
    return await AdminRole.select(AdminRole.role).where(AdminRole.user_id == user_id).output(as_list=True)


async def lock_roles(user_id: UUID | None) -> list[str]:
    """Return the roles of a user and lock them until the end of the transaction."""
    return [row["role"] for row in await fetch(_LOCK_ROLES, user_id)]


async def grant_role(user_id: UUID, role: str, granted_by: str) -> bool:
    """Give a user a role. Returns False if the user had it already."""
    return bool(await execute(_GRANT, user_id, role, granted_by))


async def revoke_role(user_id: UUID, role: str) -> bool:
    """Revoke a role of a user. Returns False if the user did not have it."""
    return bool(await execute(_REVOKE, user_id, role))


async def count_owners() -> int:
    """Return the number of owners, disabled ones included."""
    number: int = await AdminRole.count().where(AdminRole.role == "owner")
    return number


async def has_other_owner(user_id: UUID) -> bool:
    """Return whether another user is an enabled owner."""
    return await fetchrow(_HAS_OTHER_OWNER, user_id) is not None


# Email proofs


# One statement, so that concurrent calls leave one live proof. The new id makes sure that a caller who read the old
# proof cannot consume the new one.
def _insert_proof(conflict: str) -> str:
    """Return the statement that inserts a proof or replaces the live one with the same unique key."""
    return f"""
        INSERT INTO email_proof
            (id, purpose, flow_id, user_id, email, code_hash, token_hash, tries, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, 0, now(), now() + make_interval(secs => $8))
        ON CONFLICT {conflict} DO UPDATE SET
            id = EXCLUDED.id, user_id = EXCLUDED.user_id, email = EXCLUDED.email, code_hash = EXCLUDED.code_hash,
            token_hash = EXCLUDED.token_hash, tries = 0, created_at = now(), expires_at = EXCLUDED.expires_at
    """  # noqa: S608


_INSERT_PROOF_OF_FLOW = _insert_proof("(purpose, flow_id) WHERE consumed_at IS NULL AND flow_id IS NOT NULL")
_INSERT_PROOF_OF_USER = _insert_proof("(purpose, user_id) WHERE consumed_at IS NULL AND flow_id IS NULL")
_LIVE = "consumed_at IS NULL AND expires_at > now()"
_OWNER_OF_PROOF = f"SELECT user_id AS id FROM email_proof WHERE purpose = $1 AND flow_id = $2 AND {_LIVE}"  # noqa: S608
_PENDING_EMAIL = f"SELECT email FROM email_proof WHERE purpose = $1 AND flow_id = $2 AND {_LIVE}"  # noqa: S608
# A wrong code is counted by the statement that compares it, so concurrent attempts cannot exceed the limit.
_TRY_CODE = f"""
    UPDATE email_proof SET tries = tries + CASE WHEN code_hash = $3 THEN 0 ELSE 1 END
    WHERE purpose = $1 AND flow_id = $2 AND {_LIVE} AND tries < $4
    RETURNING id, user_id, email, flow_id, coalesce(code_hash = $3, false) AS correct
"""  # noqa: S608
_PROOF_BY_TOKEN = f"""
    SELECT id, user_id, email, flow_id FROM email_proof
    WHERE token_hash = $1 AND purpose = $2 AND ($3::text IS NULL OR flow_id = $3) AND {_LIVE}
"""  # noqa: S608
_CONSUME_PROOFS_OF_USER = "UPDATE email_proof SET consumed_at = now() WHERE user_id = $1 AND consumed_at IS NULL"
_CONSUME_PROOF = f"UPDATE email_proof SET consumed_at = now() WHERE id = $1 AND {_LIVE}"  # noqa: S608


class VerifiedEmail(msgspec.Struct, frozen=True):
    """A verified address, the user who had it when the mail was sent, and the flow of the mail.

    ``id`` identifies the proof for :func:`consume_proof`.
    """

    id: UUID
    user_id: UUID | None
    email: str
    flow_id: str | None


async def insert_proof(
    purpose: str,
    email: str,
    *,
    flow_id: str | None,
    user_id: UUID | None,
    code_hash: bytes | None,
    token_hash: bytes | None,
    lifetime: int,
) -> None:
    """Insert a proof, or replace the live one of the same purpose and flow, or purpose and user.

    Args:
        lifetime: in seconds.
    """
    await execute(
        _INSERT_PROOF_OF_USER if flow_id is None else _INSERT_PROOF_OF_FLOW,
        ids.uuid7(), purpose, flow_id, user_id, email, code_hash, token_hash, lifetime,
    )  # fmt: skip


async def pending_email(purpose: str, flow_id: str) -> str | None:
    """Return the address of the flow's live proof."""
    row = await fetchrow(_PENDING_EMAIL, purpose, flow_id)
    return row["email"] if row is not None else None


async def owner_of_proof(purpose: str, flow_id: str) -> UUID | None:
    """Return the user of the flow's live proof."""
    row = await fetchrow(_OWNER_OF_PROOF, purpose, flow_id)
    return row["id"] if row is not None else None


async def try_code(purpose: str, flow_id: str, code_hash: bytes, max_tries: int) -> VerifiedEmail | None:
    """Return the live proof if it has this code; otherwise count an attempt."""
    row = await fetchrow(_TRY_CODE, purpose, flow_id, code_hash, max_tries)
    return one(VerifiedEmail, row) if row is not None and row["correct"] else None


async def proof_by_token(token_hash: bytes, purpose: str, flow_id: str | None) -> VerifiedEmail | None:
    """Return the live proof of a token. None as ``flow_id``: of any flow."""
    return one(VerifiedEmail, await fetchrow(_PROOF_BY_TOKEN, token_hash, purpose, flow_id))


async def consume_proof(id: UUID) -> bool:
    """Consume a live proof. Returns False if it has been consumed or replaced, or has expired."""
    return bool(await execute(_CONSUME_PROOF, id))


async def consume_proofs_of_user(user_id: UUID) -> int:
    """Consume all proofs of a user. Returns their number."""
    return await execute(_CONSUME_PROOFS_OF_USER, user_id)


async def consume_all_proofs() -> int:
    """Consume all proofs. Returns their number."""
    return await execute("UPDATE email_proof SET consumed_at = now() WHERE consumed_at IS NULL")


# Invitations

_INSERT_INVITATION = """
    INSERT INTO invitation (id, email, name, token_hash, created_at, expires_at)
    VALUES ($1, $2, $3, $4, now(), now() + make_interval(secs => $5))
"""
_FIND_INVITATION = f"SELECT id, email, name FROM invitation WHERE token_hash = $1 AND {_LIVE}"  # noqa: S608
_CONSUME_INVITATION = f"UPDATE invitation SET consumed_at = now() WHERE id = $1 AND {_LIVE} RETURNING id, email"  # noqa: S608
_REVOKE_INVITATIONS = "UPDATE invitation SET consumed_at = now() WHERE email = $1 AND consumed_at IS NULL"
_REVOKE_INVITATIONS_OF_USER = """
    UPDATE invitation SET consumed_at = now()
    WHERE consumed_at IS NULL AND email = (SELECT email FROM users WHERE id = $1)
"""


class PendingInvitation(msgspec.Struct, frozen=True):
    """An invitation that can be used."""

    id: UUID
    email: str
    name: str | None


async def insert_invitation(email: str, name: str | None, token_hash: bytes, lifetime: int) -> None:
    """Insert an invitation that is valid for so many seconds."""
    await execute(_INSERT_INVITATION, ids.uuid7(), email, name, token_hash, lifetime)


async def find_invitation(token_hash: bytes) -> PendingInvitation | None:
    """Return the invitation of a token, if it can be used."""
    return one(PendingInvitation, await fetchrow(_FIND_INVITATION, token_hash))


async def consume_invitation(id: UUID) -> str | None:
    """Consume an invitation. Returns its address, or None if it cannot be used."""
    row = one(_Email, await fetchrow(_CONSUME_INVITATION, id))
    return row.email if row is not None else None


async def revoke_invitations(email: str) -> int:
    """Revoke the invitations to an address. Returns their number."""
    return await execute(_REVOKE_INVITATIONS, email)


async def revoke_invitations_of_user(user_id: UUID) -> int:
    """Revoke the invitations to the address of a user. Returns their number."""
    return await execute(_REVOKE_INVITATIONS_OF_USER, user_id)


async def revoke_all_invitations() -> int:
    """Revoke all invitations. Returns their number."""
    return await execute("UPDATE invitation SET consumed_at = now() WHERE consumed_at IS NULL")


# Lists for administrators


def _prefix(expression: str) -> str:
    """Return a prefix condition in byte order for the indexes ending in ``_prefix``. The value has no wildcards."""
    return f"{expression} ~>=~ lower({{}}) AND {expression} ~<~ (lower({{}}) || chr(1114111))"


#: Maximum number of matches of each kind to examine.
_MATCHES = 300
_SEARCH = f"""u.id IN (
    (SELECT id FROM users WHERE {_prefix("email")} ORDER BY email USING ~<~ LIMIT {_MATCHES})
    UNION ALL (SELECT id FROM users WHERE {_prefix("lower(name)")} ORDER BY lower(name) USING ~<~ LIMIT {_MATCHES})
    UNION ALL (SELECT id FROM users WHERE {_prefix("lower(family_name)")}
               ORDER BY lower(family_name) USING ~<~ LIMIT {_MATCHES})
    UNION ALL (SELECT CASE WHEN {{}} ~ '^[0-9a-f-]+$' AND length({{}}) = 36 THEN {{}}::uuid END)
)"""  # noqa: S608

USERS = Listing(
    source="users AS u",
    columns="u.id, u.email, u.email_verified, u.name, u.given_name, u.family_name, u.created_at,"
    " u.updated_at, u.disabled_at, u.two_step, u.origin,"
    " ARRAY(SELECT role FROM admin_role WHERE user_id = u.id ORDER BY role) AS roles",
    key=Sort("u.id", "uuid"),
    sorts={"created_at": Sort("u.created_at"), "email": Sort("u.email", "text")},
    default_sort="-created_at",
    filters={
        "q": Filter(_SEARCH, help="Beginning of the address, the name or the family name, or the id."),
        "id": Filter("u.id = {}", "uuid", "One user."),
        "email": Filter("u.email = lower({})", help="The whole address."),
        "disabled": Filter("(u.disabled_at IS NOT NULL) = {}", "boolean", "Whether the account is disabled."),
        "role": Filter("EXISTS (SELECT FROM admin_role WHERE user_id = u.id AND role = {})", help="With this role."),
    },
)

ADMINS = Listing(
    source="admin_role AS r JOIN users AS u ON u.id = r.user_id",
    columns="r.id, r.user_id, u.email, u.name, r.role, r.granted_by, r.granted_at",
    key=Sort("r.id", "uuid"),
    sorts={"granted_at": Sort("r.granted_at")},
    default_sort="granted_at",
    filters={
        "id": Filter("r.id = {}", "uuid", "One of them."),
        "user_id": Filter("r.user_id = {}", "uuid", "Of one user."),
        "role": Filter("r.role = {}", help="With this role."),
    },
)
