"""Checkpoints outside the database, in a file and at a URL: out of reach of who takes the database back to yesterday.

Each line of the file, and each body that is sent, is the JWS of one checkpoint. Both are brought up to date from the
database, so that neither a restart nor a time without the other server leaves any out.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import Awaitable, Sequence
from hashlib import sha256
from pathlib import Path

import structlog

from idp.audit.checkpoint_claims import CheckpointClaims, parse
from idp.errors import OperatorError
from idp.infra import outbound
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.logs import exception_fields
from idp.settings import settings

log = structlog.get_logger()

#: Checkpoints that are written or sent before others have their turn.
BATCH = 200
#: So much of the end of the file is read to see how far it came; several lines.
TAIL_BYTES = 64 * 1024
TIMEOUT_SECONDS = 10.0
#: For so long no other worker sends.
LEASE_SECONDS = 60

_AFTER = f"SELECT number, statement FROM audit_checkpoint WHERE number > $1 ORDER BY number LIMIT {BATCH}"  # noqa: S608
_STATEMENT = "SELECT statement FROM audit_checkpoint WHERE number = $1"
_SENT = "SELECT number FROM revision WHERE topic = $1"
_NOTE_SENT = """
INSERT INTO revision AS r (topic, number) VALUES ($1, $2)
ON CONFLICT (topic) DO UPDATE SET number = greatest(r.number, excluded.number)
"""
# Sending is one worker's until a time, which stands in the place of a number.
_LEASE = """
INSERT INTO revision AS r (topic, number) VALUES ($1, extract(epoch FROM now())::bigint + $2)
ON CONFLICT (topic) DO UPDATE SET number = excluded.number WHERE r.number < extract(epoch FROM now())
RETURNING number
"""
_END_LEASE = "UPDATE revision SET number = 0 WHERE topic = $1 AND number = $2"


class DatabaseRolledBackError(OperatorError):
    """There are checkpoints outside that the database does not have."""

    def __init__(self) -> None:
        super().__init__(
            "There are checkpoints outside that the database does not have: it was taken back, or another one's."
        )


async def write_file(path: Path) -> int:
    """Append the checkpoints that the file does not have yet. Returns how many.

    Raises:
        OSError: it cannot be written.
        DatabaseRolledBackError: it does not end with a checkpoint of this database.
    """
    written = 0
    while True:
        last = await asyncio.to_thread(_last_line, path)
        statement = parse(last)
        number = statement.number if statement is not None else 0
        if number:
            row = await fetchrow(_STATEMENT, number)
            if row is None or row["statement"] != last:
                raise DatabaseRolledBackError
        rows = await fetch(_AFTER, number)
        if not rows:
            return written
        written += await asyncio.to_thread(_append, path, last, [row["statement"] for row in rows])


def _last_line(path: Path) -> str:
    """The last line that is whole; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return ""
    # What stands after the last end of a line is not whole.
    whole = (line.decode("ascii", "replace") for line in reversed(lines[:-1]))
    return next((line for line in whole if parse(line) is not None), "")


async def last_written(path: Path) -> CheckpointClaims | None:
    """The last checkpoint of ours in a file, unless the database has it. None for a file that cannot be read.

    Raises:
        LockedError: the master key is missing.
    """
    try:
        line = await asyncio.to_thread(_last_line, path)
    except OSError:
        return None
    statement = parse(line)
    if statement is None or not statement.is_ours():
        return None
    row = await fetchrow(_STATEMENT, statement.number)
    return None if row is not None and row["statement"] == line else statement


def _append(path: Path, last: str, statements: Sequence[str]) -> int:
    """Append lines, unless another worker was first. They are on the disk when this returns."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if _last_line(path) != last:
            return 0
        torn = file.tell() > 0 and not _ends_with_newline(path)
        file.write(b"\n" * torn + "".join(f"{statement}\n" for statement in statements).encode())
        file.flush()
        os.fsync(file.fileno())
    return len(statements)


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


async def send(url: str) -> int:
    """Send the checkpoints that were not accepted yet, one after the other. Returns how many.

    The other server may get one twice, when a worker ends in between.

    Raises:
        CallFailed: the other server did not accept one.
        DatabaseRolledBackError: it accepted some that this database does not have.
    """
    place = sha256(url.encode()).hexdigest()[:16]
    topic, lease = f"audit_sent:{place}", f"audit_sending:{place}"
    sent = await fetchrow(_SENT, topic)
    if sent is not None and await fetchrow(_STATEMENT, sent["number"]) is None:
        raise DatabaseRolledBackError
    rows = await fetch(_AFTER, sent["number"] if sent is not None else 0)
    held = await fetchrow(_LEASE, lease, LEASE_SECONDS) if rows else None
    if held is None:
        return 0
    number, until = 0, time.monotonic() + LEASE_SECONDS - TIMEOUT_SECONDS
    try:
        while number < len(rows) and time.monotonic() < until:
            body = rows[number]["statement"].encode()
            await outbound.post(url, body, "application/jwt", timeout_seconds=TIMEOUT_SECONDS)
            await execute(_NOTE_SENT, topic, rows[number]["number"])
            number += 1
    finally:
        await execute(_END_LEASE, lease, held["number"])
    return number


async def deliver() -> bool:
    """Bring what is outside up to date. A failure is logged once, until it works again.

    Returns:
        whether all worked.
    """
    path, url = settings().audit_checkpoint_file, settings().audit_checkpoint_url
    fine = True
    if path is not None:
        fine &= await _works("file", write_file(path))
    if url is not None:
        fine &= await _works("url", send(url.get_secret_value()))
    return fine


_failing: set[str] = set()


async def _works(place: str, delivery: Awaitable[int]) -> bool:
    try:
        await delivery
    except (OSError, outbound.CallFailed, DatabaseRolledBackError) as error:
        if place not in _failing:
            say = log.error if isinstance(error, DatabaseRolledBackError) else log.warning
            say("audit_delivery_failed", reason=place, **exception_fields(error))
        _failing.add(place)
        return False
    if place in _failing:
        log.info("audit_delivery_resumed", reason=place)
    _failing.discard(place)
    return True
