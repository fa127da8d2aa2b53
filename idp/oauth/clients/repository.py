"""The statements on clients, resource servers, uploaded logos and the not-before moment of all clients.

Changes run in a transaction of :func:`idp.oauth.clients.registration.change`, one after the other.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import msgspec

from idp import clock
from idp.infra.db.columns import all_columns
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one
from idp.oauth.clients.auth_methods import SECRET_BEARING_METHODS, SECRET_SIGNING_METHODS
from idp.oauth.clients.kinds import APPLICATION_KINDS, KIND_SQL
from idp.oauth.clients.metadata import ClientMetadata, metadata_of
from idp.oauth.clients.models import Client, ResourceServer, StoredClient, StoredResourceServer
from idp.oauth.clients.tables import ClientLogo, ClientRow, ResourceServerRow

_Client = TypeVar("_Client", bound=Client)


class Version(NamedTuple):
    """The columns that change with every change of a client."""

    updated_at: datetime
    expires_at: datetime | None


_MEMBERS = frozenset(ClientMetadata.__struct_fields__)
_CLIENT = f"SELECT {all_columns(ClientRow)} FROM client"  # noqa: S608
_ENABLED_CLIENTS = f"{_CLIENT} WHERE disabled_at IS NULL AND client_id = ANY($1)"
_ANY_ENABLED = "SELECT FROM client WHERE disabled_at IS NULL AND client_id = ANY($1) LIMIT 1"
_ENABLED_VERSIONS = "SELECT client_id, updated_at, expires_at FROM client WHERE disabled_at IS NULL"
_LOCK_CLIENT = f"{_CLIENT} WHERE client_id = $1 FOR UPDATE"
_LOCK_CLIENT_NO_KEY = f"{_CLIENT} WHERE client_id = $1 FOR NO KEY UPDATE"
_RESOURCE_SERVERS = f"SELECT {all_columns(ResourceServerRow)} FROM resource_server"  # noqa: S608
_LOCK_RESOURCE_SERVER = f"{_RESOURCE_SERVERS} WHERE identifier = $1 FOR UPDATE"
_HOLD_ADMIN_ROLE = """
SELECT FROM client WHERE client_id = $1 AND admin_role = ANY($2) AND disabled_at IS NULL FOR SHARE
"""
# $2 hash  $3 encrypted  $4 methods with a secret  $5 methods that sign with it  $6, $7 seconds: overlap, lifetime
_REPLACE_SECRET = """
UPDATE client SET client_secret_hash = $2, updated_at = now(),
    client_secret_encrypted = CASE WHEN metadata ->> 'token_endpoint_auth_method' = ANY ($5) THEN $3::bytea END,
    client_secret_expires_at = CASE WHEN $7::integer > 0 THEN t.ends_at END,
    previous_secret_hash = CASE WHEN $6::integer > 0 THEN client_secret_hash END,
    previous_secret_encrypted = CASE WHEN $6 > 0 THEN client_secret_encrypted END,
    previous_secret_expires_at = CASE WHEN $6 > 0 AND client_secret_hash IS NOT NULL
        THEN least(t.previous_ends_at, client_secret_expires_at) END
FROM (SELECT now() + make_interval(secs => $7) AS ends_at, now() + make_interval(secs => $6) AS previous_ends_at) AS t
WHERE client_id = $1 AND metadata ->> 'token_endpoint_auth_method' = ANY ($4)
"""
_END_PREVIOUS_SECRET = """
UPDATE client SET updated_at = now(),
    previous_secret_hash = NULL, previous_secret_encrypted = NULL, previous_secret_expires_at = NULL
WHERE client_id = $1 AND previous_secret_hash IS NOT NULL
"""
_DROP_SECRETS = """
UPDATE client SET updated_at = now(),
    client_secret_hash = NULL, client_secret_encrypted = NULL, client_secret_expires_at = NULL,
    previous_secret_hash = NULL, previous_secret_encrypted = NULL, previous_secret_expires_at = NULL
