"""Grants, response types and redirect URIs."""

from collections.abc import Callable

import msgspec

from idp.errors import OAuthError
from idp.oauth import response_types
from idp.oauth.clients.metadata import ClientMetadata, invalid_metadata
from idp.oauth.clients.uris import InvalidURIError, check_redirect_uri
from idp.oauth.device.codes import GRANT_TYPE as DEVICE_GRANT
from idp.oauth.token import jwt_bearer, token_exchange
from idp.oauth.token.grants import WITH_USER, grant_types


def with_response_types(metadata: ClientMetadata) -> ClientMetadata:
    """Return the metadata with response types that agree with the grants, each with its words in the usual order.

    Without a grant that uses the authorization endpoint there is none; with the authorization_code grant alone, it is
    code (OpenID Connect Registration section 2).
    """
    found = tuple(dict.fromkeys(map(response_types.canonical, metadata.response_types)))
    with_code = "authorization_code" in metadata.grant_types
    if found == (response_types.CODE,) and not with_code:
        found = ()
    elif not found and with_code:
        found = (response_types.CODE,)
    return msgspec.structs.replace(metadata, response_types=found)


def grants_fit_together(metadata: ClientMetadata) -> None:
    """RFC 6749 sections 4.4 and 6."""
    grants = set(metadata.grant_types)
    known = grant_types()
    if not grants or not grants <= set(known):
        raise invalid_metadata(f"grant_types must be some of {', '.join(known)}.")
    if "refresh_token" in grants and grants.isdisjoint(WITH_USER):
        raise invalid_metadata(f"The refresh_token grant also needs one of {', '.join(WITH_USER)}.")
    if DEVICE_GRANT in grants and metadata.require_signed_request_object:
        raise invalid_metadata("A client that must sign its requests cannot have the device_code grant.")
    if metadata.authorization_challenge and "authorization_code" not in grants:
        raise invalid_metadata("A client that may use authorization challenges needs the authorization_code grant.")
    if "client_credentials" in grants and metadata.public:
        raise invalid_metadata("The client_credentials grant needs a client that authenticates.")
    if token_exchange.GRANT_TYPE in grants and metadata.public:
        raise invalid_metadata("The token-exchange grant needs a client that authenticates.")
    if jwt_bearer.GRANT_TYPE in grants and metadata.public:
        raise invalid_metadata("The JWT bearer grant needs a client that authenticates.")


def response_types_have_their_grants(metadata: ClientMetadata) -> None:
    """RFC 7591 section 2.1."""
    supported = response_types.supported()
    for response_type in metadata.response_types:
        if response_type not in supported:
            raise invalid_metadata(f"response_types must be some of {', '.join(supported)}.")
        missing = response_types.grants_of(response_type) - set(metadata.grant_types)
        if missing:
            raise invalid_metadata(f"response_types needs the grants {', '.join(sorted(missing))} in grant_types.")


def implicit_uses_https(metadata: ClientMetadata) -> None:
    """OpenID Connect Registration section 2: web clients get tokens at https URIs only."""
    web = metadata.application_type == "web" and response_types.IMPLICIT in metadata.grant_types
    if web and any(uri.startswith("http:") for uri in metadata.redirect_uris):
        raise OAuthError("invalid_redirect_uri", "A web client with the implicit grant needs https redirect URIs.")


def public_clients_use_pkce(metadata: ClientMetadata) -> None:
    """RFC 9700 section 2.1.1."""
    if metadata.public and not metadata.require_pkce:
        raise invalid_metadata("A client without a secret must use PKCE.")


def redirect_uris_are_fit(metadata: ClientMetadata) -> None:
    """RFC 7591 section 5."""
    uses_redirects = "authorization_code" in metadata.grant_types or bool(metadata.response_types)
    if uses_redirects and not metadata.redirect_uris:
        raise OAuthError("invalid_redirect_uri", "redirect_uris is needed for the authorization_code grant.")
    if metadata.redirect_uris and not uses_redirects:
        raise OAuthError("invalid_redirect_uri", "A client without the authorization_code grant has no redirect_uris.")
    if problems := _unfit(metadata.redirect_uris, metadata.application_type, "redirect URI"):
        raise OAuthError("invalid_redirect_uri", problems)


def post_logout_redirect_uris_are_fit(metadata: ClientMetadata) -> None:
    """OpenID Connect RP-Initiated Logout section 3.1."""
    uris = metadata.post_logout_redirect_uris
    if problems := _unfit(uris, metadata.application_type, "post-logout redirect URI"):
        raise invalid_metadata(problems)


#: Refused URIs that an error names. Metadata may have many, and responses are short.
_MAX_NAMED = 5


def _unfit(uris: tuple[str, ...], application_type: str, what: str) -> str:
    """Return what is wrong with each of several URIs, by its number in the list; empty: nothing."""
    found = []
    for number, uri in enumerate(uris, 1):
        try:
            check_redirect_uri(uri, application_type)
        except InvalidURIError as error:
            found.append(f"{what[0].upper()}{what[1:]} {number} {error}." if len(uris) > 1 else f"A {what} {error}.")
    more = [f"{len(found) - _MAX_NAMED} more are refused."] if len(found) > _MAX_NAMED else []
    return " ".join([*found[:_MAX_NAMED], *more])


def cookie_delivery_is_possible(metadata: ClientMetadata) -> None:
    """The Origin header protects the cookie from cross-site requests, so the client needs an origin."""
    if metadata.refresh_token_cookie and not ("refresh_token" in metadata.grant_types and metadata.origins):
        raise invalid_metadata("A refresh token cookie needs the refresh_token grant and a web redirect URI.")


CHECKS: tuple[Callable[[ClientMetadata], None], ...] = (
    grants_fit_together,
    response_types_have_their_grants,
    implicit_uses_https,
    public_clients_use_pkce,
    redirect_uris_are_fit,
    post_logout_redirect_uris_are_fit,
    cookie_delivery_is_possible,
)
