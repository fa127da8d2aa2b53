"""The keys of trusted issuers, by value, at a URL, or as their discovery document says (OpenID Connect Discovery)."""

from collections.abc import Collection
from typing import Any, NamedTuple, Protocol

from idp.keys import jose
from idp.oauth.clients import client_keys
from idp.oauth.clients.client_keys import KeyOwner, KeysUnavailableError


class Issuer(KeyOwner, Protocol):
    """A trusted issuer. Without ``jwks`` and ``jwks_uri``, its discovery document names its keys."""

    @property
    def issuer(self) -> str: ...


class _Issuer(NamedTuple):
    """An issuer whose discovery document was read."""

    jwks_uri: str
    jwks: dict[str, Any] | None = None


async def verify(issuer: Issuer, token: str, algorithms: Collection[str], types: Collection[str]) -> jose.Claims:
    """Return the claims of a JWT that an issuer signed.

    Args:
        algorithms, types: as of :func:`idp.keys.jose.verify_registered`.

    Raises:
        InvalidJWTError: the token is not valid.
        KeysUnavailableError: the keys cannot be fetched, or the discovery document is one of another issuer.
    """
    return await client_keys.verify(await _key_owner(issuer), token, algorithms, types)


async def _key_owner(issuer: Issuer) -> KeyOwner:
    if issuer.jwks is not None or issuer.jwks_uri is not None:
        return issuer
    metadata = await client_keys.document(f"{issuer.issuer.rstrip('/')}/.well-known/openid-configuration")
    if not isinstance(metadata, dict) or metadata.get("issuer") != issuer.issuer:
        raise KeysUnavailableError("The discovery document of the issuer is that of another one.")
    jwks_uri = metadata.get("jwks_uri")
    if not isinstance(jwks_uri, str):
        raise KeysUnavailableError("The discovery document of the issuer names no jwks_uri.")
    return _Issuer(jwks_uri)
