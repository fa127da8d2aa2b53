"""Which URIs a client may register, and what they name."""

import ipaddress
import re
from urllib.parse import SplitResult, parse_qsl, urlsplit

from idp.errors import ValidationError

MAX_LENGTH = 2048

#: Where plain http harms nobody (RFC 8252 section 7.3, and for development localhost by name).
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})

#: What our responses add to a redirect URI. A URI that brings one itself would let the client read the wrong value.
RESPONSE_PARAMETERS = frozenset(
    {"code", "state", "iss", "error", "error_description", "error_uri", "response", "session_state", "scope"}
    | {"access_token", "id_token", "token_type", "expires_in"}
)

# Everything that RFC 3986 allows but the fragment: no space, control character, backslash, quote, or beyond ASCII.
# Nor an asterisk, which is legal and never anything but somebody's idea of a wildcard.
_CHARACTERS = re.compile(r"(?:[A-Za-z0-9._~:/?\[\]@!$&'()+,;=-]|%[0-9A-Fa-f]{2})+")
_LABEL = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_DNS_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?P<host>[^:\[\]@]+|\[[^\[\]@]+\])(?::(?P<port>[1-9][0-9]{0,4}))?")
# RFC 3986 section 3.1, with single dots and at least two characters: one letter is a drive of Windows.
_SCHEME = re.compile(r"(?=..)[a-z][a-z0-9+-]*(?:\.[a-z0-9+-]+)*")

# Schemes that run scripts or show what an attacker wrote.
_SCRIPTS = "javascript data vbscript livescript mocha jscript about blob filesystem jar mhtml cid mid srcdoc"
# Pages, and parts of browsers.
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
#: Schemes that belong to no app of the client's. An app should use a reversed domain name (RFC 8252 section 7.1), but
#: many use a word of their own.
REFUSED_SCHEMES = frozenset(" ".join((_SCRIPTS, _BROWSERS, _PROTOCOLS, _MESSAGES, _SYSTEM)).split())
#: Protocols of Windows and Office, such as ms-settings and ms-msdt, but for the two that are an app's own.
_WINDOWS, _WINDOWS_APPS = "ms-", ("ms-app", "ms-appx-web")


class InvalidURIError(ValidationError):
    """A URI may not be registered: the end of a sentence that begins with what it is for."""


def check_redirect_uri(uri: str, application_type: str) -> None:
    """Refuse what no browser may be sent to (RFC 6749 section 3.1.2, RFC 8252 section 7, RFC 9700 section 2.1).

    Raises:
        InvalidURIError: why.
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
    """Refuse what no page may link to or load a picture from.

    Raises:
        InvalidURIError: why.
    """
    _check_web(_split(uri))


def check_identifier(uri: str) -> None:
    """Refuse what does not identify a resource server: an absolute URI without fragment (RFC 8707 section 2).

    Raises:
        InvalidURIError: why.
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
    """A private-use scheme of a native client (RFC 8252 section 7.1), in the forms that such apps register."""
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


def _is_host(host: str) -> bool:
    if not host.startswith("["):
        # Names of digits and dots alone included: whatever they mean, https proves who answers.
        return _DNS_NAME.fullmatch(host) is not None and len(host) <= 253
    try:
        address = ipaddress.IPv6Address(host[1:-1])
    except ValueError:
        return False
    return address.scope_id is None


def origin_of(uri: str) -> str | None:
    """The origin of a web URI as browsers write it in an Origin header (RFC 6454 section 6.2); None of others."""
    parts = urlsplit(uri)
    if parts.scheme not in ("https", "http") or not parts.netloc:
        return None
    default = {"https": ":443", "http": ":80"}[parts.scheme]
    return f"{parts.scheme}://{parts.netloc.lower().removesuffix(default)}"
