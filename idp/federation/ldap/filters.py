"""Search filters (RFC 4515).

A value is put into the parsed filter, never into its text, so it cannot change what the filter means.
"""

import dataclasses
from typing import Any

import sansldap

from idp.federation.errors import InvalidUpstreamError

#: Stands for what the user entered, in a filter of the operator.
PLACEHOLDER = "{login}"
MAX_LENGTH = 2000


def parse(text: str) -> sansldap.LDAPFilter:
    """Parse a filter of the operator.

    Raises:
        InvalidUpstreamError: it is not a filter.
    """
    if len(text) > MAX_LENGTH or not text.isprintable():
        raise InvalidUpstreamError(f"A filter has at most {MAX_LENGTH} visible characters.")
    try:
        return sansldap.LDAPFilter.from_string(text)
    except (ValueError, LookupError, RecursionError) as error:
        raise InvalidUpstreamError(f"The filter {text} is not valid (RFC 4515).") from error


def fill(filter: sansldap.LDAPFilter, value: bytes) -> sansldap.LDAPFilter:
    """Return a filter with a value in place of each placeholder."""
    changes = {
        field.name: _filled(getattr(filter, field.name), value) for field in dataclasses.fields(filter) if field.init
    }
    return dataclasses.replace(filter, **changes)


def for_anybody(filter: sansldap.LDAPFilter) -> sansldap.LDAPFilter:
    """Return a filter for all users who could enter something: a placeholder matches any value."""
    if isinstance(filter, sansldap.FilterAnd | sansldap.FilterOr):
        return dataclasses.replace(filter, filters=[for_anybody(each) for each in filter.filters])
    marked = fill(filter, b"") != filter
    name = getattr(filter, "attribute", None)
    return sansldap.FilterPresent(attribute=name) if marked and name else filter


def _filled(part: Any, value: bytes) -> Any:
    if isinstance(part, bytes):
        return part.replace(PLACEHOLDER.encode(), value)
    if isinstance(part, list):
        return [_filled(each, value) for each in part]
    return fill(part, value) if isinstance(part, sansldap.LDAPFilter) else part


def equal(attribute: str, value: bytes) -> sansldap.LDAPFilter:
    return sansldap.FilterEquality(attribute=attribute, value=value)


def both(first: sansldap.LDAPFilter, second: sansldap.LDAPFilter) -> sansldap.LDAPFilter:
    return sansldap.FilterAnd(filters=[first, second])


def any_of(filters: list[sansldap.LDAPFilter]) -> sansldap.LDAPFilter:
    return filters[0] if len(filters) == 1 else sansldap.FilterOr(filters=filters)


def contains(name: bytes) -> sansldap.LDAPFilter:
    """Return a filter for the groups that a user is a member of, also by other groups (Active Directory)."""
    return sansldap.FilterExtensibleMatch(
        rule="1.2.840.113556.1.4.1941", attribute="member", value=name, dn_attributes=False
    )
