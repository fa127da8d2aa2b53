"""Temporary errors of the database, by SQLSTATE (PostgreSQL documentation, appendix A).

Every endpoint and page answers an error of this table with 503 and Retry-After (:mod:`idp.http.exception_handlers`).
Commands print it as one sentence. The table also decides whether the connection may be used again
(:mod:`idp.infra.db.connections`). Every other error of PostgreSQL is a bug.
"""

import time

import asyncpg
import msgspec

from idp.errors import TryLaterError


class DatabaseUnavailableError(TryLaterError):
    """PostgreSQL cannot be reached or refuses the connection. The message is one sentence."""


class DatabaseClosedError(DatabaseUnavailableError):
    """This process has no connections: it has not opened them yet, or it ends."""


class StalePrimaryError(DatabaseUnavailableError):
    """The only host that accepts writes is an old primary, on a timeline that a promotion has ended."""


class Outage(msgspec.Struct, frozen=True):
    """The consequences of a temporary error of the database.

    Attributes:
        reason: one word for logs and for readiness.
        words: a sentence for the operator.
        retry_after: seconds after which a client may try again.
        discard: whether the connection must not be used again.
    """

    reason: str
    words: str
    retry_after: int = 5
    discard: bool = False


LOST = Outage("database", "PostgreSQL cannot be reached", discard=True)
READ_ONLY = Outage(
    "database_read_only", "PostgreSQL accepts no writes: it is a standby, or read-only", discard=True
)  # fmt: skip
STALE = Outage(
    "database_stale",
    "The primary was replaced by a promotion. Make it a standby, or remove it from IDP_DATABASE_URL",
    discard=True,
)
NOT_PREPARED = Outage(
    "prepared_statements_lost",
    "A pooler before PostgreSQL does not keep prepared statements."
    " Set IDP_DATABASE_PREPARED_STATEMENTS=false, or max_prepared_statements of PgBouncer 1.21 or later",
    retry_after=1,
    discard=True,
)
_CHANGED = Outage("schema_changed", "A migration has just changed the tables. Try again", retry_after=1)
_CONFLICT = Outage("conflict", "Another transaction changed the same rows. Try again", retry_after=1)
RESOURCES = Outage("database_resources", "PostgreSQL lacks disk, memory or connections", retry_after=10)
_BUSY = Outage("database_lock", "A table is in use. Try again")
_SLOW = Outage("database_timeout", "PostgreSQL cancelled a statement that took too long. Try again")
_REFUSED = Outage("database_access", "PostgreSQL refuses the user, password or database", retry_after=30, discard=True)

#: By the whole SQLSTATE, or by its class, the first two characters.
OUTAGES = {
    "08": LOST,  # connection exception; poolers report their own errors as 08P01
    "25006": READ_ONLY,  # read_only_sql_transaction
    "25P03": LOST,  # idle_in_transaction_session_timeout
    "25P04": _SLOW,  # transaction_timeout
    "26": NOT_PREPARED,  # invalid_sql_statement_name
    "28": _REFUSED,  # invalid authorization
    "3D": _REFUSED,  # invalid catalog name
    "40": _CONFLICT,  # transaction rollback: serialization, deadlock
    "42P05": NOT_PREPARED,  # duplicate_prepared_statement
    "53": RESOURCES,  # insufficient resources
    "55000": LOST,  # object_not_in_prerequisite_state, such as a database that accepts no connections
    "55006": _BUSY,  # object_in_use
    "55P03": _BUSY,  # lock_not_available
    "57014": _SLOW,  # query_canceled
    "57P": LOST,  # shutdown, crash, start, idle session
    "58": RESOURCES,  # system error, such as of a disk
}

#: Errors with which a statement or a connection attempt may end during a database outage.
ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, DatabaseUnavailableError)

_observed: dict[str, float] = {}


def outage(error: BaseException) -> Outage | None:
    """Return the consequences of an error, or None if it is not temporary."""
    if isinstance(error, asyncpg.InvalidCachedStatementError | asyncpg.OutdatedSchemaCacheError):
        return _CHANGED
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return OUTAGES.get(state) or OUTAGES.get(state[:3]) or OUTAGES.get(state[:2])
    if isinstance(error, StalePrimaryError):
        return STALE
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return READ_ONLY
    if isinstance(error, DatabaseUnavailableError) and error.__cause__ is not None:
        return outage(error.__cause__) or LOST
    # An argument of the wrong type is an InterfaceError too, and a ValueError. asyncpg raises InternalClientError on a
    # connection that is just being closed.
    lost = isinstance(error, DatabaseUnavailableError | asyncpg.InterfaceError | asyncpg.InternalClientError)
    return LOST if lost and not isinstance(error, ValueError) else None


def observe(found: Outage) -> None:
    """Record the error for the readiness check."""
    _observed[found.reason] = time.monotonic()


def observed(found: Outage, within: float) -> bool:
    """Return whether the error was recorded in the last seconds."""
    return time.monotonic() - _observed.get(found.reason, float("-inf")) < within
