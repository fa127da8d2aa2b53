"""The document itself: what it must say, and what we take from it (section 4.1)."""

import re
from typing import Any

import msgspec

from idp.errors import OAuthError
from idp.infra.media_types import media_type
from idp.infra.strict_json import decode_object
from idp.oauth.clients.auth_methods import AUTH_METHODS
from idp.oauth.clients.documents.errors import invalid
from idp.oauth.clients.documents.identifiers import host_of
from idp.oauth.clients.metadata import OPERATOR_MEMBERS, ClientMetadata, application_type_of, read_metadata
from idp.oauth.clients.registration import check_signing_keys
from idp.oauth.clients.validation import validate
from idp.oauth.clients.validation.backchannel import MEMBERS as BACKCHANNEL_MEMBERS

#: The specification recommends 5 KB. A document with keys may be longer.
MAX_BYTES = 16 * 1024
#: ``application/json`` and ``application/<name>+json``.
_JSON_TYPE = re.compile(r"application/(?:[a-z0-9!#$&^_.+-]+\+)?json", re.IGNORECASE)
#: No secret is shared with such a client.
_AUTH_METHODS = tuple(method for method in ("none", "private_key_jwt") if method in AUTH_METHODS)
_GRANTS = ("authorization_code", "refresh_token")
#: What the document does not decide. The operator may require a level, and upload a logo: one at the client's site
#: would tell it who reads our pages. Other documents would be fetched for anybody who names the client.
_NOT_TAKEN = {"logo_uri", "default_acr_values", "sector_identifier_uri", "request_uris", *BACKCHANNEL_MEMBERS}
MEMBERS = frozenset(ClientMetadata.__struct_fields__) - OPERATOR_MEMBERS - _NOT_TAKEN


def read(url: str, content_type: str, body: bytes) -> ClientMetadata:
    """Return the metadata in a document. Members that we do not know are ignored (RFC 7591 section 2).

    ``scope`` is empty if the document names none. Other defaults differ from RFC 7591, whose client has a secret.

    Raises:
        DocumentError: it is not a valid document for this ``client_id``.
    """
    document = _decode(content_type, body)
    if document.get("client_id") != url:
        raise invalid("client_id must be the URL of the document, letter for letter.")
    if document.keys() & {"client_secret", "client_secret_expires_at"}:
        raise invalid("There must be no client_secret.")
    # A null stands for a member that is absent.
    described = {name: value for name, value in document.items() if name in MEMBERS and value is not None}
    try:
        metadata = read_metadata(_defaults(url, described) | described)
    except OAuthError as error:
        raise invalid(error.description) from error
    metadata = msgspec.structs.replace(metadata, grant_types=_grants(metadata), response_types=("code",))
    if metadata.token_endpoint_auth_method not in _AUTH_METHODS:
        raise invalid(f"token_endpoint_auth_method must be one of {', '.join(_AUTH_METHODS)}.")
    try:
        check_signing_keys(metadata)
        return validate(metadata)
    except OAuthError as error:
        raise invalid(error.description) from error


def _decode(content_type: str, body: bytes) -> dict[str, Any]:
    """Return the members.

    Raises:
        DocumentError: it is not a JSON object, or has text that cannot be stored.
    """
    if not _JSON_TYPE.fullmatch(media_type(content_type)):
        raise invalid("Its Content-Type must be application/json.")
    try:
        document = decode_object(body)
        # Lone surrogates are refused here.
        encoded = msgspec.json.encode(document)
    except (ValueError, RecursionError) as error:
        raise invalid("It must be one JSON object in UTF-8, without repeated members.") from error
    if b"\\u0000" in encoded:
        raise invalid("It must not contain a NUL character.")
    return document


def _defaults(url: str, described: dict[str, Any]) -> dict[str, Any]:
    return {
        "client_name": host_of(url),
        "scope": "",
        "token_endpoint_auth_method": "none",
        # OpenID Connect Registration says web. Clients of MCP leave it out, and run on the user's device.
        "application_type": application_type_of(described.get("redirect_uris")),
    }


def _grants(metadata: ClientMetadata) -> tuple[str, ...]:
    """Return the grants that it asks for and that such a client may use. A document is for other servers too."""
    return tuple(grant for grant in metadata.grant_types if grant in _GRANTS)
