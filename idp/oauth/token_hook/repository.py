"""The statements on token hooks.

Changes run in a transaction of :func:`idp.oauth.clients.registration.change`, one after the other.
"""

from collections.abc import Sequence
from uuid import UUID

from idp.infra.db.engine import execute, fetch, fetchrow
from idp.infra.db.listing import Filter, Listing, Sort
from idp.infra.db.rows import many, one
from idp.oauth.claims.models import Place
from idp.oauth.token_hook.models import LoadedHook, TokenHook

_COLUMNS = """
    h.id, h.client_id, h.url, h.places, h.fail_open, h.disabled_at,
    CASE WHEN h.old_secret_until > now() THEN h.old_secret_until END AS old_secret_until, h.created_at, h.updated_at
"""
_ONE = f"SELECT {_COLUMNS} FROM token_hook AS h WHERE h.id = $1"  # noqa: S608
_ALL = f"SELECT {_COLUMNS}, h.secret, h.old_secret FROM token_hook AS h ORDER BY h.created_at, h.id"  # noqa: S608
_OF_CLIENT = "SELECT 1 FROM token_hook WHERE client_id IS NOT DISTINCT FROM $1"
_INSERT = "INSERT INTO token_hook (id, client_id, url, places, fail_open, secret) VALUES ($1, $2, $3, $4, $5, $6)"
_UPDATE = "UPDATE token_hook SET url = $2, places = $3, fail_open = $4, updated_at = now() WHERE id = $1"
_SET_SECRET = """
    UPDATE token_hook SET old_secret = secret, old_secret_until = now() + make_interval(secs => $3), secret = $2,
                          updated_at = now()
    WHERE id = $1
"""
_SET_ENABLED = """
    UPDATE token_hook SET disabled_at = CASE WHEN $2 THEN NULL ELSE now() END, updated_at = now()
    WHERE id = $1 AND (disabled_at IS NULL) <> $2
"""

TOKEN_HOOKS = Listing(
    source="token_hook AS h",
    columns=_COLUMNS,
    key=Sort("h.id", "uuid"),
    sorts={"id": Sort("h.id", "uuid")},
    default_sort="-id",
    filters={
        "id": Filter("h.id = {}", "uuid", "One token hook."),
        "client_id": Filter("h.client_id = {}", help="That of one client."),
    },
)


async def hook(id: UUID) -> TokenHook | None:
    """Return a hook, enabled or not."""
    return one(TokenHook, await fetchrow(_ONE, id))


async def hooks() -> list[LoadedHook]:
    """Return all hooks, the newest last."""
    # A place that only a newer release knows is none here. The hook itself must not be left out: it may deny tokens.
    rows = [
        dict(row) | {"places": [place for place in row["places"] if place in set(Place)]} for row in await fetch(_ALL)
    ]
    return many(LoadedHook, rows)


async def has_hook(client_id: str | None) -> bool:
    """Return whether a client has a hook of its own, or, for None, whether there is one for all others."""
    return await fetchrow(_OF_CLIENT, client_id) is not None


async def insert(
    id: UUID, secret: bytes, *, client_id: str | None, url: str, places: Sequence[str], fail_open: bool
) -> None:
    await execute(_INSERT, id, client_id, url, places, fail_open, secret)


async def update(id: UUID, *, url: str, places: Sequence[str], fail_open: bool) -> None:
    await execute(_UPDATE, id, url, places, fail_open)


async def set_secret(id: UUID, secret: bytes, overlap: float) -> bool:
    """Set a new secret. The one before is valid for so many seconds. Returns False if there is no such hook."""
    return bool(await execute(_SET_SECRET, id, secret, overlap))


async def set_enabled(id: UUID, enabled: bool) -> bool:
    """Returns False if there is no such hook, or it is in this state."""
    return bool(await execute(_SET_ENABLED, id, enabled))


async def delete(id: UUID) -> bool:
    """Returns False if there is no such hook."""
    return bool(await execute("DELETE FROM token_hook WHERE id = $1", id))
