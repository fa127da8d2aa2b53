"""What is said of a person to others: the standard claims (OpenID Connect Core section 5.1)."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Protocol

import msgspec


class UserRow(Protocol):
    """A row of the table of users, as Piccolo or as asyncpg gives it."""

    def __getitem__(self, name: str, /) -> Any: ...


#: The claims that are text. Each is the column of its name.
TEXTS = frozenset(
    [
        "name",
        "given_name",
        "family_name",
        "middle_name",
        "nickname",
        "preferred_username",
        "profile",
        "picture",
        "website",
        "email",
        "gender",
        "birthdate",
        "zoneinfo",
        "locale",
        "phone_number",
    ]
)
#: The claims that say whether another one was verified. They are left out with it.
VERIFIED = {"email_verified": "email", "phone_number_verified": "phone_number"}
#: The members of an address (section 5.1.1).
ADDRESS_MEMBERS = ("formatted", "street_address", "locality", "region", "postal_code", "country")


def claims_of(user: UserRow, names: Iterable[str]) -> dict[str, Any]:
    """The named claims, as far as the user has them: what is empty is left out (section 5.3.2)."""
    values = {name: _claim(user, name) for name in names}
    return {name: value for name, value in values.items() if value not in (None, "", {})}


def _claim(user: UserRow, name: str) -> Any:
    if name in TEXTS:
        return user[name]
    if name in VERIFIED:
        return bool(user[name]) if user[VERIFIED[name]] else None
    if name == "updated_at":
        updated_at: datetime = user[name]
        return int(updated_at.timestamp())
    if name == "address":
        return _address(user[name])
    return None


def _address(stored: str | None) -> dict[str, str]:
    members = msgspec.json.decode(stored) if stored else {}
    return {name: members[name] for name in ADDRESS_MEMBERS if members.get(name)}
