"""The method ``self_signed_tls_client_auth``: a certificate that the client registered (RFC 8705 section 2.2)."""

import binascii
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from idp.keys import jose
from idp.oauth.binding import certificates
from idp.oauth.binding.certificates import ClientCertificate
from idp.oauth.clients import client_keys
from idp.oauth.clients.authentication.credentials import Credentials, Failure, Sent, only_client_id
from idp.oauth.clients.models import Client
from idp.reasons import Reason


def self_signed_tls_client_auth(sent: Sent) -> Credentials | None:
    """Read the ``client_id`` beside a certificate."""
    client_id = only_client_id(sent)
    certificate = certificates.presented() if client_id is not None else None
    if client_id is None or certificate is None:
        return None

    async def verify(client: Client | None) -> Failure | None:
        try:
            if client is not None and await client_keys.find(client, lambda jwk: _is_of(jwk, certificate)):
                return None
        except client_keys.KeysUnavailableError:
            return Failure(Reason.KEYS_UNAVAILABLE, "the keys at its jwks_uri cannot be fetched")
        return Failure(Reason.UNTRUSTED_CERTIFICATE, "its certificate is not one that it registered")

    return Credentials(client_id, verify, implicit=True)


def _is_of(jwk: Mapping[str, Any], certificate: ClientCertificate) -> bool:
    """Return whether a registered key is that of a certificate, by its ``x5c`` if it has one."""
    chain = jwk.get("x5c")
    if chain is None:
        return jose.same_key(jwk, certificate.public_key)
    try:
        return isinstance(chain, list) and b64decode(chain[0], validate=True) == certificate.der
    except (IndexError, TypeError, ValueError, binascii.Error):
        return False
