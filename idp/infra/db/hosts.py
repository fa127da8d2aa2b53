"""Connects to one of several hosts: to the primary, and never to one that a promotion has replaced.

Each promotion begins a timeline (PostgreSQL documentation, section 25.3.6). An old primary that is started again
without becoming a standby accepts writes too, on the timeline before. They would be lost, and the old primary does not
know what was revoked or used since. So a process remembers the newest timeline of a database, and asks all hosts for it
when it connects first.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg
import structlog

from idp.infra.db import outages

log = structlog.get_logger()

#: Seconds for which the first connection of a process waits for the timelines of all hosts.
LEARN_SECONDS = 5.0

_FIND_TIMELINE = """
SELECT system_identifier, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int
FROM pg_control_system()
"""
#: Errors of a standby, of an engine without timelines, and of an account that may not ask for them.
_NO_TIMELINE = (
    asyncpg.ObjectNotInPrerequisiteStateError,
    asyncpg.UndefinedFunctionError,
    asyncpg.FeatureNotSupportedError,
    asyncpg.InsufficientPrivilegeError,
)

#: When the last attempt at a host failed, by its URL. Absent for a host that was reached, or never tried.
_failed: dict[str, float] = {}
#: The newest timeline that was seen, by the identifier of the database system.
_newest: dict[int, int] = {}
#: URLs whose hosts were asked for their timelines.
_learned: set[str] = set()


async def connect(dsn: str, **options: Any) -> Any:
    """Connect to the first host that answers in time, satisfies ``target_session_attrs`` and is on the newest timeline.

    Hosts that were not reached last time are tried last. This replaces asyncpg's loop over hosts, whose timeout is for
    all of them together: a host that drops packets would use it up.
    """
    hosts = one_by_one(dsn)
    if len(hosts) == 1:
        return await asyncpg.connect(dsn=hosts[0], **options)
    if dsn not in _learned:
        await _learn(hosts, options)
        _learned.add(dsn)
    errors: list[Exception] = []
    for host in sorted(hosts, key=lambda host: _failed.get(host, 0.0)):
        try:
            connection = await _open(host, options)
        except BaseException as error:
            # Also if the caller did not wait for the host any longer.
            _failed[host] = time.monotonic()
            if not isinstance(error, outages.ERRORS):
                raise
            errors.append(error)
        else:
            _failed.pop(host, None)
            return connection
    # A host that answers explains more than one that does not.
    raise next((error for error in errors if outages.outage(error) not in (None, outages.LOST)), errors[-1])


def one_by_one(dsn: str) -> Sequence[str]:
    """Return the same URL for each of its hosts, which are in its authority or in ``host`` and ``port``."""
    try:
        parts = urlsplit(dsn)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        return [dsn]
    if names := query.get("host"):
        hosts, ports = names.split(","), query.get("port", "").split(",")
        if len(ports) not in (1, len(hosts)):
            return [dsn]
        pairs = zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=True)
        queries = [query | {"host": host} | ({"port": port} if port else {}) for host, port in pairs]
        return [urlunsplit(parts._replace(query=urlencode(each))) for each in queries]
    user, at, authority = parts.netloc.rpartition("@")
    return [urlunsplit(parts._replace(netloc=f"{user}{at}{host}")) for host in authority.split(",")]


async def _learn(hosts: Sequence[str], options: dict[str, Any]) -> None:
    """Learn the newest timeline from the hosts that answer soon."""

    async def ask(host: str) -> None:
        with suppress(*outages.ERRORS):
            connection = await _open(host, options)
            connection.terminate()

    tasks = [asyncio.create_task(ask(host)) for host in hosts]
    _, late = await asyncio.wait(tasks, timeout=LEARN_SECONDS)
    for task in late:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _open(host: str, options: dict[str, Any]) -> Any:
    connection = await asyncpg.connect(dsn=host, **options)
    try:
        await _check_timeline(connection, host)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _check_timeline(connection: Any, host: str) -> None:
    """Remember the timeline of a primary.

    Raises:
        StalePrimaryError: a newer one is known.
    """
    try:
        # In a transaction, because a pooler may send the two messages of a statement to different servers.
        async with connection.transaction():
            system, timeline = await connection.fetchrow(_FIND_TIMELINE)
    except _NO_TIMELINE:
        return
    if timeline < _newest.get(system, 0):
        place = urlsplit(host)
        log.error("stale_primary_refused", host=place.hostname or dict(parse_qsl(place.query)).get("host"))
        raise outages.StalePrimaryError("An old primary, which a promotion has replaced, accepts connections.")
    _newest[system] = timeline
