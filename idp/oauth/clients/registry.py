"""The clients and resource servers in memory, as every request uses them."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec

from idp import ids
from idp.keys.algorithms import DEFAULT_ALGORITHM
from idp.oauth.clients.metadata import ClientMetadata
from idp.oauth.clients.tables import enabled_clients, not_before, resource_servers
from idp.oauth.scopes import STANDARD_SCOPES

#: Before anything was issued.
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


class Client(ClientMetadata, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A registered client. Of its secret only the SHA-256 is known.

    Attributes:
        admin_role: what it may do at the admin API in its own name.
        not_before: what it was issued before counts no more.
    """

    client_id: str
    client_secret_hash: bytes | None = None
    admin_role: str | None = None
    not_before: datetime | None = None


class ResourceServer(msgspec.Struct, frozen=True, kw_only=True):
    """A service that accepts our access tokens.

    Attributes:
        identifier: the ``resource`` of a request and the ``aud`` of a token (RFC 8707).
        access_token_type: the ``typ`` of its access tokens: ``at+jwt`` (RFC 9068), or ``JWT`` for a validator that
            refuses it.
        client_id: the client that introspects tokens for it, if one does.
        jwks_id: what its own JWKS URL ends in.
        witnessed: whether new keys wait until it has fetched them.
        networks: where it fetches the common JWKS URL from; empty: it is not known there.
        user_agent: how its User-Agent begins there.
    """

    identifier: str
    name: str
    scope: str = ""
    access_token_signed_response_alg: str = DEFAULT_ALGORITHM
    access_token_type: str = "at+jwt"
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
    #: By scope, the resource servers that define it.
    definers: Mapping[str, frozenset[str]] = {}
    origins: frozenset[str] = frozenset()
    not_before: datetime = BEGINNING


def _definers(servers: Iterable[ResourceServer]) -> Mapping[str, frozenset[str]]:
    """By scope, the resource servers that define it. A standard scope is nobody's."""
    found: dict[str, set[str]] = {}
    for server in servers:
        for name in server.scopes - STANDARD_SCOPES.keys():
            found.setdefault(name, set()).add(server.identifier)
    return {name: frozenset(identifiers) for name, identifiers in found.items()}


class Registry:
    """The clients that are not disabled, and the resource servers."""

    def __init__(self) -> None:
        self._records = _Records()
        self._builtin: dict[str, ResourceServer] = {}

    def build_in(self, server: ResourceServer) -> None:
        """Know a resource server that is part of this server itself."""
        self._builtin[server.identifier] = server

    def builtin(self, identifier: str) -> ResourceServer | None:
        """The resource server of this identifier, if it is part of this server itself."""
        return self._builtin.get(identifier)

    async def load(self) -> None:
        """Read everything again. On failure the registry stays as it was."""
        clients = [msgspec.convert(dict(row), Client) for row in await enabled_clients()]
        servers = [msgspec.convert(dict(row), ResourceServer) for row in await resource_servers()]
        # Replaced as a whole, so that no request sees half of a change.
        self._records = _Records(
            {client.client_id: client for client in clients},
            {server.identifier: server for server in servers},
            _definers(servers),
            frozenset(origin for client in clients for origin in client.origins),
            await not_before() or BEGINNING,
        )

    def client(self, client_id: str) -> Client | None:
        """The client of this id, unless it is unknown or disabled."""
        return self._records.clients.get(client_id)

    def resource_server(self, identifier: str) -> ResourceServer | None:
        """The resource server of this identifier, if there is one."""
        return self._records.resource_servers.get(identifier) or self._builtin.get(identifier)

    def not_before(self, client: Client) -> datetime:
        """The moment before which whatever was issued to a client counts no more: its own or everybody's, the later."""
        return max(self._records.not_before, client.not_before or BEGINNING)

    def audience(self, scope: Iterable[str]) -> tuple[str, ...]:
        """Whom a token is for if its request names no ``resource`` (RFC 9068 section 3).

        That is the one resource server that defines all of its scopes, without those that belong to none. Where several
        do, or none does, it is nobody: empty.
        """
        defined = [self._records.definers[name] for name in scope if name in self._records.definers]
        common = frozenset.intersection(*defined) if defined else frozenset[str]()
        return tuple(common) if len(common) == 1 else ()

    @property
    def resource_servers(self) -> Mapping[str, ResourceServer]:
        """All of them by identifier; another mapping after every change."""
        return self._records.resource_servers

    @property
    def origins(self) -> frozenset[str]:
        """The web origins of all clients, which may call us from a browser."""
        return self._records.origins


registry = Registry()
