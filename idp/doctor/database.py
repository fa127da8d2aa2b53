"""PostgreSQL: version, settings, connections, privileges, replication, tables."""

from collections.abc import Iterator

from idp import clock
from idp.doctor import repository
from idp.doctor.models import Context, Finding, Findings, error, note, ok, warning
from idp.doctor.repository import Connections, Server, Slot, Standby, Table
from idp.infra.db import pooler
from idp.infra.db.migrate import MIN_VERSION
from idp.infra.db.partitions import month_of, next_month
from idp.settings import Settings

#: Least statement time limit that migrations and housekeeping get along with, in seconds.
MIN_STATEMENT_TIMEOUT = 5.0
#: Seconds after which a transaction that waits for its client keeps vacuum from its work.
IDLE_SECONDS = 60.0
#: Share of the connections above which there is a warning.
NEARLY_ALL = 0.8
#: PostgreSQL stops at 2^31 transactions (documentation, section 24.1.5).
OLD_TRANSACTIONS, ANCIENT_TRANSACTIONS = 1_000_000_000, 1_800_000_000
#: Dead rows of a table above which there is a warning, if they are also most of its rows.
MANY_DEAD = 100_000
#: Size in bytes above which a queue has hardly been emptied for long.
LARGE_QUEUE = 5 << 30
QUEUES = ("mail", "delivery")
#: Bytes of WAL that an unused slot may keep, and seconds that a standby may lag.
MUCH_WAL, LONG_LAG = 1 << 30, 60.0
PARTITIONED = "audit_event"


async def check_server(context: Context) -> Findings:
    """Version and settings of the server, and the rights of the role."""
    server = await repository.server()
    found = [*_durability(server), *_behaviour(server), *_access(server, context.settings)]
    for finding in found:
        yield finding
    if not found:
        yield ok(f"PostgreSQL {server.version // 10000}.{server.version % 10000} is set as it should be.")


def _durability(server: Server) -> Iterator[Finding]:
    for name in ("fsync", "full_page_writes"):
        if getattr(server, name) != "on":
            yield error(
                f"{name}_off",
                f"{name} is off: after a crash of the machine the database may be damaged.",
                f"Set {name} = on in postgresql.conf, and reload.",
            )
    if server.synchronous_commit == "off":
        yield error(
            "synchronous_commit_off",
            "synchronous_commit is off: after a crash, codes and refresh tokens that were used can be used again, and "
            "what was revoked is valid.",
            "Set synchronous_commit = on, for the server, the database and the role.",
        )


def _behaviour(server: Server) -> Iterator[Finding]:
    if server.version < MIN_VERSION * 10000:
        yield error(
            "postgresql_too_old",
            f"PostgreSQL is {server.version // 10000}. idp needs {MIN_VERSION} or later.",
            "Upgrade PostgreSQL.",
        )
    if server.encoding != "UTF8":
        yield error(
            "encoding_not_utf8",
            f"The encoding of the database is {server.encoding}: names in other scripts cannot be stored.",
            "Create a database with ENCODING 'UTF8', and copy the data with pg_dump.",
        )
    if server.read_only:
        why = "is a standby" if server.standby else "accepts no writes"
        yield error(
            "database_read_only",
            f"The database {why}, so no one can sign in.",
            "Name the primary in IDP_DATABASE_URL, or all hosts with target_session_attrs=read-write.",
        )
    if server.isolation != "read committed":
        yield warning(
            "isolation_differs",
            f"default_transaction_isolation is {server.isolation}: concurrent requests fail that would wait otherwise.",
            "Set it to 'read committed' for the role and the database.",
        )
    if server.autovacuum != "on":
        yield error(
            "autovacuum_off",
            "autovacuum is off: tables grow, and in the end PostgreSQL stops.",
            "Set autovacuum = on in postgresql.conf, and reload.",
        )
    if 0 < server.statement_timeout < MIN_STATEMENT_TIMEOUT:
        yield warning(
            "statement_timeout_short",
            f"statement_timeout is {server.statement_timeout:g} s: deletion of expired rows and migrations fail.",
            f"Set it to {MIN_STATEMENT_TIMEOUT:g} s or more for the role. idp limits its requests itself.",
        )
    if server.idle_session_timeout:
        yield warning(
            "idle_session_timeout_set",
            "idle_session_timeout closes connections that idp keeps for later requests.",
            "Set it to 0 for the role.",
        )
    if server.log_statement == "all":
        yield note(
            "statements_logged",
            "log_statement is all: PostgreSQL writes every statement to its log, with values such as addresses.",
            "Set it to ddl, or protect the log like the database.",
        )
    if server.transaction_age > OLD_TRANSACTIONS:
        last = error if server.transaction_age > ANCIENT_TRANSACTIONS else warning
        yield last(
            "transactions_not_frozen",
            f"Vacuum has not frozen rows for {server.transaction_age:,} transactions. At two billion PostgreSQL stops.",
            "Look for old transactions, replication slots and prepared transactions, and run VACUUM.",
        )


