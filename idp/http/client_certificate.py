"""The client certificate that a reverse proxy passes on. No other code reads it from a request."""

from collections.abc import Mapping

import structlog
from litestar.types import Scope

from idp.http.headers import request_headers
from idp.infra.networks import parse_address
from idp.infra.request_context import ForwardedCertificate
from idp.settings import IPNetwork

log = structlog.get_logger()

#: The header of each format, by its name in IDP_CLIENT_CERTIFICATE_HEADER.
HEADERS: Mapping[str, bytes] = {
    "rfc9440": b"client-cert",
    "nginx": b"x-ssl-client-cert",
    "envoy": b"x-forwarded-client-cert",
    "traefik": b"x-forwarded-tls-client-cert",
}
#: In this header nginx says whether it has verified the certificate.
_NGINX_VERIFY = b"x-ssl-client-verify"
#: Largest length of a header. A certificate with an RSA key of 4096 bits has about 3000 characters.
MAX_LENGTH = 16 * 1024
#: Maximum number of peers about which one process warns.
MAX_WARNINGS = 8
_warned: set[str] = set()


def client_certificate(
    scope: Scope, form: str, verified: bool, trusted_proxies: tuple[IPNetwork, ...]
) -> ForwardedCertificate | None:
    """Return the header with the client certificate, as text.

    It is ignored if the peer is no trusted proxy, and if there are several: a proxy replaces what a client sends.

    Args:
        form: its format, a key of :data:`HEADERS`.
        verified: whether the proxies pass only certificates that they have verified.
    """
    values = request_headers(scope, HEADERS[form])
    if not any(values):
        return None
    peer = scope.get("client")
    address = parse_address(peer[0]) if peer else None
    if address is None or not any(address in network for network in trusted_proxies):
        _warn(str(address), "It does not come from a proxy that IDP_TRUSTED_PROXIES names.")
        return None
    if len(values) > 1 or len(values[0]) > MAX_LENGTH:
        _warn(str(address), "There are several, or it is too long.")
        return None
    if form == "nginx":
        verified = request_headers(scope, _NGINX_VERIFY) == ["SUCCESS"]
    return ForwardedCertificate(form, values[0], verified)


def _warn(peer: str, reason: str) -> None:
    if peer not in _warned and len(_warned) < MAX_WARNINGS:
        _warned.add(peer)
        log.warning("client_certificate_ignored", host=peer, reason=reason)
