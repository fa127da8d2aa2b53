"""The applications that a user may start, for the account page."""

from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID

from idp import clock
from idp.accounts.attributes.repository import values_of_user
from idp.directory.effective import memberships
from idp.oauth.access_policies.decision import Situation, is_for
from idp.oauth.clients.documents.identifiers import shown_name
from idp.oauth.clients.login_uri import login_uri
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry


class Application(NamedTuple):
    """An application with the address at which it starts."""

    client_name: str
    logo_uri: str | None
    start_uri: str


async def applications_of(user_id: UUID, used: Collection[str]) -> list[Application]:
    """Return the applications that a user may start, by name: those that are listed for everybody, and others that the
    user has used. Hidden ones, and those whose policy is for other users, are left out.

    Where the user is and what time it is do not matter: the list is the same at home and in the office.

    Args:
        used: the ids of the clients that the user has used.
    """
    clients = {client.client_id: client for client in registry.listed}
    clients |= {id_: client for id_ in used if (client := registry.client(id_)) is not None}
    starts = [(client, uri) for client in clients.values() if (uri := _start_uri(client)) is not None]
    policies = {client.client_id: registry.access_policy(client) for client, _ in starts}
    if any(policies.values()):
        user = Situation(await memberships(user_id), clock.now(), frozenset(await values_of_user(user_id)))
        starts = [each for each in starts if (policy := policies[each[0].client_id]) is None or is_for(policy, user)]
    found = [
        Application(shown_name(client.client_id, client.client_name), client.logo_uri, uri) for client, uri in starts
    ]
    return sorted(found, key=lambda application: (application.client_name.casefold(), application.start_uri))


def _start_uri(client: Client) -> str | None:
    """Return the address at which a client starts, if it may be shown.

    The addresses of a client by document are whatever its document says.
    """
    if client.hidden_from_users or client.origin == "document":
        return None
    return login_uri(client) or client.client_uri
