"""The kinds of applications and the default metadata of each."""

from typing import Any

from idp.oauth.grant_types import DEVICE_CODE

_FOR_USERS = {
    "grant_types": ("authorization_code", "refresh_token"),
    "scope": "openid profile email offline_access",
}
#: The default metadata of each kind of application.
KINDS: dict[str, dict[str, Any]] = {
    "web": _FOR_USERS,
    "spa": _FOR_USERS | {"token_endpoint_auth_method": "none"},
    "native": _FOR_USERS | {"token_endpoint_auth_method": "none", "application_type": "native"},
    "device": {
        "grant_types": (DEVICE_CODE, "refresh_token"),
        "scope": "openid profile email offline_access",
        "token_endpoint_auth_method": "none",
        "application_type": "native",
    },
    "service": {"grant_types": ("client_credentials",), "scope": ""},
}
