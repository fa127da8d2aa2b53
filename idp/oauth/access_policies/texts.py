"""Policies as people write them, for the command line and the console: names of groups, and hours of the week."""

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from uuid import UUID

from idp.accounts.attributes import repository as attributes
from idp.accounts.attributes.models import Value
from idp.accounts.attributes.values import parse_each
from idp.directory import names
from idp.directory.repository import groups, organizations, roles
from idp.oauth.access_policies.models import DAYS, AccessPolicy, Window
from idp.oauth.access_policies.registration import InvalidAccessPolicyError

_DAY = f"(?:{'|'.join(DAYS)})"
_RANGE = f"{_DAY}(?:-{_DAY})?"
_WINDOW = re.compile(f"({_RANGE}(?:,{_RANGE})*)(?: ([0-9:]{{5}})-([0-9:]{{5}}))?")
#: Returns the name of a record, if there is one.
_Name = Callable[[UUID], Awaitable[str | None]]


def read_window(text: str) -> Window:
    """Return the hours in a text such as ``mon-fri 08:00-18:00`` or ``sat,sun``.

    Raises:
        InvalidAccessPolicyError: it has another form.
    """
    found = _WINDOW.fullmatch(" ".join(text.lower().split()))
    if found is None:
        raise InvalidAccessPolicyError("times must be such as mon-fri 08:00-18:00, or sat,sun for whole days.")
    days = dict.fromkeys(day for part in found[1].split(",") for day in _days(part))
    return Window(days=tuple(days), start=found[2] or "00:00", end=found[3] or "24:00")


def _days(text: str) -> list[str]:
    """Return one day, or the days from one to another, such as ``fri-mon``."""
    first, _, last = text.partition("-")
    start, end = DAYS.index(first), DAYS.index(last or first)
    return [DAYS[(start + number) % 7] for number in range((end - start) % 7 + 1)]


def write_window(window: Window) -> str:
    """Return hours as :func:`read_window` reads them."""
    return f"{','.join(window.days)} {window.start}-{window.end}"


async def read_groups(texts: Iterable[str]) -> list[UUID]:
    """Return the ids of groups by their names or ids.

    Raises:
        InvalidAccessPolicyError: there is no such group.
    """
    found = []
    for text in texts:
        group = await groups.group_by_name(names.key(text))
        found.append(group.id if group is not None else _id("group", text))
    return found


async def read_organizations(texts: Iterable[str]) -> list[UUID]:
    """Return the ids of organizations by their slugs or ids.

    Raises:
        InvalidAccessPolicyError: there is no such organization.
    """
    found = []
    for text in texts:
        organization = await organizations.organization_by_slug(text)
        found.append(organization.id if organization is not None else _id("organization", text))
    return found


async def read_roles(texts: Iterable[str], client_id: str) -> list[UUID]:
    """Return the ids of roles by their names or ids. A role of the client goes before one of the whole server.

    Raises:
        InvalidAccessPolicyError: there is no such role.
    """
    found = []
    for text in texts:
        key = names.key(text)
        role = await roles.role_by_name(client_id, key) or await roles.role_by_name(None, key)
        found.append(role.id if role is not None else _id("role", text))
    return found


async def read_attributes(texts: Iterable[str]) -> dict[str, list[Value]]:
    """Return the values of attributes from texts such as ``department=Sales``, by name.

    Raises:
        InvalidAccessPolicyError: there is no such attribute.
    """
    declared = {attribute.name: attribute for attribute in await attributes.attributes()}
    found: dict[str, list[Value]] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if name not in declared or not equals:
            raise InvalidAccessPolicyError("attributes must be such as department=Sales, of declared attributes.")
        parsed: Any = parse_each(declared[name], [value])
        found.setdefault(name, []).extend(parsed if isinstance(parsed, list) else [parsed])
    return found


def write_attributes(policy: AccessPolicy) -> list[str]:
    """Return the values of attributes as :func:`read_attributes` reads them."""
    return [
        f"{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, values in sorted(policy.attributes.items())
        for value in values
    ]


def _id(what: str, text: str) -> UUID:
    """Return the id of a record that has no such name."""
    try:
        return UUID(text)
    except ValueError as error:
        raise InvalidAccessPolicyError(f"One of the {what}s does not exist. Give its name or its id.") from error


async def named(policy: AccessPolicy) -> dict[str, list[str]]:
    """Return the names of what a policy names, by field, ordered."""
    return {
        "groups": await _names(policy.groups, _group),
        "organizations": await _names(policy.organizations, _organization),
        "roles": await _names(policy.roles, _role),
    }


async def _names(ids: Iterable[UUID], name: _Name) -> list[str]:
    return sorted([await name(id_) or str(id_) for id_ in ids])


async def _group(id_: UUID) -> str | None:
    group = await groups.group_by_id(id_)
    return group.name if group is not None else None


async def _organization(id_: UUID) -> str | None:
    organization = await organizations.organization_by_id(id_)
    return organization.slug if organization is not None else None


async def _role(id_: UUID) -> str | None:
    role = await roles.role_by_id(id_)
    return role.name if role is not None else None