def _access(server: Server, settings: Settings) -> Iterator[Finding]:
    if not server.loopback and not server.encrypted:
        yield warning(
            "database_not_encrypted",
            "The connection to PostgreSQL on another machine is not encrypted.",
            "Append ?sslmode=verify-full to IDP_DATABASE_URL, with sslrootcert if your authority is not public.",
        )
    if server.superuser and settings.database_url is not None:
        yield note(
            "role_is_superuser",
            "The role of idp is a superuser, which can read files of the database server.",
            "Use a role that only owns the database.",
        )
    if not server.may_create and settings.migrate_on_start:
        yield error(
            "may_not_migrate",
            "The role may not create tables, and IDP_MIGRATE_ON_START is on: the next upgrade fails.",
            "Grant CREATE on the schema, or set IDP_MIGRATE_ON_START=false and migrate with another role.",
        )


async def check_connections(context: Context) -> Findings:
    """Compare the pools of the workers with the limits of PostgreSQL."""
    found, wanted = await repository.connections(IDLE_SECONDS), _wanted(context.settings)
    # A pooler lets many connections of ours share a few.
    findings = [] if await repository.behind_pooler() else [*_limits(found, wanted)]
    if found.idle_in_transaction:
        findings.append(
            warning(
                "idle_in_transaction",
                f"{found.idle_in_transaction} transactions have waited for their client for more than a minute. They "
                "keep locks, and keep vacuum from its work.",
                "Find them in pg_stat_activity, and set idle_in_transaction_session_timeout.",
            )
        )
    for finding in findings:
        yield finding
    if not findings:
        yield ok(f"This server needs up to {wanted} of {found.limit} connections.")


def _wanted(settings: Settings) -> int:
    return settings.workers * settings.database_pool_size


def _limits(found: Connections, wanted: int) -> Iterator[Finding]:
    mend = (
        "Lower IDP_DATABASE_POOL_SIZE or IDP_WORKERS, raise max_connections or the limit of the role, or use a pooler."
    )
    if wanted > found.limit:
        yield error(
            "pool_exceeds_connections",
            f"The workers of this server open up to {wanted} connections, and PostgreSQL allows {found.limit}.",
            mend,
        )
    elif wanted * max(1, found.hosts) > found.limit * NEARLY_ALL:
        yield warning(
            "connections_scarce",
            f"{max(1, found.hosts)} such servers open up to {wanted * max(1, found.hosts)} connections, and PostgreSQL "
            f"allows {found.limit}.",
            mend,
        )
    if found.used > found.available * NEARLY_ALL:
        yield warning(
            "connections_used", f"{found.used} of {found.available} connections are in use.", mend
        )  # fmt: skip


