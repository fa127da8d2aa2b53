"""IP addresses: parsing, and the networks by which rate limits count them."""

import ipaddress
import socket

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

#: The address by which `idp doctor` sees whether it is believed. It is for documentation (RFC 5737): no client has it.
PROBE = "192.0.2.123"


def parse_address(text: str) -> IPAddress | None:
    """Parse an address, or return None for any other text. An IPv4-mapped IPv6 address becomes the IPv4 address."""
    try:
        address = ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    # A zone (RFC 4007) has a meaning on one machine only, and may be any text.
    if "%" in text:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def subjects(address: str) -> tuple[str, str]:
    """Return the host and the network under which limits count the address of a client.

    A household or a server has a whole /64 of IPv6, so a /64 counts as one host. All clients without an address share
    one subject, so that they are limited too.
    """
    parsed = parse_address(address)
    if parsed is None:
        return "unknown", "unknown"
    host, network = (32, 24) if parsed.version == 4 else (64, 48)
    return _network(parsed, host), _network(parsed, network)


def _network(address: IPAddress, length: int) -> str:
    # The same text as ip_network returns, without parsing the address again.
    family, rest = socket.AF_INET if address.version == 4 else socket.AF_INET6, address.max_prefixlen - length
    prefix = int(address) >> rest << rest
    return f"{socket.inet_ntop(family, prefix.to_bytes(address.max_prefixlen // 8))}/{length}"
