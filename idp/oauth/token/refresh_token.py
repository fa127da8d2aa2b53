"""The refresh_token grant: rotation on every use, reuse detected (RFC 6749 section 6, RFC 9700 section 4.14.2)."""

from uuid import UUID

import asyncpg
import structlog

from idp.accounts.tables import user_by_id
from idp.errors import InvalidGrantError, InvalidRequestError, InvalidScopeError, InvalidTargetError, Refused
from idp.infra.db.engine import fetchrow, transaction
from idp.mail import outbox
from idp.oauth.authorize.request import words
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.diagnosis import refused_refresh_token
from idp.oauth.statements import (
    FAMILY_OF_REFRESH_TOKEN,
    KNOWN_ANCESTOR,
    LIVE_REFRESH_TOKEN,
    REPEAT_ROTATION,
    REVOKE_REUSED_REFRESH_TOKEN,
    ROTATE_REFRESH_TOKEN,
)
from idp.oauth.token.issuer import (
    Grant,
    PresentedRefreshToken,
    TokenResponse,
    new_refresh_token,
    present_refresh_token,
    respond,
    stored_refresh_jwt,
)
from idp.oauth.token_families import revoke_family
from idp.reasons import Reason
from idp.settings import settings

log = structlog.get_logger()


async def refresh(client: Client, form: dict[str, str]) -> TokenResponse:
    """Exchange a refresh token for new tokens, its successor among them.

    A token that was used before yields its same successor while the answer may have been lost, so that a lost response
    or two tabs log nobody out. After that, its whole family is revoked: somebody has a copy. A token whose row the
    database has lost is served as the one that it came from.
    """
    if "refresh_token" not in form:
        raise InvalidRequestError("refresh_token is missing.")
    presented = present_refresh_token(form["refresh_token"])
    if isinstance(presented, Refused):
        raise _invalid(presented)
    scope, resource = words(form, "scope"), words(form, "resource")
    rotated = await _rotate(client, presented, scope, resource)
    if rotated is None:
        live = await fetchrow(
            LIVE_REFRESH_TOKEN, presented.jti, presented.hash, client.client_id, registry.not_before(client)
        )
        if live and not set(scope) <= set(live["scope"].split()):
            raise InvalidScopeError("The scope exceeds what was granted.")
        if live and resource:
            raise InvalidTargetError("The resource is not one of those granted.")
        rotated = None if live else await _rotate_ancestor(client, presented, scope, resource)
    if rotated is None:
        raise _invalid(await _why_refused(client, presented))
    grant, successor = rotated
    return await respond(
        client, grant, successor, grant_type="refresh_token", scope=" ".join(scope) or None, resource=resource
    )


def _invalid(refused: Refused) -> InvalidGrantError:
    """The same answer for every reason."""
    return InvalidGrantError("The refresh token is not valid for this client, has expired or was revoked.", refused)


async def _why_refused(client: Client, presented: PresentedRefreshToken) -> Refused:
    """The reason, after the family was revoked if this was a reuse."""
    revoked = await _revoke_if_reused(client, presented)
    if revoked is not None:
        return Refused(Reason.REUSED, revoked["user_id"], revoked["id"])
    not_before = registry.not_before(client)
    return await refused_refresh_token(presented.jti, presented.hash, presented.family_id, client.client_id, not_before)


async def _rotate(
    client: Client, presented: PresentedRefreshToken, scope: tuple[str, ...], resource: tuple[str, ...]
) -> tuple[Grant, str] | None:
    """Rotate, or repeat the rotation. To ask beyond the grant leaves the token as it was."""
    family_id = presented.family_id or await _family_of(presented)
    if family_id is None:
        return None
    new, not_before = new_refresh_token(family_id), registry.not_before(client)
    row = await ROTATE_REFRESH_TOKEN.fetchrow(
        jti=presented.jti,
        token_hash=presented.hash,
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
    row = await fetchrow(
        REPEAT_ROTATION, presented.jti, presented.hash, client.client_id, scope, resource, not_before, *_windows()
    )
    if row is None:
        return None
    values = dict(row)
    successor = stored_refresh_jwt(
        values.pop("jti"), values.pop("issued_at"), values.pop("expires_at"), values.pop("token_hash"), family_id
    )
    return Grant(**values), successor


async def _family_of(presented: PresentedRefreshToken) -> UUID | None:
    """The family of a token that does not name it."""
    row = await fetchrow(FAMILY_OF_REFRESH_TOKEN, presented.jti, presented.hash)
    return row["family_id"] if row else None


def _windows() -> tuple[int, int]:
    """Seconds for which a used token yields its successor: in any case, and while that was never used."""
    grace = settings().refresh_token_grace
    return grace, max(grace, settings().refresh_token_repeat)


async def _rotate_ancestor(
    client: Client, presented: PresentedRefreshToken, scope: tuple[str, ...], resource: tuple[str, ...]
) -> tuple[Grant, str] | None:
    """Rotate the youngest token that the database knows of the chain that a token came from, which it does not know.

    We made the token, so its predecessors were used up for it; that the database lost their rotations does not matter.
    Nothing is revoked: neither the token nor its predecessors are a sign of theft.
    """
    if presented.family_id is None:
        return None
    row = await fetchrow(KNOWN_ANCESTOR, presented.family_id, presented.jti)
    if row is None:
        return None
    ancestor = PresentedRefreshToken(row["jti"], presented.family_id, bytes(row["token_hash"]))
    log.warning("refresh_token_unknown", client_id=client.client_id)
    return await _rotate(client, ancestor, scope, resource)


async def _revoke_if_reused(client: Client, presented: PresentedRefreshToken) -> asyncpg.Record | None:
    """Revoke the family of a token that was used before. Returns it, if this call revoked it."""
    async with transaction():
        revoked = await revoke_family(
            REVOKE_REUSED_REFRESH_TOKEN,
            presented.jti,
            presented.hash,
            client.client_id,
            *_windows(),
            reason="refresh_token_reuse",
        )
        user = await user_by_id(revoked["user_id"]) if revoked else None
        if user is not None:
            await outbox.queue(user.email, "signed_out_for_safety", name=user.name, client_name=client.client_name)
    return revoked
