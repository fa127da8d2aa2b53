"""The statements on the root key, which is stored once under each master key."""

from idp.infra.db.engine import execute, fetch, fetchrow

_FIND_ROOT_KEY = "SELECT sealed FROM root_key WHERE master_key_id = $1"
_INSERT_ROOT_KEY = """
INSERT INTO root_key (master_key_id, sealed, created_at) VALUES ($1, $2, now()) ON CONFLICT DO NOTHING
"""
_HAS_ROOT_KEY = "SELECT FROM root_key LIMIT 1"
_MASTER_KEY_IDS = "SELECT master_key_id FROM root_key ORDER BY created_at"
_DELETE_OTHER_ROOT_KEYS = "DELETE FROM root_key WHERE master_key_id <> $1 RETURNING master_key_id"


async def find_root_key(master_key_id: bytes) -> bytes | None:
    """Return the root key, encrypted under this master key."""
    row = await fetchrow(_FIND_ROOT_KEY, master_key_id)
    return bytes(row["sealed"]) if row is not None else None


async def has_root_key() -> bool:
    """Return whether there is a root key, under any master key."""
    return await fetchrow(_HAS_ROOT_KEY) is not None


async def master_key_ids() -> list[bytes]:
    """Return the ids of the master keys that open the root key, the oldest first."""
    return [bytes(row["master_key_id"]) for row in await fetch(_MASTER_KEY_IDS)]


async def insert_root_key(master_key_id: bytes, encrypted: bytes) -> None:
    """Insert the root key under a master key, unless it exists."""
    await execute(_INSERT_ROOT_KEY, master_key_id, encrypted)


async def delete_other_root_keys(master_key_id: bytes) -> list[bytes]:
    """Delete the root key under all other master keys. Returns their ids."""
    return [bytes(row["master_key_id"]) for row in await fetch(_DELETE_OTHER_ROOT_KEYS, master_key_id)]
