"""The members of client metadata for people: section, label, meaning, allowed values and option of each.

Validation, the command line, the admin API, the console and docs/clients.md read this table. It imports little, so that
``--help`` stays fast. Names, types and defaults are in :mod:`idp.oauth.clients.metadata`.
"""

from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Final, NamedTuple, get_args, get_origin

import msgspec

from idp.keys.algorithms import (
    CONTENT_ENCRYPTION_ALGORITHMS,
    KEY_ENCRYPTION_ALGORITHMS,
    SECRET_ALGORITHMS,
    SIGNING_ALGORITHMS,
    VERIFICATION_ALGORITHMS,
)
from idp.oauth.clients.auth_methods import AUTH_METHODS
from idp.oauth.clients.metadata import ClientMetadata
from idp.oauth.clients.profiles import PROFILES
from idp.signin.transitions import ACR_VALUES

APPLICATION_TYPES: Final = ("web", "native")
#: OpenID Connect Core section 8.
SUBJECT_TYPES: Final = ("public", "pairwise")
#: CIBA Core section 5. Tokens that are pushed cannot be bound to a key, and FAPI-CIBA section 5.2.2 forbids push.
DELIVERY_MODES: Final = ("poll", "ping")

SECTIONS: Final = ("Application", "Authentication", "Keys", "Tokens", "Requests", "Logout", "Advanced")
APPLICATION, AUTHENTICATION, KEYS, TOKENS, REQUESTS, LOGOUT, ADVANCED = SECTIONS


class Kind(StrEnum):
    """The type of a member, without whether it may be absent."""

    TEXT = "text"
    LIST = "list"
    FLAG = "flag"
    NUMBER = "number"
    OBJECT = "object"


_DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(ClientMetadata)}
_KINDS = {str: Kind.TEXT, tuple: Kind.LIST, bool: Kind.FLAG, int: Kind.NUMBER, dict: Kind.OBJECT}


def unknown_value(metadata: ClientMetadata) -> str | None:
    """Return which member has a value that this version does not know, as a sentence. None: no member has."""
    for name, member in MEMBERS.items():
        value, choices = getattr(metadata, name), member.choices
        if choices is None or value is None:
            continue
        if not choices:
            return f"{name} is not supported."
        values, each = (value, "some") if isinstance(value, tuple) else ((value,), "one")
        if not set(values) <= set(choices):
            return f"{name} must be {each} of {', '.join(choices)}."
    return None


def kind_of(name: str) -> Kind:
    """Return the type of a member."""
    return next(_KINDS[get_origin(each) or each] for each in _types(name) if each is not NoneType)


def is_optional(name: str) -> bool:
    """Return whether a member may be absent."""
    return NoneType in _types(name)


def default_of(name: str) -> Any:
    """Return the default of a member; None: it is absent, or required."""
    return None if name == "client_name" else _DEFAULTS[name]


def _types(name: str) -> tuple[type, ...]:
    annotation = ClientMetadata.__annotations__[name]
    return get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)


class Member(NamedTuple):
    """A member of client metadata.

    Attributes:
        label: what the console calls it.
        help: its meaning, in one sentence.
        choices: the allowed values, or values of a list; empty: none is supported. None: not limited, or its rule has
            the list.
        option: its option on the command line, if it is not the name of the member.
    """

    section: str
    label: str
    help: str
    choices: tuple[str, ...] | None = None
    option: str | None = None


def _signed(what: str) -> Member:
    return Member(TOKENS, f"Algorithm that signs {what}", f"Algorithm that signs {what}.", SIGNING_ALGORITHMS)


def _key_encryption(what: str) -> Member:
    text = f"Algorithm that encrypts the content key of {what}"
    return Member(TOKENS, text, f"{text}; needs keys.", tuple(KEY_ENCRYPTION_ALGORITHMS))


def _content_encryption(what: str) -> Member:
    default = CONTENT_ENCRYPTION_ALGORITHMS[0]
    text = f"Algorithm that encrypts the content of {what}"
    return Member(TOKENS, text, f"{text}. Default: {default}.", CONTENT_ENCRYPTION_ALGORITHMS)


def _certificate(what: str) -> Member:
    return Member(
        AUTHENTICATION,
        f"{what} of the TLS certificate",
        f"{what} that its certificate must have. tls_client_auth needs exactly one of these members.",
    )


