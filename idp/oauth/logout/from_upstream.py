"""Back-channel logout of upstream providers: a session that ends there ends the sessions here that came from it.

OpenID Connect Back-Channel Logout 1.0, with this server as the relying party. The tokens are verified by
:mod:`idp.federation.logout_tokens`.
"""

from datetime import UTC, datetime
from typing import Any

import structlog
from litestar import Request, post
from litestar.params import FromPath

from idp.audit import unauthenticated_limit
from idp.audit.events import record
from idp.errors import InvalidRequestError
from idp.federation import providers
from idp.federation.errors import UntrustedResponseError, UpstreamError
from idp.federation.logout_tokens import LEEWAY, MAX_AGE
from idp.federation.models import LogoutToken, Upstream
from idp.federation.providers.oidc import OpenIDProvider
from idp.federation.registry import upstreams
from idp.federation.repository import owner_of_identity
from idp.http import forms
from idp.http.access import Access
from idp.http.headers import encode
from idp.http.responses import BytesResponse
from idp.infra.db.engine import transaction
from idp.infra.request_context import actor
from idp.oauth.ciba import repository as backchannel_requests
from idp.oauth.device import repository as device_authorizations
from idp.oauth.replay.service import use_once
from idp.signin import limits, sessions
from idp.signin.repository import signin_flows, upstream_sessions
from idp.signin.repository.sessions import SessionKey

log = structlog.get_logger()
DONE = encode({"Cache-Control": "no-store"})


@post("/upstreams/{upstream_id:str}/backchannel-logout", opt={"access": Access.CLIENT}, status_code=200)
async def upstream_logout(request: Request[Any, Any, Any], upstream_id: FromPath[str]) -> BytesResponse:
    """End the sessions, and unfinished sign-ins, that came from the session, or the user, that a logout token names
    (sections 2.5 to 2.8).

    Succeeds if there is none (any more).
    """
    form = await forms.form(request)
    upstream = upstreams.get(upstream_id)
    if upstream is None or "logout_token" not in form:
        raise InvalidRequestError("There is no such upstream, or no logout_token.")
    await limits.count_logout_token()
    try:
        token = await _verified(upstream, form["logout_token"])
        actor.set(f"upstream:{upstream.id}")
        async with transaction():
            # In this transaction: if it fails, the provider may send the token again.
            await _use(upstream, token)
            found = await _end_sessions(token)
            await signin_flows.finish_flows_of_upstream_session(token)
            # Those of sign-ins that were completed in between.
            found += await _end_sessions(token)
            await device_authorizations.cancel_of_sessions(found)
            await backchannel_requests.cancel_of_sessions(found)
            await record("upstream_logout", detail={"upstream": upstream.id, "sessions": len(found)})
    except UpstreamError as error:
        log.warning("upstream_logout_failed", reason=error.reason, error=str(error))
        detail = {"upstream": upstream.id, "reason": error.reason, "check": str(error)}
        key = unauthenticated_limit.limit_key()
        await record("upstream_logout", outcome="failure", detail=detail, limit_key=key)
        raise InvalidRequestError("The logout token is not accepted.") from error
    return BytesResponse(b"", DONE)


async def _verified(upstream: Upstream, text: str) -> LogoutToken:
    provider = providers.KINDS[upstream.kind]
    if not isinstance(provider, OpenIDProvider):
        raise UntrustedResponseError("Providers of this kind send no logout tokens.")
    return await provider.logout_token(upstream, text)


async def _use(upstream: Upstream, token: LogoutToken) -> None:
    expires_at = datetime.fromtimestamp(token.issued_at + MAX_AGE + LEEWAY, UTC)
    if not await use_once("logout_token", f"{upstream.id} {token.issuer}", token.jti, expires_at):
        raise UntrustedResponseError("The logout token was used before.")


async def _end_sessions(token: LogoutToken) -> list[SessionKey]:
    """End the live sessions that a token names, in the order of their keys, and return them."""
    if token.sid is not None:
        users = await upstream_sessions.users_of_sid(token.issuer, token.sid)
    else:
        owner = await owner_of_identity(token.issuer, token.subject or "")
        users = [owner] if owner is not None else []
    found = [session for user_id in users for session in await upstream_sessions.live_sessions(user_id, token)]
    found.sort(key=lambda session: (session.user_id, session.id))
    for session in found:
        await sessions.end(session, "upstream_logout")
    return found


ROUTES = [upstream_logout]
