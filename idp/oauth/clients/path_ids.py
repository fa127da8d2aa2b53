"""A ``client_id`` as one segment of a path: of the console, of the admin API and of its logo.

The URL of a document has slashes. Encoded, proxies treat them in different ways, so it is written in base64url.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping

from idp.oauth.clients.documents.identifiers import check_document_url, is_document_url
from idp.oauth.clients.uris import InvalidURIError

_PREFIX = "~"


def path_id(client_id: str) -> str:
    """Return the segment for a client."""
    if not is_document_url(client_id):
        return client_id
    return _PREFIX + urlsafe_b64encode(client_id.encode()).rstrip(b"=").decode()


def client_id_of(segment: str) -> str:
    """Return the client that a segment names. One that encodes no URL of a document names itself."""
    encoded = segment.removeprefix(_PREFIX)
    try:
        client_id = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
        check_document_url(client_id)
    except (binascii.Error, ValueError, InvalidURIError):
        return segment
    return client_id if path_id(client_id) == segment else segment


def decoded(params: Mapping[str, str]) -> Mapping[str, str]:
    """Return the parameters of a path with the ``client_id`` decoded."""
    return {**params, "client_id": client_id_of(params["client_id"])} if "client_id" in params else params
