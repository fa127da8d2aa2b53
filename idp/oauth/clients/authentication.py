"""Client authentication (RFC 6749 section 2.3, OpenID Connect Core section 9): one function per method."""

import binascii
import hmac
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import unquote_plus

from idp import ids
from idp.audit import unauthenticated_limit
from idp.audit.events import note
from idp.errors import InvalidClientError, InvalidRequestError, Refused
from idp.infra.request_context import actor
from idp.oauth.clients.auth_methods import AUTH_METHODS
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.reasons import Reason

Form = Mapping[str, str]
#: Verifies the proof of a client. Returns False for an unknown client, after the same work.
VerifyProof = Callable[[Client | None], bool]

_FORM_ENCODED = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})+", re.DOTALL)
_NO_HASH = bytes(32)


class ClientCredentials(NamedTuple):
    """The client that a request names, and the verification of its proof."""

    client_id: str
    verify: VerifyProof


class _BasicCredentials(NamedTuple):
    """Decoded Basic credentials."""

    client_id: str
    secret: str


def client_secret_basic(authorization: str | None, form: Form) -> ClientCredentials | None:
    """Read the secret from the Authorization header (RFC 6749 section 2.3.1, RFC 7617)."""
    if authorization is None:
        return None
    sent = _decode_basic(authorization)
    return ClientCredentials(sent.client_id, _has_secret(sent.secret)) if sent.secret else None


def client_secret_post(authorization: str | None, form: Form) -> ClientCredentials | None:
    """Read the secret from the body (RFC 6749 section 2.3.1)."""
    if "client_secret" not in form:
        return None
    return ClientCredentials(form.get("client_id", ""), _has_secret(form["client_secret"]))


def none(authorization: str | None, form: Form) -> ClientCredentials | None:
    """Read the ``client_id`` of a public client, which sends nothing else.

    Many libraries always send a secret, and for a public client an empty one: ``Authorization: Basic`` of
    ``client_id:``.
    """
    if authorization is not None:
        sent = _decode_basic(authorization)
        return ClientCredentials(sent.client_id, _exists) if not sent.secret else None
    if "client_secret" in form or "client_id" not in form:
        return None
    return ClientCredentials(form["client_id"], _exists)


METHODS: dict[str, Callable[[str | None, Form], ClientCredentials | None]] = {
    name: globals()[name] for name in AUTH_METHODS
}


def authenticate(authorization: str | None, form: Form) -> Client:
    """Authenticate the client of a request by one of its methods (:attr:`Client.auth_methods`).

    Args:
        authorization: the value of the Authorization header, if there is one.
        form: the parameters of the body.

    Raises:
        InvalidClientError: the client is unknown or disabled, or its proof is wrong. The response does not tell which.
        InvalidRequestError: the request uses more than one method, or names two clients.
    """
    challenge = authorization is not None
    found = [(name, sent) for name, method in METHODS.items() if (sent := method(authorization, form)) is not None]
    if len(found) > 1:
        raise InvalidRequestError("The request uses more than one client authentication method.")
    if not found:
        raise InvalidClientError("The request names no client.")
    ((method, credentials),) = found
    if form.get("client_id", credentials.client_id) != credentials.client_id:
        raise InvalidRequestError("The client_id in the body is not the one in the Authorization header.")
    client = registry.client(credentials.client_id)
    proven = credentials.verify(client)
    if client is None or not proven or method not in client.auth_methods:
        reason, hint = _why_refused(client, credentials.client_id, method)
        # An invented client_id must not be logged as a client.
        known = credentials.client_id if client is not None or reason is Reason.CLIENT_DISABLED else None
        note(
            "client_authentication",
            outcome="failure",
            client_id=known,
            detail={"reason": reason},
            limit_key=unauthenticated_limit.limit_key(known),
        )
        whose = f" of {known}" if known else ""
        raise InvalidClientError(
            challenge=challenge, hint=f"Client authentication{whose} failed: {hint}.", refused=Refused(reason)
        )
    actor.set(f"client:{client.client_id}")
    return client


def _why_refused(client: Client | None, client_id: str, method: str) -> tuple[Reason, str]:
    """Return the reason for the operator, which the response does not contain."""
    if client is None and registry.is_disabled(client_id):
        return Reason.CLIENT_DISABLED, "disabled client"
    if client is None:
        return Reason.UNKNOWN_CLIENT, "unknown client"
    if method in client.auth_methods and client.client_secret_hash:
        return Reason.WRONG_SECRET, "wrong secret"
    if method in client.auth_methods:
        return Reason.NO_SECRET_SET, "the client has no secret yet"
    if client.public:
        return Reason.SECRET_NOT_EXPECTED, "the client is registered without a secret, but sent one"
    if method == "none":
        return Reason.SECRET_NOT_SENT, "the client has a secret, but sent none"
    registered = client.token_endpoint_auth_method
    return Reason.WRONG_AUTH_METHOD, f"the client is registered strictly for {registered}, but used {method}"


def _exists(client: Client | None) -> bool:
    return client is not None


def _has_secret(secret: str) -> VerifyProof:
    def verify(client: Client | None) -> bool:
        stored = client.client_secret_hash if client is not None else None
        # The same work for an unknown client and for one without a secret.
        same = hmac.compare_digest(ids.digest(secret), stored or _NO_HASH)
        return same and stored is not None

    return verify


def _malformed(problem: str) -> InvalidClientError:
    return InvalidClientError(
        challenge=True,
        hint=f"Client authentication failed: the Authorization header {problem}.",
        refused=Refused(Reason.MALFORMED),
    )


def _decode_basic(authorization: str) -> _BasicCredentials:
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
    return _BasicCredentials(_decode_form(client_id), _decode_form(secret))


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
