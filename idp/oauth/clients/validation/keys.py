"""The keys of a client, and what needs them."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from idp.keys import jose
from idp.keys.algorithms import ALGORITHMS, KEY_ENCRYPTION_ALGORITHMS
from idp.oauth.clients.metadata import ClientMetadata, invalid_metadata

#: Authentication methods that verify with a key of the client.
KEY_METHODS = ("private_key_jwt", "self_signed_tls_client_auth")
#: Members with an algorithm that the client signs its requests with.
_SIGNED_REQUESTS = ("request_object_signing_alg", "backchannel_authentication_request_signing_alg")


def keys_are_public_and_usable(metadata: ClientMetadata) -> None:
    """RFC 7591 section 2: keys by value or by reference, not both."""
    if metadata.jwks is None:
        return
    if metadata.jwks_uri is not None:
        raise invalid_metadata("jwks and jwks_uri exclude each other.")
    try:
        _usable_keys(msgspec.json.encode(metadata.jwks))
    except jose.InvalidKeyError as error:
        raise invalid_metadata(f"jwks {error}.") from error


def keys_are_there_for_what_needs_them(metadata: ClientMetadata) -> None:
    """A client that could never authenticate, or get a response, is refused now."""
    for member in _members_with_keys(metadata):
        if metadata.jwks is None and metadata.jwks_uri is None:
            raise invalid_metadata(f"{member} needs jwks or jwks_uri.")


def keys_fit_the_algorithms(metadata: ClientMetadata) -> None:
    """Keys by value can be compared with the algorithms; those at a URL may change."""
    if metadata.jwks is None:
        return
    keys = _usable_keys(msgspec.json.encode(metadata.jwks))
    for member in ("token_endpoint_auth_signing_alg", *_SIGNED_REQUESTS):
        alg = getattr(metadata, member)
        if alg in ALGORITHMS and not jose.has_verification_key(keys, alg):
            raise invalid_metadata(f"jwks has no key for the {member} {alg}.")
    for member in _encryption_members():
        alg = getattr(metadata, member)
        if alg is not None and not jose.has_encryption_key(keys, alg):
            raise invalid_metadata(f"jwks has no key for the {member} {alg}.")


@lru_cache(maxsize=64)
def _usable_keys(jwks: bytes) -> list[Mapping[str, Any]]:
    """Return the keys of a set. Cached, because the console asks the rules about many variants of a client."""
    return jose.check_key_set(msgspec.json.decode(jwks))


def _members_with_keys(metadata: ClientMetadata) -> Iterator[str]:
    """The members whose values need keys of the client."""
    if metadata.token_endpoint_auth_method in KEY_METHODS:
        yield f"The token_endpoint_auth_method {metadata.token_endpoint_auth_method}"
    if metadata.require_signed_request_object:
        yield "require_signed_request_object"
    yield from (name for name in _SIGNED_REQUESTS if getattr(metadata, name) is not None)
    if metadata.request_uris:
        yield "request_uris"
    yield from (name for name in _encryption_members() if getattr(metadata, name) in KEY_ENCRYPTION_ALGORITHMS)


def _encryption_members() -> Iterator[str]:
    return (name for name in ClientMetadata.__struct_fields__ if name.endswith("_encrypted_response_alg"))


CHECKS = (keys_are_public_and_usable, keys_are_there_for_what_needs_them, keys_fit_the_algorithms)
