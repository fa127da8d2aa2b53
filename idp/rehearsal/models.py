"""What a rehearsal reports."""

import msgspec

from idp.errors import OperatorError


class CannotRehearseError(OperatorError):
    """There is no verdict. The message is one sentence, which says what is missing."""


class TableLock(msgspec.Struct, frozen=True):
    """A lock that a statement took first.

    Attributes:
        mode: as PostgreSQL writes it, such as ``ACCESS EXCLUSIVE``.
        seconds: from the beginning of the statement to the end of its transaction.
    """

    table: str
    mode: str
    seconds: float


class Statement(msgspec.Struct):
    """A statement of a migration, as it ran on the copy. Only tables that were there before the migration are named.

    Attributes:
        text: its beginning, on one line.
        locks: for each table the strongest lock that no statement before had taken.
        rewritten: the tables whose rows were all written again, into new files.
        indexed: the tables that got an index while writers waited.
        scanned: the tables that were read as a whole.
        changed_rows: the numbers of rows that were updated or deleted, by table.
        failure: the error of PostgreSQL; empty: it succeeded.
    """

    text: str
    seconds: float = 0.0
    locks: list[TableLock] = []
    rewritten: list[str] = []
    indexed: list[str] = []
    scanned: list[str] = []
    changed_rows: dict[str, int] = {}
    failure: str = ""


class TableSize(msgspec.Struct, frozen=True):
    """The size of a table before the migrations. ``rows`` is an estimate of PostgreSQL, ``bytes`` includes indexes."""

    rows: int
    bytes: int


class Problem(msgspec.Struct, frozen=True):
    """A reason against an upgrade. ``name`` is for programs, ``advice`` may be empty."""

    name: str
    text: str
    advice: str = ""


class MeasuredMigration(msgspec.Struct):
    """A migration, as it ran on the copy.

    Attributes:
        in_transaction: whether all of its statements are one transaction.
        new_bytes: the size of the files that it wrote anew. Until it ends, the old files are there too.
        wal_bytes: the write-ahead log that it wrote.
    """

    id: str
    name: str
    in_transaction: bool
    seconds: float = 0.0
    statements: list[Statement] = []
    tables: dict[str, TableSize] = {}
    new_bytes: int = 0
    wal_bytes: int = 0
    problems: list[Problem] = []


class Flow(msgspec.Struct, frozen=True):
    """A smoke flow at a version: ``new``, ``old``, or from one to the other. ``failure`` is empty if it succeeded."""

    version: str
    name: str
    seconds: float
    failure: str = ""


class Report(msgspec.Struct):
    """The result of a rehearsal.

    Attributes:
        database_bytes: the size of the copy before the migrations.
        versions: what ``idp --version`` prints, by ``new`` and ``old``.
        kept: the name of the copy, if it is kept.
    """

    go: bool
    database_bytes: int
    versions: dict[str, str]
    migrations: list[MeasuredMigration]
    flows: list[Flow]
    kept: str | None = None
