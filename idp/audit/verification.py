"""Verification of the whole audit trail: finds rows and checkpoints that were changed, removed, moved or cut off."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from hmac import compare_digest
from typing import NamedTuple
from uuid import UUID

from idp.audit import row_hmac
from idp.audit.checkpoint_claims import CheckpointClaims, Read, encode, fingerprint, parse, read
from idp.audit.report import Problem, Report, ranges
from idp.audit.repository import audit_checkpoints, audit_events
from idp.audit.repository.audit_checkpoints import StoredCheckpoint
from idp.audit.repository.audit_events import StoredRow

#: Maximum of changed rows whose original sequence number is searched for.
MAX_SEARCHED = 500

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Placed(NamedTuple):
    """A stored row with its expected hash."""

    seq: int | None
    id: UUID
    at: datetime | None
    content: bytes
    stored: bytes
    expected: bytes


def _placed(row: StoredRow) -> _Placed:
    content, seq = row_hmac.content_hash(row.content), row.seq
    expected = row_hmac.placed_hash(content, seq) if seq is not None and seq > 0 else content
    return _Placed(seq, row.content.id, _time(str(row.content.at)), content, row.hash or b"", expected)


def _time(microseconds: str) -> datetime | None:
    try:
        return _EPOCH + timedelta(microseconds=int(microseconds))
    except (ValueError, OverflowError):
        return None


class _Verification:
    def __init__(self, read_signed: Read, outside: Mapping[int, str]) -> None:
        self.read_signed = read_signed
        self.outside = outside
        self.report = Report()
        #: Number and JWS of the last checkpoint that was read, and the last one that is unchanged.
        self.number, self.jws = 0, ""
        self.trusted: CheckpointClaims | None = None
        #: The last sequence number that was checked.
        self.reached = 0
        self.changed: list[tuple[_Placed, Problem]] = []
        self.missing: list[int] = []

    # Checkpoints

    async def checkpoints(self) -> None:
        """Check every checkpoint, and the rows of each unchanged one."""
        while checkpoints := await audit_checkpoints.checkpoints_after(self.number):
            for checkpoint in checkpoints:
                statement = self._checked(checkpoint)
                if statement is not None:
                    await self._covered(statement)
                    self.trusted = statement
                self.number, self.jws = checkpoint.number, checkpoint.statement
                self.report.checkpoints += 1

    def _checked(self, checkpoint: StoredCheckpoint) -> CheckpointClaims | None:
        """Return the claims of a checkpoint if it is unchanged. Its other columns are compared with them."""
        number, jws = checkpoint.number, checkpoint.statement
        if number != self.number + 1:
            self.report.add(Problem(kind="checkpoint_missing", checkpoint=self.number + 1, last_checkpoint=number - 1))
        if jws != self.outside.get(number, jws):
            self.report.add(Problem(kind="file_differs", checkpoint=number))
        statement = read(jws, self.read_signed)
        if statement is None:
            self.report.add(Problem(kind="checkpoint_changed", checkpoint=number, columns=("statement",)))
            return None
        if statement.number != number:
            self.report.add(Problem(kind="checkpoint_moved", checkpoint=number, at=statement.at))
            return None
        columns = _differing(checkpoint, statement)
        if columns:
            self.report.add(Problem(kind="checkpoint_changed", checkpoint=number, columns=columns, at=statement.at))
        before = self.trusted
        if before is not None and before.number == number - 1 and not _follows(statement, before, self.jws):
            self.report.add(Problem(kind="checkpoint_moved", checkpoint=number, at=statement.at))
        return statement

    # Rows

    async def _covered(self, statement: CheckpointClaims) -> None:
        """Check the rows of a checkpoint, and those before it that no unchanged checkpoint covers."""
        if statement.first_seq > self.reached + 1:
            await self._rows(self.reached + 1, statement.first_seq - 1, None)
        await self._rows(statement.first_seq, statement.last_seq, statement)
        self.reached = max(self.reached, statement.last_seq)
        self.report.last_at = statement.at
        if statement.unsealed and statement.last_seq > self.report.deleted_to:
            last = statement.first_seq + statement.unsealed - 1
            self.report.add(
                Problem(
                    kind="rows_unsealed", checkpoint=statement.number, seq=statement.first_seq, last_seq=last,
                    at=statement.at,
                )
            )  # fmt: skip

    async def _rows(self, first: int, last: int, statement: CheckpointClaims | None) -> None:
        found = [_placed(row) async for row in audit_events.placed_events(first, last)]
        self.report.rows += len(found)
        missing = sorted(set(range(max(first, self.report.deleted_to + 1), last + 1)) - {row.seq for row in found})
        number, at = (statement.number, statement.at) if statement is not None else (None, None)
        for begin, end in ranges(missing):
            self.report.add(Problem(kind="rows_missing", checkpoint=number, seq=begin, last_seq=end, at=at))
        self.missing += missing[: MAX_SEARCHED - len(self.missing)]
        wrong = [row for row in found if row.stored != row.expected]
        complete = statement is not None and len(found) == statement.rows
        # An unchanged tree shows whether content or hash was changed.
        stored_holds = complete and _root(row.stored for row in found) == _stated(statement)
        if not wrong:
            if complete and not stored_holds:
                self.report.add(Problem(kind="rows_replaced", checkpoint=number, seq=first, last_seq=last, at=at))
            return
        content_holds = complete and not stored_holds and _root(row.expected for row in found) == _stated(statement)
        columns = ("content",) if stored_holds else ("hash",) if content_holds else ()
        for row in wrong:
            self._changed(row, number, columns)

    def _changed(self, row: _Placed, checkpoint: int | None, columns: tuple[str, ...]) -> None:
        problem = Problem(kind="row_changed", checkpoint=checkpoint, seq=row.seq, id=row.id, at=row.at, columns=columns)
        if columns or len(self.changed) >= MAX_SEARCHED:
            self.report.add(problem)
        else:
            self.changed.append((row, problem))

    async def beyond(self) -> None:
        """Check the rows after the last checkpoint, including those that wait for the next one."""
        place = -(2**63)
        while rows := await audit_events.uncovered_events(self.reached, self.number, place):
            found = [_placed(row) for row in rows]
            outside = [row.seq for row in found if row.seq is not None]
            for begin, end in ranges(outside):
                self.report.add(
                    Problem(kind="rows_uncovered", seq=begin, last_seq=end, at=found[outside.index(begin)].at)
                )
            for row in found:
                if row.stored != row.expected:
                    self._changed(row, None, ())
            place = outside[-1]
        after = UUID(int=0)
        while rows := await audit_events.waiting_events(after):
            for row in map(_placed, rows):
                self.report.waiting += 1
                if row.stored != row.expected:
                    self._changed(row, None, ())
            after = rows[-1].content.id

    def moved(self) -> None:
        """Find changed rows whose content is unchanged and only the sequence number differs."""
        places = [row.seq for row, _ in self.changed if row.seq is not None] + self.missing
        for row, problem in self.changed:
            stored = row.stored or b""
            was = next(
                (seq for seq in places if seq > 0 and compare_digest(row_hmac.placed_hash(row.content, seq), stored)),
                None,
            )
            if was is None:
                self.report.add(problem)
            else:
                self.report.add(
                    Problem(
                        kind="row_moved", checkpoint=problem.checkpoint, seq=row.seq, id=row.id, at=row.at,
                        columns=("seq",), was_seq=was,
                    )
                )  # fmt: skip

    def cut_off(self) -> None:
        """Compare the end of the trail with the exported checkpoints."""
        beyond = sorted(number for number in self.outside if number > self.number)
        if beyond:
            first, last = parse(self.outside[beyond[0]]), parse(self.outside[beyond[-1]])
            assert first is not None and last is not None  # noqa: S101, PT018 -- only such are taken from the file
            self.report.add(
                Problem(
                    kind="cut_off", checkpoint=beyond[0], last_checkpoint=beyond[-1], seq=first.first_seq,
                    last_seq=last.last_seq, at=first.at,
                )
            )  # fmt: skip


async def verify(read_signed: Read, outside: Mapping[int, str] | None = None) -> Report:
    """Verify the whole trail.

    Args:
        read_signed: verifies a JWS of ours (:func:`idp.keys.checkpoint_signer.reader`).
        outside: JWSs of exported checkpoints by number (:func:`read_file`).

    Raises:
        LockedError: the master key is missing.
    """
    verification = _Verification(read_signed, outside or {})
    report = verification.report
    report.deleted_to = await _deleted_to(read_signed)
    await verification.checkpoints()
    await verification.beyond()
    verification.moved()
    verification.cut_off()
    # Retention may have deleted rows in the meantime.
    report.deleted_to = await _deleted_to(read_signed)
    report.drop_missing(report.deleted_to)
    return report


def read_file(lines: Iterable[str], read_signed: Read) -> dict[int, str]:
    """The checkpoints of an exported file, by number. An incomplete line of a crash is followed by the complete one.

    Raises:
        ValueError: a line is not a checkpoint of this server.
    """
    found: dict[int, str] = {}
    torn = ""
    for number, line in enumerate((line.rstrip("\n") for line in lines), start=1):
        statement = read(line, read_signed)
        if statement is None and (not line or torn):
            raise ValueError(f"Line {number} is not a checkpoint of this server.")
        if statement is None:
            torn = line
            continue
        if not line.startswith(torn):
            raise ValueError(f"Line {number - 1} is not a checkpoint of this server.")
        torn = ""
        if found.setdefault(statement.number, line) != line:
            raise ValueError(f"Line {number} contradicts an earlier one about checkpoint {statement.number}.")
    return found


async def _deleted_to(read_signed: Read) -> int:
    statements = [read(jws, read_signed) for jws in await audit_checkpoints.last_statements()]
    return max((statement.deleted_to for statement in statements if statement is not None), default=0)


def _root(hashes: Iterable[bytes]) -> str:
    return encode(row_hmac.merkle_root(list(hashes)))


def _stated(statement: CheckpointClaims | None) -> str:
    return statement.root if statement is not None else ""


def _follows(statement: CheckpointClaims, before: CheckpointClaims, jws: str) -> bool:
    return statement.previous == encode(fingerprint(jws)) and statement.first_seq == before.last_seq + 1


def _differing(checkpoint: StoredCheckpoint, statement: CheckpointClaims) -> tuple[str, ...]:
    """Return the columns that differ from the claims."""
    same = {
        "at": checkpoint.at == str(statement.iat),
        "first_seq": checkpoint.first_seq == statement.first_seq,
        "last_seq": checkpoint.last_seq == statement.last_seq,
        "root": encode(checkpoint.root) == statement.root,
        "previous": encode(checkpoint.previous or b"") == statement.previous,
    }
    return tuple(name for name, equal in same.items() if not equal)
