"""The ``authorization_details`` of a request (RFC 9396 sections 2, 5 and 6)."""

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from idp.errors import InvalidTargetError
from idp.infra import foreign_json
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.details import schemas
from idp.oauth.details.granted import invalid, must_ask, resources_of, unique
from idp.oauth.details.models import Detail, Details, DetailsType
from idp.oauth.parameters import Parameters
from idp.oauth.resources import requested_resources

#: Maximum length in bytes of UTF-8: access tokens contain the objects.
MAX_LENGTH = 4096
MAX_OBJECTS = 20
#: Maximum number of objects and arrays inside each other.
MAX_DEPTH = 16
#: The largest integer that every JSON parser reads exactly (RFC 7493 section 2.2).
MAX_INTEGER = 2**53 - 1


def requested(parameters: Parameters, client: Client) -> Details:
    """Return the authorization details of a request, each object once.

    Raises:
        OAuthError: ``invalid_authorization_details``; one is malformed, of a type that is unknown or not allowed to the
            client, or not as the schema of its type requires.
    """
    text = parameters.get("authorization_details")
    if text is None:
        return ()
    details = parse(text)
    for detail in details:
        _check(detail, client)
    return details


def requested_without_user(parameters: Parameters, client: Client) -> Details:
    """Return the authorization details of a client in its own name.

    Raises:
        OAuthError: ``invalid_authorization_details``, as for :func:`requested`, or a user must be asked each time.
    """
    details = requested(parameters, client)
    if any(must_ask(detail) for detail in details):
        raise invalid("One of the authorization_details needs a user who allows it.")
    return details


def resources_of_request(
    parameters: Parameters, client: Client, scope: Iterable[str], details: Details
) -> tuple[str, ...]:
    """Return the resource servers of a request: those that it names, or those of its scopes and authorization details.

    Raises:
        InvalidTargetError: authorization details are for another resource server than those that it names.
    """
    named, of_details = requested_resources(parameters), resources_of(details)
    if named and not set(of_details) <= set(named):
        raise InvalidTargetError("The resource of one of the authorization_details is not among those of the request.")
    return named or tuple(dict.fromkeys((*registry.audience(client, scope), *of_details)))


def parse(text: str) -> Details:
    """Parse the parameter.

    Raises:
        OAuthError: ``invalid_authorization_details``; it is not a JSON array of objects with a type.
    """
    try:
        if len(text.encode()) > MAX_LENGTH:
            raise invalid("authorization_details is too long.")
        values = _DECODER.decode(text)
        written = json.dumps(values, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise invalid("authorization_details must be a JSON array of objects, without repeated members.") from error
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_OBJECTS:
        raise invalid(f"authorization_details must be a JSON array of 1 to {MAX_OBJECTS} objects.")
    if not all(isinstance(value, dict) and isinstance(value.get("type"), str) for value in values):
        raise invalid("Each of the authorization_details must be an object with a type.")
    if not foreign_json.is_shallow(values, MAX_DEPTH):
        raise invalid("authorization_details is nested too deeply.")
    if b"\\u0000" in written:
        raise invalid("authorization_details contains a NUL character.")
    return unique(values)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is repeated")
    return members


def _integer(text: str) -> int:
    if len(text) > 17 or abs(value := int(text)) > MAX_INTEGER:
        raise ValueError("the number is too large")
    return value


def _number(text: str) -> float:
    """Return a number that PostgreSQL returns as it is. Its ``jsonb`` has neither exponents nor a negative zero."""
    if abs(value := float(text)) > MAX_INTEGER:
        raise ValueError("the number is too large")
    return value + 0.0


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_number, parse_constant=_no_constant
)


def allowed_type(detail: Detail, client: Client) -> DetailsType | None:
    """Return the type of an object; None if it does not exist, or the client may not request it."""
    kind = registry.details_type(detail["type"])
    registered = kind is not None and kind.type in client.authorization_details_types
    return kind if kind is not None and registered and registry.may_access(client, kind.resource) else None


def _check(detail: Detail, client: Client) -> None:
    kind = allowed_type(detail, client)
    if kind is None:
        raise invalid("A type of authorization_details is unknown, or not allowed to this client.")
    if not schemas.accepts(kind.schema, detail):
        raise invalid("One of the authorization_details is not as the schema of its type requires.")
    locations = detail.get("locations", [])
    if not isinstance(locations, list) or not all(
        isinstance(place, str) and _is_at(place, kind.resource) for place in locations
    ):
        raise invalid("A location in authorization_details is not at the resource server of the type.")


def _is_at(location: str, resource: str) -> bool:
    """Return whether a location is a resource server, or below it."""
    if any(unquote(segment) in (".", "..") for segment in location.split("/")):
        return False
    return location == resource or location.startswith(f"{resource.rstrip('/')}/")
