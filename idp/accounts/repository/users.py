"""The statements on users and their addresses.

The address of a user is in ``users`` and in the lookup table ``user_email``: each statement that changes one changes
both (docs/decisions/0050-lookups-and-lock-order.md).
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from idp import ids
from idp.accounts.claims import TEXT_CLAIMS, VERIFICATION_CLAIMS
from idp.accounts.tables import Origin, User
from idp.infra.db.columns import all_columns
from idp.infra.db.engine import execute, fetch, fetchrow, is_distributed
from idp.infra.db.listing import MAX_LIMIT, Filter, Listing, Sort, list_page
from idp.infra.db.rows import many, one

_ID_OF_EMAIL = "SELECT user_id AS id FROM user_email WHERE email = $1"
_BY_ID = f"SELECT {all_columns(User)} FROM users WHERE id = $1"  # noqa: S608
_BY_IDS = f"SELECT {all_columns(User)} FROM users WHERE id = ANY ($1::uuid[])"  # noqa: S608
_LOCK = "SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE"
_LOCK_UNCHANGED = "SELECT FROM users WHERE id = $1 AND updated_at = $2 FOR NO KEY UPDATE"
# In the order of the ids.
_LOCK_SEVERAL = "SELECT FROM users WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE"
_LOCK_WITH_PASSWORD = """
    SELECT FROM users WHERE id = $1 AND password_hash = $2 AND disabled_at IS NULL FOR NO KEY UPDATE
"""
_INCREASE_DIRECTORY_VERSION = "UPDATE users SET directory_version = directory_version + 1 WHERE id = ANY ($1::uuid[])"
_UPGRADE_PASSWORD_HASH = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2"
_CONFIRM_EMAIL = "UPDATE users SET email_verified = true WHERE id = $1 AND email = $2 AND disabled_at IS NULL"
_SET_TWO_STEP = "UPDATE users SET two_step = $2 WHERE id = $1 AND two_step <> $2"
_SET_PASSWORD = "UPDATE users SET password_hash = $2, password_changed_at = now() WHERE id = $1"
# The mail verifies the address. A disabled user stays disabled.
_RESET_PASSWORD = """
    UPDATE users SET password_hash = $3, password_changed_at = now(), email_verified = true
    WHERE id = $1 AND email = $2 AND disabled_at IS NULL RETURNING name
"""
# An administrator takes over what a SCIM client has disabled, so that the client cannot enable it. $2 who  $3 whether
# that is an administrator
_DISABLE = """
    UPDATE users SET disabled_at = coalesce(disabled_at, now()), disabled_by = $2, updated_at = now()
    WHERE id = $1 AND (disabled_at IS NULL OR $3 AND disabled_by IS DISTINCT FROM $2)
"""
# $2 the beginning of "disabled_by"; NULL: any
_ENABLE = """
    UPDATE users SET disabled_at = NULL, disabled_by = NULL, updated_at = now()
    WHERE id = $1 AND disabled_at IS NOT NULL AND ($2::text IS NULL OR starts_with(disabled_by, $2))
"""


def _change_of_email(changes: str, condition: str = "") -> str:
    """Return the statement of a change, which changes nothing if another user has the address."""
    return f"""
    WITH old AS (SELECT id, email, name FROM users WHERE id = $1 {condition}),
    taken AS (
        INSERT INTO user_email AS e (email, user_id) SELECT $2, id FROM old
        ON CONFLICT (email) DO UPDATE SET user_id = EXCLUDED.user_id WHERE e.user_id = EXCLUDED.user_id
        RETURNING user_id
    ),
    released AS (DELETE FROM user_email AS e USING taken WHERE e.user_id = taken.user_id AND e.email <> $2)
    UPDATE users AS u SET email = $2, {changes}, updated_at = now() FROM old, taken
    WHERE u.id = $1 AND old.id = u.id AND taken.user_id = u.id
    RETURNING old.email AS before, u.name
    """  # noqa: S608


_CHANGE_EMAIL = _change_of_email("email_verified = true", "AND disabled_at IS NULL")
# Nobody but the operator can have chosen this address: it is not one of those that _CLAIMED describes.
_ASSIGN_EMAIL = _change_of_email("email_verified = false, origin = $3")
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
_SET_PICTURE = "UPDATE users SET picture = $2, updated_at = now() WHERE id = $1"
_GIVEN = ", ".join(
    sorted(TEXT_CLAIMS | VERIFICATION_CLAIMS.keys() | {"id", "address", "password_hash", "disabled_at", "two_step"})
)
# All users are one JSON parameter, which PostgreSQL converts to rows of the table. Users whose id or address exists are
# skipped. The order prevents a deadlock of two imports.
_INSERT_USERS = f"""
    WITH given AS (SELECT {_GIVEN} FROM jsonb_populate_recordset(NULL::users, $1::jsonb)),
    known AS (SELECT u.id FROM users AS u JOIN given ON given.id = u.id),
    taken AS (
        INSERT INTO user_email (email, user_id) SELECT email, id FROM given
        WHERE id NOT IN (SELECT id FROM known) ORDER BY email
        ON CONFLICT (email) DO NOTHING RETURNING user_id
    )
    INSERT INTO users ({_GIVEN}, origin, created_at, updated_at)
    SELECT {_GIVEN}, $2, now(), now() FROM given JOIN taken ON taken.user_id = given.id RETURNING id
