"""The enabled clients as they were last read. A load reads only the clients that have changed since.

Clients that register themselves are many, and each registration makes every worker load. A client with a value that
this version does not know, as a newer one stored it before a downgrade, counts as disabled: what it demands of the
client is unknown here.
"""

from collections.abc import Mapping
from typing import NamedTuple

import structlog

from idp.oauth.clients import repository
from idp.oauth.clients.members import unknown_value
from idp.oauth.clients.models import Client
from idp.oauth.clients.repository import Version

log = structlog.get_logger()


class LoadedClients(NamedTuple):
    """Enabled clients with their versions and, by client, the origins of its pages.

    Attributes:
        unknown: those of the clients that have a value which this version does not know.
    """

    versions: Mapping[str, Version] = {}
    clients: Mapping[str, Client] = {}
    origins: Mapping[str, frozenset[str]] = {}
    unknown: frozenset[str] = frozenset()

    async def newer(self) -> "LoadedClients":
        """Return the current clients. What has not changed is taken over."""
        versions = await repository.enabled_versions()
        same = {id_ for id_, version in versions.items() if self.versions.get(id_) == version}
        changed = {client.client_id: client for client in await repository.enabled_clients(versions.keys() - same)}
        # A client that was deleted meanwhile is missing; its deletion causes another load.
        return LoadedClients(
            {id_: version for id_, version in versions.items() if id_ in same or id_ in changed},
            {id_: self.clients[id_] for id_ in same} | changed,
            {id_: self.origins[id_] for id_ in same} | {id_: client.origins for id_, client in changed.items()},
            (self.unknown & same) | {id_ for id_, client in changed.items() if not is_known(client)},
        )


def is_known(client: Client) -> bool:
    """Return whether this version knows the values of a client. The log has the one that it does not know."""
    problem = unknown_value(client)
    if problem is not None:
        log.error("client_not_usable", client_id=client.client_id, reason=problem)
    return problem is None
