"""Client authentication (RFC 6749 section 2.3, OpenID Connect Core section 9): one function a method."""

import binascii
import hmac
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import unquote_plus

from idp import ids
from idp.audit import strangers
from idp.audit.events import note
from idp.errors import InvalidClient, InvalidRequest
from idp.oauth.clients.registry import Client, registry
from idp.web.context import actor

Form = Mapping[str, str]
#: Says whether a client's proof of who it is holds. Of no client it says no, after the same work.
Proof = Callable[[Client | None], bool]

_FORM_ENCODED = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})+", re.DOTALL)
_NO_HASH = bytes(32)


class Attempt(NamedTuple):
    """What a request says of its client, and the proof that it brings."""

    client_id: str
    proof: Proof


def client_secret_basic(authorization: str | None, form: Form) -> Attempt | None:
    """The secret in an Authorization header (RFC 6749 section 2.3.1, RFC 7617)."""
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise InvalidClient(challenge=True)
    client_id, colon, secret = _decode_base64(token.strip(" ")).partition(":")
    if not colon:
        raise InvalidClient(challenge=True)
    return Attempt(_decode_form(client_id), _knows(_decode_form(secret)))


def client_secret_post(authorization: str | None, form: Form) -> Attempt | None:
    """The secret in the body (RFC 6749 section 2.3.1)."""
    if "client_secret" not in form:
        return None
    return Attempt(form.get("client_id", ""), _knows(form["client_secret"]))


def none(authorization: str | None, form: Form) -> Attempt | None:
    """A public client, which only says who it is."""
    if authorization is not None or "client_secret" in form or "client_id" not in form:
        return None
    return Attempt(form["client_id"], lambda client: client is not None)


METHODS: dict[str, Callable[[str | None, Form], Attempt | None]] = {
    "client_secret_basic": client_secret_basic,
    "client_secret_post": client_secret_post,
    "none": none,
}


def authenticate(authorization: str | None, form: Form) -> Client:
    """The client that sent a request, by the one method that it is registered for.

    Args:
        authorization: the value of the Authorization header, if there is one.
        form: the parameters of the body.

    Raises:
        InvalidClient: it is unknown or disabled, or its proof does not hold. Which of it is not told.
        InvalidRequest: the request uses more than one method, or names two clients.
    """
    challenge = authorization is not None
    attempts = [
        (name, attempt) for name, method in METHODS.items() if (attempt := method(authorization, form)) is not None
    ]
    if len(attempts) > 1:
        raise InvalidRequest("The request uses more than one client authentication method.")
    if not attempts:
        raise InvalidClient("The request names no client.")
    ((method, attempt),) = attempts
    if form.get("client_id", attempt.client_id) != attempt.client_id:
        raise InvalidRequest("The client_id in the body is not the one in the Authorization header.")
    client = registry.client(attempt.client_id)
    proven = attempt.proof(client)
    if client is None or not proven or method != client.token_endpoint_auth_method:
        _note_failure(attempt.client_id, client, method)
        raise InvalidClient(challenge=challenge)
    actor.set(f"client:{client.client_id}")
    return client


def _note_failure(client_id: str, client: Client | None, method: str) -> None:
    if client is None:
        # Whatever somebody made up shall not look like a client of ours.
        reason, known = "unknown or disabled client", None
    elif method != client.token_endpoint_auth_method:
        reason, known = f"not registered for {method}", client_id
    else:
        reason, known = "wrong secret", client_id
    note(
        "client_authentication",
        outcome="failure",
        client_id=known,
        detail={"reason": reason},
        stranger=strangers.subject(known),
    )


def _knows(secret: str) -> Proof:
    def proof(client: Client | None) -> bool:
        stored = client.client_secret_hash if client is not None else None
        # An unknown client, and one without a secret, cost the same.
        same = hmac.compare_digest(ids.digest(secret), stored or _NO_HASH)
        return same and stored is not None

    return proof


def _decode_base64(text: str) -> str:
    """Decode strictly: one string has one encoding.

    Raises:
        InvalidClient: it is not base64 of UTF-8.
    """
    try:
        data = binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
        if binascii.b2a_base64(data, newline=False).decode() != text:
            raise InvalidClient(challenge=True)
        return data.decode()
    except (UnicodeError, binascii.Error) as error:
        raise InvalidClient(challenge=True) from error


def _decode_form(text: str) -> str:
    """Decode what RFC 6749 wants encoded twice: both halves of the credentials are form-encoded.

    Raises:
        InvalidClient: a half is empty or not form-encoded UTF-8.
    """
    if text and "%" not in text and "+" not in text:
        return text
    if not _FORM_ENCODED.fullmatch(text):
        raise InvalidClient(challenge=True)
    try:
        return unquote_plus(text, errors="strict")
    except UnicodeDecodeError as error:
        raise InvalidClient(challenge=True) from error
