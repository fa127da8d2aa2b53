"""Comparing the names in a certificate with those that a client registered (RFC 8705 section 2.1.2)."""

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

from cryptography import x509
from cryptography.x509.oid import NameOID

#: Further names of attributes, as certificate tools write them.
_ATTRIBUTES = {
    "emailAddress": NameOID.EMAIL_ADDRESS,
    "E": NameOID.EMAIL_ADDRESS,
    "serialNumber": NameOID.SERIAL_NUMBER,
    "organizationIdentifier": NameOID.ORGANIZATION_IDENTIFIER,
    "businessCategory": NameOID.BUSINESS_CATEGORY,
}


@lru_cache(maxsize=1024)
def distinguished_name(text: str) -> x509.Name:
    """Parse a distinguished name (RFC 4514).

    Raises:
        ValueError: it is malformed.
    """
    return x509.Name.from_rfc4514_string(text, _ATTRIBUTES)


def _subject_dn(certificate: x509.Certificate, registered: str) -> bool:
    try:
        return certificate.subject == distinguished_name(registered)
    except ValueError:
        return False


def _names(certificate: x509.Certificate, kind: type[x509.GeneralName]) -> Iterator[object]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return
    yield from (name.value for name in extension.value if isinstance(name, kind))


def _san_dns(certificate: x509.Certificate, registered: str) -> bool:
    """Names of hosts have no case. A wildcard stands for itself only."""
    return registered.lower() in (str(name).lower() for name in _names(certificate, x509.DNSName))


def _san_uri(certificate: x509.Certificate, registered: str) -> bool:
    return registered in _names(certificate, x509.UniformResourceIdentifier)


def _san_ip(certificate: x509.Certificate, registered: str) -> bool:
    try:
        return ipaddress.ip_address(registered) in _names(certificate, x509.IPAddress)
    except ValueError:
        return False


def _san_email(certificate: x509.Certificate, registered: str) -> bool:
    return registered in _names(certificate, x509.RFC822Name)


#: By the member of the client's metadata.
NAMES: Mapping[str, Callable[[x509.Certificate, str], bool]] = {
    "tls_client_auth_subject_dn": _subject_dn,
    "tls_client_auth_san_dns": _san_dns,
    "tls_client_auth_san_uri": _san_uri,
    "tls_client_auth_san_ip": _san_ip,
    "tls_client_auth_san_email": _san_email,
}
