"""Deletes what has expired, in the background.

Nothing depends on it, because every predicate checks expiry itself. It only keeps the tables small.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import asyncpg
import structlog

from idp.accounts.repository import email_proofs, invitations
from idp.admin import repository as admin
from idp.admin.bulk.retention import delete_expired_jobs
from idp.delivery import repository as delivery
from idp.directory.deletions import delete_memberships
from idp.directory.repository import invitations as organization_invitations
from idp.federation import repository as federation
from idp.infra import rate_limits
from idp.infra.db import outages
from idp.infra.db.expiring import clean
from idp.infra.logs import exception_fields
from idp.mail import repository as mail
from idp.oauth.authorize import repository as authorize
from idp.oauth.ciba import repository as ciba
from idp.oauth.clients.dynamic import repository as dynamic_clients
from idp.oauth.clients.expiry import delete_expired_clients
from idp.oauth.device import repository as device_authorizations
from idp.oauth.replay import repository as replay
from idp.oauth.repository import live_tokens
from idp.oauth.status import repository as status
from idp.oauth.token.repository import families, refresh_tokens
from idp.signin.repository import devices, sessions, signin_flows

log = structlog.get_logger()

INTERVAL_SECONDS = 60.0
EXPIRING = (
    *signin_flows.EXPIRING,
    *sessions.EXPIRING,
    *devices.EXPIRING,
    *authorize.EXPIRING,
    *ciba.EXPIRING,
    *refresh_tokens.EXPIRING,
    *families.EXPIRING,
    *live_tokens.EXPIRING,
    *device_authorizations.EXPIRING,
    *status.EXPIRING,
    *dynamic_clients.EXPIRING,
    *email_proofs.EXPIRING,
    *invitations.EXPIRING,
    *organization_invitations.EXPIRING,
    *federation.EXPIRING,
    *mail.EXPIRING,
    *delivery.EXPIRING,
    *admin.EXPIRING,
    *rate_limits.EXPIRING,
)


#: By what they delete.
_DELETIONS: Mapping[str, Callable[[], Awaitable[bool]]] = {
    **{table.name: partial(clean, table) for table in EXPIRING},
    "clients": delete_expired_clients,
    "memberships": delete_memberships,
    "jobs": delete_expired_jobs,
}


async def round_of_deletions() -> bool:
    """Clean every table once. Returns whether there may be more.

    A table whose rows cannot be deleted keeps no other from being cleaned.
    """
    await replay.empty_past_slots()
    more = False
    for name, delete in _DELETIONS.items():
        try:
            more |= await delete()
        except asyncpg.PostgresError as error:
            found = outages.outage(error)
            if found is not None and found.discard:
                raise
            log.warning("housekeeping_failed", table=name, **exception_fields(error))
    return more


async def run() -> None:
    """Clean forever. Workers start at random moments, so that they do not all work at once."""
    more = False
    while True:
        if not more:
            await asyncio.sleep(random.uniform(0.5, 1.5) * INTERVAL_SECONDS)  # noqa: S311
        more = False
        try:
            more = await round_of_deletions()
        except outages.ERRORS as error:
            log.warning("housekeeping_failed", **exception_fields(error))
