"""The rules for URIs that a client may register."""

import ipaddress
import re
from urllib.parse import SplitResult, parse_qsl, urlsplit

from idp.errors import ValidationError

MAX_LENGTH = 2048

#: Hosts for which plain http is allowed (RFC 8252 section 7.3, and localhost by name for development).
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})

#: The parameters that responses add to a redirect URI. A URI with one of them would be ambiguous for the client.
RESPONSE_PARAMETERS = frozenset(
    {"code", "state", "iss", "error", "error_description", "error_uri", "response", "session_state", "scope"}
    | {"access_token", "id_token", "token_type", "expires_in"}
)

# The characters of RFC 3986 except the fragment: no space, control character, backslash, quote or non-ASCII character.
# No asterisk either: it is legal, but in practice always meant as a wildcard.
_CHARACTERS = re.compile(r"(?:[A-Za-z0-9._~:/?\[\]@!$&'()+,;=-]|%[0-9A-Fa-f]{2})+")
_LABEL = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_DNS_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE)
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^/?#]*)([/?].*)?", re.DOTALL)
_AUTHORITY = re.compile(r"(?P<host>[^:\[\]@]+|\[[^\[\]@]+\])(?::(?P<port>[1-9][0-9]{0,4}))?")
# RFC 3986 section 3.1, with single dots and at least two characters: one letter is a Windows drive.
_SCHEME = re.compile(r"(?=..)[a-z][a-z0-9+-]*(?:\.[a-z0-9+-]+)*")

# Schemes that run scripts or show content of an attacker.
_SCRIPTS = "javascript data vbscript livescript mocha jscript about blob filesystem jar mhtml cid mid srcdoc"
# Web pages and browser internals.
_BROWSERS = """
http https view-source feed pcast chrome chrome-extension chrome-untrusted devtools edge brave opera vivaldi
moz-extension moz-icon resource wyciwyg safari-extension safari-web-extension extension res
"""
# Files, other protocols, names.
_PROTOCOLS = """
file content ftp ftps sftp tftp gopher ws wss smb nfs afp dav davs ssh telnet rlogin tn3270 vnc rdp ldap ldaps dict
imap pop nntp news snews git svn hg jdbc urn tag ni nih info doi
"""
# Messages, calls, money.
_MESSAGES = """
mailto tel sms smsto mms mmsto callto sip sips xmpp irc ircs facetime facetime-audio imessage magnet bitcoin ethereum
payto geo maps
"""
# The system, its settings, its installers.
_SYSTEM = """
intent android-app market itms itms-apps itms-services prefs app-settings shell hcp help search search-ms
x-apple.systempreferences x-help-action shortcuts workflow steam
"""
#: Schemes that do not belong to an app of the client. An app should use a reversed domain name (RFC 8252 section 7.1),
#: but many use a single word.
REFUSED_SCHEMES = frozenset(" ".join((_SCRIPTS, _BROWSERS, _PROTOCOLS, _MESSAGES, _SYSTEM)).split())
#: Protocols of Windows and Office, such as ms-settings and ms-msdt, except the two that belong to an app.
_WINDOWS, _WINDOWS_APPS = "ms-", ("ms-app", "ms-appx-web")


class InvalidURIError(ValidationError):
    """A URI may not be registered. The message completes a sentence whose subject is the kind of URI."""


def check_redirect_uri(uri: str, application_type: str) -> None:
    """Check a redirect URI (RFC 6749 section 3.1.2, RFC 8252 section 7, RFC 9700 section 2.1).

    Raises:
        InvalidURIError: it may not be registered.
    """
    parts = _split(uri)
    if application_type == "native" and parts.scheme not in ("https", "http"):
        _check_app(uri, parts)
    else:
        _check_web(parts)
    names = {name.strip() for name, _ in parse_qsl(parts.query.replace(";", "&"), keep_blank_values=True)}
    if names & RESPONSE_PARAMETERS:
        raise InvalidURIError("must not have a parameter of our responses, such as code or state, in its query")


