"""What people call the values of client metadata. The values themselves are in :mod:`idp.oauth.clients.members`."""

from collections.abc import Mapping
from typing import Final

from idp.oauth.clients.kinds import APPLICATION_KINDS
from idp.oauth.clients.profiles import PROFILES
from idp.oauth.grant_types import CIBA, DEVICE_CODE

_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"

#: By member and value. A value without an entry is its own name, such as that of an algorithm.
WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "kind": {kind: about.name for kind, about in APPLICATION_KINDS.items()},
    "application_type": {"web": "Web (https redirect URIs)", "native": "Native (app and loopback redirect URIs)"},
    "profile": {name: f"{profile.title} ({name})" for name, profile in PROFILES.items()},
    "grant_types": {
        "authorization_code": "Authorization code: users sign in with a browser",
        "refresh_token": "Refresh token: users stay signed in",
        "client_credentials": "Client credentials: it acts as itself",
        _EXCHANGE: "Token exchange: a token for another token",
        _JWT_BEARER: "JWT bearer: a token for an assertion of a trusted issuer",
        DEVICE_CODE: "Device code: users enter a code on another device",
        CIBA: "CIBA: users are asked without a browser",
        "implicit": "Implicit: tokens in the redirect URI (legacy)",
    },
    "response_types": {"code": "Code"},
    "token_endpoint_auth_method": {
        "client_secret_basic": "Secret in the header (client_secret_basic)",
        "client_secret_post": "Secret in the body (client_secret_post)",
        "client_secret_jwt": "JWT signed with the secret (client_secret_jwt)",
        "private_key_jwt": "JWT signed with a private key (private_key_jwt)",
        "tls_client_auth": "TLS certificate of an authority (tls_client_auth)",
        "self_signed_tls_client_auth": "Registered TLS certificate (self_signed_tls_client_auth)",
        "workload_identity": "Token of its platform (workload_identity)",
        "none": "None: a public client (none)",
    },
    "subject_type": {
        "public": "Public: the same id at all clients",
        "pairwise": "Pairwise: another id at each sector",
    },
    "default_acr_values": {
        "1": "One factor (1)",
        "2": "Two factors (2)",
        "phr": "Passkey (phr)",
    },
    "backchannel_token_delivery_mode": {
        "poll": "Poll: the client asks",
        "ping": "Ping: this server calls the client",
    },
}  # fmt: skip


def in_words(member: str, value: str) -> str:
    """Return the name of a value of a member."""
    return WORDS.get(member, {}).get(value, value)
