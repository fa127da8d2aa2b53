"""Sign-out at a provider, if the operator enabled it and the provider supports it."""

from uuid import UUID

from idp.federation import providers, repository
from idp.federation.errors import UpstreamError
from idp.federation.registry import upstreams


async def sign_out_url(user_id: UUID, back: str) -> str | None:
    """Return the URL that signs a user out at the provider of their last used identity, or None.

    Args:
        back: the URL to return to, which must be registered at the provider.
    """
    upstream_id = await repository.last_used_upstream(user_id)
    upstream = upstreams.get(upstream_id) if upstream_id is not None else None
    if upstream is None or not upstream.logout:
        return None
    try:
        return await providers.KINDS[upstream.kind].sign_out_url(upstream, back)
    except UpstreamError:
        # The sign-out here does not depend on the provider.
        return None
