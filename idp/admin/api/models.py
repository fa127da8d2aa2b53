"""Request and response bodies of the admin API. Only these fields enter or leave: no response has a stored secret."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import asyncpg
import msgspec
from msgspec import UNSET, UnsetType

from idp.accounts.attributes import models as attributes
from idp.accounts.attributes.declaration import FIXED as FIXED_OF_ATTRIBUTE
from idp.admin.roles import Role
from idp.federation.models import Rule
from idp.keys.algorithms import DEFAULT_ALGORITHM
from idp.keys.lifecycle import KeyInfo
from idp.keys.propagation import Witness
from idp.oauth.claims.evaluation import Why
from idp.oauth.claims.models import Place, Shape
from idp.oauth.claims.sources import Source
from idp.oauth.clients.dynamic.ceiling import USER_GRANTS
from idp.oauth.clients.dynamic.initial_tokens import DEFAULT_LIFETIME
from idp.oauth.clients.metadata import FIXED, ClientMetadata
from idp.oauth.consent_grant import ConsentedScope
from idp.oauth.exchange.models import Mode, SubjectTokenType
from idp.oauth.issuers.models import Purpose, SubjectSource
from idp.oauth.scopes import SELF_SERVICE_SCOPES
from idp.scim.tokens import DEFAULT_LIFETIME as SCIM_LIFETIME
from idp.scim.tokens import DEFAULT_OVERLAP


class Shown(msgspec.Struct):
    """Base of response bodies."""


class Sent(msgspec.Struct, forbid_unknown_fields=True):
    """Base of request bodies. Unknown members are rejected (mass assignment)."""


def reader(kind: type[Shown], *json: str) -> Any:
    """Return a function that converts a row to a struct. The named columns hold JSON."""

    def read(row: asyncpg.Record) -> Shown:
        values = dict(row)
        for name in json:
            values[name] = msgspec.json.decode(values[name])
        return msgspec.convert(values, kind)

    return read


class User(Shown):
    id: UUID
    email: str
    email_verified: bool
    name: str | None
    given_name: str | None
    family_name: str | None
    two_step: bool
    origin: str
    roles: list[str]
    created_at: datetime
    updated_at: datetime
    disabled_at: datetime | None


class NewUser(Sent):
    """``send_mail``: send a mail with a link to choose a password. ``attributes``: values of declared attributes."""

    email: str
    name: str | None = None
    given_name: str | None = None
    family_name: str | None = None
    attributes: dict[str, Any] = {}
    send_mail: bool = True


class ProfileChange(Sent):
    """Standard claims (OpenID Connect Core section 5.1). Null removes a claim; absent members keep their value."""

    name: str | UnsetType | None = UNSET
    given_name: str | UnsetType | None = UNSET
    family_name: str | UnsetType | None = UNSET
    middle_name: str | UnsetType | None = UNSET
    nickname: str | UnsetType | None = UNSET
    preferred_username: str | UnsetType | None = UNSET
    profile: str | UnsetType | None = UNSET
    picture: str | UnsetType | None = UNSET
    website: str | UnsetType | None = UNSET
    gender: str | UnsetType | None = UNSET
    birthdate: str | UnsetType | None = UNSET
    zoneinfo: str | UnsetType | None = UNSET
    locale: str | UnsetType | None = UNSET
    phone_number: str | UnsetType | None = UNSET


class Attribute(attributes.StoredAttribute, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A declared attribute of users (docs/attributes.md)."""


class NewAttribute(attributes.Attribute, frozen=True, kw_only=True):
    """``label`` has the text in each language, and one for ``default``. Empty lists: nobody but owners."""


class _AttributeChange(Sent):
    """Absent members keep their value. Stored values stay, even if they would be refused now."""