MEMBERS: Final = {
    "client_name": Member(APPLICATION, "Name", "The name that pages show.", option="--name"),
    "application_type": Member(
        APPLICATION, "Application type", "Which redirect URIs are allowed. It cannot be changed.", APPLICATION_TYPES
    ),
    "profile": Member(
        APPLICATION, "Security profile", "A set of requirements for the metadata and the requests of the client.",
        tuple(PROFILES),
    ),
    "redirect_uris": Member(APPLICATION, "Redirect URIs", "Redirect URI."),
    "post_logout_redirect_uris": Member(
        APPLICATION, "Post-logout redirect URIs", "Post-logout redirect URI."
    ),
    "grant_types": Member(APPLICATION, "Grants", "A grant, instead of the grants of the type."),
    "response_types": Member(
        APPLICATION, "Response types", "What the authorization endpoint returns. Default: code."
    ),
    "scope": Member(
        APPLICATION, "Allowed scopes", "The scopes that the client may request, separated by spaces."
    ),
    "authorization_details_types": Member(
        APPLICATION, "Types of authorization details",
        "A type of authorization details that the client may request (RFC 9396).",
    ),
    "client_uri": Member(APPLICATION, "Home page", "The home page."),
    "logo_uri": Member(APPLICATION, "Logo", "The logo, for the sign-in page."),
    "policy_uri": Member(APPLICATION, "Privacy policy", "The privacy policy."),
    "tos_uri": Member(APPLICATION, "Terms of service", "The terms of service."),
    "contacts": Member(APPLICATION, "Contacts", (
        "How to reach the people who operate the client, such as an address."
    )),
    "token_endpoint_auth_method": Member(
        AUTHENTICATION, "Authentication method", "How it authenticates. With none it has no secret.", AUTH_METHODS,
        "--auth-method",
    ),
    "strict_auth_method": Member(
        AUTHENTICATION, "Accept the secret by this method only",
        "Whether the secret is accepted by that method only, or both in the header and in the body.",
        option="--strict-auth-method/--any-auth-method",
    ),
    "token_endpoint_auth_signing_alg": Member(
        AUTHENTICATION, "Algorithm of assertions",
        "The only algorithm for assertions of client_secret_jwt and private_key_jwt.",
        (*VERIFICATION_ALGORITHMS, *SECRET_ALGORITHMS),
    ),
    "tls_client_auth_subject_dn": _certificate("Subject"),
    "tls_client_auth_san_dns": _certificate("DNS name"),
    "tls_client_auth_san_uri": _certificate("URI"),
    "tls_client_auth_san_ip": _certificate("IP address"),
    "tls_client_auth_san_email": _certificate("Email address"),
    "jwks": Member(KEYS, "Public keys (JWK Set)", "The public keys: a JWK Set, or the name of a file with one."),
    "jwks_uri": Member(KEYS, "URL of public keys", "URL of the JWK Set, which the client can change by itself."),
    "subject_type": Member(
        TOKENS, "Subject type", "public: all clients know a user by one id; pairwise: each sector by another.",
        SUBJECT_TYPES,
    ),
    "sector_identifier_uri": Member(
        TOKENS, "URL of the redirect URIs of the sector",
        "URL of a JSON list of the redirect URIs of all clients that share their pairwise subjects.",
    ),
    "access_token_lifetime": Member(
        TOKENS, "Longest lifetime of access tokens, in seconds",
        "Seconds for which its access tokens are valid, if fewer than IDP_ACCESS_TOKEN_LIFETIME.",
    ),
    "refresh_token_lifetime": Member(
        TOKENS, "Longest lifetime of an unused refresh token, in seconds",
        "Seconds after which a refresh token expires that is not used, if fewer than IDP_REFRESH_TOKEN_LIFETIME.",
    ),
    "refresh_token_family_lifetime": Member(
        TOKENS, "Longest lifetime of refresh tokens since a sign-in, in seconds",
        "Seconds after a sign-in at which its refresh tokens expire, if fewer than IDP_REFRESH_TOKEN_FAMILY_LIFETIME.",
    ),
    "scope_claims_in_id_token": Member(
        TOKENS, "Put the claims of the scopes into ID tokens",
        "Whether ID tokens contain the claims of the scopes, for libraries that never call userinfo.",
    ),
    "id_token_signed_response_alg": _signed("ID tokens")._replace(option="--id-token-alg"),
    "id_token_encrypted_response_alg": _key_encryption("ID tokens"),
    "id_token_encrypted_response_enc": _content_encryption("ID tokens"),
    "userinfo_signed_response_alg": _signed("userinfo")._replace(
        help="Algorithm that signs userinfo. Without it, userinfo is plain JSON."
    ),
    "userinfo_encrypted_response_alg": _key_encryption("userinfo"),
    "userinfo_encrypted_response_enc": _content_encryption("userinfo"),
    "introspection_signed_response_alg": _signed("introspection responses"),
    "introspection_encrypted_response_alg": _key_encryption("introspection responses"),
    "introspection_encrypted_response_enc": _content_encryption("introspection responses"),
    "authorization_signed_response_alg": _signed("authorization responses"),
    "authorization_encrypted_response_alg": _key_encryption("authorization responses"),
    "authorization_encrypted_response_enc": _content_encryption("authorization responses"),
    "dpop_bound_access_tokens": Member(
        TOKENS, "Bind tokens to a key by DPoP", "Whether tokens must always be bound to a key (RFC 9449)."
    ),
    "tls_client_certificate_bound_access_tokens": Member(
        TOKENS, "Bind tokens to the TLS certificate",
        "Whether tokens are bound to the TLS certificate of the client (RFC 8705).",
    ),
    "refresh_token_cookie": Member(
        TOKENS, "Deliver the refresh token in a cookie",
        "Deliver the refresh token in a cookie that no script can read.",
    ),
    "require_pkce": Member(
        REQUESTS, "Require PKCE",
        "Whether it must use PKCE (default). Off only for a client with a secret whose library sends none.",
        option="--pkce/--no-pkce",
    ),
    "require_pushed_authorization_requests": Member(
        REQUESTS, "Require pushed authorization requests",
        "Whether authorization requests must be pushed (RFC 9126).",
    ),
    "require_signed_request_object": Member(
        REQUESTS, "Require signed authorization requests",
        "Whether authorization requests must be signed (RFC 9101).",
    ),
    "request_object_signing_alg": Member(
        REQUESTS, "Algorithm of signed requests", "The only algorithm for signed requests.",
        VERIFICATION_ALGORITHMS,
    ),
    "backchannel_token_delivery_mode": Member(
        REQUESTS, "Notification of decisions (CIBA)",
        "How it learns that a user has decided (CIBA): poll: it asks; ping: this server calls it. Default: poll.",
        DELIVERY_MODES,
    ),
    "backchannel_client_notification_endpoint": Member(
        REQUESTS, "Notification URL (CIBA)", "URL that is called when a user has decided, for ping."
    ),
    "backchannel_authentication_request_signing_alg": Member(
        REQUESTS, "Algorithm of signed authentication requests (CIBA)",
        "The algorithm that authentication requests (CIBA) must be signed with. By default they are not signed.",
        VERIFICATION_ALGORITHMS,
    ),
    "backchannel_user_code_parameter": Member(
        REQUESTS, "Accept a user code (CIBA)", "Not supported: users sign in to decide, so they need no further code.",
    ),
    "request_object_encryption_alg": Member(
        REQUESTS, "Key algorithm of encrypted requests",
        "Not supported: a pushed request hides its content from the browser.", (),
    ),
    "request_object_encryption_enc": Member(
        REQUESTS, "Content algorithm of encrypted requests",
        "Not supported: a pushed request hides its content from the browser.", (),
    ),
    "request_uris": Member(
        REQUESTS, "URLs of signed requests", "URL where the client publishes signed requests."
    ),
    "default_max_age": Member(
        REQUESTS, "Maximum age of a sign-in, in seconds",
        "Seconds after which a user signs in again if a request does not say.",
    ),
    "require_auth_time": Member(
        REQUESTS, "Put the time of the sign-in into ID tokens",
        "Whether ID tokens always contain the time of the sign-in.",
    ),
    "default_acr_values": Member(
        REQUESTS, "Level of sign-in",
        "The level that users must reach: 2 for two factors, phr for a passkey.", ACR_VALUES, "--acr",
    ),
    "initiate_login_uri": Member(
        REQUESTS, "URL that begins a sign-in", "URL at which another site can have it begin a sign-in."
    ),
    "backchannel_logout_uri": Member(
        LOGOUT, "Back-channel logout URL",
        "URL of the client that gets a logout token when a session ends.",
    ),
    "backchannel_logout_session_required": Member(
        LOGOUT, "Name the session in logout tokens", "Whether logout tokens must name the session. They always do."
    ),
    "frontchannel_logout_uri": Member(
        LOGOUT, "Front-channel logout URL",
        "URL that the browser loads in a frame at sign-out. It has the origin of a redirect URI.",
    ),
    "frontchannel_logout_session_required": Member(
        LOGOUT, "Send the issuer and the session to the front-channel URL",
        "Whether that URL gets the parameters iss and sid."
    ),
    "upstreams": Member(
        ADVANCED, "Upstreams",
        "An upstream that users may sign in with. Default: all.",
    ),
    "skip_consent": Member(
        ADVANCED, "Skip the consent page", "Whether to skip the consent page, for your own application.",
        option="--skip-consent/--ask-consent",
    ),
    "single_session": Member(
        ADVANCED, "End earlier sign-ins of the user",
        "Whether a new sign-in ends the user's earlier ones at this client.",
        option="--single-session/--many-sessions",
    ),
    "authorization_challenge": Member(
        ADVANCED, "Own sign-in screens",
        "Your own app asks for passwords and codes on its own screens and sends them to the challenge endpoint.",
    ),
    "hidden_from_users": Member(
        ADVANCED, "Hide from the list of applications",
        "Whether it is left out of the list of applications on the account page.",
        option="--hidden-from-users/--listed-for-users",
    ),
    "software_id": Member(ADVANCED, "Software id", "The same for all registrations of a program."),
    "software_version": Member(ADVANCED, "Software version", "The version of the program."),
}  # fmt: skip


def describe(properties: dict[str, dict[str, Any]]) -> None:
    """Add the meaning and the allowed values to the properties of a JSON Schema that are members of client metadata."""
    for name, schema in properties.items():
        member = MEMBERS.get(name)
        if member is None:
            continue
        schema["description"] = member.help
        if member.choices and kind_of(name) is Kind.LIST:
            schema["items"] = {"enum": list(member.choices)}
        elif member.choices:
            schema["enum"] = [*member.choices, *([None] if is_optional(name) else [])]
