"""The ``resource`` parameter (RFC 8707): which resource servers a request names, and what it asks for there."""

from collections.abc import Collection, Sequence

from idp.errors import InvalidTargetError
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.parameters import Parameters, words
from idp.trace import recorder


def requested_resources(parameters: Parameters) -> tuple[str, ...]:
    """Return the identifiers that a request names, each once, as they are registered.

    Clients write the same URL with or without the slash of an empty path, or with capitals in the host.
    """
    return tuple(dict.fromkeys(map(registry.identifier, words(parameters, "resource"))))


def check_access(client: Client, resources: Sequence[str]) -> None:
    """Refuse resources that a client may get no tokens for (RFC 8707 section 2).

    Raises:
        InvalidTargetError: one is not registered, or not open to the client.
    """
    if not all(registry.may_access(client, resource) for resource in resources):
        recorder.step("resource_refused", resource=resources)
        raise InvalidTargetError("The resource is not registered, or not open to this client.")


def accessible_resources(parameters: Parameters, client: Client) -> tuple[str, ...]:
    """Return the resources that a request for tokens names.

    Raises:
        InvalidTargetError: the client may get no tokens for one of them.
    """
    resources = requested_resources(parameters)
    check_access(client, resources)
    return resources


def default_scope(client: Client, resources: Collection[str]) -> tuple[str, ...]:
    """Return the scopes of a request without ``scope`` (RFC 6749 section 3.3).

    They are those that the named resource servers define, or else all of the client, except ``offline_access``, which
    must be requested by name. A client that no administrator registered is not given what it did not ask for: its
    default is ``openid``.
    """
    servers = filter(None, map(registry.resource_server, resources))
    defined = tuple(dict.fromkeys(name for server in servers for name in server.scope.split() if name in client.scopes))
    if defined:
        return defined
    rest = client.scope.split() if client.origin == "admin" else ["openid"]
    return tuple(name for name in rest if name in client.scopes and name != "offline_access")
