"""The refresh_token grant: rotation on every use, reuse detected (RFC 6749 section 6, RFC 9700 section 4.14.2)."""

from uuid import UUID

from idp import ids
from idp.accounts.tables import user_by_id
from idp.db.engine import fetchrow, transaction
from idp.errors import InvalidGrant, InvalidRequest, InvalidScope, InvalidTarget
from idp.mail import outbox
from idp.oauth.authorize.request import words
from idp.oauth.clients.registry import Client, registry
from idp.oauth.families import revoke_family
from idp.oauth.statements import (
    LIVE_REFRESH_TOKEN,
    REPEAT_ROTATION,
    REVOKE_REUSED_REFRESH_TOKEN,
    ROTATE_REFRESH_TOKEN,
)
from idp.oauth.token.mint import (
    Grant,
    TokenResponse,
    new_refresh_token,
    read_refresh_token,
    refresh_jwt,
    respond,
)
from idp.settings import settings


async def refresh(client: Client, form: dict[str, str]) -> TokenResponse:
    """Exchange a refresh token for new tokens, its successor among them.

    A token that was used before yields its same successor within the grace time, so that a lost response or two tabs
    log nobody out. After it, its whole family is revoked: somebody has a copy.
    """
    if "refresh_token" not in form:
        raise InvalidRequest("refresh_token is missing.")
    token_hash, jti = ids.digest(form["refresh_token"]), read_refresh_token(form["refresh_token"])
    if jti is None:
        raise _refused()
    scope, resource = words(form, "scope"), words(form, "resource")
    rotated = await _rotate(client, jti, token_hash, scope, resource)
    if rotated is None:
        live = await fetchrow(LIVE_REFRESH_TOKEN, jti, token_hash, client.client_id, registry.not_before(client))
        if live and not set(scope) <= set(live["scope"].split()):
            raise InvalidScope("The scope exceeds what was granted.")
        if live and resource:
            raise InvalidTarget("The resource is not one of those granted.")
        await _revoke_if_reused(client, jti, token_hash)
        raise _refused()
    grant, successor = rotated
    return await respond(
        client, grant, successor, grant_type="refresh_token", scope=" ".join(scope) or None, resource=resource
    )


def _refused() -> InvalidGrant:
    return InvalidGrant("The refresh token is not valid for this client, has expired or was revoked.")


async def _rotate(
    client: Client, jti: UUID, token_hash: bytes, scope: tuple[str, ...], resource: tuple[str, ...]
) -> tuple[Grant, str] | None:
    """Rotate, or repeat the rotation within the grace time. To ask beyond the grant leaves the token as it was."""
    new, not_before = new_refresh_token(), registry.not_before(client)
    row = await ROTATE_REFRESH_TOKEN.fetchrow(
        jti=jti,
        token_hash=token_hash,
        client_id=client.client_id,
        scope=" ".join(scope),
        resource=" ".join(resource),
        not_before=not_before,
        new_jti=new.jti,
        new_hash=new.hash,
        new_issued_at=new.issued_at,
        new_expires_at=new.expires_at,
    )
    if row is not None:
        return Grant(**row), new.token
    grace = settings().refresh_token_grace
    row = await fetchrow(REPEAT_ROTATION, jti, token_hash, client.client_id, scope, resource, grace, not_before)
    if row is None:
        return None
    values = dict(row)
    successor = refresh_jwt(values.pop("jti"), values.pop("issued_at"), values.pop("expires_at"))
    return Grant(**values), successor


async def _revoke_if_reused(client: Client, jti: UUID, token_hash: bytes) -> None:
    async with transaction():
        revoked = await revoke_family(
            REVOKE_REUSED_REFRESH_TOKEN,
            jti,
            token_hash,
            client.client_id,
            settings().refresh_token_grace,
            reason="refresh_token_reuse",
        )
        user = await user_by_id(revoked["user_id"]) if revoked else None
        if user is not None:
            await outbox.queue(user.email, "signed_out_for_safety", name=user.name, client_name=client.client_name)
