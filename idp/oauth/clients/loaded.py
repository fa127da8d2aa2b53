"""The enabled clients as they were last read. A load reads only the clients that have changed since.

Clients that register themselves are many, and each registration makes every worker load.
"""

from collections.abc import Mapping
from typing import NamedTuple

from idp.oauth.clients import repository
from idp.oauth.clients.models import Client
from idp.oauth.clients.repository import Version


class LoadedClients(NamedTuple):
    """Enabled clients with their versions and, by client, the origins of its pages."""

    versions: Mapping[str, Version] = {}
    clients: Mapping[str, Client] = {}
    origins: Mapping[str, frozenset[str]] = {}

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
        )
