"""A snapshot of the public keys on disk, for a worker that starts while the database is down.

The file holds no secrets. A MAC under the master key prevents others from adding a key. Every worker writes the file
after every load, so it contains the last change that any worker of this folder has loaded.
"""

import asyncio
import hmac
import os
import tempfile
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import msgspec
import structlog

from idp.infra.logs import exception_fields
from idp.keys import jose, vault
from idp.keys.key_set import Entry, KeySet
from idp.settings import settings

log = structlog.get_logger()

#: Maximum size of the file, in bytes. A key takes about 600.
MAX_BYTES = 256 * 1024


class _Key(msgspec.Struct, frozen=True):
    jwk: dict[str, str]
    activates_at: datetime | None
    retires_at: datetime | None


class _Known(msgspec.Struct, frozen=True):
    issuer: str
    keys: list[_Key]


def path() -> Path:
    return settings().data_dir / "last-known-keys"


def _mac(content: bytes) -> bytes:
    return hmac.digest(vault.derive_outside("last-known-keys"), content, sha256).hex().encode()


async def keep(ring: KeySet) -> None:
    """Write the published keys of a key set. An unwritable folder is logged."""
    keys = [_Key(entry.key.public_jwk, entry.activates_at, entry.retires_at) for entry in ring.entries]
    content = msgspec.json.encode(_Known(settings().issuer, keys))
    try:
        await asyncio.to_thread(_write, path(), _mac(content) + b"\n" + content)
    except OSError as error:
        log.warning("last_known_keys_not_written", **exception_fields(error))


def _write(target: Path, content: bytes) -> None:
    """Replace a file atomically, unless it already has this content."""
    with suppress(FileNotFoundError):
        if target.read_bytes() == content:
            return
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


def read() -> list[Entry]:
    """Return the keys of the snapshot. Empty if there is none, its MAC is wrong, or it is of another issuer."""
    try:
        with path().open("rb") as file:
            mac, _, content = file.read(MAX_BYTES).partition(b"\n")
        if not hmac.compare_digest(mac, _mac(content)):
            return []
        known = msgspec.json.decode(content, type=_Known)
    except (OSError, msgspec.MsgspecError, vault.SecretsError):
        return []
    if known.issuer != settings().issuer:
        return []
    return [Entry(jose.from_public_jwk(key.jwk), key.activates_at, key.retires_at) for key in known.keys]