AttributeChange = msgspec.defstruct(
    "AttributeChange",
    [
        (field.name, field.type | UnsetType, UNSET)
        for field in msgspec.structs.fields(attributes.Attribute)
        if field.name not in FIXED_OF_ATTRIBUTE
    ],
    bases=(_AttributeChange,),
    module=__name__,
)
AttributeChange.__doc__ = _AttributeChange.__doc__


class AttributeUsage(Shown):
    """``values``: the number of values of all users, which go with the attribute."""

    values: int


class AttributeValues(Shown):
    """The values of a user by attribute. A multi-valued one is a list. Those without value are left out."""

    values: dict[str, Any]


class AttributeValuesChange(Sent):
    """Null removes the values of an attribute; absent attributes keep theirs."""

    values: dict[str, Any]


class NewInvitation(Sent):
    email: str
    name: str | None = None


class Session(Shown):
    sid: UUID
    user_id: UUID
    email: str
    auth_time: datetime
    amr: list[str]
    acr: str
    user_agent: str
    ip_address: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    ended_reason: str | None


class Client(ClientMetadata, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """A client with the names of RFC 7591. ``origin`` is admin, dynamic (RFC 7591) or document (its id is a URL).

    ``client_secret_live`` and ``previous_secret_live``: whether its newest secret, and the one before, are accepted. In
    a path, an id that is a URL is written as ``~`` and its base64url without padding.
    """

    client_id: str
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


class InitialAccessToken(Shown):
    """A token that registers clients, without its value. ``redirect_hosts`` is empty if any host is allowed."""

    id: UUID
    name: str
    uses_left: int
    scopes: list[str]
    grant_types: list[str]
    redirect_hosts: list[str]
    require_pkce: bool
    created_at: datetime
    expires_at: datetime


class NewInitialAccessToken(Sent):
    """``uses`` is the number of registrations, and ``lifetime`` in seconds. The other members are the ceiling of its
    clients.
    """

    name: str
    uses: int = 1
    lifetime: int = DEFAULT_LIFETIME
    scopes: tuple[str, ...] = SELF_SERVICE_SCOPES
    grant_types: tuple[str, ...] = USER_GRANTS
    redirect_hosts: tuple[str, ...] = ()
    require_pkce: bool = True


class NewToken(Shown):
    """An initial access token, which is shown only this once."""

    id: UUID
    initial_access_token: str


class ScimToken(Shown):
    """A token for SCIM, without its value. The value before a rotation is valid until ``old_expires_at``."""

    id: UUID
    name: str
    writes: bool
    expires_at: datetime
    old_expires_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime
    updated_at: datetime


class NewScimToken(Sent):
    """``writes``: it may change users and groups. ``lifetime`` is in seconds."""

    name: str
    writes: bool = True
    lifetime: int = SCIM_LIFETIME


class ScimTokenRotation(Sent):
    """``lifetime`` of the new value and ``overlap``, for which the value before stays valid, are in seconds."""

    lifetime: int = SCIM_LIFETIME
    overlap: int = DEFAULT_OVERLAP


class ScimTokenValue(Shown):
    """The token is shown once."""

    id: UUID
    token: str


class WorkloadIdentity(Shown):
    """Tokens of a trusted issuer that authenticate a client. ``*`` in ``subject`` stands for one part of it.

    Without ``jwks`` and ``jwks_uri``, the discovery document of the issuer names its keys.
    """

    id: UUID
    client_id: str
    issuer: str
    subject: str
    audience: str
    jwks: dict[str, Any] | None
    jwks_uri: str | None
    single_use: bool
    created_at: datetime


class NewWorkloadIdentity(Sent):
    """The default ``audience`` is the issuer of this server. With ``single_use``, each token is accepted once."""

    client_id: str
    issuer: str
    subject: str
    audience: str | None = None
    jwks: dict[str, Any] | None = None
    jwks_uri: str | None = None
    single_use: bool = True


class ClaimMapping(Shown):
    """A claim that a client gets in its tokens and responses, or every client with the scope. A mapping is not changed,
    but replaced.
    """

    id: UUID
    client_id: str | None
    scope: str | None
    claim: str
    source: Source
    places: tuple[Place, ...]
    shape: Shape
    created_at: datetime


class NewClaimMapping(Sent):
    """Without ``client_id`` it is for every client with the ``scope``. With a ``scope``, the claim needs it."""

    claim: str
    source: Source
    places: tuple[Place, ...]
    shape: Shape = Shape.VALUE
    client_id: str | None = None
    scope: str | None = None


class ExplainedClaim(Shown):
    """A claim in one place, and why it is there or not. The value is null if it is not there, or ``hidden`` from you.

    ``source`` is what it is made of; null for claims of the profile. ``mapping_id`` is null for claims of a scope.
    """

    place: Place
    claim: str
    why: Why
    value: Any
    scope: str | None
    source: str | None
    mapping_id: UUID | None
    hidden: bool


class ClaimPreview(Shown):
    """What a client would get about a user. ``content`` are the claims about the user in each place."""

    scope: str
    resource: list[str]
    notes: list[str]
    content: dict[str, dict[str, Any]]
    explained: list[ExplainedClaim]


class ExchangePolicy(Shown):
    """A rule for the exchange of tokens by a client (RFC 8693). A policy is not changed, but replaced.

    ``scope`` are the scopes that a token keeps, ``added_scope`` those that it gets. Without ``user_ids``, the tokens of
    all users may be exchanged.
    """

    id: UUID
    client_id: str
    mode: Mode
    resources: tuple[str, ...]
    scope: str
    added_scope: str
    subject_token_types: tuple[SubjectTokenType, ...]
    subject_clients: tuple[str, ...]
    user_ids: tuple[UUID, ...]
    max_lifetime: int | None
    bearer_for_bound: bool
    created_at: datetime


class NewExchangePolicy(Sent):
    """``subject_clients`` are clients whose tokens may be exchanged even if they are not meant for this client.

    Only an owner may allow impersonation.
    """

    client_id: str
    resources: tuple[str, ...]
    mode: Mode = "delegation"
    scope: str = ""
    added_scope: str = ""
    subject_token_types: tuple[SubjectTokenType, ...] = ("access_token",)
    subject_clients: tuple[str, ...] = ()
    user_ids: tuple[UUID, ...] = ()
    max_lifetime: int | None = None
    bearer_for_bound: bool = False


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
    access_token_signed_response_alg: str | UnsetType = UNSET
    access_token_type: Literal["at+jwt", "JWT"] | UnsetType = UNSET
    self_registered_clients: bool | UnsetType = UNSET
    client_id: str | UnsetType | None = UNSET
    witnessed: bool | UnsetType = UNSET
    networks: list[str] | UnsetType = UNSET
    user_agent: str | UnsetType | None = UNSET


class DetailsType(Shown):
    """A type of authorization details (RFC 9396). ``schema`` is the JSON Schema of its objects."""

    id: str
    type: str
    resource: str
    title: str
    summary: str
    schema: dict[str, Any]
    ask_always: bool
    created_at: datetime
    updated_at: datetime


class NewDetailsType(Sent):
    """The consent page shows ``title`` and ``summary``. In a summary, ``{amount.value}`` is replaced by that value of
    the object.
    """

    type: str
    resource: str
    title: str
    schema: dict[str, Any]
    summary: str = ""
    ask_always: bool = False


class DetailsTypeChange(Sent):
    """Absent members keep their value."""

    resource: str | UnsetType = UNSET
    title: str | UnsetType = UNSET
    summary: str | UnsetType = UNSET
    schema: dict[str, Any] | UnsetType = UNSET
    ask_always: bool | UnsetType = UNSET


class IdJagPolicy(Shown):
    """For whom a client gets identity assertions (docs/enterprise-authorization.md)."""

    id: UUID
    client_id: str
    audience: str
    audience_client_id: str
    relying_party: str | None
    resources: list[str]
    scope: str
    email: bool
    email_domains: list[str]
    user_ids: list[UUID]
    acr: str | None
    created_at: datetime


class NewIdJagPolicy(Sent):
    """``audience`` is the issuer of the other authorization server. Empty lists of domains and users: all users."""

    client_id: str
    audience: str
    audience_client_id: str
    relying_party: str | None = None
    resources: tuple[str, ...] = ()
    scope: str = ""
    email: bool = False
    email_domains: tuple[str, ...] = ()
    user_ids: tuple[UUID, ...] = ()
    acr: str | None = None


class TrustedIssuer(Shown):
    """Another server whose tokens say who a user is (docs/trusted-issuers.md)."""

    id: str
    issuer: str
    jwks: dict[str, Any] | None
    jwks_uri: str | None
    algorithms: list[str]
    purposes: list[Purpose]
    clients: list[str]
    subject: SubjectSource
    email_domains: list[str]
    create_users: bool
    scope: str
    audiences: list[str]
    max_lifetime: int
    enabled: bool
    created_at: datetime
    updated_at: datetime


class TrustedIssuerChange(Sent):
    """Absent members keep their value. ``max_lifetime`` is in seconds."""

    jwks: dict[str, Any] | UnsetType | None = UNSET
    jwks_uri: str | UnsetType | None = UNSET
    algorithms: tuple[str, ...] | UnsetType = UNSET
    purposes: tuple[Purpose, ...] | UnsetType = UNSET
    clients: tuple[str, ...] | UnsetType = UNSET
    subject: SubjectSource | UnsetType = UNSET
    email_domains: tuple[str, ...] | UnsetType = UNSET
    create_users: bool | UnsetType = UNSET
    scope: str | UnsetType = UNSET
    audiences: tuple[str, ...] | UnsetType = UNSET
    max_lifetime: int | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class NewTrustedIssuer(TrustedIssuerChange, kw_only=True):
    """Without ``jwks`` and ``jwks_uri``, the discovery document of the issuer names its keys."""

    issuer: str
    purposes: tuple[Purpose, ...]


class Key(Shown):
    """A signing key with the resource servers that have fetched it."""

    key: KeyInfo
    witnesses: list[Witness]


class Rotation(Sent):
    """``deadline``: seconds that the new key waits for resource servers that do not fetch it; null: no limit. ``now``:
    activate it immediately.
    """

    alg: str = DEFAULT_ALGORITHM
    size: Literal[2048, 3072, 4096] = 2048
    deadline: int | None = 86400
    now: bool = False


class Upstream(Shown):
    id: str
    config: dict[str, Any]
    position: int
    has_client_secret: bool
    created_at: datetime
    updated_at: datetime
    disabled_at: datetime | None


class NewUpstream(Sent):
    """A provider; ``kind`` is oidc, google, github, microsoft or apple. ``client_secret`` is never shown again."""

    client_id: str
    kind: str = "oidc"
    id: str | None = None
    name: str | None = None
    issuer: str | None = None
    client_secret: str | None = None
    scope: str | None = None
    trust_email: bool = False
    creates_accounts: bool | None = None
    required_claims: dict[str, list[str]] = {}
    organizations: list[str] = []
    claims: dict[str, str] = {}
    mfa_acr: str | None = None
    keep_tokens: bool = False
    logout: bool = False
    options: dict[str, str] = {}
    rules: list[Rule] = []


class UpstreamChange(Sent):
    """Absent members keep their value."""

    name: str | UnsetType = UNSET
    client_id: str | UnsetType = UNSET
    client_secret: str | UnsetType = UNSET
    scope: str | UnsetType = UNSET
    trust_email: bool | UnsetType = UNSET
    creates_accounts: bool | UnsetType | None = UNSET
    required_claims: dict[str, list[str]] | UnsetType = UNSET
    organizations: list[str] | UnsetType = UNSET
    claims: dict[str, str] | UnsetType = UNSET
    mfa_acr: str | UnsetType | None = UNSET
    keep_tokens: bool | UnsetType = UNSET
    logout: bool | UnsetType = UNSET
    options: dict[str, str] | UnsetType = UNSET
    rules: list[Rule] | UnsetType = UNSET


class Order(Sent):
    """The ids of upstreams in display order."""

    ids: list[str]


class Consent(Shown):
    """Each of ``grants`` is a scope at a resource; null is this server. ``claims`` were requested by name."""

    id: UUID
    user_id: UUID
    email: str
    client_id: str
    client_name: str
    grants: list[ConsentedScope]
    claims: list[str]
    authorization_details: list[dict[str, Any]]
    granted_at: datetime


class Mail(Shown):
    id: UUID
    recipient: str
    template: str
    state: str
    attempts: int
    response: str
    created_at: datetime
    next_attempt_at: datetime | None
    expires_at: datetime
    finished_at: datetime | None


class Delivery(Shown):
    """``stream`` is its receiver, such as ``client:CLIENT_ID``."""

    id: UUID
    kind: str
    stream: str
    user_id: UUID | None
    session_id: UUID | None
    state: str
    attempts: int
    response: str
    created_at: datetime
    next_attempt_at: datetime | None
    expires_at: datetime
    finished_at: datetime | None


class Webhook(Shown):
    """``kinds``: the events that it gets; ``*``: all. ``whole``: it gets whole rows of the audit trail."""

    id: UUID
    url: str
    description: str
    kinds: list[str]
    whole: bool
    old_secret_until: datetime | None
    disabled_at: datetime | None
    created_at: datetime
    updated_at: datetime


class NewWebhook(Sent):
    url: str
    kinds: list[str]
    description: str = ""
    whole: bool = False


class WebhookChange(Sent):
    """Absent members keep their value."""

    url: str | UnsetType = UNSET
    kinds: list[str] | UnsetType = UNSET
    description: str | UnsetType = UNSET
    whole: bool | UnsetType = UNSET


class WebhookSecret(Shown):
    """The secret is shown once."""

    id: UUID
    secret: str


class SharedSignalsStream(Shown):
    """``endpoint_url``: null if the receiver polls. ``subjects``: the users that it added; null: it gets the events of
    all users. ``subjects``, ``waiting`` and ``dead`` are at most 1000. ``failures``: attempts that failed in a row.
    """

    id: UUID
    client_id: str
    description: str
    endpoint_url: str | None
    events_requested: list[str]
    format: str
    status: str
    status_reason: str
    subjects: int | None
    waiting: int
    dead: int
    delivered_at: datetime | None
    failures: int
    paused_until: datetime | None
    created_at: datetime
    updated_at: datetime


class StatusReason(Sent):
    """``reason``: for the receiver."""

    reason: str = ""


class QueuedDelivery(Shown):
    delivery_id: UUID


class AuditEvent(Shown):
    """``seq`` is the position in the trail; null until the next checkpoint."""

    id: UUID
    at: datetime
    event: str
    outcome: str
    actor: str
    user_id: UUID | None
    client_id: str | None
    session_id: UUID | None
    ip_address: str
    request_id: str
    detail: dict[str, Any]
    seq: int | None


class Setting(Shown):
    """A setting in effect. Values of secrets are masked."""

    name: str
    value: str
    default: str
    secret: bool
    help: str


class Admin(Shown):
    id: UUID
    user_id: UUID
    email: str
    name: str | None
    role: Role
    granted_by: str
    granted_at: datetime


class NewAdmin(Sent):
    user_id: UUID
    role: Role


class WhoAmI(Shown):
    actor: str
    roles: list[Role]
    permissions: list[str]


class Subject(Sent):
    """The ``sub`` in a client's data. ``sector``: the host of a sector that no client has any more."""

    subject: str
    sector: str | None = None


class Containment(Sent):
    """``disable``: also disable it until an admin enables it."""

    disable: bool = True
