"""The statements on trusted issuers.

Changes run in a transaction of :func:`idp.oauth.clients.registration.change`, one after the other.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import known
from idp.oauth.issuers.models import StoredTrustedIssuer, TrustedIssuer

#: What is not in the column ``config``.
_COLUMNS = ("id", "issuer", "clients", "created_at", "updated_at")
_SELECTED = """
    i.id, i.issuer, i.config, i.created_at, i.updated_at,
    ARRAY(SELECT c.client_id FROM trusted_issuer_client AS c WHERE c.issuer_id = i.id ORDER BY 1) AS clients
"""
_ALL = f"SELECT {_SELECTED} FROM trusted_issuer AS i ORDER BY i.issuer"  # noqa: S608
_LOCK = f"SELECT {_SELECTED} FROM trusted_issuer AS i WHERE i.id = $1 FOR UPDATE OF i"  # noqa: S608
_INSERT = """
INSERT INTO trusted_issuer (id, issuer, config, created_at, updated_at) VALUES ($1, $2, $3, now(), now())
ON CONFLICT (issuer) DO NOTHING
"""
_UPDATE = "UPDATE trusted_issuer SET config = $2, updated_at = now() WHERE id = $1"
_REMOVE_CLIENTS = "DELETE FROM trusted_issuer_client WHERE issuer_id = $1 AND client_id <> ALL($2::text[])"
_ADD_CLIENTS = """
INSERT INTO trusted_issuer_client (issuer_id, client_id)
SELECT $1, client_id FROM client WHERE client_id = ANY($2::text[]) ON CONFLICT DO NOTHING
"""
_COUNT_CLIENTS = "SELECT count(*) AS clients FROM trusted_issuer_client WHERE issuer_id = $1"

TRUSTED_ISSUERS = Listing(
    source="trusted_issuer AS i",
    columns=_SELECTED,
    key=Sort("i.id", "text"),
    sorts={"issuer": Sort("i.issuer", "text")},
    default_sort="issuer",
    filters={
        "id": Filter("i.id = {}", help="One issuer, by the end of its path."),
        "issuer": Filter("i.issuer = {}", help="One issuer, by its iss."),
        "client_id": Filter(
            "EXISTS (SELECT FROM trusted_issuer_client AS c WHERE c.issuer_id = i.id AND c.client_id = {})",
            help="The issuers whose tokens a client may present.",
        ),
    },
)


def read(row: Mapping[str, Any]) -> StoredTrustedIssuer:
    """Return an issuer of a row."""
    values = {name: row[name] for name in _COLUMNS}
    return msgspec.convert(msgspec.json.decode(row["config"]) | values, StoredTrustedIssuer)


async def issuers() -> list[StoredTrustedIssuer]:
    """Return all issuers, disabled ones included, by name."""
    return known(read, await fetch(_ALL), "trusted_issuer")


async def lock_issuer(id: str) -> StoredTrustedIssuer | None:
    """Return an issuer, locked until the end of the transaction."""
    row = await fetchrow(_LOCK, id)
    return read(row) if row is not None else None


async def insert_issuer(issuer: TrustedIssuer) -> bool:
    """Returns False if there is one with this ``iss``."""
    return bool(await execute(_INSERT, issuer.id, issuer.issuer, _config(issuer)))


async def update_issuer(issuer: TrustedIssuer) -> None:
    """Replace everything but ``iss`` and the clients."""
    await execute(_UPDATE, issuer.id, _config(issuer))


async def set_clients(issuer: TrustedIssuer) -> bool:
    """Store the clients of an issuer. Returns False if one of them does not exist."""
    await execute(_REMOVE_CLIENTS, issuer.id, issuer.clients)
    await execute(_ADD_CLIENTS, issuer.id, issuer.clients)
    row = await fetchrow(_COUNT_CLIENTS, issuer.id)
    return row is not None and bool(row["clients"] == len(issuer.clients))


async def delete_issuer(id: str) -> None:
    await execute("DELETE FROM trusted_issuer WHERE id = $1", id)


def _config(issuer: TrustedIssuer) -> str:
    values = {name: value for name, value in msgspec.to_builtins(issuer).items() if name not in _COLUMNS}
    return msgspec.json.encode(values).decode()
