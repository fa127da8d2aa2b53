"""OpenLDAP's slapd on loopback, with a configuration, a database and certificates of its own."""

import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.support.server import free_port

START_WITHIN_SECONDS = 30
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/usr/libexec"
PROGRAM, MODIFY = shutil.which("slapd", path=_PATH), shutil.which("ldapmodify", path=_PATH)
SCHEMAS, MODULES = Path("/etc/ldap/schema"), Path("/usr/lib/ldap")

needs_slapd = pytest.mark.skipif(PROGRAM is None or MODIFY is None, reason="slapd or ldap-utils is not installed")

SUFFIX = "dc=example,dc=com"
ADMIN, ADMIN_PASSWORD = f"cn=admin,{SUFFIX}", "of the directory"
BIND_DN, BIND_PASSWORD = f"cn=idp,{SUFFIX}", "of idp"
PEOPLE, GROUPS = f"ou=people,{SUFFIX}", f"ou=groups,{SUFFIX}"

#: The attributes of Active Directory that idp reads. Names and syntaxes are those of Microsoft, the numbers are not.
_NUMBER, _TEXT, _BYTES = (
    f"EQUALITY {rule} SYNTAX 1.3.6.1.4.1.1466.115.121.1.{number} SINGLE-VALUE"
    for rule, number in (("integerMatch", 27), ("caseIgnoreMatch", 15), ("octetStringMatch", 40))
)
_ATTRIBUTES = {
    "objectGUID": _BYTES, "objectSid": _BYTES, "sAMAccountName": _TEXT, "userPrincipalName": _TEXT,
    "userAccountControl": _NUMBER, "accountExpires": _NUMBER, "primaryGroupID": _NUMBER, "objectCategory": _TEXT,
}  # fmt: skip
_ACTIVE_DIRECTORY = "".join(
    f"attributetype ( 1.1.2.1.{number} NAME '{name}' {syntax} )\n"
    for number, (name, syntax) in enumerate(_ATTRIBUTES.items(), 1)
) + "".join(
    f"objectclass ( 1.1.2.2.{number} NAME '{name}' SUP top AUXILIARY MAY ( {' $ '.join(_ATTRIBUTES)} ) )\n"
    for number, name in enumerate(("user", "group"), 1)
)

_BASE = f"""
dn: {SUFFIX}
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: {BIND_DN}
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: idp
userPassword: {BIND_PASSWORD}

dn: {PEOPLE}
objectClass: organizationalUnit
ou: people

dn: {GROUPS}
objectClass: organizationalUnit
ou: groups
"""