"""  # noqa: S608
# In the order of the ids.
_LOCK_UNTOUCHED = f"""
    SELECT {all_columns(User)} FROM users
    WHERE id = ANY ($1::uuid[]) AND origin = '{Origin.IMPORT}' AND updated_at = created_at
    AND password_changed_at IS NULL ORDER BY id FOR NO KEY UPDATE
"""  # noqa: S608
_MARK_CHANGED = f"""
    UPDATE users SET updated_at = now()
    WHERE id = ANY ($1::uuid[]) AND origin = '{Origin.IMPORT}' AND updated_at = created_at
"""  # noqa: S608
#: What an import sets again, besides the address, in the order of the parameters of the statement.
IMPORTED = tuple(
    sorted(TEXT_CLAIMS - {"email"} | VERIFICATION_CLAIMS.keys() | {"address", "password_hash", "disabled_at"})
)
_SET_IMPORTED = ", ".join(f"{name} = ${number}" for number, name in enumerate(IMPORTED, 3))
_UPDATE_IMPORTED = f"""
    WITH taken AS (
        INSERT INTO user_email AS e (email, user_id) VALUES ($2, $1)
        ON CONFLICT (email) DO UPDATE SET user_id = EXCLUDED.user_id WHERE e.user_id = EXCLUDED.user_id
        RETURNING user_id
    ),
    released AS (DELETE FROM user_email AS e USING taken WHERE e.user_id = taken.user_id AND e.email <> $2)
    UPDATE users AS u SET email = $2, {_SET_IMPORTED} FROM taken WHERE u.id = $1 AND taken.user_id = u.id
"""  # noqa: S608
#: Above this number, users are estimated instead of counted, so that a large table is not read.
_COUNTED = 10_000
_COUNT_USERS = f"""
    SELECT CASE WHEN found > {_COUNTED} THEN greatest(estimated, found) ELSE found END AS number,
           found > {_COUNTED} AS estimated
    FROM (SELECT (SELECT count(*) FROM (SELECT 1 FROM users LIMIT {_COUNTED + 1}) AS u) AS found,
                 (SELECT reltuples::bigint FROM pg_class WHERE oid = 'users'::regclass) AS estimated) AS counts
"""  # noqa: S608
_IDS_OF_EMAILS = "SELECT email, user_id AS id FROM user_email WHERE email = ANY ($1)"
_CLAIMED_EMAILS = f"""
    SELECT u.email FROM users AS u
    WHERE u.id = ANY ($1::uuid[])
    AND NOT u.email_verified AND u.origin IN ('{Origin.REGISTRATION}', '{Origin.UPSTREAM}')
    AND NOT EXISTS (SELECT FROM admin_role AS r WHERE r.user_id = u.id) ORDER BY u.id
"""  # noqa: S608
_DELETE = """
    WITH gone AS (DELETE FROM users WHERE id = $1 RETURNING id)
    DELETE FROM user_email AS e USING gone WHERE e.user_id = gone.id
