"""Reading the body of a registration or of a change: JSON of a stranger (RFC 7591 section 3.1, RFC 7592)."""

from typing import Any, Final

import msgspec

from idp.infra.strict_json import RepeatedMemberError, decode_object
from idp.oauth.clients.metadata import (
    OPERATOR_MEMBERS,
    ClientMetadata,
    application_type_of,
    invalid_metadata,
    read_metadata,
)

#: What a client may say about itself. Other members are ignored (RFC 7591 section 2).
MEMBERS: Final = frozenset(ClientMetadata.__struct_fields__) - OPERATOR_MEMBERS
#: What the server says in its response. A client must not send it back (RFC 7592 section 2.2).
_OF_RESPONSE: Final = (
    "registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at",
)  # fmt: skip


def read(body: bytes) -> dict[str, Any]:
    """Return the members of a registration request.

    Raises:
        OAuthError: ``invalid_client_metadata``, naming the member if it is one that we know.
    """
    try:
        return decode_object(body)
    except RepeatedMemberError as error:
        name = error.name if error.name in MEMBERS else "A member"
        raise invalid_metadata(f"{name} is repeated.") from error
    except ValueError as error:
        raise invalid_metadata("The body must be one JSON object in UTF-8.") from error


def read_change(body: bytes, client_id: str) -> tuple[dict[str, Any], str | None]:
    """Return the members of a change, and the client secret if it is named. A null stands for an absent member.

    Raises:
        OAuthError: ``invalid_client_metadata``.
    """
    sent = {name: value for name, value in read(body).items() if value is not None}
    for name in _OF_RESPONSE:
        if name in sent:
            raise invalid_metadata(f"{name} must not be sent.")
    if sent.get("client_id") != client_id:
        raise invalid_metadata("client_id must be that of the client.")
    secret = sent.get("client_secret")
    if not isinstance(secret, str | None):
        raise invalid_metadata("client_secret must be a text.")
    return sent, secret


def metadata(sent: dict[str, Any], client_id: str, max_bytes: int) -> ClientMetadata:
    """Return what a client says about itself, with the defaults of the specifications.

    A client without a name is shown by its ``client_id``. ``scope`` is empty if it names none.

    Raises:
        OAuthError: ``invalid_client_metadata``, naming the member.
    """
    described = {name: value for name, value in sent.items() if name in MEMBERS}
    for name, value in described.items():
        _check_text(name, value)
    asked = read_metadata(_defaults(client_id, described) | described)
    if len(msgspec.json.encode(described)) > max_bytes:
        raise invalid_metadata(f"The metadata must not be larger than {max_bytes // 1024} KiB.")
    return asked


def _defaults(client_id: str, described: dict[str, Any]) -> dict[str, Any]:
    application_type = application_type_of(described.get("redirect_uris"))
    return {"client_name": client_id, "scope": "", "application_type": application_type}


def _check_text(name: str, value: Any) -> None:
    if value is None:
        raise invalid_metadata(f"{name} must not be null.")
    try:
        encoded = msgspec.json.encode(value)
        same = msgspec.json.encode(msgspec.json.decode(encoded)) == encoded
    # A lone surrogate, or a number that is too large.
    except (ValueError, OverflowError, RecursionError) as error:
        raise invalid_metadata(f"{name} has a value that cannot be stored.") from error
    if not same:
        raise invalid_metadata(f"{name} has a number that is too large.")
    if b"\\u0000" in encoded:
        raise invalid_metadata(f"{name} must not contain a NUL character.")
