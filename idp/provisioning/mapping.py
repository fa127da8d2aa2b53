"""The attribute mapping of a target: which SCIM attribute has the value of which attribute here.

A path is an attribute of the core schema (:data:`PATHS`) or of an extension, such as
``urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department``. ``externalId`` and ``active`` are always
sent.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from idp.accounts.attributes.models import Attribute, Audience
from idp.accounts.tables import User
from idp.errors import ValidationError
from idp.provisioning.models import Match

CORE: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
#: The paths of the core schema (RFC 7643 section 4.1) that can be mapped.
PATHS: Final = (
    "userName", "displayName", "nickName", "profileUrl", "title", "userType", "preferredLanguage", "locale", "timezone",
    "name.formatted", "name.familyName", "name.givenName", "name.middleName", "name.honorificPrefix",
    "name.honorificSuffix", "emails", "phoneNumbers", "addresses",
)  # fmt: skip
#: Attributes with a value of type ``work``: what the target has of other types stays.
WORK: Final = frozenset({"emails", "phoneNumbers", "addresses"})
_EXTENSION: Final = re.compile(r"urn:[A-Za-z0-9][A-Za-z0-9-]{1,31}(?::[A-Za-z0-9._-]+)+:[A-Za-z][A-Za-z0-9_-]*")
MAX_PATHS, MAX_PATH_LENGTH = 60, 200
#: Sources whose values users cannot choose. An address is proved before it is theirs.
_NOT_CHOSEN: Final = frozenset({"id", "email"})
#: The attribute by which accounts that exist are adopted.
_MATCHED: Final[Mapping[Match, str]] = {Match.USER_NAME: "userName", Match.EMAIL: "emails"}
#: Before the name of a declared attribute.
DECLARED: Final = "attribute:"
_ADDRESS: Final = {
    "formatted": "formatted",
    "street_address": "streetAddress",
    "locality": "locality",
    "region": "region",
    "postal_code": "postalCode",
    "country": "country",
}

DEFAULT: Final[Mapping[str, str]] = {
    "userName": "email",
    "displayName": "display_name",
    "name.formatted": "name",
    "name.familyName": "family_name",
    "name.givenName": "given_name",
    "emails": "email",
    "phoneNumbers": "phone_number",
    "locale": "locale",
    "timezone": "zoneinfo",
}


def _claim(name: str) -> Callable[[User], Any]:
    return lambda user: getattr(user, name)


def _display_name(user: User) -> str:
    whole = " ".join(part for part in (user.given_name, user.family_name) if part)
    return user.name or whole or user.email


def _address(user: User) -> dict[str, str] | None:
    members = msgspec.json.decode(user.address) if user.address else {}
    return {path: members[name] for name, path in _ADDRESS.items() if members.get(name)} or None


#: By name, what reads the value of a user.
SOURCES: Final[Mapping[str, Callable[[User], Any]]] = {
    "id": lambda user: str(user.id),
    "display_name": _display_name,
    "address": _address,
    **{
        name: _claim(name)
        for name in (
            "email", "name", "given_name", "family_name", "middle_name", "nickname", "preferred_username", "profile",
            "website", "zoneinfo", "locale", "phone_number",
        )
    },
}  # fmt: skip


def check(mapping: Mapping[str, str], match: Match, declared: Mapping[str, Attribute]) -> None:
    """Check a mapping before it is saved.

    Args:
        declared: the declared attributes by name.

    Raises:
        ValidationError: a path or a source is not allowed, or one that is needed is missing.
    """
    if not mapping.get("userName"):
        raise ValidationError("The mapping needs userName.")
    if match is Match.EMAIL and "emails" not in mapping:
        raise ValidationError("To match by email, the mapping needs emails.")
    if len(mapping) > MAX_PATHS:
        raise ValidationError(f"A mapping has at most {MAX_PATHS} attributes.")
    for path, source in mapping.items():
        _check_path(path)
        if source.startswith(DECLARED):
            attribute = declared.get(source.removeprefix(DECLARED))
            if attribute is None:
                raise ValidationError("The mapping names an attribute that is not declared.")
            if attribute.multivalued and path in PATHS:
                raise ValidationError(f"{path} has one value, and the attribute has several.")
        elif source not in SOURCES:
            raise ValidationError(f"A source is attribute:NAME or one of {', '.join(sorted(SOURCES))}.")
        if (source == "address") != (path == "addresses"):
            raise ValidationError("The address can be mapped to addresses, and only the address.")
    matched = _MATCHED.get(match, "")
    if matched in mapping and _is_chosen(mapping[matched], declared):
        # Otherwise a user who enters the name of another would get the account of that user at the target.
        raise ValidationError(
            f"Users can change the source of {matched} themselves, so accounts that exist cannot be matched by it."
            " Match by externalId, or map another source."
        )


def _is_chosen(source: str, declared: Mapping[str, Attribute]) -> bool:
    if source.startswith(DECLARED):
        return declared[source.removeprefix(DECLARED)].is_editable(Audience.PERSON)
    return source not in _NOT_CHOSEN


def _check_path(path: str) -> None:
    if path in PATHS:
        return
    extension = len(path) <= MAX_PATH_LENGTH and _EXTENSION.fullmatch(path)
    if not extension or path.rpartition(":")[0].lower() == CORE.lower():
        raise ValidationError(
            f"The mapping names an attribute that cannot be mapped. There are {', '.join(PATHS)}, and attributes of"
            " extensions as SCHEMA:NAME."
        )


def values_of(mapping: Mapping[str, str], user: User, declared: Mapping[str, Any]) -> dict[str, Any]:
    """Return by path the values that a user is to have at the target. Those without a value are None.

    Args:
        declared: the values of declared attributes.
    """
    found: dict[str, Any] = {}
    for path, source in mapping.items():
        if source.startswith(DECLARED):
            value = declared.get(source.removeprefix(DECLARED))
            if path in PATHS and value is not None:
                value = str(value).lower() if isinstance(value, bool) else str(value)
        else:
            value = SOURCES[source](user)
        found[path] = value if value not in ("", []) else None
    return found
