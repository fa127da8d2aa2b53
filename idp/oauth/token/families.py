"""Starting a token family without a browser session, revoking one with its audit event, and single-session mode."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from msgspec import UNSET, UnsetType

from idp import clock
from idp.accounts.repository.users import lock_user
from idp.audit.events import record
from idp.directory.effective import is_member_of
from idp.errors import InvalidGrantError, Refused
from idp.infra.db.engine import transaction
from idp.oauth.access_policies.decision import check_tokens
from idp.oauth.binding.confirmation import Confirmation
from idp.oauth.ciba import repository as backchannel
from idp.oauth.clients import profiles
from idp.oauth.clients.models import Client
from idp.oauth.device import repository as device_authorizations
from idp.oauth.token import lifetimes
from idp.oauth.token.grant import Grant
from idp.oauth.token.refresh_jwt import new_refresh_token
from idp.oauth.token.repository import families
from idp.oauth.token.repository.families import RevokedFamily
from idp.reasons import Reason
from idp.settings import settings


class StartedFamily(NamedTuple):
    """A grant whose family is stored, and its refresh token, if the client has that grant."""

    grant: Grant
    refresh_token: str | UnsetType


async def start_offline_family(
    client: Client, grant: Grant, confirmation: Confirmation | None, grant_type: str
) -> StartedFamily:
    """Start the family of a grant that a user gave away from the browser of the client: it belongs to no session.

    Call it in the transaction that consumes what the user allowed, and that begins with :func:`lock_sign_ins`. The
    statement must lock a row which :mod:`idp.oauth.sign_out` and :func:`idp.oauth.consent.withdraw` consume before they
    revoke families: then either they come first, or they find this family.

    Args:
        grant: without a session.
        confirmation: the key that the request proves. It binds the refresh tokens of a public client.

    Raises:
        InvalidGrantError: the user is disabled, or not a member of the organization.
        AccessDeniedError: the user may not use the client.
    """
    expires_at = clock.now() + timedelta(seconds=lifetimes.of_families(client))
    kept_until = expires_at if profiles.rules(client).keeps_refresh_tokens else None
    issued = "refresh_token" in client.grant_types
    unused = lifetimes.of_refresh_tokens(client)
    refresh = new_refresh_token(grant.user_id, grant.family_id, unused, kept_until) if issued else None
    bound_to = confirmation if client.public else None
    stored = await families.insert_offline_family(grant, client.client_id, expires_at, bound_to, refresh)
    if stored is None:
        member = grant.organization_id is None or await is_member_of(grant.user_id, grant.organization_id)
        refused = Refused(Reason.USER_DISABLED if member else Reason.NOT_A_MEMBER, grant.user_id)
        raise InvalidGrantError("What the user allowed is no longer valid.", refused)
    await check_tokens(client, stored, grant_type, code="access_denied")
    await end_earlier_sign_ins(client, grant.user_id, grant.auth_time)
    return StartedFamily(stored, refresh.token if refresh else UNSET)


def is_single_session(client: Client) -> bool:
    """Return whether a new sign-in at a client ends earlier ones."""
    return settings().single_session or client.single_session


async def lock_sign_ins(client: Client, user_id: UUID | None) -> None:
    """In single-session mode, lock the user. A transaction begins with it if :func:`end_earlier_sign_ins` follows: two
    redemptions of a user, or one and a sign-out, would otherwise lock what they end in different orders.
    """
    if user_id is not None and is_single_session(client):
        await lock_user(user_id)


async def end_earlier_sign_ins(client: Client, user_id: UUID, auth_time: datetime) -> None:
    """In single-session mode, end what earlier sign-ins of a user yielded, at this client or at all: codes, approvals
    that wait for their client, and families. In the caller's transaction.
    """
    if not is_single_session(client):
        return
    only_client = None if settings().single_session else client.client_id
    # Families last: what is redeemed at the same moment creates one.
    await families.consume_earlier_codes(user_id, auth_time, only_client)
    await device_authorizations.cancel_earlier(user_id, auth_time, only_client)
    await backchannel.cancel_earlier(user_id, auth_time, only_client)
    await families.revoke_earlier_families(user_id, auth_time, only_client)


async def revoke_family(revoke: Callable[[], Awaitable[RevokedFamily | None]], reason: str) -> RevokedFamily | None:
    """Run a revocation of :mod:`idp.oauth.token.repository` and record it, in one transaction.

    Returns:
        the family, if this call revoked it.
    """
    async with transaction():
        family = await revoke()
        if family is not None:
            await record(
                "token_family_revoked",
                user_id=family.user_id,
                client_id=family.client_id,
                session_id=family.session_id,
                detail={"reason": reason, "family_id": str(family.id)},
            )
    return family
