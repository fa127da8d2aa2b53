"""The address of the client. No other code reads it from a request."""

import re
from functools import lru_cache

import structlog
from litestar.types import Scope

from idp.infra.networks import PROBE, IPAddress, parse_address
from idp.settings import IPNetwork

log = structlog.get_logger()

#: An entry of X-Forwarded-For with a port, as some proxies write it: ``192.0.2.1:5678``, ``[2001:db8::1]:5678``.
_WITH_PORT = re.compile(r"([0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")
#: Maximum length of an entry that is an address with a port.
_MAX_ENTRY = len("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535")
#: Maximum length of the part of the header that is read, from its end. No chain of proxies writes more, and results are
#: cached.
_MAX_HEADER = 512
#: Maximum number of peers about which one process warns.
MAX_WARNINGS = 8
_warned: set[str] = set()

_NOT_NAMED = "X-Forwarded-For comes from a proxy that IDP_TRUSTED_PROXIES does not name: its clients share one address."
_UNREADABLE = "X-Forwarded-For holds an entry that is not an IP address: such clients share their proxy's address."


def _parse_entry(entry: str) -> IPAddress | None:
    """Parse one entry of X-Forwarded-For, with or without a port."""
    entry = entry.strip(" \t")
    if len(entry) > _MAX_ENTRY:
        return None
    with_port = _WITH_PORT.fullmatch(entry)
    return parse_address(with_port[1] if with_port else entry)


def client_address(scope: Scope, trusted_proxies: tuple[IPNetwork, ...]) -> str:
    """Return the address of the client, or an empty string if the transport has none.

    X-Forwarded-For is read from the right while each hop is a trusted proxy. At the first entry that is not an address,
    reading stops, and the last trusted hop is the client. A header that is not read to its end logs a warning, once for
    each of the first peers that send one.
    """
    peer = scope.get("client")
    forwarded = b",".join([value for name, value in scope["headers"] if name == b"x-forwarded-for"])
    # Networks are slow to hash for the cache, so requests without the header skip it.
    proxies = trusted_proxies if forwarded else ()
    # A truncated header begins with an invalid entry, where reading stops.
    read = forwarded if len(forwarded) <= _MAX_HEADER else b"cut " + forwarded[-_MAX_HEADER:]
    address, warning = _client_address(peer[0] if peer else "", read.decode("latin-1"), proxies)
    if warning and forwarded != PROBE.encode() and peer and peer[0] not in _warned and len(_warned) < MAX_WARNINGS:
        _warned.add(peer[0])
        log.warning("forwarded_address_ignored", host=peer[0], reason=warning)
    return address


@lru_cache(maxsize=4096)
def _client_address(peer: str, forwarded: str, trusted_proxies: tuple[IPNetwork, ...]) -> tuple[str, str]:
    """Return the address, and the text of a warning or an empty string."""
    address = parse_address(peer)
    if address is None:
        return "", ""
    if forwarded and not any(address in network for network in trusted_proxies):
        return str(address), _NOT_NAMED
    for entry in reversed(forwarded.split(",")) if forwarded else ():
        if not any(address in network for network in trusted_proxies):
            break
        hop = _parse_entry(entry)
        if hop is None:
            return str(address), _UNREADABLE
        address = hop
    return str(address), ""
