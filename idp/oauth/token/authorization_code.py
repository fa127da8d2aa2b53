"""The authorization_code grant (RFC 6749 section 4.1.3, RFC 7636 section 4.6)."""

import re
from base64 import urlsafe_b64encode
from datetime import timedelta
from functools import partial
from hashlib import sha256

from msgspec import UNSET

from idp import clock, ids
from idp.errors import (
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    InvalidTargetError,
    OAuthError,
    Refused,
)
from idp.infra.db.engine import transaction
from idp.oauth import client_jwts, codes
from idp.oauth.access_policies.decision import check_tokens
from idp.oauth.binding.confirmation import Prove
from idp.oauth.clients import profiles
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.details.granted import check_within
from idp.oauth.details.requested import requested
from idp.oauth.diagnosis import refused_code
from idp.oauth.resources import accessible_resources
from idp.oauth.token import lifetimes
from idp.oauth.token.families import end_earlier_sign_ins, is_single_session, lock_sign_ins, revoke_family
from idp.oauth.token.issuer import TokenResponse, issue
from idp.oauth.token.refresh_jwt import new_refresh_token
from idp.oauth.token.repository.codes import (
    CodeRedemption,
    RedeemedCode,
    details_of_code,
    redeem_code,
    revoke_replayed_code,
    unused_code,
)
from idp.oauth.token_hook.grants import Consumed, consume
from idp.reasons import Reason
from idp.trace import recorder

#: RFC 7636 section 4.1: unreserved characters.
VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


def _challenge(verifier: str | None) -> str | None:
    """Return the S256 challenge of a verifier (RFC 7636 section 4.2)."""
    if verifier is None:
        return None
    if not VERIFIER.fullmatch(verifier):
        raise InvalidGrantError("code_verifier is not 43 to 128 unreserved characters.", Refused(Reason.PKCE_MISMATCH))
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


async def redeem(client: Client, form: dict[str, str], prove: Prove) -> TokenResponse:
    """Exchange a code for tokens, once.

    The code is consumed only by its client, with its redirect URI and the right verifier, with a proof of the key that
    it is bound to (RFC 9449 section 10), for granted resources (RFC 8707 section 2.2). A second use revokes the tokens
    of the first (section 4.1.2), even if the first response was lost
    (docs/decisions/0040-how-long-a-lost-answer-can-be-repeated.md).
    """
    if "code" not in form:
        raise InvalidRequestError("code is missing.")
    if "redirect_uri" not in form and not client.authorization_challenge:
        raise InvalidRequestError("redirect_uri is missing.")
    code_challenge = _challenge(form.get("code_verifier"))
    code = codes.read(form["code"])
    if isinstance(code, Refused):
        raise _invalid(code)
    await client_jwts.require_key(client, "id_token")
    confirmation = await prove()
    family_id = ids.uuid7()
    family_expires_at = clock.now() + timedelta(seconds=lifetimes.of_families(client))
    kept_until = family_expires_at if profiles.rules(client).keeps_refresh_tokens else None
    issued = "refresh_token" in client.grant_types
    unused = lifetimes.of_refresh_tokens(client)
    refresh = new_refresh_token(code.user_id, family_id, unused, kept_until) if issued else None
    redemption = CodeRedemption(
        user_id=code.user_id,
        code_hash=code.hash,
        client_id=client.client_id,
        # A code of the challenge endpoint has no redirect URI.
        redirect_uri=form.get("redirect_uri", ""),
        code_challenge=code_challenge,
        registered=client.scope,
        resource=accessible_resources(form, client),
        not_before=registry.not_before(client),
        family_id=family_id,
        family_expires_at=family_expires_at,
        refresh_token=refresh,
        confirmation=confirmation,
        # The refresh tokens of other clients are bound to the client, which authenticates itself (RFC 9449 section 5).
        family_confirmation=confirmation if client.public else None,
    )
    details = requested(form, client)
    if details:
        check_within(details, await details_of_code(redemption))
    redeemed = await consume(
        client, partial(_redeem, client, redemption), "authorization_code", resource=redemption.resource
    )
    if redeemed is None:
        raise await _refused(redemption)
    grant = redeemed.grant
    recorder.about(user_id=grant.user_id, session_id=grant.session_id, family_id=grant.family_id)
    recorder.step("code_redeemed", scope=grant.scope.split(), refresh_token=issued)
    return await issue(
        client,
        redeemed.grant,
        redeemed.refresh_token,
        grant_type="authorization_code",
        resource=redemption.resource,
        confirmation=confirmation,
        details=details,
        added=redeemed.added,
    )


async def _redeem(client: Client, redemption: CodeRedemption) -> Consumed | None:
    """Consume the code, if the user may still use the client. Returns the grant and the refresh token.

    Raises:
        AccessDeniedError: they may not.
    """
    token = redemption.refresh_token.token if redemption.refresh_token else UNSET
    if not is_single_session(client) and registry.access_policy(client) is None:
        grant = await _known(redemption)
        return (grant, token) if grant is not None else None
    async with transaction():
        await lock_sign_ins(client, redemption.user_id)
        grant = await _known(redemption)
        if grant is not None:
            await check_tokens(client, grant, "authorization_code")
            await end_earlier_sign_ins(client, grant.user_id, grant.auth_time)
        return (grant, token) if grant is not None else None


async def _known(redemption: CodeRedemption) -> RedeemedCode | None:
    """Consume the code, and continue the flow that it was issued in."""
    grant = await redeem_code(redemption)
    if grant is not None:
        recorder.follow(grant.trace_id)
    return grant


async def _refused(redemption: CodeRedemption) -> OAuthError:
    """Return the error for a refused code. A second use of a code revokes its family first."""
    unused = await unused_code(redemption)
    if unused is not None and not unused.has_resources:
        recorder.step("resource_refused", resource=redemption.resource)
        return InvalidTargetError("The resource is not one of those granted.")
    if unused is not None and not unused.has_scope:
        return InvalidScopeError("This client may no longer use any of the granted scopes.")
    await revoke_family(partial(revoke_replayed_code, redemption), "authorization_code_reuse")
    return _invalid(await refused_code(redemption))


def _invalid(refused: Refused) -> InvalidGrantError:
    """Return the same error for every reason."""
    return InvalidGrantError(
        "The code is not valid for this client, redirect_uri and code_verifier, or was used.", refused
    )
