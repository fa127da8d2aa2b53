"""Clients that registered without an initial access token: they expire unless they are used, and have a limit."""

from http import HTTPStatus

from idp.audit.events import record
from idp.errors import ConflictError
from idp.oauth.clients.dynamic import repository
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import change
from idp.settings import settings


class TooManyClientsError(ConflictError):
    """As many clients have registered themselves as the settings allow."""

    status = HTTPStatus.SERVICE_UNAVAILABLE

    def __init__(self) -> None:
        super().__init__("No further client can register itself at the moment.")


async def check_number() -> None:
    """Check that one more client may register itself, in its transaction.

    Raises:
        TooManyClientsError: there are too many.
    """
    if await repository.count_clients() > settings().client_registration_max_clients:
        raise TooManyClientsError


async def keep(client: Client) -> None:
    """Let a client that gets its first code or token not expire. It is a transaction of its own.

    It is called only for a client that expires, so not for every token.
    """
    async with change():
        if await repository.keep(client.client_id):
            await record("client_kept", client_id=client.client_id)
