"""The statements on initial access tokens, and on clients that registered themselves."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from idp.infra.db.columns import all_columns
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.expiring import Expiring
from idp.infra.db.listing import Filter, Listing, Sort
from idp.oauth.clients.dynamic.ceiling import Ceiling
from idp.oauth.clients.dynamic.tables import InitialAccessToken

EXPIRING = (Expiring(InitialAccessToken, "30 days"),)

_INSERT_TOKEN = """
INSERT INTO initial_access_token (id, token_hash, name, ceiling, uses_left, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, now(), now() + $6 * interval '1 s')
"""
_USABLE = "uses_left > 0 AND expires_at > now()"
_FIND_TOKEN = f"""
SELECT id, ceiling FROM initial_access_token WHERE token_hash = $1 AND {_USABLE}
"""  # noqa: S608
_USE_TOKEN = f"""
UPDATE initial_access_token SET uses_left = uses_left - 1 WHERE id = $1 AND {_USABLE}
"""  # noqa: S608
_INSERT_REGISTRATION = """
INSERT INTO client_registration (client_id, ceiling, initial_access_token, software_statement) VALUES ($1, $2, $3, $4)
"""
# Only an owner changes a client that has a role at the admin API.
_FIND_REGISTRATION = """
SELECT c.client_id, r.ceiling, r.software_statement
FROM client AS c JOIN client_registration AS r ON r.client_id = c.client_id
WHERE c.client_id = $1 AND c.registration_token_hash = $2 AND c.disabled_at IS NULL AND c.admin_role IS NULL
  AND (c.expires_at IS NULL OR c.expires_at > now())
"""
_SET_STATEMENT = "UPDATE client_registration SET software_statement = $2 WHERE client_id = $1"
_ROTATE_REGISTRATION_TOKEN = """
UPDATE client SET registration_token_hash = $3, updated_at = now()
WHERE client_id = $1 AND registration_token_hash = $2 AND disabled_at IS NULL AND admin_role IS NULL
  AND (expires_at IS NULL OR expires_at > now())
