"""The clients and resource servers in memory, as every request uses them."""

from collections.abc import Mapping

import msgspec

from idp import ids
from idp.keys import jose
from idp.oauth.clients.metadata import ClientMetadata
from idp.oauth.clients.tables import enabled_clients, resource_servers


class Client(ClientMetadata, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A registered client. Of its secret only the SHA-256 is known."""

    client_id: str
    client_secret_hash: bytes | None = None


class ResourceServer(msgspec.Struct, frozen=True, kw_only=True):
    """A service that accepts our access tokens.

    Attributes:
        identifier: the ``resource`` of a request and the ``aud`` of a token (RFC 8707).
        client_id: the client that introspects tokens for it, if one does.
        jwks_id: what its own JWKS URL ends in.
        witnessed: whether new keys wait until it has fetched them.
        networks: where it fetches the common JWKS URL from; empty: it is not known there.
        user_agent: how its User-Agent begins there.
    """

    identifier: str
    name: str
    scope: str = ""
    access_token_signed_response_alg: str = jose.DEFAULT_ALGORITHM
    client_id: str | None = None
    jwks_id: str = msgspec.field(default_factory=ids.uuid7_text)
    witnessed: bool = True
    networks: tuple[str, ...] = ()
    user_agent: str | None = None

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes that it defines."""
        return frozenset(self.scope.split())


class _Records(msgspec.Struct, frozen=True):
    """What was read together and is replaced together."""

    clients: Mapping[str, Client] = {}
    resource_servers: Mapping[str, ResourceServer] = {}
    origins: frozenset[str] = frozenset()


class Registry:
    """The clients that are not disabled, and the resource servers."""

    def __init__(self) -> None:
        self._records = _Records()

    async def load(self) -> None:
        """Read everything again. On failure the registry stays as it was."""
        clients = [msgspec.convert(dict(row), Client) for row in await enabled_clients()]
        servers = [msgspec.convert(dict(row), ResourceServer) for row in await resource_servers()]
        # Replaced as a whole, so that no request sees half of a change.
        self._records = _Records(
            {client.client_id: client for client in clients},
            {server.identifier: server for server in servers},
            frozenset(origin for client in clients for origin in client.origins),
        )

    def client(self, client_id: str) -> Client | None:
        """The client of this id, unless it is unknown or disabled."""
        return self._records.clients.get(client_id)

    def resource_server(self, identifier: str) -> ResourceServer | None:
        """The resource server of this identifier, if there is one."""
        return self._records.resource_servers.get(identifier)

    @property
    def resource_servers(self) -> Mapping[str, ResourceServer]:
        """All of them by identifier; another mapping after every change."""
        return self._records.resource_servers

    @property
    def origins(self) -> frozenset[str]:
        """The web origins of all clients, which may call us from a browser."""
        return self._records.origins


registry = Registry()
