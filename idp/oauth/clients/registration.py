"""Registering clients and resource servers.

Each change is one transaction with its cache invalidation and its audit event. The invalidation comes first: its lock
serialises the changes.
"""

import ipaddress
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

import msgspec

from idp import clock, ids
from idp.accounts.repository.users import user_by_id
from idp.audit.events import record
from idp.errors import NotFoundError, OAuthError
from idp.infra.db.cache_invalidation import exclusive_change
from idp.keys import lifecycle
from idp.keys.algorithms import DEFAULT_ALGORITHM, SIGNING_ALGORITHMS
from idp.keys.key_set import key_set
from idp.oauth import subjects
from idp.oauth.clients import profiles, repository, sectors, shared_secrets
from idp.oauth.clients.metadata import (
    MAX_NAME_LENGTH,
    ClientMetadata,
    invalid_metadata,
    is_name,
    is_scope,
    read_metadata,
)
from idp.oauth.clients.models import Client, ResourceServer
from idp.oauth.clients.registry import registry
from idp.oauth.clients.uris import InvalidURIError, check_identifier
from idp.oauth.clients.validation import validate
from idp.oauth.sign_out import revoke_tokens_of_client
from idp.oauth.token_types import ACCESS_TOKEN_TYPES
from idp.settings import MAX_OVERLAP, settings

TOPIC = "clients"
MAX_NETWORKS = 100

#: Safe in URLs, in Basic credentials and in the names of cookies.
_CLIENT_ID = re.compile(r"[A-Za-z0-9._~-]{1,100}")
#: Only a hash without salt is stored, so that a secret must not be guessable.
SECRET: Final = re.compile(r"[!-~]{32,200}")
#: What a secret must be, for messages.
SECRET_RULE: Final = "32 to 200 visible ASCII characters, without spaces"


class UnknownClientError(NotFoundError):
    """There is no such client, or it has no secret. The message is shown to people."""


@asynccontextmanager
async def change() -> AsyncIterator[None]:
    """A transaction for changes of clients or resource servers, which are serialised."""
    async with exclusive_change(TOPIC):
        yield


#: Part of a change, in its transaction: given the client as it will be, raises an error to refuse.
Also = Callable[[Client], Awaitable[None]]


async def nothing(_client: Client) -> None:
    """Do nothing else."""


async def register_client(
    client_id: str | None = None,
    *,
    origin: str = "admin",
    expires_at: datetime | None = None,
    registration_token_hash: bytes | None = None,
    secret: str | None = None,
    also: Also = nothing,
    **metadata: Any,
) -> tuple[Client, str | None]:
    """Register a client and return it with its secret. Only a hash of the secret is stored.

    Args:
        client_id: a chosen id; by default a random one.
        secret: a chosen secret, if the client has one; by default a random one.
        origin, expires_at, registration_token_hash: see :class:`Client`.
        also: what else the transaction does.
        metadata: the fields of :class:`ClientMetadata`. Those that its profile requires need not be named.

    Raises:
        OAuthError: ``invalid_redirect_uri`` or ``invalid_client_metadata`` (RFC 7591 section 3.2.2).
    """
    asked = validate(profiles.completed(read_metadata(metadata), metadata.keys()))
    if client_id is not None:
        check_client_id(client_id)
        if await _is_subject(client_id):
            raise invalid_metadata("client_id is the subject of a user. Choose another one.")
    if asked.sector_identifier_uri is not None:
        sectors.check(asked, await sectors.fetch(asked.sector_identifier_uri))
    client_id = client_id or str(ids.uuid7())
    secret = _chosen(secret) if asked.has_secret else None
    client = Client(
        client_id=client_id,
        client_secret_hash=ids.digest(secret) if secret else None,
        client_secret_encrypted=shared_secrets.seal(client_id, secret) if secret and asked.signs_with_secret else None,
        origin=origin,
        expires_at=expires_at,
        registration_token_hash=registration_token_hash,
        client_secret_expires_at=_secret_expiry() if secret else None,
        **msgspec.structs.asdict(asked),
    )
    await ensure_signing_keys(asked)
    async with change():
        if not await repository.insert_client(client):
            raise invalid_metadata("A client with this client_id already exists.")
        await also(client)
        await record("client_registered", client_id=client.client_id, detail={"origin": origin})
    return client, secret


