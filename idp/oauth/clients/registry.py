"""The clients, resource servers and types of authorization details in memory, where every request looks them up."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Protocol, TypeVar
from uuid import UUID

import msgspec

from idp import clock
from idp.directory import effective
from idp.oauth.access_policies import repository as access_policies
from idp.oauth.access_policies.models import AccessPolicy
from idp.oauth.claims import repository as claims
from idp.oauth.claims.models import ClaimMapping
from idp.oauth.clients import repository
from idp.oauth.clients.documents.identifiers import is_accepted
from idp.oauth.clients.loaded import LoadedClients
from idp.oauth.clients.models import Client, ResourceServer
from idp.oauth.clients.uris import normal_url
from idp.oauth.clients.workloads import repository as workloads
from idp.oauth.clients.workloads.models import WorkloadIdentity
from idp.oauth.details import repository as details
from idp.oauth.details.models import DetailsType
from idp.oauth.exchange import repository as exchange
from idp.oauth.exchange.models import ExchangePolicy
from idp.oauth.id_jag import repository as id_jag
from idp.oauth.id_jag.models import IdJagPolicy
from idp.oauth.issuers import repository as issuers
from idp.oauth.issuers.models import Purpose, TrustedIssuer
from idp.oauth.scopes import STANDARD_SCOPES
from idp.oauth.token_hook import repository as token_hooks
from idp.oauth.token_hook.models import LoadedHook
from idp.settings import settings

_T = TypeVar("_T")
_K = TypeVar("_K")


class HasIssuer(Protocol):
    """An assertion."""

    @property
    def issuer(self) -> str: ...

    @property
    def subject(self) -> str: ...


#: A time before any token was issued.
BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


class _Records(msgspec.Struct, frozen=True):
    """A snapshot, replaced as a whole."""

    clients: Mapping[str, Client] = {}
    resource_servers: Mapping[str, ResourceServer] = {}
    #: By scope, the resource servers that define it.
    definers: Mapping[str, frozenset[str]] = {}
    #: The scopes of the resource servers that are open to self-registered clients.
    open_scopes: tuple[str, ...] = ()
    #: By normal form, the identifier of the resource server.
    identifiers: Mapping[str, str] = {}
    origins: frozenset[str] = frozenset()
    not_before: datetime = BEGINNING
    disabled: frozenset[str] = frozenset()
    #: By name, the types of authorization details.
    details_types: Mapping[str, DetailsType] = {}
    #: By client, the policies of token exchange; those of delegation come first.
    exchange_policies: Mapping[str, tuple[ExchangePolicy, ...]] = {}
    #: By issuer, the rules of workload identity.
    workloads: Mapping[str, tuple[WorkloadIdentity, ...]] = {}
    #: By ``iss``, the enabled issuers that people are known by.
    issuers: Mapping[str, TrustedIssuer] = {}
    #: By client, the policies of identity assertions.
    id_jag: Mapping[str, tuple[IdJagPolicy, ...]] = {}
    #: By client, or None for those for every client, what puts claims into its tokens.
    claims: Mapping[str | None, tuple[ClaimMapping, ...]] = {}
    #: By client, the access policies.
    access_policies: Mapping[str, AccessPolicy] = {}
    #: By client, or None for the one of all other clients, the token hooks, also those that are disabled.
    token_hooks: Mapping[str | None, LoadedHook] = {}
    #: The applications that are listed for users.
    listed: tuple[Client, ...] = ()


def _definers(servers: Iterable[ResourceServer]) -> Mapping[str, frozenset[str]]:
    """By scope, the resource servers that define it. Standard scopes are not included."""
    found: dict[str, set[str]] = {}
    for server in servers:
        for name in server.scopes - STANDARD_SCOPES.keys():
            found.setdefault(name, set()).add(server.identifier)
    return {name: frozenset(identifiers) for name, identifiers in found.items()}


def _grouped(records: Iterable[_T], key: Callable[[_T], _K]) -> Mapping[_K, tuple[_T, ...]]:
    found: dict[_K, tuple[_T, ...]] = {}
    for record in records:
        found[key(record)] = (*found.get(key(record), ()), record)
    return found


def _open_scopes(server: ResourceServer) -> list[str]:
    return server.scope.split() if server.self_registered_clients else []


def _is_allowed(client: Client) -> bool:
    return client.origin != "document" or is_accepted(client.client_id)


def _is_listed(client: Client) -> bool:
    """Return whether a client is one that every user who may use it is shown: a web application that an administrator
    registered, with an address to start at.
    """
    starts = client.initiate_login_uri is not None or client.client_uri is not None
    signs_in = "authorization_code" in client.grant_types
    return client.origin == "admin" and client.application_type == "web" and signs_in and starts


def within_ceiling(client: Client, open_scopes: Iterable[str]) -> Client:
    """Return a client by document with the scopes that it may request; any other client unchanged.

    A document that names no scope asks for all that such a client may have.
    """
    if client.origin != "document":
        return client
    ceiling = dict.fromkeys((*settings().client_id_metadata_scopes, *open_scopes))
    scope = " ".join(name for name in ceiling if not client.scope or name in client.scopes)
    return msgspec.structs.replace(client, scope=scope)


class Registry:
    """The enabled clients and the resource servers.

    Attributes:
        generation: how often it was loaded. What is made from it may be kept under this number.
    """

    def __init__(self) -> None:
        self.generation = 0
        self._records = _Records()
        self._loaded = LoadedClients()
        self._loading = asyncio.Lock()
        self._builtin: dict[str, ResourceServer] = {}

    def build_in(self, server: ResourceServer) -> None:
        """Add a resource server that is part of this server."""
        self._builtin[server.identifier] = server

    def builtin(self, identifier: str) -> ResourceServer | None:
        """Return the resource server with this identifier, if it is part of this server."""
        return self._builtin.get(identifier)

    @property
    def builtin_scopes(self) -> frozenset[str]:
        """The scopes of resource servers that are part of this server."""
        return frozenset(name for server in self._builtin.values() for name in server.scopes)

    async def load(self) -> None:
        """Read everything that has changed from the database. On failure the registry is unchanged."""
        async with self._loading:
            loaded, servers = await self._loaded.newer(), await repository.resource_servers()
            open_scopes = tuple(dict.fromkeys(name for server in servers for name in _open_scopes(server)))
            # The settings may have changed since the document of a client was accepted.
            known = loaded.clients.keys() - loaded.unknown
            allowed = [client for id_, client in loaded.clients.items() if id_ in known and _is_allowed(client)]
            refused = loaded.clients.keys() - {client.client_id for client in allowed}
            # Replaced as a whole, so that no request sees a partial change.
            self._records = _Records(
                {client.client_id: within_ceiling(client, open_scopes) for client in allowed},
                {server.identifier: server for server in servers},
                _definers(servers),
                open_scopes,
                {normal_url(server.identifier): server.identifier for server in servers},
                frozenset().union(*(loaded.origins[client.client_id] for client in allowed)),
                await repository.not_before_of_all() or BEGINNING,
                await repository.disabled_client_ids() | refused,
                {kind.type: kind for kind in await details.types()},
                _grouped(
                    sorted(await exchange.policies(), key=lambda policy: policy.mode), lambda policy: policy.client_id
                ),
                _grouped(await workloads.identities(), lambda rule: rule.issuer),
                {issuer.issuer: issuer for issuer in await issuers.issuers() if issuer.enabled},
                _grouped(await id_jag.policies(), lambda policy: policy.client_id),
                # More claims may be protected than when a mapping was added.
                _grouped(
                    (mapping for mapping in await claims.mappings() if not mapping.is_protected),
                    lambda mapping: mapping.client_id,
                ),
                {policy.client_id: policy for policy in await access_policies.policies()},
                {hook.client_id: hook for hook in await token_hooks.hooks()},
                tuple(filter(_is_listed, allowed)),
            )
            self.generation += 1
            gone = self._loaded.clients.keys() - loaded.clients.keys()
            self._loaded = loaded
            if gone:
                # Their roles are gone with them, and what follows from those.
                await effective.empty()

    def is_disabled(self, client_id: str) -> bool:
        """Return whether there is such a client, and it is disabled."""
        return client_id in self._records.disabled

    def client(self, client_id: str) -> Client | None:
        """Return the client with this id; None if it is unknown, disabled or expired."""
        client = self._records.clients.get(client_id)
        # One by document may have a later expiry in the database than here.
        if client is not None and client.unused and (client.expires_at or BEGINNING) <= clock.now():
            return None
        return client

    def trusts(self, assertion: HasIssuer) -> bool:
        """Return whether an assertion says that it is of a trusted issuer, and not of the client itself."""
        return assertion.issuer in self._records.workloads and assertion.issuer != assertion.subject

    def exchange_policies(self, client: Client) -> tuple[ExchangePolicy, ...]:
        """Return what a client may exchange: delegation first, then in the order in which they were added."""
        return self._records.exchange_policies.get(client.client_id, ())

    def access_policy(self, client: Client) -> AccessPolicy | None:
        """Return which users may use a client; None: all."""
        return self._records.access_policies.get(client.client_id)

    def token_hook(self, client: Client) -> LoadedHook | None:
        """Return the hook that is asked before a client gets tokens of a user. One of its own that is disabled stands
        in the way of that of all clients.
        """
        if not self._records.token_hooks:
            return None
        hook = self._records.token_hooks.get(client.client_id) or self._records.token_hooks.get(None)
        return hook if hook is not None and hook.disabled_at is None else None

    @property
    def token_hook_ids(self) -> set[UUID]:
        """The ids of all token hooks."""
        return {hook.id for hook in self._records.token_hooks.values()}

    @property
    def listed(self) -> tuple[Client, ...]:
        """The web applications of administrators that have an address to start at."""
        return self._records.listed

    def workload_identities(self, issuer: str) -> tuple[WorkloadIdentity, ...]:
        """Return the rules of workload identity for an issuer."""
        return self._records.workloads.get(issuer, ())

    @property
    def has_workload_identities(self) -> bool:
        """Whether there is any rule of workload identity."""
        return bool(self._records.workloads)

    def trusted_issuer(self, issuer: str) -> TrustedIssuer | None:
        """Return the issuer with this ``iss``; None if it is unknown or disabled."""
        return self._records.issuers.get(issuer)

    def id_jag_policies(self, client_id: str) -> tuple[IdJagPolicy, ...]:
        """Return the policies by which a client gets identity assertions, the newest last."""
        return self._records.id_jag.get(client_id, ())

    @property
    def has_id_jag_policies(self) -> bool:
        """Whether any client gets identity assertions."""
        return bool(self._records.id_jag)

    def claim_mappings(self, client_id: str | None) -> tuple[ClaimMapping, ...]:
        """Return the mappings of a client, or those for every client (None), the newest last."""
        return self._records.claims.get(client_id, ())

    def has_trusted_issuer(self, *purposes: Purpose) -> bool:
        """Return whether tokens of an issuer are accepted for one of these purposes, from some client."""
        return any(
            issuer.clients and not set(purposes).isdisjoint(issuer.purposes)
            for issuer in self._records.issuers.values()
        )

    @property
    def open_scopes(self) -> tuple[str, ...]:
        """The scopes of the resource servers that are open to self-registered clients."""
        return self._records.open_scopes

    def within_ceiling(self, client: Client) -> Client:
        """Return a client by document with the scopes that it may request; any other client unchanged."""
        return within_ceiling(client, self._records.open_scopes)

    def resource_server(self, identifier: str) -> ResourceServer | None:
        """Return the resource server with this identifier; None if there is none."""
        return self._records.resource_servers.get(identifier) or self._builtin.get(identifier)

    def may_access(self, client: Client, identifier: str) -> bool:
        """Return whether there is this resource server, and a client may get tokens for it."""
        server = self.resource_server(identifier)
        return server is not None and (server.self_registered_clients or client.origin == "admin")

    def details_type(self, name: str) -> DetailsType | None:
        """Return the type of authorization details with this name; None if there is none."""
        return self._records.details_types.get(name)

    @property
    def details_types(self) -> tuple[str, ...]:
        """The names of the types of authorization details."""
        return tuple(self._records.details_types)

    def not_before(self, client: Client) -> datetime:
        """Return the time before which tokens of a client are refused: the later one of its own and that of all
        clients.
        """
        return max(self._records.not_before, client.not_before or BEGINNING)

    def identifier(self, resource: str) -> str:
        """Return the identifier of the resource server that a ``resource`` names, as it is registered.

        An unknown one is returned as it is.
        """
        if self.resource_server(resource) is not None:
            return resource
        return self._records.identifiers.get(normal_url(resource), resource)

    def audience(self, client: Client, scope: Iterable[str]) -> tuple[str, ...]:
        """Return the audience of a token whose request names no ``resource`` (RFC 9068 section 3).

        It is the only resource server that defines all of the scopes; scopes that no resource server defines are
        ignored. Empty if none does, several do, or the client may get no tokens for it.
        """
        defined = [self._records.definers[name] for name in scope if name in self._records.definers]
        common = frozenset.intersection(*defined) if defined else frozenset[str]()
        return tuple(common) if len(common) == 1 and self.may_access(client, *common) else ()

    @property
    def resource_servers(self) -> Mapping[str, ResourceServer]:
        """All resource servers by identifier; a new mapping after every change."""
        return self._records.resource_servers

    @property
    def origins(self) -> frozenset[str]:
        """The web origins of all clients, for CORS."""
        return self._records.origins


registry = Registry()
