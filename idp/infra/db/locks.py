"""Locks by name, as rows, because not every engine has advisory locks."""

from idp.infra.db.engine import execute

_LOCK = "INSERT INTO transaction_lock (name) VALUES ($1) ON CONFLICT (name) DO UPDATE SET name = excluded.name"


async def lock(name: str) -> None:
    """Take a lock until the end of the transaction. Others that take it wait, so it is the first statement."""
    await execute(_LOCK, name)
