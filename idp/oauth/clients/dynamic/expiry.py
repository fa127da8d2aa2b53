"""Clients that registered without an initial access token: they expire unless they are used, and have a limit."""

from datetime import datetime, timedelta
from uuid import UUID

import structlog

from idp import clock
from idp.audit.events import record
from idp.errors import InvalidClientError, OverloadedError, Refused
from idp.oauth.clients.dynamic import limits, repository
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import change
from idp.reasons import Reason
from idp.settings import HOUR, settings

log = structlog.get_logger()


class TooManyClientsError(OverloadedError):
    """As many clients have registered themselves as the settings allow. Those that nobody uses expire."""

    retry_after = HOUR


def first_use_by() -> datetime:
    """Return when a client that registers now expires."""
    return clock.now() + timedelta(seconds=settings().client_registration_lifetime)


async def check_number() -> None:
    """Check that one more client may register itself, in its transaction.

    Raises:
        TooManyClientsError: there are too many.
    """
    if await repository.count_clients() > settings().client_registration_max_clients:
        log.warning("too_many_clients")
        raise TooManyClientsError


async def keep(client: Client, user_id: UUID | None = None) -> None:
    """Let a client that gets its first code or token not expire. It is a transaction of its own.

    It is called only for a client that expires, so not for every token. Afterwards it is not deleted while it gets one.

    Args:
        user_id: who uses it, if it is not the client itself.

    Raises:
        TooManyRequestsError: the user was the first of too many clients.
        InvalidClientError: it has expired since it was looked up.
    """
    if user_id is not None:
        await limits.count_first_use(user_id)
    async with change():
        first = await repository.keep(client.client_id)
        if first is None:
            raise InvalidClientError(hint="The client has expired.", refused=Refused(Reason.EXPIRED))
        if first:
            await record("client_kept", client_id=client.client_id)