WHERE client_id = $1
"""
_DROP_ENCRYPTED_SECRETS = """
UPDATE client SET client_secret_encrypted = NULL, previous_secret_encrypted = NULL, updated_at = now()
WHERE client_id = $1
"""
# Members that only a newer release knows keep their value.
_UPDATE_METADATA = "UPDATE client SET metadata = metadata || $2::jsonb, updated_at = now() WHERE client_id = $1"
_DISABLE = "UPDATE client SET disabled_at = now(), updated_at = now() WHERE client_id = $1 AND disabled_at IS NULL"
_ENABLE = """
UPDATE client SET disabled_at = NULL, updated_at = now() WHERE client_id = $1 AND disabled_at IS NOT NULL
"""
_SET_ADMIN_ROLE = """
UPDATE client SET admin_role = $2, updated_at = now()
WHERE client_id = $1 AND ($3::timestamptz IS NULL OR updated_at = $3)
"""
# Only ever forward: a token that was refused once must stay refused.
_NOT_BEFORE = "UPDATE client SET not_before = greatest(not_before, $2), updated_at = now() WHERE client_id = $1"
_NOT_BEFORE_ALL = """
INSERT INTO not_before AS n (id, not_before) VALUES (1, $1)
ON CONFLICT (id) DO UPDATE SET not_before = greatest(n.not_before, $1)
"""
# A client by document would come back without what an administrator set for it. It stays, as a disabled client does.
_EXPIRED = """
SELECT client_id FROM client WHERE expires_at < now() AND disabled_at IS NULL AND NOT (
    origin = 'document' AND (client_id IN (SELECT client_id FROM access_policy)
                             OR client_id IN (SELECT client_id FROM token_hook WHERE client_id IS NOT NULL)))
ORDER BY expires_at LIMIT $1
"""
_NEVER_EXPIRES = "UPDATE client SET expires_at = NULL WHERE client_id = $1"
_SAVE_LOGO = """
INSERT INTO client_logo (client_id, media_type, content, updated_at) VALUES ($1, $2, $3, now())
ON CONFLICT (client_id) DO UPDATE SET media_type = $2, content = $3, updated_at = now()
"""


def columns(struct: msgspec.Struct) -> dict[str, Any]:
    """Return the fields of a struct as column values: arrays are lists."""
    values = msgspec.structs.asdict(struct)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of a client with the members of its metadata beside the columns.

    A member that was added after the row was written has its default. One that only a newer release knows is ignored
    by our structs.
    """
    metadata: dict[str, Any] = msgspec.json.decode(row["metadata"])
    return metadata | {name: value for name, value in row.items() if name != "metadata"}


def _clients(kind: type[_Client], rows: Iterable[Mapping[str, Any]]) -> list[_Client]:
    return [msgspec.convert(flat(row), kind) for row in rows]


def _client(row: Mapping[str, Any] | None) -> StoredClient | None:
    return msgspec.convert(flat(row), StoredClient) if row is not None else None


async def enabled_versions() -> dict[str, Version]:
    """Return the versions of all enabled clients."""
    return {id_: Version(updated, expires) for id_, updated, expires in await fetch(_ENABLED_VERSIONS)}


async def enabled_clients(client_ids: Collection[str]) -> list[Client]:
    """Return those of the clients that are enabled."""
    return _clients(Client, await fetch(_ENABLED_CLIENTS, list(client_ids))) if client_ids else []


async def any_enabled(client_ids: Collection[str]) -> bool:
    """Return whether one of these clients is enabled."""
    return bool(client_ids) and await fetchrow(_ANY_ENABLED, list(client_ids)) is not None


async def disabled_client_ids() -> frozenset[str]:
    rows = await ClientRow.select(ClientRow.client_id).where(ClientRow.disabled_at.is_not_null())
    return frozenset(row["client_id"] for row in rows)


async def clients() -> list[StoredClient]:
    """Return all clients, the newest last."""
    return _clients(StoredClient, await ClientRow.select().order_by(ClientRow.created_at, ClientRow.client_id))


async def count_enabled_clients() -> int:
    """Return the number of clients that are not disabled."""
    number: int = await ClientRow.count().where(ClientRow.disabled_at.is_null())
    return number


async def find_client(client_id: str) -> StoredClient | None:
    """Return a client, disabled or not."""
    return _client(await ClientRow.select().where(ClientRow.client_id == client_id).first())


async def lock_client(client_id: str) -> StoredClient | None:
    """Return a client, locked until the end of the transaction."""
    return _client(await fetchrow(_LOCK_CLIENT, client_id))


async def lock_client_without_key(client_id: str) -> StoredClient | None:
    """Return a client, locked until the end of the transaction; rows that reference it can still be inserted."""
    return _client(await fetchrow(_LOCK_CLIENT_NO_KEY, client_id))


async def lock_clients_without_key(client_ids: Collection[str]) -> None:
    """Lock several clients, in the order of their ids, so that two transactions do not deadlock."""
    for client_id in sorted(client_ids):
        await lock_client_without_key(client_id)


