"""JWTs for one client: ID tokens, and signed userinfo, introspection and authorization responses.

Each kind is signed by the algorithm that the client registered for it, and then encrypted if it registered that
(OpenID Connect Dynamic Client Registration section 2, RFC 9701 section 6, JARM section 3).
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Literal

from idp.errors import OAuthError, Refused
from idp.keys import jose
from idp.keys.algorithms import DEFAULT_ALGORITHM, DEFAULT_CONTENT_ENCRYPTION
from idp.keys.key_set import key_set
from idp.oauth.clients import client_keys
from idp.oauth.clients.client_keys import JWKS, KeysUnavailableError
from idp.oauth.clients.models import Client
from idp.reasons import Reason

#: The prefix of the metadata ``*_signed_response_alg``, ``*_encrypted_response_alg`` and ``*_encrypted_response_enc``.
Kind = Literal["id_token", "userinfo", "introspection", "authorization"]


def signing_alg(client: Client, kind: Kind) -> str:
    """Return the algorithm that signs this kind of JWT for a client."""
    return getattr(client, f"{kind}_signed_response_alg") or DEFAULT_ALGORITHM


async def make(client: Client, kind: Kind, typ: str, claims: Mapping[str, Any]) -> str:
    """Return a JWT for a client, nested if it is encrypted.

    Args:
        typ: the type in the header of the signed JWT.

    Raises:
        OAuthError: the client registered encryption, and has no key for it that can be used or fetched. The JWT is then
            not sent at all: what its owner wanted hidden must not be readable.
    """
    token = key_set.sign(signing_alg(client, kind), typ, claims)
    alg = _key_encryption(client, kind)
    if alg is None:
        return token
    enc: str = getattr(client, f"{kind}_encrypted_response_enc") or DEFAULT_CONTENT_ENCRYPTION
    try:
        return jose.encrypt(token, await _keys(client), alg, enc)
    except jose.NoMatchingKeyError as error:
        raise _no_key(client, alg, str(error)) from error


async def require_key(client: Client, kind: Kind) -> None:
    """Check that :func:`make` will find a key, before a code or a refresh token is used up.

    Raises:
        OAuthError: as of :func:`make`.
    """
    alg = _key_encryption(client, kind)
    if alg is not None and not jose.has_encryption_key(await _keys(client), alg):
        raise _no_key(client, alg, "No key fits.")


def _key_encryption(client: Client, kind: Kind) -> str | None:
    alg: str | None = getattr(client, f"{kind}_encrypted_response_alg")
    return alg


async def _keys(client: Client) -> JWKS:
    try:
        return await client_keys.keys(client)
    except KeysUnavailableError as error:
        raise OAuthError(
            "temporarily_unavailable",
            "The response cannot be encrypted: the keys of this client cannot be fetched.",
            HTTPStatus.SERVICE_UNAVAILABLE,
            hint=f"{client.client_id}: {error}",
            refused=Refused(Reason.KEYS_UNAVAILABLE),
        ) from error


def _no_key(client: Client, alg: str, hint: str) -> OAuthError:
    description = f"The response cannot be encrypted: this client has no key for {alg} that can be used."
    refused = Refused(Reason.NO_ENCRYPTION_KEY)
    return OAuthError("invalid_request", description, hint=f"{client.client_id}: {hint}", refused=refused)
