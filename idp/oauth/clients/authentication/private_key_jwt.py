"""The method ``private_key_jwt``: an assertion signed by a key of the client (OpenID Connect Core section 9)."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from idp.keys import jose
from idp.keys.algorithms import SECRET_ALGORITHMS, VERIFICATION_ALGORITHMS
from idp.oauth.clients import client_keys, profiles
from idp.oauth.clients.authentication import assertions
from idp.oauth.clients.authentication.credentials import Credentials, Failure, Sent
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.reasons import Reason

#: Keys that nobody has, for the same work for an unknown client: the generators of curves, and an RSA modulus.
_NO_KEYS = (
    {"kty": "RSA", "n": "_" * 341 + "w", "e": "AQAB"},
    {
        "kty": "EC",
        "crv": "P-256",
        "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
        "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
    },
    {"kty": "OKP", "crv": "Ed25519", "x": "WGZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmY"},
)


class _KeyOwner(NamedTuple):
    """Who has these keys."""

    jwks: Mapping[str, Any]
    jwks_uri: None = None


def _nobody(kid: object) -> _KeyOwner:
    return _KeyOwner({"keys": [{**key, "kid": kid} for key in _NO_KEYS]})


def private_key_jwt(sent: Sent) -> Credentials | None:
    """Read an assertion of the client itself, except with a shared secret. An unknown algorithm is refused later."""
    assertion = assertions.read(sent)
    if assertion is None or assertion.alg in SECRET_ALGORITHMS or registry.trusts(assertion):
        return None

    async def verify(client: Client | None) -> Failure | None:
        try:
            owner = client or _nobody(assertion.kid)
            claims = await client_keys.verify(owner, assertion.token, algorithms_of(client), assertions.TYPES)
        except jose.InvalidJWTError as error:
            return Failure(error.reason, f"the assertion: {error.description.rstrip('.')}")
        except client_keys.KeysUnavailableError:
            return Failure(Reason.KEYS_UNAVAILABLE, "the keys at its jwks_uri cannot be fetched")
        if client is None:
            return Failure(Reason.UNKNOWN_CLIENT, "unknown client")
        return await assertions.check(claims, client, sent)

    return Credentials(assertion.subject, verify)


def algorithms_of(client: Client | None) -> tuple[str, ...]:
    """Return the algorithms that a client may use (FAPI 2.0 Security Profile section 5.4.1)."""
    if client is None:
        return VERIFICATION_ALGORITHMS
    allowed = profiles.algorithms(client, VERIFICATION_ALGORITHMS)
    registered = client.token_endpoint_auth_signing_alg
    return allowed if registered is None else tuple(alg for alg in allowed if alg == registered)