async def hold_admin_role(client_id: str | None, roles: Collection[str]) -> bool:
    """Return whether an enabled client has one of the roles; if so, it keeps it until the end of the transaction."""
    return await fetchrow(_HOLD_ADMIN_ROLE, client_id, list(roles)) is not None


async def insert_client(client: Client) -> bool:
    """Returns False if the ``client_id`` is taken."""
    values = {name: getattr(client, name) for name in Client.__struct_fields__ if name not in _MEMBERS}
    row = ClientRow(metadata=msgspec.json.encode(metadata_of(client)).decode(), **values)
    insert = ClientRow.insert(row).on_conflict(action="DO NOTHING")
    return bool(await insert.returning(ClientRow.client_id))


async def update_metadata(client_id: str, changes: Mapping[str, Any]) -> bool:
    """Set members of the metadata by name. Returns False if there is no such client."""
    return bool(await execute(_UPDATE_METADATA, client_id, msgspec.json.encode(changes).decode()))


async def replace_secret(client_id: str, secret_hash: bytes, encrypted: bytes, overlap: int, lifetime: int) -> bool:
    """Set the secret of a client; the encrypted one only if it signs with it. Returns False if there is no such client,
    or it has no secret.

    Args:
        overlap: seconds for which the secret before stays valid.
        lifetime: seconds after which the new one expires; 0: never.
    """
    methods = list(SECRET_BEARING_METHODS), list(SECRET_SIGNING_METHODS)
    return bool(await execute(_REPLACE_SECRET, client_id, secret_hash, encrypted, *methods, overlap, lifetime))


async def end_previous_secret(client_id: str) -> bool:
    """Delete the secret before the newest. Returns False if there is no such client, or it has only one."""
    return bool(await execute(_END_PREVIOUS_SECRET, client_id))


async def drop_encrypted_secrets(client_id: str) -> None:
    """Delete the encrypted secrets of a client; their hashes stay."""
    await execute(_DROP_ENCRYPTED_SECRETS, client_id)


async def drop_secrets(client_id: str) -> None:
    """Delete the secrets of a client."""
    await execute(_DROP_SECRETS, client_id)


async def disable_client(client_id: str) -> bool:
    """Returns False if there is no such client, or it is disabled already."""
    return bool(await execute(_DISABLE, client_id))


async def enable_client(client_id: str) -> bool:
    """Returns False if there is no such client, or it is not disabled."""
    return bool(await execute(_ENABLE, client_id))


async def set_admin_role(client_id: str, role: str | None, expected: datetime | None) -> bool:
    """Returns False if there is no such client, or its ``updated_at`` is not the expected one."""
    return bool(await execute(_SET_ADMIN_ROLE, client_id, role, expected))


async def delete_client(client_id: str) -> None:
    """Delete a client, and by foreign keys everything that was issued to it."""
    await ClientRow.delete().where(ClientRow.client_id == client_id)


async def expired_client_ids(limit: int) -> list[str]:
    """Return the clients to delete that expired first."""
    return [row["client_id"] for row in await fetch(_EXPIRED, limit)]


async def never_expires(client_id: str) -> None:
    """Let a client stay until it is deleted."""
    await execute(_NEVER_EXPIRES, client_id)


async def advance_not_before(client_id: str, moment: datetime) -> bool:
    """Returns False if there is no such client."""
    return bool(await execute(_NOT_BEFORE, client_id, moment))


async def advance_not_before_of_all(moment: datetime) -> None:
    await execute(_NOT_BEFORE_ALL, moment)


async def not_before_of_all() -> datetime | None:
    """Return the moment before which tokens of any client are refused."""
    row = await fetchrow("SELECT not_before FROM not_before")
    moment: datetime | None = row["not_before"] if row is not None else None
    return moment


