"""Export of users: records that :mod:`idp.accounts.imports` reads, without secrets."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from idp.accounts import kept_subjects
from idp.accounts.attributes import records, service
from idp.accounts.claims import ADDRESS_MEMBERS, TEXT_CLAIMS, VERIFICATION_CLAIMS, claims_of
from idp.accounts.repository import users
from idp.accounts.tables import User
from idp.audit.events import record
from idp.infra.db.engine import transaction

PAGE_SIZE = 1000
_FIRST = UUID(int=0)
#: The claims of a record. The time of the last change is not imported.
CLAIMS = sorted(TEXT_CLAIMS | VERIFICATION_CLAIMS.keys() | {"address"})


def columns() -> list[str]:
    """Return the columns of a table of users. An attribute that is declared later has none."""
    names = [name for name in CLAIMS if name != "address"]
    found = ["sub", *names, *(f"address.{member}" for member in ADDRESS_MEMBERS), "disabled"]
    return found + sorted(records.columns() - {records.COLUMN})


async def export_users() -> AsyncIterator[list[dict[str, Any]]]:
    """Yield pages of users in the order of their ids, as JSON. The audit trail records it at the end.

    Each page is read in a transaction, which checks the authority again: the export stops when that ends.
    A user who is created or changed meanwhile is in it as before or as after.
    """
    after, number = _FIRST, 0
    while page := await _page(after):
        yield [_record(user, attributes) for user, attributes in page]
        after, number = page[-1][0].id, number + len(page)
    await record("users_exported", detail={"count": number})


async def _page(after: UUID) -> list[tuple[User, dict[str, Any]]]:
    async with transaction():
        page = await users.page_of_users(after, PAGE_SIZE)
        attributes = await service.values_of_users([user.id for user in page])
    return [(user, attributes.get(user.id, {})) for user in page]


def _record(user: User, attributes: dict[str, Any]) -> dict[str, Any]:
    found = {"sub": kept_subjects.text(user.id)} | claims_of(user, CLAIMS)
    if user.disabled_at is not None:
        found["disabled"] = True
    return found | ({records.COLUMN: attributes} if attributes else {})


def as_columns(values: dict[str, Any]) -> dict[str, str]:
    """Return a record as text by column."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if name == records.COLUMN:
            flat |= records.as_columns(value)
        elif isinstance(value, dict):
            flat |= {f"{name}.{member}": text for member, text in value.items()}
        else:
            flat[name] = ("true" if value else "false") if isinstance(value, bool) else str(value)
    return flat
