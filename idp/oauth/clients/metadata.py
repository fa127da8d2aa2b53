"""The metadata that a client registers; :mod:`idp.oauth.clients.validation` has the rules for it.

A member is declared here only. The database holds all of them in one column
(docs/decisions/0051-client-metadata-is-one-document.md).

RFC 7591 section 2, OpenID Connect Dynamic Client Registration section 2, RFC 8252.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import msgspec

from idp.errors import OAuthError
from idp.infra.visible_text import INVISIBLE
from idp.keys.algorithms import DEFAULT_ALGORITHM
from idp.oauth.clients.auth_methods import SECRET_BEARING_METHODS, SECRET_METHODS, SECRET_SIGNING_METHODS
from idp.oauth.clients.uris import origin_of

MAX_NAME_LENGTH = 200
#: U+FE0F, as in many emoji.
EMOJI_SELECTOR = "\N{VARIATION SELECTOR-16}"
#: Members that cannot be changed: they decide which redirect URIs are allowed.
FIXED = ("application_type",)
#: RFC 6749 section 3.3.
_SCOPE = re.compile(r"(?:[!#-\[\]-~]+(?: [!#-\[\]-~]+)*)?")
#: The member in an error of msgspec.
_WRONG_TYPE = re.compile(r"\$\.([a-z_]+)")


#: What only the operator decides. A client that registers itself may not name these members.
OPERATOR_MEMBERS = frozenset(
    {"profile", "strict_auth_method", "upstreams", "authorization_challenge", "require_pkce", "skip_consent"}
    | {"single_session", "refresh_token_cookie", "scope_claims_in_id_token", "hidden_from_users"}
    | {"access_token_lifetime", "refresh_token_lifetime", "refresh_token_family_lifetime"}
)


class ClientMetadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The metadata of a client, by the names and with the defaults of the specifications.

    RFC 7591 and OpenID Connect Dynamic Client Registration; RFC 8705 for ``tls_*``, RFC 9101 for signed requests, RFC
    9126 for pushed ones, RFC 9396 for authorization details, RFC 9449 for DPoP, RFC 9701 for ``introspection_*``, JARM
    for ``authorization_*``, OpenID Connect Back-Channel and Front-Channel Logout for ``*channel_logout_*``, CIBA Core
    section 4 for the other ``backchannel_*``. Those that only this server knows:

    Attributes:
        profile: a set of requirements that it must meet, by its name; None: none.
        strict_auth_method: its secret is accepted by ``token_endpoint_auth_method`` only.
        default_acr_values: the lowest ``acr`` that its users must reach; a request may raise it.
        upstreams: the upstreams that its users may sign in with; None: all.
        authorization_challenge: a first-party app with its own sign-in screens (OAuth 2.0 for First-Party
            Applications).
        require_pkce: may be False for a confidential client only.
        skip_consent: a first-party client, for which users are not asked for consent.
        access_token_lifetime: the longest lifetime of its access tokens in seconds; None: that of the setting.
        refresh_token_lifetime: the same of a refresh token that is not used.
        refresh_token_family_lifetime: the same from a sign-in to the end of all its refresh tokens.
        single_session: a new sign-in of a user revokes the tokens of this client from earlier sign-ins.
        refresh_token_cookie: the refresh token is sent in an HttpOnly cookie.
        scope_claims_in_id_token: the ID token contains the claims of the scopes, for clients that never call
            userinfo.
        hidden_from_users: it is not listed among the applications that users may start.
    """

    client_name: str
    application_type: str = "web"
    token_endpoint_auth_method: str = "client_secret_basic"
    token_endpoint_auth_signing_alg: str | None = None
    strict_auth_method: bool = False
    tls_client_auth_subject_dn: str | None = None
    tls_client_auth_san_dns: str | None = None
    tls_client_auth_san_uri: str | None = None
    tls_client_auth_san_ip: str | None = None
    tls_client_auth_san_email: str | None = None
    jwks: dict[str, Any] | None = None
    jwks_uri: str | None = None
    profile: str | None = None
    grant_types: tuple[str, ...] = ("authorization_code",)
    response_types: tuple[str, ...] = ("code",)
    redirect_uris: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    scope: str = "openid"
    authorization_details_types: tuple[str, ...] = ()
    subject_type: str = "public"
    sector_identifier_uri: str | None = None
    id_token_signed_response_alg: str = DEFAULT_ALGORITHM
    id_token_encrypted_response_alg: str | None = None
    id_token_encrypted_response_enc: str | None = None
    userinfo_signed_response_alg: str | None = None
    userinfo_encrypted_response_alg: str | None = None
    userinfo_encrypted_response_enc: str | None = None
    introspection_signed_response_alg: str = DEFAULT_ALGORITHM
    introspection_encrypted_response_alg: str | None = None
    introspection_encrypted_response_enc: str | None = None
    authorization_signed_response_alg: str = DEFAULT_ALGORITHM
    authorization_encrypted_response_alg: str | None = None
    authorization_encrypted_response_enc: str | None = None
    request_object_signing_alg: str | None = None
    request_object_encryption_alg: str | None = None
    request_object_encryption_enc: str | None = None
    request_uris: tuple[str, ...] = ()
    require_signed_request_object: bool = False
    require_pushed_authorization_requests: bool = False
    backchannel_token_delivery_mode: str | None = None
    backchannel_client_notification_endpoint: str | None = None
    backchannel_authentication_request_signing_alg: str | None = None
    backchannel_user_code_parameter: bool = False
    access_token_lifetime: int | None = None
    refresh_token_lifetime: int | None = None
    refresh_token_family_lifetime: int | None = None
    dpop_bound_access_tokens: bool = False
    tls_client_certificate_bound_access_tokens: bool = False
    default_max_age: int | None = None
    require_auth_time: bool = False
    initiate_login_uri: str | None = None
    backchannel_logout_uri: str | None = None
    backchannel_logout_session_required: bool = False
    frontchannel_logout_uri: str | None = None
    frontchannel_logout_session_required: bool = False
    contacts: tuple[str, ...] = ()
    software_id: str | None = None
    software_version: str | None = None
    client_uri: str | None = None
    logo_uri: str | None = None
    policy_uri: str | None = None
    tos_uri: str | None = None
    default_acr_values: tuple[str, ...] = ()
    upstreams: tuple[str, ...] | None = None
    authorization_challenge: bool = False
    require_pkce: bool = True
    skip_consent: bool = False
    single_session: bool = False
    refresh_token_cookie: bool = False
    scope_claims_in_id_token: bool = False
    hidden_from_users: bool = False

    @property
    def public(self) -> bool:
        """Whether it does not authenticate itself (RFC 6749 section 2.1)."""
        return self.token_endpoint_auth_method == "none"

    @property
    def has_secret(self) -> bool:
        """Whether it authenticates with a secret that this server gave it."""
        return self.token_endpoint_auth_method in SECRET_BEARING_METHODS

    @property
    def signs_with_secret(self) -> bool:
        """Whether it signs with its secret, which is stored encrypted then."""
        return self.token_endpoint_auth_method in SECRET_SIGNING_METHODS

    @property
    def auth_methods(self) -> tuple[str, ...]:
        """The client authentication methods that it may use."""
        registered = self.token_endpoint_auth_method
        return SECRET_METHODS if registered in SECRET_METHODS and not self.strict_auth_method else (registered,)

    @property
    def signing_algorithms(self) -> frozenset[str]:
        """The algorithms of our keys that sign for it. Every server has a key for the default one."""
        rare = (
            self.userinfo_signed_response_alg,
            self.introspection_signed_response_alg,
            self.authorization_signed_response_alg,
        )
        others = {alg for alg in rare if alg not in (None, DEFAULT_ALGORITHM)}
        return frozenset({self.id_token_signed_response_alg, *others})

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes that it may request."""
        return frozenset(self.scope.split())

    @property
    def sector(self) -> str | None:
        """The host that its pairwise subjects are for (OpenID Connect Core section 8.1); None: they are public."""
        if self.subject_type == "public":
            return None
        return sector_of(self.sector_identifier_uri, self.redirect_uris)

    @property
    def origins(self) -> frozenset[str]:
        """The origins of its pages; empty for a native client."""
        if self.application_type != "web":
            return frozenset()
        return frozenset(origin for uri in self.redirect_uris if (origin := origin_of(uri)))


def ends_tokens(before: ClientMetadata, after: ClientMetadata) -> str | None:
    """Return the reason for which a change of a client ends its codes and tokens; None: they go on."""
    if after.public and not before.public:
        # They were issued to the owner of the earlier secret or key.
        return "client_made_public"
    if after.sector not in (None, before.sector):
        # They would yield the subjects of users who have not signed in at this sector.
        return "client_sector_changed"
    return None


@lru_cache(maxsize=1024)
def sector_of(sector_identifier_uri: str | None, redirect_uris: tuple[str, ...]) -> str:
    """Return the host of the URI, or else the one host of the redirect URIs. A scheme of an app has no host."""
    parts = map(urlsplit, redirect_uris if sector_identifier_uri is None else (sector_identifier_uri,))
    return " ".join(sorted({(part.hostname or "") if part.scheme in {"https", "http"} else "" for part in parts}))


def read_metadata(values: Mapping[str, Any]) -> ClientMetadata:
    """Return metadata from values by name, before any rule is applied.

    Raises:
        OAuthError: ``invalid_client_metadata``, a member is missing, unknown or of a wrong type.
    """
    if not values.keys() <= set(ClientMetadata.__struct_fields__):
        raise invalid_metadata("The metadata has a member that this server does not know.")
    if "client_name" not in values:
        raise invalid_metadata("client_name is missing.")
    try:
        return msgspec.convert(dict(values), ClientMetadata)
    except (msgspec.ValidationError, UnicodeError) as error:
        found = _WRONG_TYPE.search(str(error))
        raise invalid_metadata(f"{found[1] if found else 'A member'} has a value of a wrong type.") from error


def metadata_of(client: ClientMetadata) -> ClientMetadata:
    """Return the metadata of a client without the rest of its record."""
    return ClientMetadata(**{name: getattr(client, name) for name in ClientMetadata.__struct_fields__})


def invalid_metadata(description: str, *, hint: str | None = None) -> OAuthError:
    """RFC 7591 section 3.2.2."""
    return OAuthError("invalid_client_metadata", description, hint=hint)


def application_type_of(redirect_uris: Any) -> str:
    """Return the type of a client that registers itself without one: native if a redirect URI leads to a program on the
    user's device.

    OpenID Connect Registration section 2 says web, for which such URIs are not allowed.
    """
    uris = redirect_uris if isinstance(redirect_uris, list) else []
    return "native" if any(isinstance(uri, str) and not uri.lower().startswith("https:") for uri in uris) else "web"


def is_scope(scope: str) -> bool:
    """Return whether the text is a list of scopes; it may be empty (RFC 6749 section 3.3)."""
    return _SCOPE.fullmatch(scope) is not None


def is_name(name: str) -> bool:
    """Return whether the text can be shown as a name: one line that is not blank, of characters that can be seen."""
    if len(name) > MAX_NAME_LENGTH or not name.isprintable():
        return False
    # After a symbol, the selector of its emoji is no letter.
    seen = name.replace(EMOJI_SELECTOR, "")
    return bool(seen.strip()) and INVISIBLE.search(seen) is None
