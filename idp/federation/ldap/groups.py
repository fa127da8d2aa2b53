"""Reads the groups of a user: from memberOf, or by a search for those that name the user."""

import re
from collections.abc import Sequence
from contextlib import suppress

import sansldap

from idp.federation.ldap import active_directory, filters
from idp.federation.ldap.connection import Connection, Entry, TooManyEntriesError
from idp.federation.ldap.options import Directory
from idp.federation.rules import MAX_GROUPS

_ESCAPED = re.compile(r"((?:\\[0-9a-fA-F]{2})+)|\\(.)")
#: The value of the first part of a name, and the first character that ends it (RFC 4514 section 3).
_FIRST = re.compile(r"[^=]+=((?:\\.|[^\\,+])*)")


async def read(connection: Connection, directory: Directory, entry: Entry) -> Sequence[str] | None:
    """Return the groups of a user. None: they are unknown, because there are too many.

    Raises:
        UpstreamUnavailableError: the directory does not respond as it should.
    """
    if directory.option("groups") == "memberOf":
        found = _from_attribute(directory, entry)
    else:
        condition = _condition(directory, entry)
        found = await _search(connection, directory, condition) if condition is not None else []
    primary = active_directory.primary_group(entry) if directory.is_active_directory else None
    if found is not None and primary is not None:
        more = await _search(connection, directory, primary)
        found = None if more is None else list(dict.fromkeys([*found, *more]))
    return None if found is None or len(found) > MAX_GROUPS else found


def _from_attribute(directory: Directory, entry: Entry) -> list[str] | None:
    if any(name.startswith("memberof;range=") for name in entry.attributes):
        # Active Directory sends the first 1500 values only.
        return None
    names = entry.texts("memberOf")
    return names if directory.option("group_name").lower() == "dn" else [first_value(name) for name in names]


def _condition(directory: Directory, entry: Entry) -> sansldap.LDAPFilter | None:
    name = entry.dn.encode()
    match directory.option("groups"):
        case "nested":
            return filters.contains(name)
        case "memberUid":
            uids = entry.values("uid")
            return filters.any_of([filters.equal("memberUid", uid) for uid in uids]) if uids else None
        case attribute:
            return filters.equal(attribute, name)


async def _search(connection: Connection, directory: Directory, filter: sansldap.LDAPFilter) -> list[str] | None:
    base = directory.option("group_base_dn") or directory.option("base_dn")
    name = directory.option("group_name")
    wanted = filters.both(directory.group_filter, filter)
    by_dn = name.lower() == "dn"
    found: list[str] = []
    try:
        async for page in connection.pages(base, wanted, ["1.1" if by_dn else name]):
            found += [entry.dn for entry in page] if by_dn else [text for entry in page for text in entry.texts(name)]
            if len(found) > MAX_GROUPS:
                return None
    except TooManyEntriesError:
        return None
    return found


def first_value(dn: str) -> str:
    r"""Return the value of the first part of a name (RFC 4514): ``Staff, all`` of ``cn=Staff\, all,dc=example``."""
    found = _FIRST.match(dn)
    if found is None:
        return dn
    with suppress(UnicodeDecodeError):
        return _ESCAPED.sub(_unescaped, found[1].strip())
    return dn


def _unescaped(found: re.Match[str]) -> str:
    return bytes.fromhex(found[1].replace("\\", "")).decode() if found[1] else found[2]
