"""Users and groups as documents (RFC 7643 section 8), and the parts of them that a request wants (RFC 7644 section
3.9).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec

from idp.scim.access import PATH
from idp.scim.attributes import GROUP, USER, USER_SCHEMA, WORK, ResourceType
from idp.scim.errors import InvalidValueError
from idp.scim.extensions import documents
from idp.scim.patch import Document
from idp.scim.repository.users import ADDRESS, CLAIMS, GroupOfUser, StoredUser
from idp.settings import settings

#: Parts of a resource that are always returned.
_ALWAYS: Final = frozenset({"schemas", "id"})


def url_of(resource: ResourceType, id: object) -> str:
    return f"{settings().issuer}{PATH}{resource.endpoint}/{id}"


def version_of(*parts: object) -> str:
    """Return a weak entity tag (RFC 7644 section 3.14)."""
    return f'W/"{sha256(repr(parts).encode()).hexdigest()[:24]}"'


def version_of_user(user: StoredUser) -> str:
    return version_of(user.updated_at, user.directory_version, user.external_id)


def writable(user: StoredUser, declared: Mapping[str, Any]) -> Document:
    """Return the attributes of a user that a client may change, and those of extensions.

    Args:
        declared: the values of declared attributes.
    """
    found: Document = {"userName": user.email, "active": user.disabled_at is None}
    if user.external_id is not None:
        found["externalId"] = user.external_id
    for path, claim in CLAIMS.items():
        if value := getattr(user, claim):
            attribute, _, sub = path.partition(".")
            if sub:
                found.setdefault(attribute, {})[sub] = value
            else:
                found[attribute] = value
    if user.name:
        found.setdefault("name", {})["formatted"] = user.name
    found["emails"] = [_only({"value": user.email})]
    if user.phone_number:
        found["phoneNumbers"] = [_only({"value": user.phone_number})]
    members = msgspec.json.decode(user.address) if user.address else {}
    address = {name: members[member] for name, member in ADDRESS.items() if members.get(member)}
    if address:
        found["addresses"] = [_only(address)]
    return found | documents(declared)


def _only(element: Document) -> Document:
    return element | {"type": WORK, "primary": True}


def of_user(
    user: StoredUser, groups: Sequence[GroupOfUser], declared: Mapping[str, Any], version: str | None = None
) -> Document:
    """Return the whole representation of a user.

    Args:
        declared: the values of declared attributes.
        version: None: :func:`version_of_user`.
    """
    parts = writable(user, declared)
    extended = [name for name in parts if name.startswith("urn:")]
    found = {"schemas": [USER_SCHEMA, *extended], "id": str(user.id), **parts}
    if groups:
        found["groups"] = [
            {
                "value": str(group.id),
                "$ref": url_of(GROUP, group.id),
                "display": group.name,
                "type": "direct" if group.direct else "indirect",
            }
            for group in groups
        ]
    found["meta"] = {
        "resourceType": USER.name,
        "created": user.created_at,
        "lastModified": user.updated_at,
        "location": url_of(USER, user.id),
        "version": version or version_of_user(user),
    }
    return found


class Wanted(msgspec.Struct, frozen=True):
    """The parts of a resource that a request wants, in lower case: ``name`` or ``name.givenname``.

    Attributes:
        only: these; empty: all that are returned by default.
        without: not these.
    """

    only: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()

    def has(self, name: str) -> bool:
        """Return whether an attribute, or a part of it, is wanted."""
        lowered = name.lower()
        if self.only:
            return any(each == lowered or each.startswith(f"{lowered}.") for each in self.only)
        return lowered not in self.without


def wanted(resource_types: Iterable[ResourceType], only: Collection[str], without: Collection[str]) -> Wanted:
    """Return the parts that a request wants.

    Args:
        only: ``attributes``.
        without: ``excludedAttributes``.

    Raises:
        InvalidValueError: it names both.
    """
    if only and without:
        raise InvalidValueError("Either attributes or excludedAttributes, not both.")
    schemas = [f"{resource.schema}:".lower() for resource in resource_types]
    return Wanted(frozenset(_plain(only, schemas)), frozenset(_plain(without, schemas)))


def _plain(names: Iterable[str], schemas: Sequence[str]) -> Iterable[str]:
    for name in names:
        lowered = name.strip().lower()
        yield next((lowered.removeprefix(schema) for schema in schemas if lowered.startswith(schema)), lowered)


def project(document: Document, parts: Wanted) -> Document:
    """Return the wanted parts of a representation."""
    if not parts.only and not parts.without:
        return document
    return {name: part for name, value in document.items() if (part := _part(name, value, parts)) not in (None, {}, [])}


def _part(name: str, value: Any, parts: Wanted) -> Any:
    lowered = name.lower()
    inside = f"{lowered}:" if lowered.startswith("urn:") else f"{lowered}."
    if lowered in _ALWAYS:
        return value
    if parts.only:
        if lowered in parts.only:
            return value
        subs = {each.removeprefix(inside) for each in parts.only if each.startswith(inside)}
        return _subs(value, lambda sub: sub in subs) if subs else None
    if lowered in parts.without:
        return None
    subs = {each.removeprefix(inside) for each in parts.without if each.startswith(inside)}
    return _subs(value, lambda sub: sub not in subs) if subs else value


def _subs(value: Any, kept: Any) -> Any:
    if isinstance(value, list):
        return [found for element in value if (found := _subs(element, kept))]
    if isinstance(value, Mapping):
        return {name: part for name, part in value.items() if kept(name.lower())}
    return None
