"""Basic credentials (RFC 6749 section 2.3.1, RFC 7617)."""

import binascii
import re
from typing import NamedTuple
from urllib.parse import unquote_plus

from idp.errors import InvalidClientError, Refused
from idp.reasons import Reason

_FORM_ENCODED = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})+", re.DOTALL)


class BasicCredentials(NamedTuple):
    """Decoded Basic credentials."""

    client_id: str
    secret: str


def decode(authorization: str) -> BasicCredentials:
    """Decode an Authorization header.

    Raises:
        InvalidClientError: the scheme is not Basic, or the header is malformed.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise _malformed("is not of the Basic scheme")
    client_id, colon, secret = _decode_base64(token.strip(" ")).partition(":")
    if not client_id or not colon:
        raise _malformed("is not client_id:client_secret")
    return BasicCredentials(_decode_form(client_id), _decode_form(secret))


def _malformed(problem: str) -> InvalidClientError:
    return InvalidClientError(
        challenge=True,
        hint=f"Client authentication failed: the Authorization header {problem}.",
        refused=Refused(Reason.MALFORMED),
    )


def _decode_base64(text: str) -> str:
    """Decode base64 strictly: only the canonical encoding of a string is accepted.

    Raises:
        InvalidClientError: it is not base64 of UTF-8.
    """
    try:
        data = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
        if binascii.b2a_base64(data, newline=False).decode() != text:
            raise _malformed("is not base64")
        return data.decode()
    except (UnicodeError, binascii.Error) as error:
        raise _malformed("is not base64 of UTF-8") from error


def _decode_form(text: str) -> str:
    """Decode one half of the credentials, which RFC 6749 section 2.3.1 form-encodes before base64.

    Raises:
        InvalidClientError: a half is not form-encoded UTF-8.
    """
    if "%" not in text and "+" not in text:
        return text
    if not _FORM_ENCODED.fullmatch(text):
        raise _malformed("has a half that is not form-encoded, as RFC 6749 section 2.3.1 asks")
    try:
        return unquote_plus(text, errors="strict")
    except UnicodeDecodeError as error:
        raise _malformed("has a half that is not form-encoded UTF-8") from error
