"""The root key of the database: made once, decrypted at start, encrypted again under each new master key."""

import os
import secrets
from pathlib import Path

from idp.audit.events import record
from idp.infra.db.engine import transaction
from idp.infra.db.locks import lock
from idp.keys import vault
from idp.keys.repository import root_keys, signing_keys


async def unlock() -> None:
    """Decrypt the root key of the database for this process, or make it if there is none.

    Raises:
        SecretsError: there is no master key, or it does not open this database.
    """
    key = vault.master_key()
    encrypted = await root_keys.find_root_key(vault.master_key_id(key)) or await _make(key)
    if encrypted is None:
        raise vault.SecretsError("This master key does not open the secrets in this database. Restore the right one.")
    vault.unlock(vault.unwrap(encrypted, key))


async def _make(key: bytes) -> bytes | None:
    """Create the root key, if there is none. A lock lets only one of several starting replicas do it."""
    async with transaction():
        await lock("root_key")
        if not await root_keys.has_root_key():
            # Secrets older than the first root key are encrypted under keys derived from the master key itself.
            root_key = key if await signing_keys.has_signing_key() else secrets.token_bytes(vault.KEY_BYTES)
            await root_keys.insert_root_key(vault.master_key_id(key), vault.wrap(root_key, key))
        return await root_keys.find_root_key(vault.master_key_id(key))


async def rewrap(key: bytes) -> None:
    """Add a master key. The current one stays valid until :func:`forget_others`.

    Running servers are not affected: they hold the root key itself.

    Raises:
        SecretsError: no master key has opened the root key.
    """
    root_key = vault.root_key()
    async with transaction():
        await lock("root_key")
        await root_keys.insert_root_key(vault.master_key_id(key), vault.wrap(root_key, key))
        await record("master_key_added", detail={"master_key_id": vault.master_key_id(key).hex()})


async def replace_master_key(path: Path) -> Path:
    """Replace the master key in this file, and return the path of the old one.

    The new key is added before the file is replaced, so the file always holds a valid key, even after a crash.

    Raises:
        SecretsError: the files cannot be written, or an earlier replacement is unfinished.
    """
    new, old = path.with_suffix(".new"), path.with_suffix(".old")
    if not new.exists():
        vault.create_master_key(new)
    await rewrap(vault.read_master_key(new))
    try:
        old.unlink(missing_ok=True)
        os.link(path, old)
        new.replace(path)
    except OSError as error:
        raise vault.SecretsError(f"The master key {path} cannot be replaced: {error.strerror}.") from error
    return old


async def forget_others() -> int:
    """Remove all master keys except that of this process. Returns how many were removed.

    Raises:
        SecretsError: the master key of this process is not valid.
    """
    await unlock()
    async with transaction():
        await lock("root_key")
        gone = await root_keys.delete_other_root_keys(vault.master_key_id(vault.master_key()))
        for master_key_id in gone:
            await record("master_key_removed", detail={"master_key_id": master_key_id.hex()})
    return len(gone)
