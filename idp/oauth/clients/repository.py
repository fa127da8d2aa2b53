"""The statements on clients, resource servers, uploaded logos and the not-before moment of all clients.

Changes run in a transaction of :func:`idp.oauth.clients.registration.change`, one after the other.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import msgspec

from idp import clock
from idp.infra.db.columns import all_columns
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one
from idp.oauth.clients.models import Client, ResourceServer, StoredClient, StoredResourceServer
from idp.oauth.clients.tables import ClientLogo, ClientRow, ResourceServerRow

_CLIENT = f"SELECT {all_columns(ClientRow)} FROM client"  # noqa: S608
_ENABLED_CLIENTS = f"{_CLIENT} WHERE disabled_at IS NULL"
_LOCK_CLIENT = f"{_CLIENT} WHERE client_id = $1 FOR UPDATE"
_LOCK_CLIENT_NO_KEY = f"{_CLIENT} WHERE client_id = $1 FOR NO KEY UPDATE"
_RESOURCE_SERVERS = f"SELECT {all_columns(ResourceServerRow)} FROM resource_server"  # noqa: S608
_LOCK_RESOURCE_SERVER = f"{_RESOURCE_SERVERS} WHERE identifier = $1 FOR UPDATE"
_HOLD_ADMIN_ROLE = """
SELECT FROM client WHERE client_id = $1 AND admin_role = ANY($2) AND disabled_at IS NULL FOR SHARE
"""
_REPLACE_SECRET = """
UPDATE client SET client_secret_hash = $2, updated_at = now()
WHERE client_id = $1 AND token_endpoint_auth_method <> 'none'
"""
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
_SAVE_LOGO = """
INSERT INTO client_logo (client_id, media_type, content, updated_at) VALUES ($1, $2, $3, now())
ON CONFLICT (client_id) DO UPDATE SET media_type = $2, content = $3, updated_at = now()
"""


def columns(struct: msgspec.Struct, kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the fields of a struct as column values: arrays are lists.

    Args:
        kind: the struct itself, or a base class: only its fields.
    """
    values = {name: getattr(struct, name) for name in kind.__struct_fields__}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


async def enabled_clients() -> list[Client]:
    return many(Client, await fetch(_ENABLED_CLIENTS))


async def disabled_client_ids() -> frozenset[str]:
    rows = await ClientRow.select(ClientRow.client_id).where(ClientRow.disabled_at.is_not_null())
    return frozenset(row["client_id"] for row in rows)


async def clients() -> list[StoredClient]:
    """Return all clients, the newest last."""
    return many(StoredClient, await ClientRow.select().order_by(ClientRow.created_at))


async def count_enabled_clients() -> int:
    """Return the number of clients that are not disabled."""
    number: int = await ClientRow.count().where(ClientRow.disabled_at.is_null())
    return number


async def find_client(client_id: str) -> StoredClient | None:
    """Return a client, disabled or not."""
    return one(StoredClient, await ClientRow.select().where(ClientRow.client_id == client_id).first())


async def lock_client(client_id: str) -> StoredClient | None:
    """Return a client, locked until the end of the transaction."""
    return one(StoredClient, await fetchrow(_LOCK_CLIENT, client_id))


async def lock_client_without_key(client_id: str) -> StoredClient | None:
    """Return a client, locked until the end of the transaction; rows that reference it can still be inserted."""
    return one(StoredClient, await fetchrow(_LOCK_CLIENT_NO_KEY, client_id))


async def hold_admin_role(client_id: str | None, roles: Collection[str]) -> bool:
    """Return whether an enabled client has one of the roles; if so, it keeps it until the end of the transaction."""
    return await fetchrow(_HOLD_ADMIN_ROLE, client_id, list(roles)) is not None


async def insert_client(client: Client) -> bool:
    """Returns False if the ``client_id`` is taken."""
    row = ClientRow(**columns(client, Client))
    insert = ClientRow.insert(row).on_conflict(action="DO NOTHING")
    return bool(await insert.returning(ClientRow.client_id))


async def update_client(client_id: str, values: Mapping[str, Any]) -> bool:
    """Set columns by name. Returns False if there is no such client."""
    changes: dict[Any, Any] = {**values, "updated_at": clock.now()}
    update = ClientRow.update(changes, force=True).where(ClientRow.client_id == client_id)
    return bool(await update.returning(ClientRow.client_id))


async def replace_secret(client_id: str, secret_hash: bytes) -> bool:
    """Returns False if there is no such client, or it is public."""
    return bool(await execute(_REPLACE_SECRET, client_id, secret_hash))


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


async def resource_servers() -> list[ResourceServer]:
    return many(ResourceServer, await fetch(_RESOURCE_SERVERS))


async def stored_resource_servers() -> list[StoredResourceServer]:
    """Return all resource servers, by identifier."""
    return many(StoredResourceServer, await ResourceServerRow.select().order_by(ResourceServerRow.identifier))


async def lock_resource_server(identifier: str) -> StoredResourceServer | None:
    """Return a resource server, locked until the end of the transaction."""
    return one(StoredResourceServer, await fetchrow(_LOCK_RESOURCE_SERVER, identifier))


async def insert_resource_server(server: ResourceServer) -> bool:
    """Returns False if the identifier is taken."""
    insert = ResourceServerRow.insert(ResourceServerRow(**columns(server, ResourceServer))).on_conflict(
        action="DO NOTHING"
    )
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

CLIENTS = Listing(
    source="client AS c",
    columns="c.client_id, c.client_name, c.application_type, c.token_endpoint_auth_method, c.strict_auth_method,"
    " c.grant_types, c.redirect_uris, c.post_logout_redirect_uris, c.scope, c.id_token_signed_response_alg,"
    " c.client_uri, c.logo_uri, c.policy_uri, c.tos_uri, c.default_acr_values, c.upstreams, c.authorization_challenge,"
    " c.require_pkce, c.skip_consent, c.single_session, c.refresh_token_cookie, c.scope_claims_in_id_token,"
    " c.admin_role, c.not_before,"
    " c.created_at, c.updated_at, c.disabled_at",
    key=Sort("c.client_id", "text"),
    sorts={"created_at": Sort("c.created_at"), "client_name": Sort("c.client_name", "text")},
    default_sort="-created_at",
    filters={
        "client_id": Filter("c.client_id = {}", help="One client."),
        "q": Filter("strpos(lower(c.client_name), lower({})) > 0 OR c.client_id = {}", help="Part of the name."),
        "grant_type": Filter("{} = ANY (c.grant_types)", help="May use this grant."),
        "disabled": Filter("(c.disabled_at IS NOT NULL) = {}", "boolean", "Whether it is disabled."),
    },
)

RESOURCE_SERVERS = Listing(
    source="resource_server AS r",
    columns="r.identifier, r.name, r.scope, r.access_token_signed_response_alg, r.access_token_type, r.client_id,"
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
