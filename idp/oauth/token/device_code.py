"""The device_code grant: a device polls until its user has decided (RFC 8628 sections 3.4 and 3.5)."""

from functools import partial

from idp import ids
from idp.errors import InvalidGrantError, InvalidRequestError, InvalidTargetError, OAuthError, Refused
from idp.infra.db.engine import transaction
from idp.oauth import client_jwts
from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.binding.confirmation import Confirmation, Prove
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.details.granted import check_within, to_json
from idp.oauth.details.requested import requested
from idp.oauth.device import codes, repository
from idp.oauth.device.repository import Status, StoredDevice
from idp.oauth.resources import accessible_resources
from idp.oauth.token.approved import grant_of
from idp.oauth.token.families import StartedFamily, lock_sign_ins, revoke_family, start_offline_family
from idp.oauth.token.issuer import TokenResponse, issue
from idp.oauth.token.repository.families import revoke_for_reuse
from idp.oauth.token_hook.grants import consume
from idp.reasons import Reason


async def redeem(client: Client, form: dict[str, str], prove: Prove) -> TokenResponse:
    """Exchange a device code for tokens, once, after its user has approved the device.

    Only its client can, with a proof of the key that the request was bound to. A second use revokes the tokens of the
    first, as for an authorization code.

    Raises:
        OAuthError: ``authorization_pending``, ``slow_down``, ``access_denied`` or ``expired_token``.
        InvalidGrantError: the code is unknown, was used, or is of another client or key.
    """
    if "device_code" not in form:
        raise InvalidRequestError("device_code is missing.")
    code_hash = codes.device_code_hash(form["device_code"])
    if code_hash is None:
        raise _invalid(Refused(Reason.MALFORMED))
    stored = await repository.find(code_hash)
    if stored is None:
        raise _invalid(Refused(Reason.UNKNOWN))
    if stored.client_id != client.client_id:
        raise _invalid(Refused(Reason.WRONG_CLIENT, stored.user_id))
    await client_jwts.require_key(client, "id_token")
    confirmation = await prove()
    asked = AuthorizationRequest.from_json(stored.request)
    bound_to = Confirmation(jkt=asked.dpop_jkt) if asked.dpop_jkt else None
    if bound_to is not None and (wrong_key := bound_to.refuses(confirmation)):
        raise _invalid(Refused(wrong_key, stored.user_id))
    early = await repository.poll(code_hash, client.client_id)
    if early is not None:
        if early:
            raise OAuthError("slow_down", "The device polls too often. The interval is now 5 seconds longer.")
        raise OAuthError("authorization_pending", "The user has not decided yet.")
    resource, details = accessible_resources(form, client), requested(form, client)
    if not set(resource) <= set(asked.resource):
        raise InvalidTargetError("The resource is not one of those granted.")
    check_within(details, to_json(asked.authorization_details) or "[]")
    use = partial(_redeem, client, code_hash, stored, confirmation)
    redeemed = await consume(client, use, codes.GRANT_TYPE, resource=resource, refused="access_denied")
    if redeemed is None:
        raise await _refused(client, code_hash, stored)
    return await issue(
        client,
        redeemed.grant,
        redeemed.refresh_token,
        grant_type=codes.GRANT_TYPE,
        resource=resource,
        confirmation=confirmation,
        details=details,
        added=redeemed.added,
    )


async def _redeem(
    client: Client, code_hash: bytes, stored: StoredDevice, confirmation: Confirmation | None
) -> StartedFamily | None:
    family_id = ids.uuid7()
    async with transaction():
        # It may have been approved since it was read.
        await lock_sign_ins(client, stored.user_id or await repository.user_of(code_hash))
        redeemed = await repository.redeem(code_hash, client.client_id, registry.not_before(client), family_id)
        if redeemed is None:
            return None
        grant = grant_of(redeemed, client, family_id)
        return await start_offline_family(client, grant, confirmation, codes.GRANT_TYPE)


async def _refused(client: Client, code_hash: bytes, before: StoredDevice) -> OAuthError:
    """Return the error of a code that neither waits nor yields tokens. A second use revokes its family first."""
    stored = await repository.find(code_hash) or before
    if stored.status is Status.REDEEMED:
        if stored.user_id is not None and stored.family_id is not None:
            revocation = partial(revoke_for_reuse, stored.user_id, stored.family_id, "device_code_reuse")
            await revoke_family(revocation, "device_code_reuse")
        return _invalid(Refused(Reason.REUSED, stored.user_id, stored.family_id))
    if stored.status in (Status.DENIED, Status.CANCELLED):
        return OAuthError("access_denied", "The user denied the request, or withdrew what they had allowed.")
    if stored.expired:
        return OAuthError("expired_token", "The device code has expired. Begin again.")
    causes = (
        (stored.user_disabled, Reason.USER_DISABLED),
        (stored.created_at < registry.not_before(client), Reason.ISSUED_TOO_EARLY),
        (True, Reason.CHANGED_MEANWHILE),
    )
    return _invalid(Refused(next(reason for holds, reason in causes if holds), stored.user_id))


def _invalid(refused: Refused) -> InvalidGrantError:
    """Return the same error for every reason."""
    return InvalidGrantError("The device code is not valid for this client and key, or was used.", refused)