"""
_SET_REGISTRATION_TOKEN = """
UPDATE client SET registration_token_hash = $2, updated_at = now() WHERE client_id = $1 AND origin = 'dynamic'
"""
_REVOKE_REGISTRATION_TOKEN = """
UPDATE client SET registration_token_hash = NULL, updated_at = now()
WHERE client_id = $1 AND registration_token_hash IS NOT NULL
"""
_COUNT_CLIENTS = "SELECT count(*) AS number FROM client WHERE origin = 'dynamic'"
_KEEP = """
WITH old AS MATERIALIZED (
    SELECT client_id, expires_at FROM client
    WHERE client_id = $1 AND disabled_at IS NULL AND (expires_at IS NULL OR expires_at > now()) FOR UPDATE
)
UPDATE client SET expires_at = NULL, updated_at = now() FROM old WHERE client.client_id = old.client_id
RETURNING old.expires_at IS NOT NULL AS first
"""


class NewToken(NamedTuple):
    """An initial access token to insert. ``lifetime`` is in seconds."""

    id: UUID
    token_hash: bytes
    name: str
    ceiling: Ceiling
    uses: int
    lifetime: int


class UsableToken(msgspec.Struct, frozen=True):
    """An initial access token that can be used."""

    id: UUID
    ceiling: Ceiling


class Registration(msgspec.Struct, frozen=True):
    """The registration of a client. ``ceiling`` is None if the settings are."""

    client_id: str
    ceiling: Ceiling | None
    software_statement: str | None


class StoredToken(msgspec.Struct, frozen=True):
    """An initial access token without its value."""

    id: UUID
    name: str
    ceiling: Ceiling
    uses_left: int
    created_at: datetime
    expires_at: datetime


def _json(ceiling: Ceiling | None) -> str | None:
    return msgspec.json.encode(ceiling).decode() if ceiling is not None else None


def _ceiling(text: str | None) -> Ceiling | None:
    return msgspec.json.decode(text, type=Ceiling) if text is not None else None


async def insert_token(new: NewToken) -> None:
    """Insert an initial access token."""
    await execute(_INSERT_TOKEN, new.id, new.token_hash, new.name, _json(new.ceiling), new.uses, new.lifetime)


async def find_token(token_hash: bytes) -> UsableToken | None:
    """Return an initial access token, if it can be used now."""
    row = await fetchrow(_FIND_TOKEN, token_hash)
    return msgspec.convert(dict(row) | {"ceiling": msgspec.json.decode(row["ceiling"])}, UsableToken) if row else None


async def use_token(id_: UUID) -> bool:
    """Take one use of an initial access token. Returns False if it cannot be used any more."""
    return bool(await execute(_USE_TOKEN, id_))


async def tokens() -> list[StoredToken]:
    """Return all initial access tokens, the newest last."""
    rows = await fetch(f"SELECT {all_columns(InitialAccessToken)} FROM initial_access_token ORDER BY id")  # noqa: S608
    return [read_token(row) for row in rows]


def read_token(row: Mapping[str, Any]) -> StoredToken:
    """Return an initial access token of a row."""
    return msgspec.convert(dict(row) | {"ceiling": msgspec.json.decode(row["ceiling"])}, StoredToken)


async def delete_token(id_: UUID) -> bool:
    """Returns False if there is no such token."""
    return bool(await InitialAccessToken.delete().where(InitialAccessToken.id == id_).returning(InitialAccessToken.id))


async def insert_registration(registration: Registration, initial_access_token: UUID | None) -> None:
    """Insert the registration of a new client."""
    values = (_json(registration.ceiling), initial_access_token, registration.software_statement)
    await execute(_INSERT_REGISTRATION, registration.client_id, *values)


async def set_statement(client_id: str, software_statement: str) -> None:
    """Replace the software statement of a client."""
    await execute(_SET_STATEMENT, client_id, software_statement)


async def find_registration(client_id: str, token_hash: bytes) -> Registration | None:
    """Return the registration of a client, if it is live and this is its registration access token."""
    row = await fetchrow(_FIND_REGISTRATION, client_id, token_hash)
    if row is None:
        return None
    return Registration(row["client_id"], _ceiling(row["ceiling"]), row["software_statement"])


async def rotate_registration_token(client_id: str, old_hash: bytes, new_hash: bytes) -> bool:
    """Replace the registration access token. Returns False if the client is gone, or the old one is not its token."""
    return bool(await execute(_ROTATE_REGISTRATION_TOKEN, client_id, old_hash, new_hash))


async def set_registration_token(client_id: str, token_hash: bytes) -> bool:
    """Set the registration access token. Returns False if no client with this id has registered itself."""
    return bool(await execute(_SET_REGISTRATION_TOKEN, client_id, token_hash))


async def revoke_registration_token(client_id: str) -> int:
    """Revoke the registration access token. Returns the number of revoked tokens."""
    return await execute(_REVOKE_REGISTRATION_TOKEN, client_id)


async def count_clients() -> int:
    """Return the number of clients that registered themselves, disabled or not."""
    row = await fetchrow(_COUNT_CLIENTS)
    return row["number"] if row is not None else 0


async def keep(client_id: str) -> bool | None:
    """Remove the expiry of a client. Returns whether it had one; None if it is gone, disabled or expired."""
    row = await fetchrow(_KEEP, client_id)
    return row["first"] if row is not None else None


#: For administrators.
INITIAL_ACCESS_TOKENS = Listing(
    source="initial_access_token AS t",
    columns="t.id, t.name, t.ceiling, t.uses_left, t.created_at, t.expires_at",
    key=Sort("t.id", "uuid"),
    sorts={"created_at": Sort("t.created_at")},
    default_sort="-created_at",
    filters={"id": Filter("t.id = {}", "uuid", "One token.")},
)
