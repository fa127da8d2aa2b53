"""The metadata that a client registers; :mod:`idp.oauth.clients.validation` has the rules for it.

RFC 7591 section 2, OpenID Connect Dynamic Client Registration section 2, RFC 8252.
"""

import re

import msgspec

from idp.errors import OAuthError
from idp.keys.algorithms import DEFAULT_ALGORITHM
from idp.oauth.clients.auth_methods import SECRET_METHODS
from idp.oauth.clients.uris import origin_of

MAX_NAME_LENGTH = 200
#: RFC 6749 section 3.3.
_SCOPE = re.compile(r"(?:[!#-\[\]-~]+(?: [!#-\[\]-~]+)*)?")


class ClientMetadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The metadata of a client, by the names of RFC 7591 and OpenID Connect Dynamic Client Registration.

    Attributes:
        strict_auth_method: its secret is accepted by ``token_endpoint_auth_method`` only.
        default_acr_values: the lowest ``acr`` that its users must reach; a request may raise it.
        upstreams: the upstreams that its users may sign in with; None: all.
        authorization_challenge: a first-party app with its own sign-in screens (OAuth 2.0 for First-Party
            Applications).
        require_pkce: may be False for a confidential client only.
        skip_consent: a first-party client, for which users are not asked for consent.
        single_session: a new sign-in of a user revokes the tokens of this client from earlier sign-ins.
        refresh_token_cookie: the refresh token is sent in an HttpOnly cookie.
        scope_claims_in_id_token: the ID token contains the claims of the scopes, for clients that never call
            userinfo.
    """

    client_name: str
    application_type: str = "web"
    token_endpoint_auth_method: str = "client_secret_basic"
    strict_auth_method: bool = False
    grant_types: tuple[str, ...] = ("authorization_code",)
    redirect_uris: tuple[str, ...] = ()
    post_logout_redirect_uris: tuple[str, ...] = ()
    scope: str = "openid"
    id_token_signed_response_alg: str = DEFAULT_ALGORITHM
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

    @property
    def public(self) -> bool:
        """Whether it has no secret and does not authenticate itself (RFC 6749 section 2.1)."""
        return self.token_endpoint_auth_method == "none"

    @property
    def auth_methods(self) -> tuple[str, ...]:
        """The client authentication methods that it may use."""
        if self.strict_auth_method or self.public:
            return (self.token_endpoint_auth_method,)
        return SECRET_METHODS

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes that it may request."""
        return frozenset(self.scope.split())

    @property
    def origins(self) -> frozenset[str]:
        """The origins of its pages; empty for a native client."""
        if self.application_type != "web":
            return frozenset()
        return frozenset(origin for uri in self.redirect_uris if (origin := origin_of(uri)))


def invalid_metadata(description: str) -> OAuthError:
    """RFC 7591 section 3.2.2."""
    return OAuthError("invalid_client_metadata", description)


def is_scope(scope: str) -> bool:
    """Return whether the text is a list of scopes; it may be empty (RFC 6749 section 3.3)."""
    return _SCOPE.fullmatch(scope) is not None


def is_name(name: str) -> bool:
    """Return whether the text can be shown as a name: one line that is not blank."""
    return bool(name.strip()) and len(name) <= MAX_NAME_LENGTH and name.isprintable()
