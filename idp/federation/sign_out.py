"""Signing out at a provider too, where the operator wants that and the provider has a way."""

from uuid import UUID

from idp.federation import providers
from idp.federation.errors import UpstreamError
from idp.federation.registry import upstreams
from idp.infra.db.engine import fetchrow

_LAST_USED = "SELECT upstream_id FROM identity WHERE user_id = $1 ORDER BY last_used_at DESC NULLS LAST LIMIT 1"


async def sign_out_url(user_id: UUID, back: str) -> str | None:
    """Where to send somebody who signed in with an account elsewhere, so that they are signed out there too.

    Args:
        back: where the provider sends them afterwards; it must know this address.
    """
    row = await fetchrow(_LAST_USED, user_id)
    upstream = upstreams.get(row["upstream_id"]) if row is not None else None
    if upstream is None or not upstream.logout:
        return None
    try:
        return await providers.KINDS[upstream.kind].sign_out_url(upstream, back)
    except UpstreamError:
        # Nobody has to stay signed in here because of that.
        return None