"""
_PAGE = f"SELECT {all_columns(User)} FROM users WHERE id > $1 ORDER BY id LIMIT $2"  # noqa: S608
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

    For None and an unknown address it is a new id, which no user has, so that the caller does the same work.
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


async def latest_users(limit: int, search: str | None = None) -> list[ListedUser]:
    """Return the most recent users, newest first.

    Args:
        search: the beginning of the address, the name or the last name. Then up to 200 users are returned.
    """
    if search is not None:
        found = await list_page(USERS, {"q": search}, limit=min(limit, MAX_LIMIT))
        return [ListedUser(**{name: row[name] for name in ListedUser.__struct_fields__}) for row in found.rows]
    columns = (getattr(User, name) for name in ListedUser.__struct_fields__)
    return many(ListedUser, await User.select(*columns).order_by(User.id, ascending=False).limit(limit))


async def lock_user(user_id: UUID, expected_at: datetime | None = None) -> bool:
    """Lock a user until the end of the transaction. Returns False if there is no such user.

    Every change of a credential locks its user, so that a change and a sign-in happen one after the other.

    Args:
        expected_at: the ``updated_at`` that the user must have. None: any.
    """
    if expected_at is not None:
        return await fetchrow(_LOCK_UNCHANGED, user_id, expected_at) is not None
    return await fetchrow(_LOCK, user_id) is not None


async def lock_users(user_ids: Collection[UUID]) -> int:
    """Lock several users, in the order of their ids, so that two transactions do not deadlock.

    Returns how many exist.
    """
    if len(user_ids) == 1 or is_distributed():
        # Citus locks rows of one node in a statement.
        return sum([await lock_user(user_id) for user_id in sorted(user_ids)])
    return len(await fetch(_LOCK_SEVERAL, list(user_ids)))


async def increase_directory_version(user_ids: Collection[UUID]) -> int:
    """Lock users and note that their groups, roles or attributes change. Returns how many exist."""
    await lock_users(set(user_ids))
    return await execute(_INCREASE_DIRECTORY_VERSION, list(set(user_ids)))


async def lock_user_with_password(user_id: UUID, password_hash: str | None) -> bool:
    """Like :func:`lock_user`. Returns whether the user is enabled and still has this password."""
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


async def disable_user(user_id: UUID, by: str, *, admin: bool) -> bool:
    """Disable a user. Returns whether this call changed it.

    Args:
        by: who does it.
        admin: whether that is an administrator, who takes over what others have disabled.
    """
    return bool(await execute(_DISABLE, user_id, by, admin))


async def enable_user(user_id: UUID, disabled_by: str | None = None) -> bool:
    """Enable a user. Returns whether this call changed it.

    Args:
        disabled_by: only if who disabled the user begins with this.
    """
    return bool(await execute(_ENABLE, user_id, disabled_by))


async def change_email(user_id: UUID, email: str) -> ChangedEmail | None:
    """Set a verified address. Returns None if another user has it, or this user is disabled.

    The caller has locked the user: two changes at once would leave the lookup of an address behind.
    """
    return one(ChangedEmail, await fetchrow(_CHANGE_EMAIL, user_id, email))


async def assign_email(user_id: UUID, email: str, origin: Origin) -> bool:
    """Set an address that is not verified. Returns False if another user has it, or there is no such user.

    The caller has locked the user, as in :func:`change_email`.

    Args:
        origin: who answers for the address from now on.
    """
    return await fetchrow(_ASSIGN_EMAIL, user_id, email, origin) is not None


async def update_profile(
    user_id: UUID, expected: datetime, claims: Mapping[str, str | None], address: str | None
) -> bool:
    """Replace the profile. Returns False if the user has changed since ``expected``.

    Args:
        claims: every text claim except the email address.
        address: as JSON.
    """
    return bool(await execute(_UPDATE_PROFILE, user_id, expected, address, *(claims[name] for name in _PROFILE)))


async def set_picture(user_id: UUID, picture: str | None) -> bool:
    """Set the URL of the picture. Returns False if there is no such user."""
    return bool(await execute(_SET_PICTURE, user_id, picture))


async def delete_user(user_id: UUID) -> bool:
    """Delete a user and all rows that reference them. Returns False if there is no such user."""
    return bool(await execute(_DELETE, user_id))


async def insert_users(rows: Sequence[Mapping[str, Any]], origin: Origin) -> set[UUID]:
    """Insert users, except those whose id or address exists. Returns the ids of the inserted ones."""
    inserted = await fetch(_INSERT_USERS, msgspec.json.encode(rows).decode(), origin)
    return {row.id for row in many(_Id, inserted)}


async def lock_untouched(user_ids: Collection[UUID]) -> list[User]:
    """Lock those of the users that were imported and never changed here, and return them."""
    rows = await fetch(_LOCK_UNTOUCHED, list(user_ids))
    return [user for row in rows if (user := _user(row)) is not None]


async def mark_changed(user_ids: Collection[UUID]) -> None:
    """Note that what belongs to users was changed here, and not in their rows: no import changes them any more.

    Otherwise the next one would restore what was removed. The caller has locked the users.
    """
    await execute(_MARK_CHANGED, list(user_ids))


async def update_imported(user_id: UUID, email: str, values: Mapping[str, Any]) -> bool:
    """Set what an import sets. Returns False if another user has the address.

    The caller has locked the user. The times of the row stay, so that it still counts as never changed.

    Args:
        values: by the names of :data:`IMPORTED`; the address as JSON.
    """
    return bool(await execute(_UPDATE_IMPORTED, user_id, email, *(values[name] for name in IMPORTED)))


async def count_users() -> UserCount:
    """Return the number of users, estimated if they are more than 10,000."""
    count = one(UserCount, await fetchrow(_COUNT_USERS))
    assert count is not None  # noqa: S101 -- the statement returns one row
    return count


async def claimed_emails(emails: Collection[str]) -> list[str]:
    """Return those of these addresses that :func:`release_email` takes from the accounts that have them."""
    found = await ids_of_emails(emails)
    return [row["email"] for row in await fetch(_CLAIMED_EMAILS, list(found.values()))] if found else []


async def emails_by_id(user_ids: Collection[UUID]) -> dict[UUID, str]:
    """Return the addresses of the existing users among these ids."""
    return {row.id: row.email for row in many(_Email, await fetch(_EMAILS_BY_ID, list(user_ids)))}


async def ids_of_emails(emails: Collection[str]) -> dict[str, UUID]:
    """Return the ids of the users who have one of these normalised addresses."""
    return {row.email: row.id for row in many(_Email, await fetch(_IDS_OF_EMAILS, list(emails)))}


async def page_of_users(after: UUID, limit: int) -> list[User]:
    """Return the users after an id, in the order of ids."""
    return [user for row in await fetch(_PAGE, after, limit) if (user := _user(row)) is not None]


async def users_by_ids(user_ids: Collection[UUID]) -> dict[UUID, User]:
    """Return those of the users that exist, by id."""
    return {user.id: user for row in await fetch(_BY_IDS, list(user_ids)) if (user := _user(row)) is not None}


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


def _plain(expression: str) -> str:
    """Return an expression without case and accents, as the indexes of names have it: López is lopez."""
    return f"lower(regexp_replace(normalize({expression}, NFD), '[\\u0300-\\u036f]', '', 'g'))"


def _prefix(expression: str, value: str = "lower({})") -> str:
    """Return a prefix condition in byte order for the indexes ending in ``_prefix``. The value has no wildcards."""
    return f"{expression} ~>=~ {value} AND {expression} ~<~ ({value} || chr(1114111))"


def _named(column: str) -> str:
    """Return the condition that a name begins with the value."""
    return _prefix(_plain(column), _plain("{}::text"))


#: The whole domain of the address, with or without its @.
_AT_DOMAIN = "split_part(email, '@', -1) = lower(ltrim({}, '@'))"
#: Maximum number of matches of each kind to examine.
_MATCHES = 300
_SEARCH = f"""
(SELECT id FROM users WHERE {_prefix("email")} ORDER BY email USING ~<~ LIMIT {_MATCHES})
UNION ALL (SELECT id FROM users WHERE {_AT_DOMAIN} ORDER BY id LIMIT {_MATCHES})
UNION ALL (SELECT id FROM users WHERE {_named("name")} ORDER BY {_plain("name")} USING ~<~ LIMIT {_MATCHES})
UNION ALL (SELECT id FROM users WHERE {_named("family_name")}
    ORDER BY {_plain("family_name")} USING ~<~ LIMIT {_MATCHES})