def check_client_id(client_id: str) -> None:
    """Check an id that an administrator chose.

    Raises:
        OAuthError: ``invalid_client_metadata``.
    """
    if not _CLIENT_ID.fullmatch(client_id):
        raise invalid_metadata("client_id must be up to 100 letters, digits and the characters . _ ~ - only.")


async def _is_subject(client_id: str) -> bool:
    """Return whether the ``sub`` of a client's own tokens would name a user (RFC 9068 section 5)."""
    # An import of many clients does not read all of them for each.
    clients = await repository.clients() if len(client_id) == subjects.PAIRWISE_LENGTH else []
    found = subjects.identify(client_id, {client.sector for client in clients if client.sector is not None})
    return found is not None and await user_by_id(found.user_id) is not None


def _chosen(secret: str | None) -> str:
    """Return a secret that an administrator chose, or a random one.

    Raises:
        OAuthError: ``invalid_client_metadata``.
    """
    if secret is None:
        return ids.random_token()
    check_secret(secret)
    return secret


def check_secret(secret: str) -> None:
    """Check a secret that an administrator chose.

    Raises:
        OAuthError: ``invalid_client_metadata``.
    """
    if not SECRET.fullmatch(secret):
        raise invalid_metadata(f"client_secret must be {SECRET_RULE}.")


def _secret_expiry() -> datetime | None:
    lifetime = settings().client_secret_lifetime
    return clock.now() + timedelta(seconds=lifetime) if lifetime else None


async def ensure_signing_keys(metadata: ClientMetadata) -> None:
    """Create our signing keys for the algorithms of a client, if there are none."""
    for alg in sorted(metadata.signing_algorithms):
        await lifecycle.ensure_signing_key(alg)


def check_signing_keys(metadata: ClientMetadata) -> None:
    """Check the metadata of a client that no administrator registers: strangers do not make us generate keys.

    Raises:
        OAuthError: ``invalid_client_metadata``, we have no key for an algorithm.
    """
    available = dict.fromkeys((DEFAULT_ALGORITHM, *key_set.algorithms()))
    for name in ClientMetadata.__struct_fields__:
        if name.endswith("_signed_response_alg") and getattr(metadata, name) not in (None, *available):
            raise invalid_metadata(f"{name} must be one of {', '.join(available)}.")


async def rotate_secret(client_id: str, overlap: int | None = None, secret: str | None = None) -> str:
    """Replace the secret of a client and return the new one.

    Args:
        overlap: seconds for which the secret before stays valid too; None: those of the setting.
        secret: a chosen secret; by default a random one.

    Raises:
        UnknownClientError: there is no client with a secret by this id.
        OAuthError: ``invalid_client_metadata``, the overlap is too long, or the secret cannot be used.
    """
    overlap = settings().client_secret_overlap if overlap is None else overlap
    if not 0 <= overlap <= MAX_OVERLAP:
        raise invalid_metadata(f"The overlap must be from 0 to {MAX_OVERLAP} seconds.")
    secret = _chosen(secret)
    new = ids.digest(secret), shared_secrets.seal(client_id, secret)
    async with change():
        if not await repository.replace_secret(client_id, *new, overlap, settings().client_secret_lifetime):
            raise UnknownClientError("There is no client with this id that has a secret.")
        await record("client_secret_rotated", client_id=client_id, detail={"overlap": overlap})
    return secret


async def end_previous_secret(client_id: str) -> bool:
    """End the secret that was replaced by the newest one. Returns False if there is none."""
    async with change():
        if not await repository.end_previous_secret(client_id):
            return False
        await record("client_secret_ended", client_id=client_id)
    return True


async def disable_client(client_id: str) -> bool:
    """Disable a client and revoke its tokens. Returns False if it was not enabled."""
    async with change():
        if not await repository.disable_client(client_id):
            return False
        await revoke_tokens_of_client(client_id, "client_disabled")
        await record("client_disabled", client_id=client_id)
    return True


