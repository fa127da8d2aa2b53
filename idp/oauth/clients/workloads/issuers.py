"""The keys of trusted issuers, by value, at a URL, or as their discovery document says (OpenID Connect Discovery)."""

from typing import Any, NamedTuple

from idp.oauth.clients import client_keys
from idp.oauth.clients.client_keys import KeyOwner, KeysUnavailableError
from idp.oauth.clients.workloads.models import WorkloadIdentity


class _Issuer(NamedTuple):
    """An issuer whose discovery document was read."""

    jwks_uri: str
    jwks: dict[str, Any] | None = None


async def key_owner(rule: WorkloadIdentity) -> KeyOwner:
    """Return where the keys of the issuer are.

    Raises:
        KeysUnavailableError: there is no discovery document, or it is one of another issuer.
    """
    if rule.jwks is not None or rule.jwks_uri is not None:
        return rule
    metadata = await client_keys.document(f"{rule.issuer.rstrip('/')}/.well-known/openid-configuration")
    if not isinstance(metadata, dict) or metadata.get("issuer") != rule.issuer:
        raise KeysUnavailableError("The discovery document of the issuer is that of another one.")
    jwks_uri = metadata.get("jwks_uri")
    if not isinstance(jwks_uri, str):
        raise KeysUnavailableError("The discovery document of the issuer names no jwks_uri.")
    return _Issuer(jwks_uri)
