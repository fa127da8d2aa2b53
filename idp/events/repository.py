"""The statements on webhooks, and the kinds of events that anyone wants."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from idp.events.models import Webhook
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one

_COLUMNS = """
    id, url, description, kinds, whole, disabled_at,
    CASE WHEN old_secret_until > now() THEN old_secret_until END AS old_secret_until, created_at, updated_at
"""
_WEBHOOK = f"SELECT {_COLUMNS} FROM webhook WHERE id = $1"  # noqa: S608
_WEBHOOKS = f"SELECT {_COLUMNS} FROM webhook ORDER BY id"  # noqa: S608
_LOCK_ALL = "SELECT FROM webhook ORDER BY id FOR UPDATE"
_ENABLED = f"SELECT {_COLUMNS} FROM webhook WHERE disabled_at IS NULL ORDER BY id"  # noqa: S608
_INSERT = """
    INSERT INTO webhook (id, url, description, kinds, whole, secret) VALUES ($1, $2, $3, $4, $5, $6)
"""
_UPDATE = """
    UPDATE webhook SET url = $2, description = $3, kinds = $4, whole = $5, updated_at = now()
    WHERE id = $1 AND ($6::timestamptz IS NULL OR updated_at = $6)
"""
_SET_SECRET = """
    UPDATE webhook SET old_secret = secret, old_secret_until = now() + make_interval(secs => $3), secret = $2,
                       updated_at = now()
    WHERE id = $1
"""
_SET_ENABLED = """
    UPDATE webhook SET disabled_at = CASE WHEN $2 THEN NULL ELSE now() END, updated_at = now()
    WHERE id = $1 AND (disabled_at IS NULL) <> $2
"""
_SIGNING = """
    SELECT id, url, secret, CASE WHEN old_secret_until > now() THEN old_secret END AS old_secret
    FROM webhook WHERE id = $1 AND disabled_at IS NULL
"""


class Signing(msgspec.Struct, frozen=True):
    """The URL of an enabled webhook, and its encrypted secrets."""

    id: UUID
    url: str
    secret: bytes
    old_secret: bytes | None


WEBHOOKS = Listing(
    source="webhook AS w",
    columns="w.id, w.url, w.description, w.kinds, w.whole,"
    " CASE WHEN w.old_secret_until > now() THEN w.old_secret_until END AS old_secret_until, w.disabled_at,"
    " w.created_at, w.updated_at",
    key=Sort("w.id", "uuid"),
    sorts={"created_at": Sort("w.created_at")},
    default_sort="-created_at",
    filters={"id": Filter("w.id = {}", "uuid", "One webhook.")},
)


async def webhook(id: UUID) -> Webhook | None:
    """Return a webhook, enabled or not."""
    return one(Webhook, await fetchrow(_WEBHOOK, id))


async def webhooks() -> list[Webhook]:
    """Return all webhooks."""
    return many(Webhook, await fetch(_WEBHOOKS))


async def lock_webhooks() -> None:
    """Lock all webhooks until the end of the transaction."""
    await fetch(_LOCK_ALL)


async def enabled_webhooks() -> list[Webhook]:
    """Return the webhooks that get events."""
    return many(Webhook, await fetch(_ENABLED))


async def insert(id: UUID, secret: bytes, *, url: str, description: str, kinds: Sequence[str], whole: bool) -> None:
    await execute(_INSERT, id, url, description, kinds, whole, secret)


async def update(
    id: UUID, *, url: str, description: str, kinds: Sequence[str], whole: bool, expected_at: datetime | None
) -> bool:
    """Returns False if there is no such webhook, or it has changed since ``expected_at``."""
    return bool(await execute(_UPDATE, id, url, description, kinds, whole, expected_at))


async def set_secret(id: UUID, secret: bytes, overlap: float) -> bool:
    """Set a new secret. The one before is valid for so many seconds. Returns False if there is no such webhook."""
    return bool(await execute(_SET_SECRET, id, secret, overlap))


async def set_enabled(id: UUID, enabled: bool) -> bool:
    """Returns False if there is no such webhook, or it is in this state."""
    return bool(await execute(_SET_ENABLED, id, enabled))


async def delete(id: UUID) -> bool:
    """Returns False if there is no such webhook."""
    return bool(await execute("DELETE FROM webhook WHERE id = $1", id))


async def secret_of(id: UUID) -> bytes | None:
    """Return the encrypted secret of a webhook, enabled or not."""
    row = await fetchrow("SELECT secret FROM webhook WHERE id = $1", id)
    return row["secret"] if row is not None else None


async def signing(id: UUID) -> Signing | None:
    """Return what signs the requests to a webhook; None: it is deleted or disabled."""
    return one(Signing, await fetchrow(_SIGNING, id))


async def wanted_by_webhooks() -> set[str]:
    """Return the kinds of events that an enabled webhook wants."""
    return {kind for webhook in await enabled_webhooks() for kind in webhook.kinds}
