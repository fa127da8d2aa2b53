"""The configuration of a directory, as the options of its upstream, and its defaults for the type of the directory."""

import re
import ssl
from functools import cached_property
from typing import Final
from urllib.parse import urlsplit

import msgspec
import sansldap

from idp.accounts.addresses import InvalidEmailError, normalise_email
from idp.federation.errors import InvalidUpstreamError
from idp.federation.ldap import filters
from idp.federation.ldap.option_names import OPTIONS, PREFIX
from idp.federation.models import Upstream
from idp.infra.outbound_streams import tls_context

_OPENLDAP: Final = {
    "user_filter": "(objectClass=inetOrgPerson)",
    "login_attributes": "uid mail",
    "id_attribute": "entryUUID",
    "groups": "memberOf",
    "group_filter": "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=posixGroup))",
    "group_name": "dn",
}
_DEFAULTS: Final = {
    "openldap": _OPENLDAP,
    "active_directory": _OPENLDAP
    | {
        # Computers are users too. Contacts are not.
        "user_filter": "(&(objectCategory=person)(objectClass=user))",
        "login_attributes": "sAMAccountName userPrincipalName mail",
        "id_attribute": "objectGUID",
        "group_filter": "(objectClass=group)",
    },
}
#: Where the groups of a user are read.
GROUPS: Final = ("memberOf", "member", "uniqueMember", "memberUid", "nested", "none")
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_HOST = re.compile(r"[A-Za-z0-9.:_-]{1,253}")
_MAX_LENGTH, _MAX_CA_LENGTH, _MAX_SERVERS = 1000, 64 * 1024, 8
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class Server(msgspec.Struct, frozen=True):
    """A server of the directory. Without ``ldaps`` and ``start_tls`` it must be this machine."""

    url: str
    host: str
    port: int
    ldaps: bool
    start_tls: bool


class Directory(msgspec.Struct, frozen=True, dict=True):
    """A directory, from the options of its upstream."""

    upstream: Upstream
    servers: tuple[Server, ...]

    def option(self, name: str) -> str:
        """Return an option, or the default of the directory's type."""
        return self.upstream.options.get(name) or _DEFAULTS[self._type].get(name, "")

    @property
    def _type(self) -> str:
        return self.upstream.options.get("type") or "openldap"

    @property
    def is_active_directory(self) -> bool:
        return self._type == "active_directory"

    @property
    def bind_dn(self) -> str:
        """The name that idp searches by. Empty: it searches without a name."""
        return self.upstream.client_id

    @property
    def ca(self) -> str | None:
        return self.upstream.options.get("ca") or None

    @property
    def login_attributes(self) -> list[str]:
        return self.option("login_attributes").split()

    @property
    def id_attribute(self) -> str:
        return self.option("id_attribute")

    @property
    def issuer(self) -> str:
        """The issuer of its identities. With the attribute, because its values mean nothing in another one."""
        return f"{PREFIX}{self.upstream.id}:{self.id_attribute.lower()}"

    @property
    def email_domains(self) -> frozenset[str]:
        return frozenset(self.option("email_domains").split())

    @cached_property
    def users(self) -> sansldap.LDAPFilter:
        """The filter of users, without the part about what they enter if that is not in it."""
        return filters.parse(self.option("user_filter"))

    @cached_property
    def group_filter(self) -> sansldap.LDAPFilter:
        return filters.parse(self.option("group_filter"))

    @cached_property
    def anybody(self) -> sansldap.LDAPFilter:
        """The filter of users, whatever they enter."""
        return filters.for_anybody(self.users)

    def by_login(self, login: str) -> sansldap.LDAPFilter:
        """Return the filter for the user who enters this."""
        value = login.encode()
        if filters.PLACEHOLDER in self.option("user_filter"):
            return filters.fill(self.users, value)
        return filters.both(self.users, filters.any_of([filters.equal(name, value) for name in self.login_attributes]))


