"""Client certificates, and the headers in which proxies pass them."""

import base64
import ipaddress
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

SUBJECT = x509.Name(
    [
        x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Bank, Inc."),
        x509.NameAttribute(NameOID.EMAIL_ADDRESS, "ops@bank.example"),
        x509.NameAttribute(NameOID.COMMON_NAME, "client"),
    ]
)
NAMES: tuple[x509.GeneralName, ...] = (
    x509.DNSName("Client.Bank.example"),
    x509.DNSName("*.wild.example"),
    x509.UniformResourceIdentifier("spiffe://bank.example/client"),
    x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
    x509.RFC822Name("ops@bank.example"),
)


def certificate(
    subject: x509.Name = SUBJECT, names: Sequence[x509.GeneralName] = NAMES, *, days: int = 30, ended: int = 0
) -> x509.Certificate:
    """Return a self-signed certificate that ended so many days ago."""
    key = ec.generate_private_key(ec.SECP256R1())
    until = datetime.now(UTC) + timedelta(days=days - ended)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(until - timedelta(days=2 * days))
        .not_valid_after(until if not ended else datetime.now(UTC) - timedelta(days=ended))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256())


def der(one: x509.Certificate) -> bytes:
    return one.public_bytes(Encoding.DER)


def pem(one: x509.Certificate) -> str:
    return one.public_bytes(Encoding.PEM).decode()


def _base64(one: x509.Certificate) -> str:
    return base64.b64encode(der(one)).decode()


#: The name and the value of the header, by format.
HEADERS: dict[str, tuple[str, Callable[[x509.Certificate], str]]] = {
    "rfc9440": ("client-cert", lambda one: f":{_base64(one)}:"),
    "nginx": ("x-ssl-client-cert", lambda one: quote(pem(one), safe="")),
    "envoy": (
        "x-forwarded-client-cert",
        lambda one: f'By=spiffe://x/y;Hash=ab12;Cert="{quote(pem(one), safe="")}";Subject="CN=a\\",b;c";URI=',
    ),
    "traefik": ("x-forwarded-tls-client-cert", lambda one: f"{quote(_base64(one), safe='')},{_base64(certificate())}"),
}


def headers(one: x509.Certificate, form: str = "rfc9440") -> dict[str, str]:
    """Return the headers of a request with a certificate that the proxy has verified."""
    name, value = HEADERS[form]
    return {name: value(one).removesuffix(";URI=")} | ({"x-ssl-client-verify": "SUCCESS"} if form == "nginx" else {})
