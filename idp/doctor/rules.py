"""A rule about several settings, and the values that rules compare."""

import ipaddress
from collections.abc import Callable
from email.policy import SMTP

import msgspec

from idp.doctor.models import Finding, Level
from idp.settings import Settings


class Rule(msgspec.Struct, frozen=True):
    """A contradiction between settings.

    Attributes:
        holds: whether the settings have it.
        text, mend: constant sentences, which cannot contain the value of a secret.
    """

    name: str
    level: Level
    holds: Callable[[Settings], bool]
    text: str
    mend: str

    @property
    def finding(self) -> Finding:
        return Finding(self.level, self.name, self.text, self.mend)


def production(settings: Settings) -> bool:
    """Whether others can use the server: it has an https issuer, and is not in development mode."""
    return settings.issuer.startswith("https://") and not settings.dev


def listens_on_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address to listen on."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def mail_domain(settings: Settings) -> str:
    """Return the domain of the From address, in lower case."""
    addresses = SMTP.header_factory("From", settings.mail_from).addresses
    return str(addresses[0].domain).lower()


def is_public_domain(domain: str) -> bool:
    """Return whether a domain can be in the public DNS (RFC 6761, RFC 2606)."""
    return "." in domain and domain.rpartition(".")[2] not in ("localhost", "local", "internal", "invalid", "test")
