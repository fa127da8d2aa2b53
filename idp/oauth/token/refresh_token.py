"""The refresh_token grant: rotation on every use, reuse detected (RFC 6749 section 6, RFC 9700 section 4.14.2).

The token of a client whose profile forbids rotation is kept instead (FAPI 2.0 Security Profile section 5.3.2.1).
"""

from collections.abc import Awaitable, Callable
from functools import partial

import msgspec
import structlog

from idp.accounts.repository.users import user_by_id
from idp.errors import InvalidGrantError, InvalidRequestError, InvalidScopeError, InvalidTargetError, Refused
from idp.infra.db.engine import transaction
from idp.mail import outbox
from idp.oauth import client_jwts
from idp.oauth.access_policies.decision import check_tokens
from idp.oauth.binding.confirmation import Confirmation, Prove
from idp.oauth.clients import profiles
from idp.oauth.clients.models import Client
from idp.oauth.clients.names_in_mails import name_in_mail
from idp.oauth.clients.registry import registry
from idp.oauth.details.granted import check_within
from idp.oauth.details.requested import requested
from idp.oauth.diagnosis import refused_refresh_token
from idp.oauth.parameters import words
from idp.oauth.resources import accessible_resources
from idp.oauth.token import lifetimes, refresh_jwt
from idp.oauth.token.families import revoke_family
from idp.oauth.token.grant import Grant
from idp.oauth.token.issuer import TokenResponse, issue
from idp.oauth.token.refresh_jwt import new_refresh_token
from idp.oauth.token.repository import refresh_tokens
from idp.oauth.token.repository.families import RevokedFamily, details_of_family
from idp.oauth.token.repository.refresh_tokens import RepeatWindows, Rotation
from idp.oauth.token_hook.grants import Consumed, Permitted, consume
from idp.reasons import Reason
from idp.settings import settings
from idp.trace import recorder

log = structlog.get_logger()

#: Uses a refresh token. Returns the grant and the token that follows.
Use = Callable[[Client, Rotation], Awaitable[tuple[Grant, str] | None]]


async def refresh(client: Client, form: dict[str, str], prove: Prove) -> TokenResponse:
    """Exchange a refresh token for new tokens, its successor among them.

    A used token yields the same successor again for a while, so that a lost response or two tabs do not sign the user
    out. After that its family is revoked, because the token was copied. A token whose row the database has lost is
    replaced by its youngest known ancestor.
    """
    if "refresh_token" not in form:
        raise InvalidRequestError("refresh_token is missing.")
    presented = refresh_jwt.decode(form["refresh_token"])
    if isinstance(presented, Refused):
        raise _invalid(presented)
    await client_jwts.require_key(client, "id_token")
    confirmation = await prove()
    scope, scopes = words(form, "scope"), client.scopes
    narrower = " ".join(name for name in scope if name in scopes)
    rotation = Rotation(
        token=presented,
        client_id=client.client_id,
        scope=scope,
        registered=narrower if scope else client.scope,
        resource=accessible_resources(form, client),
        confirmation=confirmation,
        not_before=lifetimes.oldest_family(client),
    )
    details = requested(form, client)
    if details:
        check_within(details, await details_of_family(presented, client.client_id))
    use = partial(_keep, form["refresh_token"]) if profiles.rules(client).keeps_refresh_tokens else _rotate
    rotated = await _permitted(client, rotation, use)
    if rotated is None:
        live = await refresh_tokens.live_refresh_token(presented, client.client_id, rotation.not_before)
        bound = Confirmation.from_json(live.confirmation) if live else None
        if bound and (wrong_key := bound.refuses(confirmation)):
            raise _invalid(Refused(wrong_key, presented.user_id, presented.family_id))
        if live and not set(rotation.scope) <= set(live.scope.split()):
            recorder.step("scope_refused", scope=rotation.scope, allowed=live.scope.split())
            raise InvalidScopeError("The scope exceeds the granted scope.")
        if live and not live.has_details and set(rotation.registered.split()).isdisjoint(live.scope.split()):
            raise InvalidScopeError("This client may no longer use any of the granted scopes.")
        if live and rotation.resource:
            recorder.step("resource_refused", resource=rotation.resource)
            raise InvalidTargetError("The resource is not one of those granted.")
        rotated = None if live else await _permitted(client, rotation, _rotate_ancestor)
    if rotated is None:
        raise _invalid(await _why_refused(client, rotation))
    return await issue(
        client,
        rotated.grant,
        rotated.refresh_token,
        grant_type="refresh_token",
        scope=narrower if scope else None,
        resource=rotation.resource,
        confirmation=confirmation,
        details=details,
        added=rotated.added,
    )