async def enable_client(client_id: str) -> bool:
    """Enable a client. Tokens that disabling revoked stay revoked. Returns False if it was not disabled."""
    async with change():
        if not await repository.enable_client(client_id):
            return False
        await record("client_enabled", client_id=client_id)
    return True


def check_resource_server(server: ResourceServer) -> None:
    """Validate a resource server.

    Raises:
        OAuthError: ``invalid_target`` or ``invalid_client_metadata``.
    """
    try:
        check_identifier(server.identifier)
    except InvalidURIError as error:
        raise OAuthError("invalid_target", f"The identifier {error}.") from error
    # A resource server with the issuer as its identifier could introspect every token that names no other audience.
    own = server.identifier.rstrip("/").lower() == settings().issuer.rstrip("/").lower()
    if own or registry.builtin(server.identifier) is not None:
        raise OAuthError("invalid_target", "This identifier is our own.")
    known_alg = server.access_token_signed_response_alg in SIGNING_ALGORITHMS
    if not is_name(server.name) or not is_scope(server.scope) or not known_alg:
        raise invalid_metadata("The name, the scope or the algorithm is not valid.")
    if not server.scopes.issuperset(server.scope_descriptions):
        raise invalid_metadata("A description is of a scope that the resource server does not define.")
    if not all(map(is_name, server.scope_descriptions.values())):
        raise invalid_metadata(f"The description of a scope is one line of up to {MAX_NAME_LENGTH} characters.")
    if server.access_token_type not in ACCESS_TOKEN_TYPES:
        raise invalid_metadata(f"access_token_type must be one of {', '.join(ACCESS_TOKEN_TYPES)}.")
    try:
        networks = [ipaddress.ip_network(network) for network in server.networks]
    except ValueError as error:
        raise invalid_metadata("Write networks like 10.1.0.0/16.") from error
    if len(networks) > MAX_NETWORKS or len(server.user_agent or "") > MAX_NAME_LENGTH:
        raise invalid_metadata(f"There may be up to {MAX_NETWORKS} networks, and a short user agent.")


async def register_resource_server(
    identifier: str,
    name: str,
    *,
    scope: str = "",
    scope_descriptions: Mapping[str, str] = MappingProxyType({}),
    access_token_signed_response_alg: str = DEFAULT_ALGORITHM,
    access_token_type: str = ACCESS_TOKEN_TYPES[0],
    self_registered_clients: bool = False,
    client_id: str | None = None,
    witnessed: bool = True,
    networks: Sequence[str] = (),
    user_agent: str | None = None,
) -> ResourceServer:
    """Register a service that accepts our access tokens.

    Args:
        identifier: the ``resource`` of a request and the ``aud`` of a token: an absolute URI (RFC 8707 section 2).
        scope_descriptions: what its scopes allow, for the consent page.
        access_token_type: the ``typ`` of its tokens: ``JWT`` if its validator refuses ``at+jwt``.
        self_registered_clients: whether clients that no administrator registered get tokens for it.
        client_id: the client that introspects tokens for it.
        witnessed: whether a new signing key waits until it has fetched the key.
        networks, user_agent: the networks that it fetches the common JWKS URL from, and the prefix of its User-Agent.

    Raises:
        OAuthError: ``invalid_target`` or ``invalid_client_metadata``.
    """
    server = ResourceServer(
        identifier=identifier,
        name=name,
        scope=scope,
        scope_descriptions=dict(scope_descriptions),
        access_token_signed_response_alg=access_token_signed_response_alg,
        access_token_type=access_token_type,
        self_registered_clients=self_registered_clients,
        client_id=client_id,
        witnessed=witnessed,
        networks=tuple(networks),
        user_agent=user_agent or None,
    )
    check_resource_server(server)
    await lifecycle.ensure_signing_key(server.access_token_signed_response_alg)
    async with change():
        if not await repository.insert_resource_server(server):
            raise OAuthError("invalid_target", "A resource server with this identifier already exists.")
        await record("resource_server_registered", client_id=client_id, detail={"identifier": identifier})
    return server
