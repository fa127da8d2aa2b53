"""The clients and resource servers in memory, where every request looks them up."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec

from idp.oauth.clients import repository
from idp.oauth.clients.models import Client, ResourceServer
from idp.oauth.scopes import STANDARD_SCOPES

#: A time before any token was issued.
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


class _Records(msgspec.Struct, frozen=True):
    """A snapshot, replaced as a whole."""

    clients: Mapping[str, Client] = {}
    resource_servers: Mapping[str, ResourceServer] = {}
    #: By scope, the resource servers that define it.
    definers: Mapping[str, frozenset[str]] = {}
    origins: frozenset[str] = frozenset()
    not_before: datetime = BEGINNING
    disabled: frozenset[str] = frozenset()


def _definers(servers: Iterable[ResourceServer]) -> Mapping[str, frozenset[str]]:
    """By scope, the resource servers that define it. Standard scopes are not included."""
    found: dict[str, set[str]] = {}
    for server in servers:
        for name in server.scopes - STANDARD_SCOPES.keys():
            found.setdefault(name, set()).add(server.identifier)
    return {name: frozenset(identifiers) for name, identifiers in found.items()}


class Registry:
    """The enabled clients and the resource servers."""

    def __init__(self) -> None:
        self._records = _Records()
        self._builtin: dict[str, ResourceServer] = {}

    def build_in(self, server: ResourceServer) -> None:
        """Add a resource server that is part of this server."""
        self._builtin[server.identifier] = server

    def builtin(self, identifier: str) -> ResourceServer | None:
        """Return the resource server with this identifier, if it is part of this server."""
        return self._builtin.get(identifier)

    async def load(self) -> None:
        """Read everything from the database. On failure the registry is unchanged."""
        clients, servers = await repository.enabled_clients(), await repository.resource_servers()
        # Replaced as a whole, so that no request sees a partial change.
        self._records = _Records(
            {client.client_id: client for client in clients},
            {server.identifier: server for server in servers},
            _definers(servers),
            frozenset(origin for client in clients for origin in client.origins),
            await repository.not_before_of_all() or BEGINNING,
            await repository.disabled_client_ids(),
        )

    def is_disabled(self, client_id: str) -> bool:
        """Return whether there is such a client, and it is disabled."""
        return client_id in self._records.disabled

    def client(self, client_id: str) -> Client | None:
        """Return the client with this id; None if it is unknown or disabled."""
        return self._records.clients.get(client_id)

    def resource_server(self, identifier: str) -> ResourceServer | None:
        """Return the resource server with this identifier; None if there is none."""
        return self._records.resource_servers.get(identifier) or self._builtin.get(identifier)

    def not_before(self, client: Client) -> datetime:
        """Return the time before which tokens of a client are refused: the later one of its own and that of all
        clients.
        """
        return max(self._records.not_before, client.not_before or BEGINNING)

    def audience(self, scope: Iterable[str]) -> tuple[str, ...]:
        """Return the audience of a token whose request names no ``resource`` (RFC 9068 section 3).

        It is the only resource server that defines all of the scopes; scopes that no resource server defines are
        ignored. Empty if none does, or several do.
        """
        defined = [self._records.definers[name] for name in scope if name in self._records.definers]
        common = frozenset.intersection(*defined) if defined else frozenset[str]()
        return tuple(common) if len(common) == 1 else ()

    @property
    def resource_servers(self) -> Mapping[str, ResourceServer]:
        """All resource servers by identifier; a new mapping after every change."""
        return self._records.resource_servers

    @property
    def origins(self) -> frozenset[str]:
        """The web origins of all clients, for CORS."""
        return self._records.origins


registry = Registry()
