"""Export of checkpoints to a file and a URL outside the database, where a rollback of the database does not reach them.

Each line of the file and each request body is the JWS of one checkpoint. Every export continues after the last one that
arrived, so that neither a restart nor an outage of the receiver leaves any out.
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
from idp.audit.repository import audit_checkpoints
from idp.errors import OperatorError
from idp.infra import outbound
from idp.infra.logs import exception_fields
from idp.settings import settings

log = structlog.get_logger()

#: Maximum of checkpoints written or sent at a time.
BATCH = 200
#: Size of the end of the file that is read to find its last line. It holds several lines.
TAIL_BYTES = 64 * 1024
TIMEOUT_SECONDS = 10.0
#: Duration of the lease with which one worker sends.
LEASE_SECONDS = 60


class DatabaseRolledBackError(OperatorError):
    """The file or the receiver has checkpoints that the database does not have."""

    def __init__(self) -> None:
        super().__init__(
            "There are checkpoints outside that the database does not have: it was taken back, or another one's."
        )


async def write_file(path: Path) -> int:
    """Append the checkpoints that the file does not have yet. Returns their number.

    Raises:
        OSError: the file cannot be written.
        DatabaseRolledBackError: it does not end with a checkpoint of this database.
    """
    written = 0
    while True:
        last = await asyncio.to_thread(_last_line, path)
        statement = parse(last)
        number = statement.number if statement is not None else 0
        if number and await audit_checkpoints.statement(number) != last:
            raise DatabaseRolledBackError
        checkpoints = await audit_checkpoints.statements_after(number, BATCH)
        if not checkpoints:
            return written
        written += await asyncio.to_thread(_append, path, last, [checkpoint.statement for checkpoint in checkpoints])


def _last_line(path: Path) -> str:
    """Return the last complete line; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL_BYTES))
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return ""
    # Text after the last newline is incomplete.
    whole = (line.decode("ascii", "replace") for line in reversed(lines[:-1]))
    return next((line for line in whole if parse(line) is not None), "")


async def last_written(path: Path) -> CheckpointClaims | None:
    """The last checkpoint in a file, if it is ours and missing from the database. None if the file cannot be read.

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
    return None if await audit_checkpoints.statement(statement.number) == line else statement


def _append(path: Path, last: str, statements: Sequence[str]) -> int:
    """Append lines and sync the file, unless another worker has appended them. Returns how many were appended."""
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
    """Send the checkpoints that the receiver has not accepted yet, in order. Returns their number.

    The receiver may get one twice, if a worker is killed before it records the answer.

    Raises:
        CallFailed: the receiver did not accept one.
        DatabaseRolledBackError: it accepted checkpoints that this database does not have.
    """
    place = sha256(url.encode()).hexdigest()[:16]
    sent = await audit_checkpoints.last_sent(place)
    if sent and await audit_checkpoints.statement(sent) is None:
        raise DatabaseRolledBackError
    if not await audit_checkpoints.statements_after(sent, 1):
        return 0
    lease = await audit_checkpoints.lease_export(place, LEASE_SECONDS)
    if lease is None:
        return 0
    try:
        return await _send(url, place, lease.sent)
    finally:
        await audit_checkpoints.end_lease(place, lease)


async def _send(url: str, place: str, sent: int) -> int:
    """Send the checkpoints after this one while the lease is held."""
    until = time.monotonic() + LEASE_SECONDS - TIMEOUT_SECONDS
    number = 0
    for checkpoint in await audit_checkpoints.statements_after(sent, BATCH):
        if time.monotonic() >= until:
            break
        await outbound.post(url, checkpoint.statement.encode(), "application/jwt", timeout_seconds=TIMEOUT_SECONDS)
        await audit_checkpoints.set_sent(place, checkpoint.number)
        number += 1
    return number


async def deliver() -> bool:
    """Export to the file and the URL. A failure is logged once, until an export succeeds.

    Returns:
        whether all exports succeeded.
    """
    path, url = settings().audit_checkpoint_file, settings().audit_checkpoint_url
    fine = True
    if path is not None:
        fine &= await _succeeds("file", write_file(path))
    if url is not None:
        fine &= await _succeeds("url", send(url.get_secret_value()))
    return fine


_failing: set[str] = set()


async def _succeeds(place: str, delivery: Awaitable[int]) -> bool:
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
