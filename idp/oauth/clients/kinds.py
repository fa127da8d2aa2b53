"""The kind of an application: its grants, its application type and its authentication say it.

It is derived, so that it stays with a client in exports, files and registrations that know nothing of it. CLI, admin
API and console show it. Imports little, so that ``--help`` stays fast.
"""

from typing import Final, NamedTuple

from idp.oauth.clients.metadata import ClientMetadata
from idp.oauth.grant_types import CIBA, DEVICE_CODE

#: The grants in which a user takes part from the beginning.
_WITH_USER: Final = ("authorization_code", "implicit", DEVICE_CODE, CIBA)


class ApplicationKind(NamedTuple):
    """What people call a kind, and how they recognise it."""

    name: str
    about: str


APPLICATION_KINDS: Final = {
    "web": ApplicationKind("Web application", "An app with a server that can keep a secret."),
    "spa": ApplicationKind("Single-page app", "An app that runs in the browser and cannot keep a secret."),
    "native": ApplicationKind("Native app", "On a phone or a desktop."),
    "device": ApplicationKind("Device", "A television or a terminal: users sign in on their phone with a code."),
    "service": ApplicationKind("Service", "A program that calls APIs as itself, without users."),
}


def application_kind(metadata: ClientMetadata) -> str:
    """Return the kind of a client, a key of :data:`APPLICATION_KINDS`. :data:`KIND_SQL` says the same."""
    grants = metadata.grant_types
    if not set(grants) & set(_WITH_USER):
        return "service"
    if DEVICE_CODE in grants and "authorization_code" not in grants:
        return "device"
    if metadata.application_type == "native":
        return "native"
    return "spa" if metadata.public else "web"


_USED: Final = ", ".join(f"'{grant}'" for grant in _WITH_USER)
#: The kind of a row of ``client AS c``.
KIND_SQL: Final = f"""CASE
    WHEN NOT c.metadata -> 'grant_types' ?| array[{_USED}] THEN 'service'
    WHEN c.metadata -> 'grant_types' ? '{DEVICE_CODE}' AND NOT c.metadata -> 'grant_types' ? 'authorization_code'
        THEN 'device'
    WHEN c.metadata ->> 'application_type' = 'native' THEN 'native'
    WHEN c.metadata ->> 'token_endpoint_auth_method' = 'none' THEN 'spa'
    ELSE 'web' END"""
