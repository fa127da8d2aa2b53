"""Locks by name, stored as rows, because not every engine has advisory locks."""

from idp.infra.db.engine import execute

_LOCK = "INSERT INTO transaction_lock (name) VALUES ($1) ON CONFLICT (name) DO UPDATE SET name = excluded.name"


async def lock(name: str) -> None:
    """Take a lock until the end of the transaction. Other transactions that take it wait.

    It must be the first statement, or come after the locks of users and before all others.
    """
    await execute(_LOCK, name)
