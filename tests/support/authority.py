"""A certificate authority of the tests, and certificates by it with every fault."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class Authority:
    """Issues certificates into a folder.

    Attributes:
        path: its own certificate.
    """

    def __init__(self, folder: Path, name: str = "Authority of the tests") -> None:
        self._folder, self._name = folder, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._count = 0
        own = self._sign(self._name, self._key.public_key(), datetime.now(UTC) + timedelta(days=365))
        self.path = folder / "authority.pem"
        self.path.write_bytes(own.public_bytes(Encoding.PEM))

    def issue(self, *hosts: str, days: float = 90) -> Path:
        """Return a file with a private key, and a certificate for hosts that ends in so many days."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
        issued = self._sign(name, key.public_key(), datetime.now(UTC) + timedelta(days=days), *hosts)
        self._count += 1
        path = self._folder / f"issued-{self._count}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.write_bytes(private + issued.public_bytes(Encoding.PEM))
        return path

    def context(self, host: str = "localhost", *, days: float = 90) -> ssl.SSLContext:
        """Return the context of a server with a certificate for a host that ends in so many days."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.issue(host, days=days))
        return context

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, until: datetime, *hosts: str
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(until - timedelta(days=400))
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=not hosts, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if hosts:
            names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256())
