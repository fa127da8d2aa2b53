"""The kinds of applications, and what each registers by default."""

from typing import Any

_PEOPLE = {
    "grant_types": ("authorization_code", "refresh_token"),
    "scope": "openid profile email offline_access",
}
#: What each kind of application registers, unless something else is said.
KINDS: dict[str, dict[str, Any]] = {
    "web": _PEOPLE,
    "spa": _PEOPLE | {"token_endpoint_auth_method": "none"},
    "native": _PEOPLE | {"token_endpoint_auth_method": "none", "application_type": "native"},
    "service": {"grant_types": ("client_credentials",), "scope": ""},
}
