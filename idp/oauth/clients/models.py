"""A registered client and a registered resource server."""

from datetime import datetime
from typing import NamedTuple

import msgspec

from idp import clock, ids
from idp.keys.algorithms import DEFAULT_ALGORITHM
from idp.oauth.clients.metadata import ClientMetadata

#: Fields of a client that nobody is shown.
SECRETS = (
    "client_secret_hash",
    "client_secret_encrypted",
    "previous_secret_hash",
    "previous_secret_encrypted",
    "registration_token_hash",
)


class Secret(NamedTuple):
    """A secret of a client: its SHA-256, itself encrypted if the client signs with it, and when it expires, if ever."""

    hash: bytes
    encrypted: bytes | None
    expires_at: datetime | None

    @property
    def live(self) -> bool:
        """Whether it has not expired."""
        return self.expires_at is None or clock.now() < self.expires_at


class Client(ClientMetadata, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A registered client.

    Attributes:
        client_secret_hash: the SHA-256 of its secret; None if it has no secret.
        client_secret_encrypted: its secret, for a client that signs with it; None for any other.
        client_secret_expires_at: when it expires; None: never.
        previous_secret_hash, previous_secret_encrypted, previous_secret_expires_at: the secret before the last change.
        origin: how it was registered: ``admin``, ``dynamic`` (RFC 7591) or ``document`` (Client ID Metadata Document).
        registration_token_hash: the SHA-256 of its registration access token (RFC 7592).
        expires_at: when it is deleted, unless it is used before.
        admin_role: its role at the admin API when it acts in its own name.
        not_before: tokens that were issued to it earlier are refused.
    """

    client_id: str
    client_secret_hash: bytes | None = None
    client_secret_encrypted: bytes | None = None
    client_secret_expires_at: datetime | None = None
    previous_secret_hash: bytes | None = None
    previous_secret_encrypted: bytes | None = None
    previous_secret_expires_at: datetime | None = None
    origin: str = "admin"
    registration_token_hash: bytes | None = None
    expires_at: datetime | None = None
    admin_role: str | None = None
    not_before: datetime | None = None

    @property
    def unused(self) -> bool:
        """Whether it registered itself, and is deleted unless it gets a code or a token in time."""
        return self.expires_at is not None and self.origin == "dynamic"

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Its secrets, expired or not: the newest, and the one before."""
        newest = (self.client_secret_hash, self.client_secret_encrypted, self.client_secret_expires_at)
        previous = (self.previous_secret_hash, self.previous_secret_encrypted, self.previous_secret_expires_at)
        return tuple(
            Secret(digest, encrypted, expires_at)
            for digest, encrypted, expires_at in (newest, previous)
            if digest is not None
        )


class StoredClient(Client, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A client with the times of its record. ``updated_at`` is its version."""

    created_at: datetime
    updated_at: datetime
    disabled_at: datetime | None


class ResourceServer(msgspec.Struct, frozen=True, kw_only=True):
    """A service that accepts our access tokens.

    Attributes:
        identifier: the ``resource`` of a request and the ``aud`` of a token (RFC 8707).
        scope_descriptions: what its scopes allow, for the consent page. Not every scope has one.
        access_token_type: the ``typ`` of its access tokens: ``at+jwt`` (RFC 9068), or ``JWT`` for a validator that
            refuses it.
        self_registered_clients: whether clients that no administrator registered get tokens for it.
        client_id: the client that introspects tokens for it, if there is one.
        jwks_id: the last path segment of its own JWKS URL.
        witnessed: whether a new key waits until it has fetched the key.
        networks: the networks that it fetches the common JWKS URL from; empty: it is not recognised there.
        user_agent: the prefix of its User-Agent there.
    """

    identifier: str
    name: str
    scope: str = ""
    scope_descriptions: dict[str, str] = {}
    access_token_signed_response_alg: str = DEFAULT_ALGORITHM
    access_token_type: str = "at+jwt"
    self_registered_clients: bool = False
    client_id: str | None = None
    jwks_id: str = msgspec.field(default_factory=ids.uuid7_text)
    witnessed: bool = True
    networks: tuple[str, ...] = ()
    user_agent: str | None = None

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes that it defines."""
        return frozenset(self.scope.split())


class StoredResourceServer(ResourceServer, frozen=True, kw_only=True):
    """A resource server with the times of its record. ``updated_at`` is its version."""

    created_at: datetime
    updated_at: datetime
