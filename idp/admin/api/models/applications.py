"""Request and response bodies of the operations on clients and resource servers."""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from idp.admin.api.models.base import Sent, Shown
from idp.admin.roles import Role
from idp.keys.algorithms import DEFAULT_ALGORITHM
from idp.oauth.clients.metadata import FIXED, ClientMetadata


class Client(ClientMetadata, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A client with the names of RFC 7591. ``origin`` is admin, dynamic (RFC 7591) or document (its id is a URL).

    ``client_secret_live`` and ``previous_secret_live``: whether its newest secret, and the one before, are accepted. In
    a path, an id that is a URL is written as ``~`` and its base64url without padding. ``kind`` follows from the grants,
    the application type and the authentication: web, spa, native, device or service.
    """

    client_id: str
    kind: str
    client_secret_live: bool
    client_secret_expires_at: datetime | None
    previous_secret_live: bool
    previous_secret_expires_at: datetime | None
    origin: str
    expires_at: datetime | None
    admin_role: str | None
    not_before: datetime | None
    created_at: datetime
    updated_at: datetime
    disabled_at: datetime | None
    document_fetched_at: datetime | None


class NewClient(ClientMetadata, frozen=True, kw_only=True):
    """Client metadata with the names of RFC 7591. Absent members get the default of the specification."""

    client_id: str | None = None


class _ClientChange(Sent):
    """Absent members keep their value.

    A client that changes to ``none`` loses its secret, and everything issued to it is revoked. One that changes from
    ``none`` gets a secret with ``rotate_secret``.
    """


ClientChange = msgspec.defstruct(
    "ClientChange",
    [
        (field.name, field.type | UnsetType, UNSET)
        for field in msgspec.structs.fields(ClientMetadata)
        if field.name not in FIXED
    ],
    bases=(_ClientChange,),
    module=__name__,
)
ClientChange.__doc__ = _ClientChange.__doc__


class NewSecret(Shown):
    """A client with its secret, which is shown only this once. Null for public clients."""

    client_id: str
    client_secret: str | None


class NewRegistrationToken(Shown):
    """A client with its registration access token (RFC 7592), which is shown only this once."""

    client_id: str
    registration_access_token: str


class ClientRole(Sent):
    """The role of the client at the admin API. Null: none."""

    role: Role | None


class NotBeforeChange(Sent):
    """Tokens issued before this time are rejected. Null: the current time."""

    not_before: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class ResourceServer(Shown):
    """``jwks_uri`` is the server's own JWKS URL; ``jwks_period`` is how long it caches the JWKS, in seconds."""

    identifier: str
    jwks_id: str
    jwks_uri: str
    name: str
    scope: str
    scope_descriptions: dict[str, str]
    access_token_signed_response_alg: str
    access_token_type: str
    self_registered_clients: bool
    client_id: str | None
    witnessed: bool
    networks: list[str]
    user_agent: str | None
    jwks_fetched_at: datetime | None
    jwks_period: float | None
    created_at: datetime
    updated_at: datetime


class NewResourceServer(Sent):
    identifier: str
    name: str
    scope: str = ""
    scope_descriptions: dict[str, str] = {}
    access_token_signed_response_alg: str = DEFAULT_ALGORITHM
    access_token_type: Literal["at+jwt", "JWT"] = "at+jwt"
    self_registered_clients: bool = False
    client_id: str | None = None
    witnessed: bool = True
    networks: list[str] = []
    user_agent: str | None = None


class PublishedResourceServer(Sent):
    """``url``: the identifier of a running server, or the URL of its metadata (RFC 9728). Other members replace what
    the metadata say.
    """

    url: str
    name: str | UnsetType = UNSET
    scope: str | UnsetType = UNSET
    self_registered_clients: bool = False


class ResourceServerChange(Sent):
    """Absent members keep their value."""

    name: str | UnsetType = UNSET
    scope: str | UnsetType = UNSET
    scope_descriptions: dict[str, str] | UnsetType = UNSET
    access_token_signed_response_alg: str | UnsetType = UNSET
    access_token_type: Literal["at+jwt", "JWT"] | UnsetType = UNSET
    self_registered_clients: bool | UnsetType = UNSET
    client_id: str | UnsetType | None = UNSET
    witnessed: bool | UnsetType = UNSET
    networks: list[str] | UnsetType = UNSET
    user_agent: str | UnsetType | None = UNSET
