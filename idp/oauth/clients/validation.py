"""The rules for client metadata, one function each.

RFC 7591 section 2, OpenID Connect Dynamic Client Registration section 2, RFC 8252.
"""

from collections.abc import Callable

from idp.errors import OAuthError
from idp.keys.algorithms import SIGNING_ALGORITHMS
from idp.oauth.clients.auth_methods import AUTH_METHODS
from idp.oauth.clients.metadata import MAX_NAME_LENGTH, ClientMetadata, invalid_metadata, is_name, is_scope
from idp.oauth.clients.uris import InvalidURIError, check_link, check_redirect_uri
from idp.oauth.token.grants import GRANTS
from idp.signin.transitions import ACR_VALUES

APPLICATION_TYPES = ("web", "native")
MAX_URIS = 100


def name_can_be_shown(metadata: ClientMetadata) -> None:
    """Pages and mails show the name, so it is one printable line."""
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
        raise invalid_metadata("scope must be names separated by single spaces.")


def grants_fit_together(metadata: ClientMetadata) -> None:
    """RFC 6749 sections 4.4 and 6."""
    grants = set(metadata.grant_types)
    if not grants or not grants <= GRANTS.keys():
        raise invalid_metadata(f"grant_types must be some of {', '.join(GRANTS)}.")
    if "refresh_token" in grants and "authorization_code" not in grants:
        raise invalid_metadata("The refresh_token grant also needs the authorization_code grant.")
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
    """Every worker holds every client in memory, so lists have a limit."""
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
    """The Origin header protects the cookie from cross-site requests, so the client needs an origin."""
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
    """Check metadata against every rule.

    Raises:
        OAuthError: ``invalid_redirect_uri`` or ``invalid_client_metadata``.
    """
    for check in CHECKS:
        check(metadata)
