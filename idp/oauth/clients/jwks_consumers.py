"""Recognising the resource server that fetches the JWKS: by its own URL, or at the common URL by its address."""

import ipaddress
from collections.abc import Mapping
from functools import lru_cache

from idp.oauth.clients.models import ResourceServer
from idp.oauth.clients.registry import registry


def by_jwks_id(jwks_id: str) -> ResourceServer | None:
    """Return the resource server with this JWKS URL."""
    return next((server for server in registry.resource_servers.values() if server.jwks_id == jwks_id), None)


def by_origin(address: str, user_agent: str) -> tuple[str, ...]:
    """Return the identifiers of the resource servers that a fetch of the common URL matches.

    Args:
        address: of the client, as :func:`idp.http.client_address.client_address` decides.
    """
    return _Origins.of(registry.resource_servers).find(address, user_agent)


class _Origins:
    """The networks and User-Agent prefixes of the resource servers, with a cache of matches."""

    _current: "_Origins | None" = None

    def __init__(self, servers: Mapping[str, ResourceServer]) -> None:
        self._servers = servers
        self._known = [
            (tuple(map(ipaddress.ip_network, server.networks)), server.user_agent or "", server.identifier)
            for server in servers.values()
            if server.networks
        ]
        self.find = lru_cache(maxsize=4096)(self._find)

    @classmethod
    def of(cls, servers: Mapping[str, ResourceServer]) -> "_Origins":
        if cls._current is None or cls._current._servers is not servers:
            cls._current = cls(servers)
        return cls._current

    def _find(self, address: str, user_agent: str) -> tuple[str, ...]:
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return ()
        return tuple(
            identifier
            for networks, prefix, identifier in self._known
            if user_agent.startswith(prefix) and any(parsed in network for network in networks)
        )
