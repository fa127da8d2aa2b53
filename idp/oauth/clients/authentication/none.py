"""The method ``none``: a public client, which only names itself (RFC 6749 section 2.1)."""

from idp.oauth.clients.authentication.credentials import Credentials, Failure, Sent, only_client_id
from idp.oauth.clients.models import Client


async def _exists(client: Client | None) -> Failure | None:
    return None


def none(sent: Sent) -> Credentials | None:
    """Read the ``client_id`` of a client that sends nothing else.

    Many libraries always send a secret, and for a public client an empty one: ``Authorization: Basic`` of
    ``client_id:``.
    """
    if sent.basic is not None:
        return Credentials(sent.basic.client_id, _exists) if not sent.basic.secret else None
    client_id = only_client_id(sent)
    return Credentials(client_id, _exists, implicit=True) if client_id is not None else None
