"""The CIBA grant: the tokens of an approved backchannel authentication request (CIBA Core sections 10 and 11)."""

from idp import ids
from idp.errors import InvalidGrantError, InvalidRequestError, InvalidTargetError, OAuthError, Refused
from idp.infra.db.engine import transaction
from idp.oauth import client_jwts, codes
from idp.oauth.binding.confirmation import Prove
from idp.oauth.ciba import GRANT_TYPE, repository
from idp.oauth.ciba.repository import PollResult
from idp.oauth.ciba.service import AUTH_REQ_ID
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.details.granted import check_within
from idp.oauth.details.requested import requested
from idp.oauth.resources import accessible_resources
from idp.oauth.token.approved import grant_of
from idp.oauth.token.families import StartedFamily, lock_sign_ins, start_offline_family
from idp.oauth.token.issuer import TokenResponse, issue
from idp.oauth.token_hook.grants import consume
from idp.reasons import Reason


async def redeem(client: Client, form: dict[str, str], prove: Prove) -> TokenResponse:
    """Exchange an approved request for tokens, once.

    Raises:
        OAuthError: ``authorization_pending``, ``slow_down``, ``expired_token``, ``access_denied`` or ``invalid_grant``.
    """
    if "auth_req_id" not in form:
        raise InvalidRequestError("auth_req_id is missing.")
    code = codes.read(form["auth_req_id"], AUTH_REQ_ID)
    if isinstance(code, Refused):
        raise _invalid(code)
    polled = await repository.poll(code, client.client_id)
    if polled is None:
        raise _invalid(Refused(Reason.UNKNOWN, code.user_id))
    if not polled.approved or polled.consumed or polled.expired:
        raise _not_approved(polled, code)
    details, resource = requested(form, client), accessible_resources(form, client)
    await client_jwts.require_key(client, "id_token")
    confirmation = await prove()

    async def use() -> StartedFamily:
        async with transaction():
            await lock_sign_ins(client, code.user_id)
            approved = await repository.consume(code, client.client_id, registry.not_before(client))
            if approved is None:
                raise _invalid(Refused(Reason.CHANGED_MEANWHILE, code.user_id))
            grant = grant_of(approved, client, ids.uuid7())
            if not set(resource) <= set(grant.resource):
                raise InvalidTargetError("The resource is not one of those granted.")
            if details:
                check_within(details, grant.authorization_details or "[]")
            return await start_offline_family(client, grant, confirmation, GRANT_TYPE)

    started = await consume(client, use, GRANT_TYPE, resource=resource, refused="access_denied")
    if started is None:
        raise _invalid(Refused(Reason.CHANGED_MEANWHILE, code.user_id))
    return await issue(
        client,
        started.grant,
        started.refresh_token,
        grant_type=GRANT_TYPE,
        resource=resource,
        confirmation=confirmation,
        details=details,
        added=started.added,
    )


def _not_approved(polled: PollResult, code: codes.PresentedCode) -> OAuthError:
    if polled.consumed:
        # Polls of one client may overlap, so a later one does not end the tokens.
        return _invalid(Refused(Reason.REUSED, code.user_id))
    if polled.expired:
        return OAuthError("expired_token", "The request has expired. Start a new one.")
    if polled.decided:
        return OAuthError("access_denied", "The user denied the request.")
    if polled.early:
        return OAuthError("slow_down", "The user has not decided yet. Poll less often: wait 5 seconds longer.")
    return OAuthError("authorization_pending", "The user has not decided yet.")


def _invalid(refused: Refused) -> InvalidGrantError:
    """Return the same error for every reason."""
    return InvalidGrantError("The auth_req_id is not valid for this client, or was used.", refused)
