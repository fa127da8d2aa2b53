"""Statements on PostgreSQL itself. Only its catalogs and statistics are read (documentation, chapters 27 and 53)."""

from datetime import datetime

import msgspec

from idp.infra.db.engine import engine, fetch, fetchrow
from idp.infra.db.rows import many, one

_SERVER = """
SELECT current_setting('server_version_num')::int AS version, current_setting('server_encoding') AS encoding,
       pg_is_in_recovery() AS standby, current_setting('transaction_read_only') = 'on' AS read_only,
       current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit, current_setting('autovacuum') AS autovacuum,
       current_setting('default_transaction_isolation') AS isolation,
       current_setting('log_statement') AS log_statement,
       (SELECT setting::float8 / 1000 FROM pg_settings WHERE name = 'statement_timeout') AS statement_timeout,
       (SELECT setting::float8 / 1000 FROM pg_settings WHERE name = 'idle_session_timeout') AS idle_session_timeout,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
       has_schema_privilege(current_schema(), 'CREATE') AS may_create,
       coalesce(inet_server_addr() << '127.0.0.0/8' OR inet_server_addr() = '::1', true) AS loopback,
       coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS encrypted,
       (SELECT age(datfrozenxid)::bigint FROM pg_database WHERE datname = current_database()) AS transaction_age
"""
_CONNECTIONS = """
SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true), '0')::int AS available,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS used,
       (SELECT count(DISTINCT client_addr) FROM pg_stat_activity WHERE application_name = 'idp') AS hosts,
       (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS of_role,
       (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS of_database,
       (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'
            AND now() - state_change > make_interval(secs => $1)) AS idle_in_transaction
"""
# Our tables are those of the owner of `revision`: the schema may have tables of other applications.
_OURS = """
FROM pg_class AS c WHERE c.relkind IN ('r', 'p') AND c.relnamespace = to_regnamespace(current_schema())
    AND c.relowner = (SELECT relowner FROM pg_class WHERE oid = to_regclass('revision'))
"""
_FORBIDDEN = f"""
SELECT c.relname AS name {_OURS}
    AND NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
             AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))
ORDER BY c.relname
"""
_NOT_OWNED = f"SELECT c.relname AS name {_OURS} AND NOT pg_has_role(c.relowner, 'USAGE') ORDER BY c.relname"
_TABLES = """
SELECT relname AS name, n_live_tup AS live, n_dead_tup AS dead, pg_total_relation_size(relid) AS bytes
FROM pg_stat_user_tables WHERE schemaname = current_schema() ORDER BY relname
"""
_SLOTS = """
SELECT slot_name::text AS name, active, coalesce(wal_status, '') AS wal_status,
       coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn()
                                END, restart_lsn), 0)::bigint AS kept
FROM pg_replication_slots ORDER BY slot_name
"""
_STANDBYS = """
SELECT application_name AS name, coalesce(extract(epoch FROM replay_lag), 0)::float8 AS lag
FROM pg_stat_replication ORDER BY application_name
"""
_PARTITIONS = """
SELECT c.relname AS name FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = to_regclass($1::text) ORDER BY c.relname
"""


class Server(msgspec.Struct, frozen=True):
    """A PostgreSQL and the role of this process.

    Attributes:
        version: such as 170002.
        statement_timeout, idle_session_timeout: in seconds; 0: none.
        loopback: the connection does not leave this machine.
        transaction_age: transactions since the oldest one that vacuum has not frozen.
    """

    version: int
    encoding: str
    standby: bool
    read_only: bool
    fsync: str
    full_page_writes: str
    synchronous_commit: str
    autovacuum: str
    isolation: str
    log_statement: str
    statement_timeout: float
    idle_session_timeout: float
    superuser: bool
    may_create: bool
    loopback: bool
    encrypted: bool
    transaction_age: int


class Connections(msgspec.Struct, frozen=True):
    """The connections of a PostgreSQL.

    Attributes:
        available: those that ordinary roles may have, of all databases.
        hosts: from which servers of ours are connected.
        of_role, of_database: limits; -1: none.
        idle_in_transaction: transactions that have waited for their client for a while.
    """

    available: int
    used: int
    hosts: int
    of_role: int
    of_database: int
    idle_in_transaction: int

    @property
    def limit(self) -> int:
        """The lowest limit."""
        return min(limit for limit in (self.available, self.of_role, self.of_database) if limit >= 0)


class Table(msgspec.Struct, frozen=True):
    """Estimated rows of a table, and its size with its indexes."""

    name: str
    live: int
    dead: int
    bytes: int


class Slot(msgspec.Struct, frozen=True):
    """A replication slot. ``kept``: bytes of WAL that it keeps."""

    name: str
    active: bool
    wal_status: str
    kept: int


class Standby(msgspec.Struct, frozen=True):
    """A connected standby. ``lag``: seconds until it had applied what was committed."""

    name: str
    lag: float


async def server() -> Server:
    found = one(Server, await fetchrow(_SERVER))
    assert found is not None  # noqa: S101 -- the statement returns one row
    return found


async def connections(idle_seconds: float) -> Connections:
    """
    Args:
        idle_seconds: the time after which an idle transaction counts.
    """
    found = one(Connections, await fetchrow(_CONNECTIONS, idle_seconds))
    assert found is not None  # noqa: S101 -- the statement returns one row
    return found


async def behind_pooler() -> bool:
    """Return whether a pooler is between: it numbers its connections itself, and PostgreSQL its own ones."""
    connection = await engine.get_new_connection()
    try:
        (row,) = await connection.fetch("SELECT pg_backend_pid() AS pid")
        return bool(row["pid"] != connection.get_server_pid())
    finally:
        await connection.close()


async def forbidden_tables() -> list[str]:
    """Return the tables that this role may not read and write."""
    return [row["name"] for row in await fetch(_FORBIDDEN)]


async def tables_of_others() -> list[str]:
    """Return the tables whose owner is another role, so that no migration can change them."""
    return [row["name"] for row in await fetch(_NOT_OWNED)]


async def tables() -> list[Table]:
    return many(Table, await fetch(_TABLES))


async def slots() -> list[Slot]:
    return many(Slot, await fetch(_SLOTS))


async def standbys() -> list[Standby]:
    """Return the connected standbys. A role without ``pg_monitor`` does not see their lag."""
    return many(Standby, await fetch(_STANDBYS))


async def partitions(table: str) -> list[str]:
    """Return the names of the partitions of a table."""
    return [row["name"] for row in await fetch(_PARTITIONS, table)]


async def database_time() -> datetime:
    """Return the time of the database's clock."""
    row = await fetchrow("SELECT clock_timestamp() AS at")
    assert row is not None  # noqa: S101 -- the statement returns one row
    at: datetime = row["at"]
    return at
