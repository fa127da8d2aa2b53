"""Names, links and sizes, and values that are limited to a list."""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from idp.infra.foreign_json import is_shallow
from idp.infra.strict_json import MAX_DEPTH
from idp.oauth.clients.members import unknown_value
from idp.oauth.clients.metadata import MAX_NAME_LENGTH, ClientMetadata, invalid_metadata, is_name, is_scope
from idp.oauth.clients.uris import MAX_LENGTH, InvalidURIError, check_link

#: Maximum number of values of a list.
MAX_VALUES = 100
#: Maximum size of a JWK Set, in bytes of JSON.
MAX_JWKS_BYTES = 64 * 1024
#: Members with a URL whose name does not end in ``_uri``.
_LINKS = frozenset({"backchannel_client_notification_endpoint"})
#: Seconds in ten years. A sign-in does not last longer.
MAX_AGE = 10 * 365 * 86400
#: The shortest lifetimes of tokens in seconds, as of the settings.
SHORTEST = {"access_token_lifetime": 30, "refresh_token_lifetime": 60, "refresh_token_family_lifetime": 60}


def texts_are_bounded(metadata: ClientMetadata) -> None:
    """Every worker holds every client in memory, and pages and JSON show its members. URIs have rules of their own."""
    for name, value in _values(metadata):
        if isinstance(value, tuple) and len(value) > MAX_VALUES:
            raise invalid_metadata(f"{name} may have up to {MAX_VALUES} values.")
        if name.endswith(("_uri", "_uris")) or name in _LINKS:
            continue
        limit = MAX_LENGTH if name == "scope" else MAX_NAME_LENGTH
        for text in value if isinstance(value, tuple) else [value] if isinstance(value, str) else []:
            if len(text) > limit or not text.isprintable():
                raise invalid_metadata(f"{name} must have up to {limit} printable characters.")


def jwks_is_bounded(metadata: ClientMetadata) -> None:
    """Importing long numbers takes long, and the database stores no NUL."""
    try:
        jwks = msgspec.json.encode(metadata.jwks)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise invalid_metadata("jwks is not JSON.") from error
    if len(jwks) > MAX_JWKS_BYTES:
        raise invalid_metadata(f"jwks must not be larger than {MAX_JWKS_BYTES // 1024} KiB.")
    if not is_shallow(metadata.jwks, MAX_DEPTH):
        raise invalid_metadata("jwks is nested too deeply.")
    if b"\\u0000" in jwks:
        raise invalid_metadata("jwks must not contain NUL.")


def name_can_be_shown(metadata: ClientMetadata) -> None:
    """Pages and mails show the name, so it is one printable line."""
    if not is_name(metadata.client_name):
        raise invalid_metadata(f"client_name must be one line of up to {MAX_NAME_LENGTH} characters.")


def values_are_known(metadata: ClientMetadata) -> None:
    """RFC 7591 section 2, OpenID Connect Registration section 2."""
    if (problem := unknown_value(metadata)) is not None:
        raise invalid_metadata(problem)
    if not is_scope(metadata.scope):
        raise invalid_metadata("scope must be names separated by single spaces.")
    if metadata.default_max_age is not None and not 0 <= metadata.default_max_age <= MAX_AGE:
        raise invalid_metadata(f"default_max_age must be from 0 to {MAX_AGE} seconds.")
    for member, shortest in SHORTEST.items():
        seconds = getattr(metadata, member)
        if seconds is not None and not shortest <= seconds <= MAX_AGE:
            raise invalid_metadata(f"{member} must be from {shortest} to {MAX_AGE} seconds.")


def links_are_fit(metadata: ClientMetadata) -> None:
    """Pages link to them and load the logo; this server fetches the others or redirects to them."""
    for name, value in _values(metadata):
        if not (name.endswith("_uri") or name in _LINKS) or name.startswith("tls_client_auth_") or value is None:
            continue
        try:
            check_link(value)
        except InvalidURIError as error:
            raise invalid_metadata(f"{name} {error}.") from error


def _values(metadata: ClientMetadata) -> Iterator[tuple[str, Any]]:
    return ((name, getattr(metadata, name)) for name in ClientMetadata.__struct_fields__)


CHECKS: tuple[Callable[[ClientMetadata], None], ...] = (
    name_can_be_shown,
    texts_are_bounded,
    jwks_is_bounded,
    values_are_known,
    links_are_fit,
)
