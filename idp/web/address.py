"""The one function that decides where a request comes from."""

import ipaddress
import socket
from functools import lru_cache

from litestar.types import Scope

from idp.settings import IPNetwork

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def _parse(text: str) -> IPAddress | None:
    """One entry of X-Forwarded-For; an IPv4-mapped IPv6 address counts as the IPv4 address that it is."""
    try:
        address = ipaddress.ip_address(text.strip().removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    # A zone (RFC 4007) means something on one machine only, and may be any text.
    if "%" in text:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def client_address(scope: Scope, trusted_proxies: tuple[IPNetwork, ...]) -> str:
    """The address of the client, or an empty string where the transport has none.

    X-Forwarded-For is believed only as far as the trusted proxies reach, read from the right. At the first entry that
    is not an address, reading stops: the last trusted hop is the answer.
    """
    peer = scope.get("client")
    forwarded = b",".join([value for name, value in scope["headers"] if name == b"x-forwarded-for"])
    # Networks are dear to look up by, so who cannot be a proxy's client goes without them.
    proxies = trusted_proxies if forwarded else ()
    return _client_address(peer[0] if peer else "", forwarded.decode("latin-1"), proxies)


@lru_cache(maxsize=4096)
def _client_address(peer: str, forwarded: str, trusted_proxies: tuple[IPNetwork, ...]) -> str:
    address = _parse(peer)
    if address is None:
        return ""
    for entry in reversed(forwarded.split(",")):
        if not any(address in network for network in trusted_proxies):
            break
        hop = _parse(entry)
        if hop is None:
            break
        address = hop
    return str(address)


def subjects(address: str) -> tuple[str, str]:
    """Who is counted for a client's address: the host, and the network around it.

    One household or server has a whole /64 of IPv6, so that is a host. Without an address, as where the transport has
    none, all share one subject: not to know must not mean not to count.
    """
    parsed = _parse(address)
    if parsed is None:
        return "unknown", "unknown"
    host, network = (32, 24) if parsed.version == 4 else (64, 48)
    return _network(parsed, host), _network(parsed, network)


def _network(address: IPAddress, length: int) -> str:
    # As ip_network would write it, which parses all of it anew.
    family, rest = socket.AF_INET if address.version == 4 else socket.AF_INET6, address.max_prefixlen - length
    prefix = int(address) >> rest << rest
    return f"{socket.inet_ntop(family, prefix.to_bytes(address.max_prefixlen // 8))}/{length}"