def read(upstream: Upstream) -> Directory:
    """Return the directory of an upstream.

    Raises:
        InvalidUpstreamError: an option is missing or not valid.
    """
    options = upstream.options
    if unknown := options.keys() - OPTIONS.keys():
        raise InvalidUpstreamError(f"There are no such options: {', '.join(sorted(unknown))}.")
    for name, value in options.items():
        if name != "ca" and (len(value) > _MAX_LENGTH or not value.isprintable()):
            raise InvalidUpstreamError(f"The option {name} has at most {_MAX_LENGTH} visible characters.")
    if options.get("type", "openldap") not in _DEFAULTS:
        raise InvalidUpstreamError(f"The option type must be {' or '.join(_DEFAULTS)}.")
    if options.get("start_tls", "yes") not in ("yes", "no"):
        raise InvalidUpstreamError("The option start_tls must be yes or no.")
    directory = Directory(upstream, _servers(options))
    _check(directory)
    return directory


def _servers(options: dict[str, str]) -> tuple[Server, ...]:
    urls = options.get("url", "").split()
    if not 1 <= len(urls) <= _MAX_SERVERS:
        raise InvalidUpstreamError(f"The option url has 1 to {_MAX_SERVERS} URLs, such as ldaps://dc1.example.com.")
    return tuple(_server(url, start_tls=options.get("start_tls") != "no") for url in urls)


def _server(url: str, *, start_tls: bool) -> Server:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    ldaps = url.lower().startswith("ldaps://")
    if not (ldaps or url.lower().startswith("ldap://")) or not _HOST.fullmatch(host) or port == 0:
        raise InvalidUpstreamError(f"{url} is not a URL such as ldaps://dc1.example.com or ldap://dc1.example.com:389.")
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
        raise InvalidUpstreamError(f"{url} has more than a host and a port. Base and filter are options of their own.")
    if not ldaps and not start_tls and host not in _LOOPBACK:
        raise InvalidUpstreamError(f"{url} would send passwords in plain text. Without TLS it must be this machine.")
    return Server(url, host, port or (636 if ldaps else 389), ldaps, start_tls and not ldaps)


def _check(directory: Directory) -> None:
    upstream = directory.upstream
    if not directory.option("base_dn"):
        raise InvalidUpstreamError("The option base_dn is missing, such as ou=people,dc=example,dc=com.")
    named, proved = bool(upstream.client_id), bool(upstream.client_secret)
    if named != proved:
        raise InvalidUpstreamError("A bind DN needs a password, and a password a bind DN.")
    # Both parse the filters.
    _ = directory.users, directory.group_filter
    if directory.option("groups") not in GROUPS:
        raise InvalidUpstreamError(f"The option groups must be {', '.join(GROUPS)}.")
    names = [*directory.login_attributes, directory.id_attribute, directory.option("group_name")]
    if not directory.login_attributes or not all(_ATTRIBUTE.fullmatch(name) for name in names):
        raise InvalidUpstreamError("The options of attributes have names such as mail or sAMAccountName.")
    paths = [*upstream.claims.values(), *(rule.claim for rule in upstream.rules), *upstream.required_claims]
    if not all(_ATTRIBUTE.fullmatch(path) for path in paths):
        raise InvalidUpstreamError("The claims of a directory are the names of its attributes, and groups.")
    _check_ca(directory.ca)
    _check_email(directory)


def _check_ca(ca: str | None) -> None:
    if ca is None:
        return
    try:
        if len(ca) > _MAX_CA_LENGTH:
            raise InvalidUpstreamError(f"The option ca has at most {_MAX_CA_LENGTH} characters.")
        tls_context(ca)
    except (ssl.SSLError, ValueError) as error:
        raise InvalidUpstreamError("The option ca is not a certificate as PEM.") from error


def _check_email(directory: Directory) -> None:
    try:
        valid = all(normalise_email(f"x@{domain}") == f"x@{domain}" for domain in directory.email_domains)
    except InvalidEmailError:
        valid = False
    if not valid:
        raise InvalidUpstreamError("The option email_domains has domains such as example.com, in lower case.")
    if directory.upstream.trust_email and not directory.email_domains:
        raise InvalidUpstreamError("To trust its addresses, name their domains in the option email_domains.")