async def check_pooler(_: Context) -> Findings:
    """Look for a pooler that drops prepared statements."""
    try:
        await pooler.check_prepared_statements()
    except pooler.UnsupportedPoolerError as failure:
        yield error(
            "pooler_drops_statements",
            failure.description,
            "See docs/operations.md for poolers. Until then requests fail at random under load.",
        )
    else:
        yield ok("Prepared statements are kept.")


async def check_privileges(context: Context) -> Findings:
    """Look for tables that the role may not use."""
    forbidden = await repository.forbidden_tables()
    if forbidden:
        yield error(
            "privileges_missing",
            f"The role may not read and write {_some(forbidden)}.",
            "As the owner, run: GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO <role>",
        )
    elif context.settings.migrate_on_start and (others := await repository.tables_of_others()):
        yield warning(
            "tables_of_another_role",
            f"Another role owns {_some(others)}, so the next migration may fail.",
            "Make the role of idp their owner, or set IDP_MIGRATE_ON_START=false and migrate with the owner.",
        )
    else:
        yield ok("The role may use every table.")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


async def check_tables(_: Context) -> Findings:
    """Look for dead rows, large queues, and missing partitions."""
    found = [finding for table in await repository.tables() for finding in _table(table)]
    found += _partitions(await repository.partitions(PARTITIONED))
    for finding in found:
        yield finding
    if not found:
        yield ok("Vacuum keeps up, and the partitions of the coming month exist.")


def _table(table: Table) -> Iterator[Finding]:
    if table.dead > MANY_DEAD and table.dead > table.live:
        yield warning(
            "table_bloated",
            f"{table.name} has {table.dead:,} dead rows and {table.live:,} live ones, so vacuum does not keep up.",
            f"Run: VACUUM ANALYZE {table.name}. Look for old transactions, and let autovacuum work more.",
        )
    if table.name in QUEUES and table.bytes > LARGE_QUEUE:
        yield warning(
            "queue_large",
            f"The table {table.name} has {table.bytes >> 30} GB, so it was not emptied for long.",
            "See the check of the queues. Afterwards, VACUUM FULL in a quiet hour gives the space back.",
        )


def _partitions(names: list[str]) -> Iterator[Finding]:
    this = month_of(clock.now())
    missing = [f"{PARTITIONED}_{month:%Y%m}" for month in (this, next_month(this))]
    missing = [name for name in missing if name not in names]
    if missing:
        yield warning(
            "partition_missing",
            f"There is no {', '.join(missing)}. New events go to the default partition, which is slow to delete.",
            "A running server creates them. Look for partition_not_owned and rows_in_default_partition in its log.",
        )


async def check_replication(_: Context) -> Findings:
    """Look for slots that keep WAL, and for standbys that lag."""
    found = [finding for slot in await repository.slots() for finding in _slot(slot)]
    found += [finding for standby in await repository.standbys() for finding in _standby(standby)]
    for finding in found:
        yield finding
    if not found:
        yield ok("No replication slot and no standby lags.")


def _slot(slot: Slot) -> Iterator[Finding]:
    if slot.wal_status == "lost":
        yield error(
            "replication_slot_lost",
            f"The replication slot {slot.name} has lost WAL, so its standby cannot continue.",
            "Build the standby again from a base backup.",
        )
    elif not slot.active and slot.kept > MUCH_WAL:
        yield warning(
            "replication_slot_unused",
            f"Nothing reads the replication slot {slot.name}, and it keeps {slot.kept >> 20} MB of WAL.",
            f"Start its standby, or drop it: SELECT pg_drop_replication_slot('{slot.name}')",
        )


def _standby(standby: Standby) -> Iterator[Finding]:
    if standby.lag > LONG_LAG:
        yield warning(
            "standby_lags",
            f"The standby {standby.name} is {standby.lag:.0f} s behind. What is promoted lacks that much.",
            "Look at its disk and network. Do not promote it before it has caught up.",
        )
