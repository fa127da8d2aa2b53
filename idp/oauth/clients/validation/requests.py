"""Signed authorization requests (RFC 9101, OpenID Connect Core section 6)."""

from idp.oauth.clients.metadata import ClientMetadata, invalid_metadata
from idp.oauth.clients.uris import MAX_LENGTH, InvalidURIError, check_link


def request_uris_are_fit(metadata: ClientMetadata) -> None:
    """OpenID Connect Registration section 2. A fragment is a hash of the content, which this server does not check."""
    for uri in metadata.request_uris:
        try:
            check_link(uri.partition("#")[0])
        except InvalidURIError as error:
            raise invalid_metadata(f"request_uris: each {error}.") from error
        if len(uri) > MAX_LENGTH or not uri.isascii() or not uri.isprintable():
            raise invalid_metadata(f"request_uris: each must be in ASCII, with up to {MAX_LENGTH} characters.")


CHECKS = (request_uris_are_fit,)
