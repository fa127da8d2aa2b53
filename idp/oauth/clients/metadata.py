"""What a client registers, and the rules for it.

RFC 7591 section 2, OpenID Connect Dynamic Client Registration section 2, RFC 8252.
"""

import re
from collections.abc import Callable

import msgspec

from idp.errors import OAuthError
from idp.keys.algorithms import DEFAULT_ALGORITHM, SIGNING_ALGORITHMS
from idp.oauth.clients.uris import InvalidURIError, check_link, check_redirect_uri, origin_of
from idp.signin.transitions import ACR_VALUES

APPLICATION_TYPES = ("web", "native")
#: The ways to send a secret. A client that did not register one strictly may use either.
SECRET_METHODS = ("client_secret_basic", "client_secret_post")
AUTH_METHODS = (*SECRET_METHODS, "none")
GRANT_TYPES = ("authorization_code", "refresh_token", "client_credentials")

MAX_NAME_LENGTH = 200
MAX_URIS = 100
#: RFC 6749 section 3.3.
_SCOPE = re.compile(r"(?:[!#-\[\]-~]+(?: [!#-\[\]-~]+)*)?")


class ClientMetadata(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The metadata of a client, by the names of RFC 7591 and OpenID Connect Dynamic Client Registration.

    Attributes:
        strict_auth_method: its secret is accepted by ``token_endpoint_auth_method`` alone.
        default_acr_values: the level that its users must reach at least; a request may raise it.
        upstreams: the providers that its people may sign in with. None: all that there are.
        authorization_challenge: an app of the operator's own, which may ask for passwords and codes itself
            (OAuth 2.0 for First-Party Applications).
        require_pkce: only a confidential client may do without.
        skip_consent: a client of the operator's own, for which nobody is asked.
        single_session: a user's new sign-in ends what their earlier ones gave this client.
        refresh_token_cookie: the refresh token comes in a cookie that no script can read.
        scope_claims_in_id_token: the ID token carries what its scopes ask for, for clients that never call userinfo.
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
        """Whether it can keep no secret, and so does not authenticate itself (RFC 6749 section 2.1)."""
        return self.token_endpoint_auth_method == "none"

    @property
    def auth_methods(self) -> tuple[str, ...]:
        """The methods by which it may authenticate itself."""
        if self.strict_auth_method or self.public:
            return (self.token_endpoint_auth_method,)
        return SECRET_METHODS

    @property
    def scopes(self) -> frozenset[str]:
        """The scopes that it may ask for."""
        return frozenset(self.scope.split())

    @property
    def origins(self) -> frozenset[str]:
        """The origins of its own pages, where it has some."""
        if self.application_type != "web":
            return frozenset()
        return frozenset(origin for uri in self.redirect_uris if (origin := origin_of(uri)))


def invalid_metadata(description: str) -> OAuthError:
    """RFC 7591 section 3.2.2."""
    return OAuthError("invalid_client_metadata", description)


def is_scope(scope: str) -> bool:
    """Whether the text is a list of scopes, maybe an empty one (RFC 6749 section 3.3)."""
    return _SCOPE.fullmatch(scope) is not None


def is_name(name: str) -> bool:
    """Whether the text can be shown as a name: one line that is not blank."""
    return bool(name.strip()) and len(name) <= MAX_NAME_LENGTH and name.isprintable()


def name_can_be_shown(metadata: ClientMetadata) -> None:
    """Pages and mails show the name."""
    if not is_name(metadata.client_name):
        raise invalid_metadata(f"client_name must be one line of up to {MAX_NAME_LENGTH} characters.")


def values_are_known(metadata: ClientMetadata) -> None:
    """RFC 7591 section 2, OpenID Connect Registration section 2."""
    if metadata.application_type not in APPLICATION_TYPES:
        raise invalid_metadata("application_type must be web or native.")
    if metadata.token_endpoint_auth_method not in AUTH_METHODS:
        raise invalid_metadata(f"token_endpoint_auth_method must be one of {', '.join(AUTH_METHODS)}.")
    if metadata.id_token_signed_response_alg not in SIGNING_ALGORITHMS:
        raise invalid_metadata(f"id_token_signed_response_alg must be one of {', '.join(SIGNING_ALGORITHMS)}.")
    if not set(metadata.default_acr_values) <= set(ACR_VALUES):
        raise invalid_metadata(f"default_acr_values must be some of {', '.join(ACR_VALUES)}.")
    if not is_scope(metadata.scope):
        raise invalid_metadata("scope must be names parted by single spaces.")


def grants_fit_together(metadata: ClientMetadata) -> None:
    """RFC 6749 sections 4.4 and 6."""
    grants = set(metadata.grant_types)
    if not grants or not grants <= set(GRANT_TYPES):
        raise invalid_metadata(f"grant_types must be some of {', '.join(GRANT_TYPES)}.")
    if "refresh_token" in grants and "authorization_code" not in grants:
        raise invalid_metadata("The refresh_token grant needs the authorization_code grant beside it.")
    if metadata.authorization_challenge and "authorization_code" not in grants:
        raise invalid_metadata("A client that may use authorization challenges needs the authorization_code grant.")
    if "client_credentials" in grants and metadata.public:
        raise invalid_metadata("The client_credentials grant needs a client with a secret.")


def public_clients_use_pkce(metadata: ClientMetadata) -> None:
    """RFC 9700 section 2.1.1."""
    if metadata.public and not metadata.require_pkce:
        raise invalid_metadata("A client without a secret must use PKCE.")


def redirect_uris_are_fit(metadata: ClientMetadata) -> None:
    """RFC 7591 section 5."""
    uses_redirects = "authorization_code" in metadata.grant_types
    if uses_redirects != bool(metadata.redirect_uris):
        raise OAuthError(
            "invalid_redirect_uri",
            "redirect_uris are needed for the authorization_code grant, and only for it.",
        )
    for uri in metadata.redirect_uris:
        try:
            check_redirect_uri(uri, metadata.application_type)
        except InvalidURIError as error:
            raise OAuthError("invalid_redirect_uri", f"A redirect URI {error}.") from error


def post_logout_redirect_uris_are_fit(metadata: ClientMetadata) -> None:
    """OpenID Connect RP-Initiated Logout section 3.1."""
    for uri in metadata.post_logout_redirect_uris:
        try:
            check_redirect_uri(uri, metadata.application_type)
        except InvalidURIError as error:
            raise invalid_metadata(f"A post-logout redirect URI {error}.") from error


def lists_are_bounded(metadata: ClientMetadata) -> None:
    """Every worker keeps every client in memory."""
    if max(len(metadata.redirect_uris), len(metadata.post_logout_redirect_uris)) > MAX_URIS:
        raise invalid_metadata(f"A client may have up to {MAX_URIS} redirect URIs of a kind.")


def links_are_fit(metadata: ClientMetadata) -> None:
    """Pages link to them, and load the logo."""
    for name in ("client_uri", "logo_uri", "policy_uri", "tos_uri"):
        uri = getattr(metadata, name)
        try:
            if uri is not None:
                check_link(uri)
        except InvalidURIError as error:
            raise invalid_metadata(f"{name} {error}.") from error


def cookie_delivery_is_possible(metadata: ClientMetadata) -> None:
    """Only pages with an origin of their own can be told from others that make the browser send the cookie."""
    if metadata.refresh_token_cookie and not ("refresh_token" in metadata.grant_types and metadata.origins):
        raise invalid_metadata("A refresh token cookie needs the refresh_token grant and a web redirect URI.")


CHECKS: tuple[Callable[[ClientMetadata], None], ...] = (
    name_can_be_shown,
    values_are_known,
    lists_are_bounded,
    grants_fit_together,
    public_clients_use_pkce,
    redirect_uris_are_fit,
    post_logout_redirect_uris_are_fit,
    links_are_fit,
    cookie_delivery_is_possible,
)


def validate(metadata: ClientMetadata) -> None:
    """Hold metadata against every rule.

    Raises:
        OAuthError: ``invalid_redirect_uri`` or ``invalid_client_metadata``.
    """
    for check in CHECKS:
        check(metadata)
