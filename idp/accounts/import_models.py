"""A user to import, and what belongs to other packages."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from idp.accounts.attributes.records import Values


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An identity: ``subject`` at ``issuer``. ``upstream`` is the id of the upstream here."""

    issuer: str
    subject: str
    upstream: str | None = None

    def __str__(self) -> str:
        return f"{self.issuer} {self.subject}"


#: Stores the TOTP secret and the identities of a user in the current transaction, and returns whether it stored the
#: secret: a user who has an app keeps it. A callback, because factors and identities belong to packages above this one.
StoreRelated = Callable[[UUID, str | None, Sequence[Identity]], Awaitable[bool]]
#: Returns the email addresses of the users who have these identities, by issuer and subject.
FindOwners = Callable[[Sequence[tuple[str, str]]], Awaitable[dict[tuple[str, str], str]]]
#: Takes an address from an account that registered with it and never verified it.
Release = Callable[[str], Awaitable[object]]


class NewUser(NamedTuple):
    """A user to insert: the row, and the data of other tables. Without a ``sub`` the id is a new one."""

    line: int
    row: dict[str, Any]
    has_sub: bool
    totp_secret: str | None
    identities: list[Identity]
    attributes: Values
