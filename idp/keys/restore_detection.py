"""Detection of a restored backup, by a mark outside the database.

The database has a number that rises while it is in use. Each host keeps the highest number that it has seen, the mark,
in a file next to the master key. A database with a lower number than the mark is an older state. Handling a restore
begins an epoch, and epochs are compared before numbers. Several processes and hosts may write marks; a mark that lags
detects fewer restores.

The mark also holds the number at which its epoch began. A database of an earlier epoch with a higher number than that
is not a backup: it is in use beside the database that wrote the mark, and the two share a folder by mistake.
"""

import asyncio
import fcntl
import hmac
import os
import tempfile
from contextlib import contextmanager, suppress
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

from idp.infra.logs import exception_fields
from idp.keys import vault
from idp.keys.repository import database_mark
from idp.keys.repository.database_mark import Position
from idp.settings import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

log = structlog.get_logger()

#: Steps that a database may lack, equal to one minute: a lagging replica that was promoted has lost them, and is not a
#: backup.
TOLERATED = 12


class Mark(msgspec.Struct, frozen=True):
    """The content of the file.

    Attributes:
        lineage: identifies the database and all its copies.
        begun: the number at which the epoch began.
    """

    lineage: str
    epoch: int
    number: int
    at: datetime
    begun: int = 0

    @property
    def order(self) -> tuple[int, int]:
        return self.epoch, self.number


def lineage() -> str:
    """Return an identifier that a database shares with its backups. It reveals nothing of the root key."""
    return vault.derive("lineage")[:8].hex()


async def advance() -> Position | None:
    """Raise the number, unless another worker has in the last seconds. Returns the position."""
    return await database_mark.advance() or await database_mark.position()


async def begin_epoch(beyond: Mark | None) -> Position:
    """Begin an epoch, in the caller's transaction. No existing mark is ahead of the database after it."""
    return await database_mark.begin_epoch(beyond.epoch + 1 if beyond else 1, beyond.number if beyond else 0)


def is_behind(found: Position | None, mark: Mark | None) -> bool:
    """Return whether a database is older than the mark."""
    if mark is None or mark.lineage != lineage():
        return False
    if found is None:
        return True
    if found.epoch < mark.epoch:
        return found.number + TOLERATED < mark.begun
    return found.epoch == mark.epoch and found.number + TOLERATED < mark.number


def is_beside(found: Position | None, mark: Mark | None) -> bool:
    """Return whether a database is in use beside another one of its lineage, which wrote the mark.

    It is of an earlier epoch, but was used after the later epoch began.
    """
    if found is None or mark is None or mark.lineage != lineage():
        return False
    return found.epoch < mark.epoch and not is_behind(found, mark)


class Keeper:
    """The mark of this host, in its file, and in memory if the file cannot be written.

    Attributes:
        foreign: the mark belongs to another database of the lineage that is in use.
    """

    def __init__(self) -> None:
        self._seen: Mark | None = None
        self._told = False
        self.foreign = False

    async def known(self) -> Mark | None:
        """Return the highest known mark of this database."""
        written = await asyncio.to_thread(_read, settings().database_mark_path)
        marks = [mark for mark in (written, self._seen) if mark is not None and mark.lineage == lineage()]
        return max(marks, key=lambda mark: mark.order, default=None)

    async def keep(self, found: Position) -> None:
        """Write the mark. A folder that cannot be written is logged once."""
        mark = Mark(lineage(), found.epoch, found.number, found.at, found.begun)
        if self._seen == mark:
            return
        self._seen = mark
        try:
            await asyncio.to_thread(_write, settings().database_mark_path, mark)
            self._told = False
        except OSError as error:
            if not self._told:
                log.warning("database_mark_not_written", **exception_fields(error))
            self._told = True


keeper = Keeper()


def _mac(content: bytes) -> bytes:
    # Below the root key, which a new master key leaves as it is: a backup from before the change needs the old one.
    return _digest(vault.derive("database-mark"), content)


def _is_genuine(mac: bytes, content: bytes) -> bool:
    # Version 0.2 and older: below the master key.
    older = _digest(vault.derive_outside("database-mark"), content)
    return hmac.compare_digest(mac, _mac(content)) or hmac.compare_digest(mac, older)


def _digest(key: bytes, content: bytes) -> bytes:
    return hmac.digest(key, content, sha256).hex().encode()


def _read(path: Path) -> Mark | None:
    """Return the mark in a file, or None if there is none or its MAC is wrong."""
    try:
        mac, _, content = path.read_bytes().partition(b"\n")
        return msgspec.json.decode(content, type=Mark) if _is_genuine(mac, content) else None
    except (OSError, msgspec.MsgspecError):
        return None


@contextmanager
def _locked(folder: Path) -> "Iterator[None]":
    """Lock a folder against other processes."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, mark: Mark) -> None:
    """Replace the mark in a file atomically, unless it is higher."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(path.parent):
        written = _read(path)
        if written is not None and written.lineage == mark.lineage and written.order >= mark.order:
            return
        content = msgspec.json.encode(mark)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_mac(content) + b"\n" + content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except OSError:
            with suppress(OSError):
                Path(name).unlink()
            raise