def with_descriptions(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of a resource server with the descriptions of its scopes as a mapping."""
    return {**row, "scope_descriptions": msgspec.json.decode(row["scope_descriptions"])}


async def resource_servers() -> list[ResourceServer]:
    return many(ResourceServer, map(with_descriptions, await fetch(_RESOURCE_SERVERS)))


async def stored_resource_servers() -> list[StoredResourceServer]:
    """Return all resource servers, by identifier."""
    rows = await ResourceServerRow.select().order_by(ResourceServerRow.identifier)
    return many(StoredResourceServer, map(with_descriptions, rows))


async def lock_resource_server(identifier: str) -> StoredResourceServer | None:
    """Return a resource server, locked until the end of the transaction."""
    row = await fetchrow(_LOCK_RESOURCE_SERVER, identifier)
    return one(StoredResourceServer, with_descriptions(row) if row is not None else None)


async def insert_resource_server(server: ResourceServer) -> bool:
    """Returns False if the identifier is taken."""
    insert = ResourceServerRow.insert(ResourceServerRow(**columns(server))).on_conflict(action="DO NOTHING")
    return bool(await insert.returning(ResourceServerRow.identifier))


async def update_resource_server(identifier: str, values: Mapping[str, Any]) -> None:
    """Set columns by name."""
    changes: dict[Any, Any] = {**values, "updated_at": clock.now()}
    await ResourceServerRow.update(changes, force=True).where(ResourceServerRow.identifier == identifier)


async def delete_resource_server(identifier: str) -> None:
    await ResourceServerRow.delete().where(ResourceServerRow.identifier == identifier)


class Logo(msgspec.Struct, frozen=True):
    """An uploaded logo."""

    media_type: str
    content: bytes


async def find_logo(client_id: str) -> Logo | None:
    return one(Logo, await fetchrow("SELECT media_type, content FROM client_logo WHERE client_id = $1", client_id))


async def save_logo(client_id: str, media_type: str, content: bytes) -> None:
    """Insert or replace the logo of a client."""
    await execute(_SAVE_LOGO, client_id, media_type, content)


async def delete_logo(client_id: str) -> None:
    await ClientLogo.delete().where(ClientLogo.client_id == client_id)


# Lists for administrators

#: Its rows are read by :func:`flat`.
CLIENTS = Listing(
    source="client AS c",
    columns="c.client_id, c.metadata, "  # noqa: S608
    f"{KIND_SQL} AS kind, c.client_secret_expires_at, c.previous_secret_expires_at,"
    " c.client_secret_hash IS NOT NULL AND coalesce(c.client_secret_expires_at > now(), true) AS client_secret_live,"
    " coalesce(c.previous_secret_expires_at > now(), false) AS previous_secret_live,"
    " c.origin, c.expires_at, c.admin_role, c.not_before, c.created_at, c.updated_at, c.disabled_at,"
    " (SELECT d.fetched_at FROM client_document AS d WHERE d.client_id = c.client_id) AS document_fetched_at",
    key=Sort("c.client_id", "text"),
    sorts={"created_at": Sort("c.created_at"), "client_name": Sort("c.metadata ->> 'client_name'", "text")},
    default_sort="-created_at",
    filters={
        "client_id": Filter("c.client_id = {}", help="One client."),
        "q": Filter(
            "strpos(lower(c.metadata ->> 'client_name'), lower({})) > 0 OR c.client_id = {}"
            " OR c.origin = 'document' AND strpos(c.client_id, {}) > 0",
            help="Part of the name, or of the URL of the document.",
        ),
        "grant_type": Filter("c.metadata -> 'grant_types' ? {}", help="May use this grant."),
        "kind": Filter(f"({KIND_SQL}) = {{}}", help="The kind of application.", choices=tuple(APPLICATION_KINDS)),
        "origin": Filter(
            "c.origin = {}",
            help="Who registered it.",
            choices=("admin", "dynamic", "document"),
        ),
        "disabled": Filter("(c.disabled_at IS NOT NULL) = {}", "boolean", "Whether it is disabled."),
    },
)

RESOURCE_SERVERS = Listing(
    source="resource_server AS r",
    columns="r.identifier, r.name, r.scope, r.scope_descriptions,"
    " r.access_token_signed_response_alg, r.access_token_type, r.self_registered_clients, r.client_id,"
    " r.jwks_id, r.witnessed, r.networks, r.user_agent, r.created_at, r.updated_at,"
    " (SELECT max(last_at) FROM jwks_fetch WHERE resource_server = r.identifier) AS jwks_fetched_at,"
    " (SELECT max(period) FROM jwks_fetch WHERE resource_server = r.identifier) AS jwks_period",
    key=Sort("r.identifier", "text"),
    sorts={"identifier": Sort("r.identifier", "text"), "name": Sort("r.name", "text")},
    default_sort="name",
    filters={
        "identifier": Filter("r.identifier = {}", help="One resource server."),
        "jwks_id": Filter("r.jwks_id = {}", help="One resource server, by the end of its JWKS URL."),
        "q": Filter(
            "strpos(lower(r.name || ' ' || r.identifier), lower({})) > 0", help="Part of the name or identifier."
        ),
        "witnessed": Filter("r.witnessed = {}", "boolean", "Whether new keys wait for it."),
    },
)
