"""The URLs that may be a ``client_id``, and the hosts that the operator accepts (section 3)."""

import ipaddress
from urllib.parse import SplitResult, unquote, urlsplit

from idp.oauth.clients.documents.errors import DocumentError, invalid
from idp.oauth.clients.uris import LOOPBACK_HOSTS, InvalidURIError, check_link
from idp.reasons import Reason
from idp.settings import settings

#: The specification recommends short URLs. It is a key in the database and is shown on pages.
MAX_LENGTH = 500
_DEFAULT_PORTS = {"https": ":443", "http": ":80"}


def is_document_url(client_id: str) -> bool:
    """Return whether a ``client_id`` is meant as the URL of a document. Other clients have no slash in theirs."""
    return client_id.startswith(("https://", "http://"))


def check_document_url(client_id: str) -> None:
    """Check the URL of a document.

    It is compared letter for letter, and people judge a client by its host. So it must be in normal form. A query is
    refused, though the specification only advises against it: many sites have a URL that repeats its query.

    Raises:
        InvalidURIError: it may not be a ``client_id``.
    """
    if len(client_id) > MAX_LENGTH:
        raise InvalidURIError(f"must not be longer than {MAX_LENGTH} characters")
    check_link(client_id)
    parts = urlsplit(client_id)
    if not client_id.startswith(f"{parts.scheme}://{parts.netloc.lower()}/"):
        raise InvalidURIError("must have its scheme and its host in lower case, and a path")
    if parts.scheme != "https" and not (settings().outbound_allow_http and _is_loopback(parts)):
        raise InvalidURIError("must be an https URI")
    if parts.netloc.endswith(_DEFAULT_PORTS[parts.scheme]):
        raise InvalidURIError("must not name the default port")
    if "?" in client_id:
        raise InvalidURIError("must not have a query")
    if _is_address(parts) and not (settings().outbound_allow_http and _is_loopback(parts)):
        raise InvalidURIError("must have a host name, and not an IP address")
    if parts.path == "/" or any(unquote(segment) in (".", "..") for segment in parts.path.split("/")):
        raise InvalidURIError("must have a path without dot segments")


def check(client_id: str) -> None:
    """Check a ``client_id`` that is a URL, without fetching anything.

    Raises:
        DocumentError: it cannot be the URL of a document, or its host is not accepted.
    """
    try:
        check_document_url(client_id)
    except InvalidURIError as error:
        raise invalid(f"A client_id that is a URL {error}.") from error
    if not is_accepted(client_id):
        raise DocumentError("Documents of this host are not accepted.", Reason.DOCUMENT_NOT_ACCEPTED)


def host_of(client_id: str) -> str:
    """Return the host of a checked URL, with its port if there is one. People recognise the client by it."""
    return urlsplit(client_id).netloc


def shown_name(client_id: str, client_name: str) -> str:
    """Return the name by which pages and mails call a client.

    One by document may give itself any name, so it is called by its host.
    """
    return host_of(client_id) if is_document_url(client_id) else client_name


def is_accepted(client_id: str) -> bool:
    """Return whether the operator accepts documents of the host of a checked URL."""
    config, host = settings(), urlsplit(client_id).hostname or ""
    if config.client_id_metadata_documents == "off" or _matches(host, config.client_id_metadata_denied_hosts):
        return False
    return config.client_id_metadata_documents == "open" or _matches(host, config.client_id_metadata_hosts)


def _matches(host: str, patterns: tuple[str, ...]) -> bool:
    return any(host == pattern or (pattern.startswith(".") and host.endswith(pattern)) for pattern in patterns)


def _is_loopback(parts: SplitResult) -> bool:
    host = parts.hostname or ""
    return f"[{host}]" in LOOPBACK_HOSTS or host in LOOPBACK_HOSTS


def _is_address(parts: SplitResult) -> bool:
    """Return whether a resolver would read the host as an address, such as also ``127.1`` and ``0x7f000001``."""
    host = parts.hostname or ""
    last = host.rpartition(".")[2]
    if last.isdigit() or last.startswith("0x"):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
