"""The report of a verification of the audit trail."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

#: Maximum of problems in the list. The rest is only counted.
MAX_REPORTED = 1_000

Kind = Literal[
    "row_changed",
    "row_moved",
    "rows_missing",
    "rows_replaced",
    "rows_uncovered",
    "rows_unsealed",
    "checkpoint_changed",
    "checkpoint_missing",
    "checkpoint_moved",
    "file_differs",
    "cut_off",
]

SENTENCES: dict[Kind, str] = {
    "row_changed": "A row was changed.",
    "row_moved": "A row was moved to another sequence number.",
    "rows_missing": "Rows were removed.",
    "rows_replaced": "The rows are not those that the checkpoint covers.",
    "rows_uncovered": "No checkpoint covers these rows: they were inserted, or checkpoints were removed.",
    "rows_unsealed": "Rows had no hash when a checkpoint first covered them: they may have been changed before.",
    "checkpoint_changed": "A checkpoint was changed.",
    "checkpoint_missing": "Checkpoints were removed.",
    "checkpoint_moved": "A checkpoint was moved to another number.",
    "file_differs": "A checkpoint in the file is not the one in the database.",
    "cut_off": "The end was cut off: the file has checkpoints that the database does not have.",
}


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A change to the trail, and where it is.

    Attributes:
        checkpoint: the number of the checkpoint, or of the first one.
        last_checkpoint: the number of the last one, if there are several.
        seq: the sequence number of the row, or of the first one.
        last_seq: the sequence number of the last one, if there are several.
        id: the id of the row.
        at: the time of the row; if it is missing, of the checkpoint that covers it.
        columns: the changed columns: ``content`` (any other than the next two), ``hash``, ``seq``, or columns of a
            checkpoint; empty if unknown.
        was_seq: the original sequence number of the row.
    """

    kind: Kind
    checkpoint: int | None = None
    last_checkpoint: int | None = None
    seq: int | None = None
    last_seq: int | None = None
    id: UUID | None = None
    at: datetime | None = None
    columns: tuple[str, ...] = ()
    was_seq: int | None = None

    @property
    def sentence(self) -> str:
        return SENTENCES[self.kind]


class Report(msgspec.Struct, kw_only=True):
    """The result of a verification.

    Attributes:
        rows: number of checked rows with a sequence number.
        waiting: number of checked rows that wait for the next checkpoint.
        deleted_to: rows up to this one were deleted by retention.
        last_at: time of the last checkpoint.
        problems: the first :data:`MAX_REPORTED` problems.
        number_of_problems: number of all problems.
    """

    checkpoints: int = 0
    rows: int = 0
    waiting: int = 0
    deleted_to: int = 0
    last_at: datetime | None = None
    problems: list[Problem] = []
    number_of_problems: int = 0

    @property
    def intact(self) -> bool:
        return not self.number_of_problems

    def add(self, *problems: Problem) -> None:
        self.number_of_problems += len(problems)
        self.problems += problems[: MAX_REPORTED - len(self.problems)]

    def drop_missing(self, deleted_to: int) -> None:
        """Remove problems about missing rows that retention has deleted."""
        old = [p for p in self.problems if p.kind == "rows_missing" and (p.last_seq or 0) <= deleted_to]
        self.problems = [p for p in self.problems if p not in old]
        self.number_of_problems -= len(old)


def ranges(seqs: Iterable[int]) -> list[tuple[int, int]]:
    """Join ascending numbers to ranges."""
    found: list[tuple[int, int]] = []
    for seq in seqs:
        if found and found[-1][1] == seq - 1:
            found[-1] = (found[-1][0], seq)
        else:
            found.append((seq, seq))
    return found
