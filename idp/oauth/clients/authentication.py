"""Client authentication (RFC 6749 section 2.3, OpenID Connect Core section 9): one function a method."""

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
from idp.oauth.clients.registry import Client, registry
from idp.reasons import Reason

Form = Mapping[str, str]
#: Says whether a client's proof of who it is holds. Of no client it says no, after the same work.
Proof = Callable[[Client | None], bool]

_FORM_ENCODED = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})+", re.DOTALL)
_NO_HASH = bytes(32)


class Attempt(NamedTuple):
    """What a request says of its client, and the proof that it brings."""

    client_id: str
    proof: Proof


class Credentials(NamedTuple):
    """The decoded halves of Basic credentials."""

    client_id: str
    secret: str


def client_secret_basic(authorization: str | None, form: Form) -> Attempt | None:
    """The secret in an Authorization header (RFC 6749 section 2.3.1, RFC 7617)."""
    if authorization is None:
        return None
    sent = _decode_basic(authorization)
    return Attempt(sent.client_id, _knows(sent.secret)) if sent.secret else None


def client_secret_post(authorization: str | None, form: Form) -> Attempt | None:
    """The secret in the body (RFC 6749 section 2.3.1)."""
    if "client_secret" not in form:
        return None
    return Attempt(form.get("client_id", ""), _knows(form["client_secret"]))


def none(authorization: str | None, form: Form) -> Attempt | None:
    """A public client, which only says who it is.

    Many libraries know no client without a secret, and send an empty one: ``Authorization: Basic`` of ``client_id:``.
    """
    if authorization is not None:
        sent = _decode_basic(authorization)
        return Attempt(sent.client_id, _is_known) if not sent.secret else None
    if "client_secret" in form or "client_id" not in form:
        return None
    return Attempt(form["client_id"], _is_known)


METHODS: dict[str, Callable[[str | None, Form], Attempt | None]] = {
    "client_secret_basic": client_secret_basic,
    "client_secret_post": client_secret_post,
    "none": none,
}


def authenticate(authorization: str | None, form: Form) -> Client:
    """The client that sent a request, by a method that it may use (:attr:`Client.auth_methods`).

    Args:
        authorization: the value of the Authorization header, if there is one.
        form: the parameters of the body.

    Raises:
        InvalidClientError: it is unknown or disabled, or its proof does not hold. Which of it is not told.
        InvalidRequestError: the request uses more than one method, or names two clients.
    """
    challenge = authorization is not None
    attempts = [
        (name, attempt) for name, method in METHODS.items() if (attempt := method(authorization, form)) is not None
    ]
    if len(attempts) > 1:
        raise InvalidRequestError("The request uses more than one client authentication method.")
    if not attempts:
        raise InvalidClientError("The request names no client.")
    ((method, attempt),) = attempts
    if form.get("client_id", attempt.client_id) != attempt.client_id:
        raise InvalidRequestError("The client_id in the body is not the one in the Authorization header.")
    client = registry.client(attempt.client_id)
    proven = attempt.proof(client)
    if client is None or not proven or method not in client.auth_methods:
        reason, hint = _why_refused(client, method)
        # An id that was made up must not look like a client of ours.
        known = client.client_id if client is not None else None
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


def _why_refused(client: Client | None, method: str) -> tuple[Reason, str]:
    """For the operator: the answer does not tell."""
    if client is None:
        return Reason.UNKNOWN_CLIENT, "unknown or disabled client"
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


def _is_known(client: Client | None) -> bool:
    return client is not None


def _knows(secret: str) -> Proof:
    def proof(client: Client | None) -> bool:
        stored = client.client_secret_hash if client is not None else None
        # An unknown client, and one without a secret, cost the same.
        same = hmac.compare_digest(ids.digest(secret), stored or _NO_HASH)
        return same and stored is not None

    return proof


def _malformed(problem: str) -> InvalidClientError:
    return InvalidClientError(
        challenge=True,
        hint=f"Client authentication failed: the Authorization header {problem}.",
        refused=Refused(Reason.MALFORMED),
    )


def _decode_basic(authorization: str) -> Credentials:
    """Decode an Authorization header.

    Raises:
        InvalidClientError: it is not of the Basic scheme, or not well-formed.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise _malformed("is not of the Basic scheme")
    client_id, colon, secret = _decode_base64(token.strip(" ")).partition(":")
    if not client_id or not colon:
        raise _malformed("is not client_id:client_secret")
    return Credentials(_decode_form(client_id), _decode_form(secret))


def _decode_base64(text: str) -> str:
    """Decode strictly: one string has one encoding.

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
    """Decode what RFC 6749 wants encoded twice: both halves of the credentials are form-encoded.

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