class Slapd:
    """A running slapd. It trusts nobody but its administrator, and lets ``BIND_DN`` read everything but passwords.

    Attributes:
        url, ldaps: its URLs, without and with TLS.
        ca: the authority of its certificate, which is for ``localhost`` and 127.0.0.1.
    """

    def __init__(self, folder: Path, ldif: str = "", *, tls: bool = True) -> None:
        assert PROGRAM is not None
        self.folder = folder
        (folder / "data").mkdir(parents=True, exist_ok=True)
        self.port, self.tls_port = free_port(), free_port()
        self.url, self.ldaps = f"ldap://localhost:{self.port}", f"ldaps://localhost:{self.tls_port}"
        self.ca, certificate, key = certificates()
        (folder / "certificate.pem").write_text(certificate)
        (folder / "key.pem").write_text(key)
        (folder / "active_directory.schema").write_text(_ACTIVE_DIRECTORY)
        self._config = folder / "slapd.conf"
        self._config.write_text(self._configuration(tls=tls))
        (folder / "base.ldif").write_text(f"{_BASE}\n{ldif}")
        arguments = ["-T", "add", "-q", "-f", str(self._config), "-l", str(folder / "base.ldif")]
        done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        self._tls = tls
        self.start()

    def _configuration(self, *, tls: bool) -> str:
        lines = [
            *(f"include {SCHEMAS}/{name}.schema" for name in ("core", "cosine", "inetorgperson", "nis")),
            f"include {self.folder}/active_directory.schema",
            f"modulepath {MODULES}",
            *(f"moduleload {name}" for name in ("back_mdb", "memberof")),
            f"pidfile {self.folder}/slapd.pid",
            "sizelimit size.soft=500 size.hard=500 size.prtotal=unlimited",
        ]
        if tls:
            lines += [
                f"TLSCertificateFile {self.folder}/certificate.pem",
                f"TLSCertificateKeyFile {self.folder}/key.pem",
            ]
        lines += [
            "database mdb",
            "maxsize 104857600",
            f'suffix "{SUFFIX}"',
            f'rootdn "{ADMIN}"',
            f'rootpw "{ADMIN_PASSWORD}"',
            f"directory {self.folder}/data",
            "index objectClass,uid,mail,entryUUID,member eq",
            "access to attrs=userPassword by anonymous auth by * none",
            f'access to * by dn.exact="{BIND_DN}" read by anonymous auth by * none',
            "overlay memberof",
        ]
        return "\n".join(lines) + "\n"

    def start(self) -> None:
        """Start it, also again after :meth:`stop`."""
        assert PROGRAM is not None
        urls = f"ldap://127.0.0.1:{self.port}/" + (f" ldaps://127.0.0.1:{self.tls_port}/" if self._tls else "")
        with (self.folder / "slapd.log").open("ab") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "-f", str(self._config), "-h", urls, "-d", "0"],
                stdout=log, stderr=subprocess.STDOUT, cwd=self.folder,
            )  # fmt: skip
        deadline = time.monotonic() + START_WITHIN_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        self.stop()
        raise AssertionError((self.folder / "slapd.log").read_text())

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """Let it accept connections and answer nothing."""
        os.kill(self.process.pid, signal.SIGSTOP)
        # Its threads stop one after the other.
        deadline, threads = time.monotonic() + 10, Path(f"/proc/{self.process.pid}/task")
        while any(thread.read_text().rpartition(")")[2].split()[0] != "T" for thread in threads.glob("*/stat")):
            assert time.monotonic() < deadline, "It does not stop."
            time.sleep(0.01)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def modify(self, ldif: str) -> None:
        """Apply changes as the administrator. Entries without ``changetype`` are added."""
        assert MODIFY is not None
        arguments = ["-a", "-x", "-H", f"ldap://127.0.0.1:{self.port}", "-D", ADMIN, "-w", ADMIN_PASSWORD]
        done = subprocess.run([MODIFY, *arguments], input=ldif, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr


def person(uid: str, password: str = "", **more: str | Iterable[str]) -> str:
    """Return the LDIF of a user. Values of ``more`` replace the usual ones; a value may be ``: `` and base64."""
    values: dict[str, str | Iterable[str]] = {
        "objectClass": ("inetOrgPerson", "user"),
        "uid": uid,
        "cn": uid.title(),
        "sn": "Example",
        "mail": f"{uid}@example.com",
        "userPassword": password,
    } | more
    lines = [f"dn: uid={uid},{PEOPLE}"]
    for name, value in values.items():
        for each in (value,) if isinstance(value, str) else value:
            if each:
                lines.append(f"{name}:{each}" if each.startswith(": ") else f"{name}: {each}")
    return "\n".join(lines) + "\n\n"


def group(name: str, *members: str) -> str:
    """Return the LDIF of a group of users."""
    found = "".join(f"member: uid={member},{PEOPLE}\n" for member in members)
    return f"dn: {group_dn(name)}\nobjectClass: groupOfNames\ncn: {name}\n{found}\n"


def group_dn(name: str) -> str:
    """Return the name of a group, with a comma as slapd writes it (RFC 4514)."""
    escaped = name.replace(",", r"\2C")
    return f"cn={escaped},{GROUPS}"


def certificates(host: str = "localhost") -> tuple[str, str, str]:
    """Return an authority, a certificate of a host by it, and its key, as PEM."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _signed("Directory CA", authority_key.public_key(), "Directory CA", authority_key, None)
    issued = _signed(host, key.public_key(), "Directory CA", authority_key, host)
    return (
        authority.public_bytes(Encoding.PEM).decode(),
        issued.public_bytes(Encoding.PEM).decode(),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    )


def _signed(
    name: str, key: ec.EllipticCurvePublicKey, issuer: str, by: ec.EllipticCurvePrivateKey, host: str | None
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), critical=False)
    )
    if host is None:
        builder = builder.add_extension(
            x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True
        )
    else:
        names = [x509.DNSName(host)] + ([x509.IPAddress(ip_address("127.0.0.1"))] if host == "localhost" else [])
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(by, hashes.SHA256())


def context(folder: Path) -> ssl.SSLContext:
    """Return the context of a stand-in with the certificate of a slapd."""
    found = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    found.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return found
