"""What PostgreSQL knows of a database, its locks and the work of a transaction.

Most of it is about one transaction, so functions get the connection.
"""

from typing import Any

import msgspec

from idp.infra.db.engine import fetchrow

_RELATIONS = """
SELECT c.oid, c.relname AS name, c.relkind::text AS kind, pg_relation_filenode(c.oid) AS file, i.indrelid AS indexed,
    greatest(c.reltuples, 0)::bigint AS rows,
    CASE WHEN c.relkind = 'i' THEN pg_relation_size(c.oid) ELSE pg_table_size(c.oid) END AS bytes
FROM pg_class AS c LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
WHERE c.relkind IN ('r', 'm', 'p', 'i') AND c.relnamespace IN (
    SELECT oid FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'
)
"""
_LOCKS = """
SELECT relation AS oid, mode FROM pg_locks
WHERE pid = pg_backend_pid() AND granted AND locktype = 'relation' AND mode <> 'SIReadLock'
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_WORK = """
SELECT relid AS oid, coalesce(seq_scan, 0) AS scans, n_tup_upd + n_tup_del AS changed FROM pg_stat_xact_user_tables
"""
_INVALID = "SELECT indexrelid::regclass::text AS name FROM pg_index WHERE NOT indisvalid"
_WAL = "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
_SIZE = "SELECT pg_database_size(current_database()) AS bytes"
# Background processes have no user.
_OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND usesysid IS NOT NULL AND pid <> pg_backend_pid()
"""


class Relation(msgspec.Struct, frozen=True):
    """A table or an index.

    Attributes:
        kind: ``relkind`` of ``pg_class``.
        file: changes when the relation is rewritten; None: it has none, as a table in partitions.
        indexed: the oid of the table of an index.
        rows: an estimate.
        bytes: without indexes.
    """

    name: str
    kind: str
    file: int | None
    indexed: int | None
    rows: int
    bytes: int


class Work(msgspec.Struct, frozen=True):
    """What a transaction has done to a table: how often it read the whole, and rows that it updated or deleted."""

    scans: int = 0
    changed: int = 0


async def relations(connection: Any) -> dict[int, Relation]:
    """Return the tables and indexes by their oids."""
    rows = await connection.fetch(_RELATIONS)
    return {row["oid"]: Relation(**{name: row[name] for name in Relation.__struct_fields__}) for row in rows}


async def locks(connection: Any) -> set[tuple[int, str]]:
    """Return the locks of the transaction: the oid of the relation, and the mode as in ``AccessShareLock``."""
    return {(row["oid"], row["mode"]) for row in await connection.fetch(_LOCKS)}


async def work(connection: Any) -> dict[int, Work]:
    """Return what the transaction has done, by the oids of tables."""
    return {row["oid"]: Work(row["scans"], row["changed"]) for row in await connection.fetch(_WORK)}


async def invalid_indexes(connection: Any) -> set[str]:
    """Return the names of the indexes that are not valid."""
    return {row["name"] for row in await connection.fetch(_INVALID)}


async def wal_position(connection: Any) -> int:
    """Return how many bytes of write-ahead log were ever written."""
    return int(await connection.fetchval(_WAL))


async def database_size() -> int:
    """Return the size of the database of the engine in bytes."""
    row = await fetchrow(_SIZE)
    return int(row["bytes"]) if row else 0


async def others(connection: Any) -> int:
    """Return how many other connections the database has."""
    return int(await connection.fetchval(_OTHERS))


async def lock_name(connection: Any, key: int) -> bool:
    """Take an advisory lock until the end of the transaction. Returns whether it was free."""
    return bool(await connection.fetchval(f"SELECT pg_try_advisory_xact_lock({key})"))