def check_link(uri: str) -> None:
    """Check a URI that pages link to or load an image from.

    Raises:
        InvalidURIError: it may not be registered.
    """
    _check_web(_split(uri))


def check_identifier(uri: str) -> None:
    """Check the identifier of a resource server: an absolute URI without fragment (RFC 8707 section 2).

    Raises:
        InvalidURIError: it may not be registered.
    """
    parts = _split(uri)
    if not parts.scheme or not (parts.netloc or parts.path):
        raise InvalidURIError("must be an absolute URI")


def _split(uri: str) -> SplitResult:
    if len(uri) > MAX_LENGTH:
        raise InvalidURIError(f"must not be longer than {MAX_LENGTH} characters")
    if "#" in uri:
        raise InvalidURIError("must not have a fragment")
    if "*" in uri:
        raise InvalidURIError("must not have a wildcard")
    if not _CHARACTERS.fullmatch(uri):
        raise InvalidURIError("must be an absolute URI in ASCII, without spaces or backslashes")
    try:
        return urlsplit(uri)
    except ValueError as error:
        raise InvalidURIError("must be an absolute URI") from error


def _check_app(uri: str, parts: SplitResult) -> None:
    """Check a private-use URI scheme of a native client (RFC 8252 section 7.1)."""
    scheme = parts.scheme
    ours = scheme.startswith(_WINDOWS) and scheme not in _WINDOWS_APPS
    if not _SCHEME.fullmatch(scheme) or scheme in REFUSED_SCHEMES or ours:
        raise InvalidURIError(
            "must have a scheme of the app's own, as com.example.app:/callback has, or be an https URI"
        )
    if not uri[len(scheme) + 1 :].startswith("/"):
        raise InvalidURIError("must have a slash after its scheme, as com.example.app:/callback has")
    if "@" in parts.netloc:
        raise InvalidURIError("must not have a user or password")


def _check_web(parts: SplitResult) -> None:
    if "@" in parts.netloc:
        raise InvalidURIError("must not have a user or password")
    authority = _AUTHORITY.fullmatch(parts.netloc)
    if parts.scheme not in ("https", "http") or authority is None or not _is_host(authority["host"]):
        raise InvalidURIError("must be an absolute https URI")
    if int(authority["port"] or 0) > 65535:
        raise InvalidURIError("must have a port up to 65535")
    if parts.scheme == "http" and authority["host"].lower() not in LOOPBACK_HOSTS:
        raise InvalidURIError("must be https, unless its host is localhost, 127.0.0.1 or [::1]")


def is_dns_name(host: str) -> bool:
    """Return whether the text is a host name. Those of digits and dots only are accepted: https authenticates the host,
    whatever the name means.
    """
    return _DNS_NAME.fullmatch(host) is not None and len(host) <= 253


def _is_host(host: str) -> bool:
    if not host.startswith("["):
        return is_dns_name(host)
    try:
        address = ipaddress.IPv6Address(host[1:-1])
    except ValueError:
        return False
    return address.scope_id is None


def is_one_host(sector: str) -> bool:
    """Return whether a sector (:attr:`idp.oauth.clients.metadata.ClientMetadata.sector`) is one host. This device is
    none: programs of all makers have redirect URIs there.
    """
    return " " not in sector and sector not in {"", "::1", *LOOPBACK_HOSTS}


def normal_url(uri: str) -> str:
    """Return a URL with its scheme and host in lower case, and a slash for an empty path (RFC 3986 section 6.2)."""
    found = _URL.fullmatch(uri)
    return f"{found[1].lower()}{found[2] or '/'}" if found else uri


def origin_of(uri: str) -> str | None:
    """Return the origin of a web URI as in an Origin header (RFC 6454 section 6.2); None for any other URI."""
    parts = urlsplit(uri)
    if parts.scheme not in ("https", "http") or not parts.netloc:
        return None
    default = {"https": ":443", "http": ":80"}[parts.scheme]
    return f"{parts.scheme}://{parts.netloc.lower().removesuffix(default)}"
