"""Ends sessions of a user, and revokes everything issued to a user, in a session, or to a client."""

from collections import Counter
from uuid import UUID

from idp.accounts.repository.users import lock_user
from idp.audit.events import record
from idp.directory import invitation_events, issued
from idp.federation.repository import delete_identities
from idp.infra.db.engine import transaction
from idp.oauth.ciba import repository as backchannel
from idp.oauth.device import repository as device_authorizations
from idp.oauth.logout.announce import announce_user
from idp.oauth.repository import families
from idp.oauth.status.revocation_list import bury_user
from idp.signin import devices
from idp.signin import flow as flows
from idp.signin.factors.repository import delete_factors
from idp.signin.repository import sessions
from idp.signin.repository.sessions import SessionKey

#: Reasons for which a user ends, or is disabled.
_ENDS = frozenset({"user_deleted", "user_disabled"})


async def sign_out_user(user_id: UUID, reason: str) -> Counter[str]:
    """End a user's sessions and unfinished sign-ins, revoke every token family including offline access, and distrust
    the user's browsers, in the caller's transaction. It also announces that.

    A user who is disabled or deleted leaves no invitation that makes an administrator of an organization.

    The user is locked first, so that a concurrent sign-in ends before, or sees that its browser is no longer trusted.

    Returns:
        how many of each were ended.
    """
    await lock_user(user_id)
    await flows.cancel_flows(user_id)
    await devices.distrust_all(user_id)
    ended = Counter[str]()
    # Sessions end before codes: a code that is issued concurrently finds its session ended, or holds its lock and is
    # then consumed. Families are revoked last: a concurrent redemption finds its code consumed, or holds its lock, and
    # its family is then revoked.
    ended["sessions"] = await sessions.end_sessions_of_user(user_id, reason)
    ended["codes"] = await families.consume_codes_of_user(user_id)
    ended["device_authorizations"] = await device_authorizations.cancel_of_user(user_id)
    ended["backchannel_requests"] = await backchannel.cancel_of_user(user_id)
    ended["token_families"] = await families.revoke_families_of_user(user_id, reason)
    if reason in _ENDS:
        # After sessions and families: a concurrent invitation by the user holds one of them, and is then revoked.
        await invitation_events.revoke_of_inviter(user_id)
    await announce_user(user_id, reason)
    return ended


async def sign_out_of_organization(user_id: UUID, organization_id: UUID, reason: str) -> Counter[str]:
    """Revoke what a user was issued for an organization, in the caller's transaction. Sessions stay: they are of the
    person. Returns how many of each were ended.
    """
    await lock_user(user_id)
    ended = Counter[str]()
    ended["codes"] = await families.consume_codes_in_organization(user_id, organization_id)
    ended["device_authorizations"] = await device_authorizations.cancel_in_organization(user_id, organization_id)
    ended["backchannel_requests"] = await backchannel.cancel_in_organization(user_id, organization_id)
    ended["token_families"] = await families.revoke_families_in_organization(user_id, organization_id, reason)
    return ended


issued.revoked_by(sign_out_of_organization)


async def sign_out_for_deletion(user_id: UUID, reason: str) -> Counter[str]:
    """Like :func:`sign_out_user`, for a user who is deleted in the caller's transaction: the revocation list still
    names their tokens, though the rows are gone. Passkeys and identities at upstreams go with their lookups.
    """
    ended = await sign_out_user(user_id, reason)
    await bury_user(user_id)
    await delete_factors(user_id)
    await delete_identities(user_id)
    return ended


async def sign_out_everywhere(user_id: UUID, reason: str) -> None:
    """Like :func:`sign_out_user`, in a transaction with its audit event."""
    async with transaction():
        await sign_out_user(user_id, reason)
        await record("signed_out_everywhere", user_id=user_id)


async def end_session(user_id: UUID, session_id: UUID, reason: str) -> bool:
    """End a session of a user and revoke everything issued in it, also offline access. False if it was not live."""
    async with transaction():
        if not await sessions.end_session(user_id, session_id, reason):
            return False
        await families.consume_codes_of_session(user_id, session_id)
        await device_authorizations.cancel_of_session(user_id, session_id)
        await backchannel.cancel_of_sessions([SessionKey(user_id, session_id)])
        await families.revoke_families_of_session(user_id, session_id, reason)
        await record("sign_out", user_id=user_id, session_id=session_id)
    return True


async def revoke_tokens_of_client(client_id: str, reason: str) -> Counter[str]:
    """Revoke every token family of a client, in the caller's transaction. Returns how many of each were ended."""
    ended = Counter[str]()
    ended["codes"] = await families.consume_codes_of_client(client_id)
    ended["device_authorizations"] = await device_authorizations.cancel_of_client(client_id)
    ended["backchannel_requests"] = await backchannel.cancel_of_client(client_id)
    ended["token_families"] = await families.revoke_families_of_client(client_id, reason)
    return ended