UNION ALL (SELECT CASE WHEN {{}} ~ '^[0-9a-f-]+$' AND length({{}}) = 36 THEN {{}}::uuid END)
"""  # noqa: S608

#: As :data:`_SEARCH`, without its limit: for work on every match.
_SEARCH_ALL = f"""u.id IN (
    (SELECT id FROM users WHERE {_prefix("email")}) UNION ALL (SELECT id FROM users WHERE {_AT_DOMAIN})
    UNION ALL (SELECT id FROM users WHERE {_named("name")})
    UNION ALL (SELECT id FROM users WHERE {_named("family_name")})
    UNION ALL (SELECT CASE WHEN {{}} ~ '^[0-9a-f-]+$' AND length({{}}) = 36 THEN {{}}::uuid END)
)"""  # noqa: S608

USERS = Listing(
    source="users AS u",
    columns="u.id, u.email, u.email_verified, u.name, u.given_name, u.family_name, u.created_at,"
    " u.updated_at, u.disabled_at, u.disabled_by, u.two_step, u.origin,"
    " ARRAY(SELECT role FROM admin_role WHERE user_id = u.id ORDER BY role) AS roles",
    key=Sort("u.id", "uuid"),
    sorts={"created_at": Sort("u.created_at"), "email": Sort("u.email", "text")},
    default_sort="-created_at",
    filters={
        "q": Filter(
            keys=_SEARCH,
            help="Beginning of the address or of a name, without accents; the domain of the address; the id.",
        ),
        "id": Filter("u.id = {}", "uuid", "One user."),
        "email": Filter("u.email = lower({})", help="The whole address."),
        "disabled": Filter("(u.disabled_at IS NOT NULL) = {}", "boolean", "Whether the account is disabled."),
        "role": Filter("EXISTS (SELECT FROM admin_role WHERE user_id = u.id AND role = {})", help="With this role."),
    },
)
#: The list of users for work on all that match, in the order of ids.
EVERY_USER = msgspec.structs.replace(
    USERS,
    columns="u.id, u.email",
    sorts={"id": Sort("u.id", "uuid")},
    default_sort="id",
    filters={**USERS.filters, "q": Filter(_SEARCH_ALL, help=USERS.filters["q"].help)},
)
