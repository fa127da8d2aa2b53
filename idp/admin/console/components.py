"""What the screens are made of: plain values, which three templates know how to show."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec

from idp.admin.console.screen import AdminRequest, not_found
from idp.infra.db.listing import InvalidQueryError, Listing, Page, find, list_page
from idp.oauth.clients.service import VersionConflictError


class Cell(NamedTuple):
    """A value in a table or a list of facts.

    Attributes:
        mood: as a badge: ``good``, ``bad`` or ``plain``.
        at: a moment, shown in the reader's words.
        exact: shows date and time of the moment, to the second, instead.
    """

    text: str = ""
    href: str | None = None
    mood: str | None = None
    at: datetime | None = None
    exact: bool = False


class Field(NamedTuple):
    """A field of a form.

    Attributes:
        kind: ``text``, ``lines``, ``check``, ``choice``, ``email``, ``password``, ``file`` or ``number``.
        choices: value and label, for a choice.
    """

    name: str
    label: str
    value: str = ""
    kind: str = "text"
    help: str = ""
    choices: Sequence[tuple[str, str]] = ()
    required: bool = False


class Action(NamedTuple):
    """Something that can be done from a screen: a link to its form or to the page that asks once more."""

    label: str
    href: str
    danger: bool = False


class Table(msgspec.Struct):
    """A table with its heading."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    empty: str = "None."


def when(at: datetime | None, otherwise: str = "never") -> Cell:
    return Cell(at=at) if at is not None else Cell(otherwise)


def exactly(at: datetime) -> Cell:
    """A moment to the second, as what happened is put in order by it."""
    return Cell(at=at, exact=True)


def text(value: Any) -> Cell:
    """A value in words."""
    if isinstance(value, datetime):
        return Cell(at=value)
    if isinstance(value, bool):
        return Cell("yes" if value else "no")
    if isinstance(value, list | tuple):
        return Cell(" ".join(map(str, value)) or "-")
    return Cell("-" if value is None or value == "" else str(value))


def facts(values: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    """Names and values, each value in words."""
    return [(name, value if isinstance(value, Cell) else text(value)) for name, value in values.items()]


async def asked_page(visit: AdminRequest, listing: Listing, **fixed: str) -> Page:
    """The page of a list that the query asks for; what it cannot be asked for is left out."""
    known = {name: value for name, value in visit.query.items() if name in listing.filters and value}
    try:
        return await list_page(
            listing, known | fixed, sort=visit.query.get("sort"), cursor=visit.query.get("cursor"), limit=50
        )
    except InvalidQueryError:
        return await list_page(listing, fixed, limit=50)


def next_url(visit: AdminRequest, page: Page) -> str | None:
    """Where the list goes on."""
    if page.next_cursor is None:
        return None
    kept = {name: value for name, value in visit.query.items() if name not in ("cursor", "done")}
    return f"{visit.request.scope['path']}?{urlencode(kept | {'cursor': page.next_cursor})}"


def version(visit: AdminRequest, updated_at: datetime | None = None) -> str | None:
    """Which state of a record a form shows: after an error, still the one that it began with."""
    return visit.form.get("version") or (updated_at.isoformat() if updated_at is not None else None)


def seen(visit: AdminRequest, row: Any) -> datetime:
    """The ``updated_at`` to hold a change against.

    Raises:
        VersionConflictError: the form showed another state of the record than the one that is there.
    """
    updated_at: datetime = row["updated_at"]
    if visit.form.get("version") != updated_at.isoformat():
        raise VersionConflictError
    return updated_at


async def one(listing: Listing, **key: str) -> Any:
    """The record of a list that has this key, or the page that says that there is none."""
    row = await find(listing, **key)
    if row is None:
        raise not_found()
    return row
