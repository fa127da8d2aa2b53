"""What a verification of the trail found."""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

#: So many problems are told one by one; of more, their number.
MAX_TOLD = 1_000

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
    "row_moved": "A row was moved to another place.",
    "rows_missing": "Rows were removed.",
    "rows_replaced": "The rows are not those that the checkpoint was made of.",
    "rows_uncovered": "No checkpoint speaks of these places: rows were put there, or checkpoints were removed.",
    "rows_unsealed": "Rows had lost their hashes when a checkpoint first saw them: they may have been changed before.",
    "checkpoint_changed": "A checkpoint was changed.",
    "checkpoint_missing": "Checkpoints were removed.",
    "checkpoint_moved": "A checkpoint is not where it was made.",
    "file_differs": "A checkpoint in the file is not the one in the database.",
    "cut_off": "The end was cut off: the file has checkpoints that the database does not have.",
}


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Something that is not as it was made, and where.

    Attributes:
        checkpoint: the number of the checkpoint concerned, or of the first.
        last_checkpoint: of the last, if there are several.
        seq: the place of the row concerned, or of the first.
        last_seq: of the last, if there are several.
        id: of the row.
        at: the time of the row; where it is missing, of the checkpoint that covered it.
        columns: what of it was changed: ``content`` (any column but the next two), ``hash``, ``seq``, or the names of
            columns of a checkpoint; empty if that cannot be told.
        was_seq: the place that the row was made for.
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
    """The outcome.

    Attributes:
        rows: rows with a place that were checked.
        waiting: rows that wait for the next checkpoint, which were checked too.
        deleted_to: rows up to this one were deleted because of their age.
        last_at: when the last checkpoint was made.
        problems: the first of them.
        number_of_problems: all of them.
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
        self.problems += problems[: MAX_TOLD - len(self.problems)]

    def drop_missing(self, deleted_to: int) -> None:
        """Take back that rows are missing which were deleted by age meanwhile."""
        old = [p for p in self.problems if p.kind == "rows_missing" and (p.last_seq or 0) <= deleted_to]
        self.problems = [p for p in self.problems if p not in old]
        self.number_of_problems -= len(old)


def ranges(seqs: Iterable[int]) -> list[tuple[int, int]]:
    """Numbers in order as ranges."""
    found: list[tuple[int, int]] = []
    for seq in seqs:
        if found and found[-1][1] == seq - 1:
            found[-1] = (found[-1][0], seq)
        else:
            found.append((seq, seq))
    return found
