"""Checkpoints: at intervals, new rows get sequence numbers, and a signed statement with the root of their Merkle tree.

A checkpoint covers the rows that are visible to it. A row whose transaction commits later is in a later checkpoint. A
lock makes workers create checkpoints one after the other.
"""

import asyncio
from collections.abc import Sequence

import structlog

from idp import clock
from idp.audit import row_hmac
from idp.audit.checkpoint_claims import CheckpointClaims, Sign, encode, fingerprint, parse
from idp.audit.repository import audit_checkpoints, audit_events
from idp.audit.repository.audit_events import NewRow
from idp.errors import OperatorError
from idp.infra.db.engine import transaction
from idp.infra.db.locks import lock
from idp.settings import settings

log = structlog.get_logger()

LOCK = "audit_checkpoint"
#: Maximum of rows of one checkpoint.
MAX_ROWS = 5_000


class TrailChangedError(OperatorError):
    """Rows were deleted while a checkpoint was created over them. It is not created."""

    def __init__(self) -> None:
        super().__init__("Rows of the audit trail vanished while a checkpoint was made.")


async def is_due() -> bool:
    """Return whether the interval since the last checkpoint has passed, and there are new rows."""
    last = await audit_checkpoints.last_checkpoint()
    made = parse(last.statement) if last is not None else None
    if made is not None and 0 <= clock.timestamp() - made.iat < settings().audit_checkpoint_interval:
        return False
    return await audit_events.has_new_events()


async def create(sign: Sign, *, deleted_to: int = 0) -> CheckpointClaims | None:
    """Create one checkpoint over the rows without a sequence number.

    Args:
        deleted_to: rows up to this one may be deleted.

    Returns:
        its claims; None if there is nothing new.

    Raises:
        LockedError: the master key is missing.
        TrailChangedError: a row was deleted meanwhile.
    """
    async with transaction():
        # Another worker waits here and then finds no new rows.
        await lock(LOCK)
        last = await audit_checkpoints.last_checkpoint()
        before = parse(last.statement) if last is not None else None
        rows = await audit_events.new_events(MAX_ROWS)
        known = before.deleted_to if before is not None else 0
        if not rows and deleted_to <= known:
            return None
        previous = fingerprint(last.statement) if last is not None else None
        first_seq = last.last_seq + 1 if last is not None else 1
        hashes = await _place(rows, first_seq)
        root = await asyncio.to_thread(row_hmac.merkle_root, hashes)
        statement = CheckpointClaims(
            iss=settings().issuer,
            iat=clock.timestamp(),
            number=last.number + 1 if last is not None else 1,
            first_seq=first_seq,
            last_seq=first_seq + len(rows) - 1,
            root=encode(root),
            previous=encode(previous or b""),
            unsealed=sum(row.hash is None for row in rows),
            deleted_to=max(known, deleted_to),
        )
        await _insert(statement, statement.issue(sign), root, previous)
    if statement.unsealed:
        log.warning("audit_rows_unsealed", count=statement.unsealed)
    return statement


async def _insert(statement: CheckpointClaims, jws: str, root: bytes, previous: bytes | None) -> None:
    await audit_checkpoints.insert_checkpoint(
        number=statement.number,
        at=statement.at,
        first_seq=statement.first_seq,
        last_seq=statement.last_seq,
        root=root,
        previous=previous,
        statement=jws,
    )


async def _place(rows: Sequence[NewRow], first_seq: int) -> list[bytes]:
    """Set the sequence numbers of rows, and return their new hashes, which cover these numbers."""
    if not rows:
        return []
    unsealed = [row.id for row in rows if row.hash is None]
    contents = await audit_events.contents(unsealed) if unsealed else {}
    try:
        hashes = [
            row_hmac.placed_hash(row.hash or row_hmac.content_hash(contents[row.id]), seq)
            for seq, row in enumerate(rows, start=first_seq)
        ]
    except KeyError as error:
        raise TrailChangedError from error
    ids, seqs = [row.id for row in rows], list(range(first_seq, first_seq + len(rows)))
    if await audit_events.place_events(ids, seqs, hashes) != len(rows):
        raise TrailChangedError
    return hashes
