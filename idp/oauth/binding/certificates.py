"""The TLS certificate of a client (RFC 8705), in the formats of reverse proxies.

A proxy ends the TLS connection, so it alone knows that the client has the private key. Its header is read
by :mod:`idp.http.client_certificate`.
"""

import binascii
import re
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import unquote

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from idp import clock
from idp.errors import ProofError
from idp.infra.request_context import client_certificate
from idp.settings import settings

log = structlog.get_logger()


class MalformedCertificateError(ProofError):
    """The header of the proxy does not hold one certificate."""


class ClientCertificate(NamedTuple):
    """A certificate whose private key the client has.

    Attributes:
        der: its encoding.
        verified: whether the proxy has verified that a trusted authority issued it.
        x509: its content.
        begins, ends: when it is valid.
    """

    der: bytes
    verified: bool
    x509: x509.Certificate
    begins: datetime
    ends: datetime

    @property
    def thumbprint(self) -> str:
        """Its SHA-256 in base64url, for ``x5t#S256`` (RFC 8705 section 3.1)."""
        return urlsafe_b64encode(sha256(self.der).digest()).rstrip(b"=").decode()

    @property
    def public_key(self) -> bytes:
        """Its public key as PEM; empty if it is of an unknown kind."""
        try:
            return self.x509.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        except (ValueError, UnsupportedAlgorithm):
            return b""


def permit(method: str) -> bool:
    """Return whether clients can authenticate by this method: the proxies verify certificates, or leave that to us.

    nginx says it for each certificate.
    """
    form, verified = settings().client_certificate_header, settings().client_certificates_verified
    return form is not None and (form == "nginx" or (method == "tls_client_auth") == verified)


def presented() -> ClientCertificate | None:
    """Return the certificate of the client of this request; None if it presented none, or one that cannot be used."""
    forwarded = client_certificate.get()
    if forwarded is None:
        return None
    try:
        found = _parse(forwarded.form, forwarded.value, forwarded.verified)
    except MalformedCertificateError as error:
        log.warning("client_certificate_ignored", reason=error.description)
        return None
    return found if found.begins <= clock.now() <= found.ends else None


@lru_cache(maxsize=1024)
def _parse(form: str, value: str, verified: bool) -> ClientCertificate:
    """Read a certificate. Cached, because a client sends the same one with each request. Errors are not cached.

    Raises:
        MalformedCertificateError: the header does not hold one certificate.
    """
    der = _FORMATS[form](value)
    try:
        found = x509.load_der_x509_certificate(der)
        return ClientCertificate(der, verified, found, found.not_valid_before_utc, found.not_valid_after_utc)
    except (ValueError, x509.InvalidVersion) as error:
        raise MalformedCertificateError("The header of the proxy holds no certificate.") from error


def _base64(text: str) -> bytes:
    try:
        return b64decode(text.encode("ascii"), validate=True)
    except (UnicodeError, binascii.Error) as error:
        raise MalformedCertificateError("The certificate in the header of the proxy is not base64.") from error


def _pem(text: str) -> bytes:
    """Decode one certificate as PEM (RFC 7468), of which the leaf comes first."""
    found = _PEM.match(text.strip())
    if found is None:
        raise MalformedCertificateError("The header of the proxy holds no certificate as PEM.")
    return _base64("".join(found[1].split()))


_PEM = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")


def rfc9440(value: str) -> bytes:
    """``Client-Cert: :…:``, a byte sequence of RFC 8941 (RFC 9440 section 2.1)."""
    text = value.strip(" ")
    if len(text) < 3 or text[0] != ":" or text[-1] != ":":
        raise MalformedCertificateError("The header Client-Cert is not a byte sequence.")
    return _base64(text[1:-1])


def nginx(value: str) -> bytes:
    """``$ssl_client_escaped_cert``: PEM in URL encoding."""
    return _pem(unquote(value))


def traefik(value: str) -> bytes:
    """``pem`` of PassTLSClientCert: PEM without its first and last lines; the leaf first, with commas between."""
    return _base64("".join(unquote(value).split(",")[0].split()))


#: ``key=value`` of an element of X-Forwarded-Client-Cert; a value with separators is quoted.
_PAIR = r'([A-Za-z]+)=("(?:[^"\\]|\\.)*+"|[^",;]*+)'
_ELEMENT = re.compile(rf"{_PAIR}(?:;{_PAIR})*+")


def envoy(value: str) -> bytes:
    """``X-Forwarded-Client-Cert`` with one element: Envoy must not append to what it got (``SANITIZE_SET``)."""
    if _ELEMENT.fullmatch(value) is None:
        raise MalformedCertificateError("The header X-Forwarded-Client-Cert does not have one element.")
    certificates = [text for key, text in re.findall(_PAIR, value) if key == "Cert"]
    if len(certificates) != 1:
        raise MalformedCertificateError("The header X-Forwarded-Client-Cert does not have one Cert.")
    return _pem(unquote(certificates[0].strip('"')))


_FORMATS: Mapping[str, Callable[[str], bytes]] = {
    "rfc9440": rfc9440,
    "nginx": nginx,
    "envoy": envoy,
    "traefik": traefik,
}
