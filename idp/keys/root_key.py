"""The root key of the database: made once, opened by the master key at every start, sealed anew when that changes."""

import os
import secrets
from pathlib import Path

import asyncpg

from idp.audit.events import record
from idp.infra.db.cache_invalidation import announce
from idp.infra.db.engine import execute, fetch, fetchrow, transaction
from idp.keys import vault

_FIND = "SELECT sealed FROM root_key WHERE master_key_id = $1"
_INSERT = "INSERT INTO root_key (master_key_id, sealed, created_at) VALUES ($1, $2, now()) ON CONFLICT DO NOTHING"
_EXISTS = "SELECT FROM root_key LIMIT 1"
_FORGET_OTHERS = "DELETE FROM root_key WHERE master_key_id <> $1 RETURNING master_key_id"
# What was sealed before there were root keys was sealed by keys derived from the master key itself.
_SEALED_BEFORE = "SELECT FROM signing_key LIMIT 1"


async def unlock() -> None:
    """Open the root key of the database for this process; make it, if there is none yet.

    Raises:
        SecretsError: there is no master key, or it is not one that opens this database.
    """
    key = vault.master_key()
    row = await fetchrow(_FIND, vault.master_key_id(key)) or await _make(key)
    if row is None:
        raise vault.SecretsError(
            "The master key is not the one that opens the secrets in this database. Put the right one back."
        )
    vault.unlock(vault.unwrap(bytes(row["sealed"]), key))


async def _make(key: bytes) -> asyncpg.Record | None:
    """Make the root key, unless there is one. Replicas that start together take turns, and one makes it."""
    async with transaction():
        await announce("root_key")
        if await fetchrow(_EXISTS) is None:
            root_key = key if await fetchrow(_SEALED_BEFORE) is not None else secrets.token_bytes(vault.KEY_BYTES)
            await execute(_INSERT, vault.master_key_id(key), vault.wrap(root_key, key))
        return await fetchrow(_FIND, vault.master_key_id(key))


async def rewrap(key: bytes) -> None:
    """Let another master key open the database too. The one of now still does, until :func:`forget_others`.

    Servers that run are not concerned: they hold the root key itself.

    Raises:
        SecretsError: no master key has opened the root key.
    """
    root_key = vault.root_key()
    async with transaction():
        await announce("root_key")
        await execute(_INSERT, vault.master_key_id(key), vault.wrap(root_key, key))
        await record("master_key_added", detail={"master_key_id": vault.master_key_id(key).hex()})


async def replace_master_key(path: Path) -> Path:
    """Put a new master key into the place of the one in this file, and return where the old one is now.

    Killed at any moment, it leaves a file that opens the database: the new key is let in before it takes its place.

    Raises:
        SecretsError: the files cannot be written, or a replacement was begun before.
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
    """Let no master key open the database but that of this process. Returns how many others did.

    Raises:
        SecretsError: that of this process does not open it.
    """
    await unlock()
    async with transaction():
        await announce("root_key")
        gone = await fetch(_FORGET_OTHERS, vault.master_key_id(vault.master_key()))
        for row in gone:
            await record("master_key_removed", detail={"master_key_id": bytes(row["master_key_id"]).hex()})
    return len(gone)
