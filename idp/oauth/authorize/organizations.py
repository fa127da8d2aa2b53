"""The organization that a request names, by the parameter ``organization`` or a scope such as ``organization:acme``."""

from idp.directory.names import is_slug_or_id
from idp.errors import InvalidRequestError
from idp.oauth.parameters import Parameters, words
from idp.oauth.scopes import ORGANIZATION

_PREFIX = f"{ORGANIZATION}:"


def without_name(scope: str) -> str:
    """Return a scope without the organization in it."""
    return ORGANIZATION if scope.startswith(_PREFIX) else scope


def named(parameters: Parameters) -> str | None:
    """Return the slug or the id that a request names; None if it names none.

    Raises:
        InvalidRequestError: it is malformed, or there are two.
    """
    found = {name.removeprefix(_PREFIX) for name in words(parameters, "scope") if name.startswith(_PREFIX)}
    if "organization" in parameters:
        found.add(parameters["organization"])
    if not found:
        return None
    if len(found) > 1:
        raise InvalidRequestError("The request names more than one organization.")
    (name,) = found
    if not is_slug_or_id(name):
        raise InvalidRequestError("organization must be the slug or the id of an organization.")
    return name