def _invalid(refused: Refused) -> InvalidGrantError:
    """Return the same error for every reason."""
    return InvalidGrantError("The refresh token is not valid for this client, has expired or was revoked.", refused)


async def _why_refused(client: Client, rotation: Rotation) -> Refused:
    """Return the reason, after the family was revoked if this was a reuse."""
    revoked = await _revoke_if_reused(client, rotation)
    refused = await refused_refresh_token(rotation.token, client.client_id, rotation.not_before)
    return refused if revoked is None else Refused(Reason.REUSED, revoked.user_id, revoked.id)


async def _permitted(client: Client, rotation: Rotation, use: Use) -> Permitted | None:
    """Use a token, if its user may still use the client. Otherwise it stays as it was: they may regain access.

    Raises:
        AccessDeniedError: they may not.
        TokenHookFailedError: the token hook of the client gave no answer.
    """
    return await consume(
        client,
        partial(_checked, client, rotation, use),
        "refresh_token",
        scope=rotation.registered.split() if rotation.scope else (),
        resource=rotation.resource,
    )


async def _checked(client: Client, rotation: Rotation, use: Use) -> Consumed | None:
    if registry.access_policy(client) is None:
        return await use(client, rotation)
    async with transaction():
        used = await use(client, rotation)
        if used is not None:
            grant, _ = used
            await check_tokens(client, grant, "refresh_token")
        return used


async def _keep(token: str, client: Client, rotation: Rotation) -> tuple[Grant, str] | None:
    """Use a token that is not rotated. One that was rotated before is repeated."""
    kept = await refresh_tokens.keep(rotation, lifetimes.of_refresh_tokens(client))
    return (kept, token) if kept is not None else await _repeat(rotation)


async def _rotate(client: Client, rotation: Rotation) -> tuple[Grant, str] | None:
    """Rotate, or repeat the rotation. A request beyond the grant leaves the token unused."""
    token = rotation.token
    new = new_refresh_token(token.user_id, token.family_id, lifetimes.of_refresh_tokens(client))
    grant = await refresh_tokens.rotate(rotation, new)
    if grant is not None:
        return grant, new.token
    return await _repeat(rotation)


async def _repeat(rotation: Rotation) -> tuple[Grant, str] | None:
    """Return the successor of a token that was rotated within the windows."""
    token = rotation.token
    repeated = await refresh_tokens.repeat_rotation(rotation, _windows())
    if repeated is None:
        return None
    grant, kept = repeated
    return grant, refresh_jwt.encode(kept.jti, kept.issued_at, kept.expires_at, token.family_id, token.user_id)


def _windows() -> RepeatWindows:
    grace = settings().refresh_token_grace
    return RepeatWindows(grace, max(grace, settings().refresh_token_repeat))


async def _rotate_ancestor(client: Client, rotation: Rotation) -> tuple[Grant, str] | None:
    """Rotate the youngest known ancestor of a token that the database does not know.

    This server issued the token, so its ancestors were used; the database has lost their rotations. This is not a sign
    of theft, so nothing is revoked.
    """
    token = rotation.token
    ancestor = await refresh_tokens.known_ancestor(token)
    if ancestor is None:
        return None
    log.warning("refresh_token_unknown", client_id=rotation.client_id)
    known = msgspec.structs.replace(token, jti=ancestor.jti, hash=ancestor.token_hash)
    return await _rotate(client, msgspec.structs.replace(rotation, token=known))


async def _revoke_if_reused(client: Client, rotation: Rotation) -> RevokedFamily | None:
    """Revoke the family of a token that was used before. Returns it, if this call revoked it."""
    async with transaction():
        revocation = partial(refresh_tokens.revoke_reused, rotation, _windows())
        revoked = await revoke_family(revocation, "refresh_token_reuse")
        user = await user_by_id(revoked.user_id) if revoked else None
        if user is not None:
            await outbox.queue(
                user.email, "signed_out_for_safety", language=user.locale,
                name=user.name, client_name=name_in_mail(client),
            )  # fmt: skip
    return revoked
