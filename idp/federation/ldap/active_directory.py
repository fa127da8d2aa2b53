"""Reads what only Active Directory has: error codes of a bind, flags of an account, times, and the primary group."""

import re
import struct
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import sansldap
from sansldap import LDAPResult

from idp import clock
from idp.federation.ldap.connection import Entry
from idp.federation.ldap.problems import Problem

#: Attributes that :func:`problem_of` and :func:`primary_group` read.
ATTRIBUTES: Final = ("userAccountControl", "accountExpires", "primaryGroupID", "objectSid")

_CODE = re.compile(r"\bdata ([0-9a-fA-F]{1,8})\b")
#: Codes that are returned only if the password is right. 775, locked, also comes with a wrong one, so it is not here.
_PROBLEMS: Final = {
    0x530: Problem.NOT_NOW,
    0x531: Problem.NOT_HERE,
    0x532: Problem.PASSWORD_EXPIRED,
    0x533: Problem.DISABLED,
    0x701: Problem.EXPIRED,
    0x773: Problem.PASSWORD_EXPIRED,
}
_DISABLED = 0x2
#: Values of accountExpires of an account that does not expire.
_NEVER = (0, 2**63 - 1)
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
#: Bytes of a security identifier before its sub-authorities; each of those has 4.
_SID_HEADER, _SID_PART = 8, 4


def problem_of_bind(result: LDAPResult) -> Problem | None:
    """Return why a bind with the right password was refused. None: the password is wrong, or nothing is known."""
    found = _CODE.search(result.diagnostics_message)
    return _PROBLEMS.get(int(found[1], 16)) if found else None


def problem_of(entry: Entry) -> Problem | None:
    """Return why the account may not be used, by its flags."""
    if (_number(entry, "userAccountControl") or 0) & _DISABLED:
        return Problem.DISABLED
    expires = _number(entry, "accountExpires")
    if expires is not None and expires not in _NEVER:
        # A time beyond the calendar of Python has not come.
        with suppress(OverflowError):
            if _EPOCH + timedelta(microseconds=expires // 10) <= clock.now():
                return Problem.EXPIRED
    return None


def primary_group(entry: Entry) -> sansldap.LDAPFilter | None:
    """Return a filter for the primary group of a user, which is in neither memberOf nor member."""
    sids, number = entry.values("objectSid"), _number(entry, "primaryGroupID")
    if len(sids) != 1 or number is None or not 0 <= number < 2**32:
        return None
    sid = sids[0]
    if len(sid) < _SID_HEADER + _SID_PART or len(sid) != _SID_HEADER + _SID_PART * sid[1]:
        return None
    return sansldap.FilterEquality(attribute="objectSid", value=sid[:-_SID_PART] + struct.pack("<I", number))


def _number(entry: Entry, name: str) -> int | None:
    texts = entry.texts(name)
    with suppress(ValueError):
        return int(texts[0]) if len(texts) == 1 and len(texts[0]) <= 20 else None
    return None
