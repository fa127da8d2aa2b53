"""The components of screens: plain values that three templates render."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec

from idp.admin.console.screen import AdminRequest, not_found
from idp.errors import ValidationError, VersionConflictError
from idp.infra.db.listing import InvalidQueryError, Listing, Page, find, list_page

#: The section of filters that are shown on request.
MORE = "More filters"


class Cell(NamedTuple):
    """A value in a table or a list of facts. A page shows an empty one as a dash.

    Attributes:
        mood: style of a badge: ``good``, ``bad``, ``plain`` or ``changed``.
        at: a time, shown relative to now.
        exact: show date and time to the second instead.
        code: whether it is a name of a program's, which is not broken.
        prose: whether it is a sentence.
        lines: several values, one below the other, instead of the text.
        copy: the id of an element with a button that copies the text.
        note: a badge beside the value.
    """

    text: str = ""
    href: str | None = None
    mood: str | None = None
    at: datetime | None = None
    exact: bool = False
    code: bool = False
    prose: bool = False
    lines: Sequence[str] = ()
    copy: str = ""
    note: str = ""


class Field(NamedTuple):
    """A field of a form.

    Attributes:
        kind: ``text``, ``lines``, ``check``, ``choice``, ``choices``, ``email``, ``password``, ``file``, ``number`` or
            ``hidden``. Those of ``choices`` are boxes, each with a name of :func:`box`; the value has a line for each
            that is checked.
        choices: values and labels of a choice.
        unavailable: those of the values that cannot be chosen.
        section: the heading under which it stands, with those beside it that have the same.
        member: whether its name is that of a member of client metadata, which errors and documentation use.
    """

    name: str
    label: str
    value: str = ""
    kind: str = "text"
    help: str = ""
    choices: Sequence[tuple[str, str]] = ()
    unavailable: Collection[str] = ()
    required: bool = False
    section: str = ""
    member: bool = False


def box(name: str, value: str) -> str:
    """Return the name of the box of a value. No parameter of a form is repeated."""
    return f"{name}:{value}"


def checked(form: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Return the values whose boxes are checked, in the order of the form."""
    prefix = box(name, "")
    return tuple(each.removeprefix(prefix) for each in form if each.startswith(prefix))


class Action(NamedTuple):
    """An action offered on a screen: a link to its form or confirmation page."""

    label: str
    href: str
    danger: bool = False


class Column(NamedTuple):
    """The heading of a column that a list can be sorted by.

    Attributes:
        href: the list in this order, or in the reverse one if it has this order already.
        order: the value of ``aria-sort``; empty if the list has another order.
    """

    label: str
    href: str
    order: str


class Table(msgspec.Struct):
    """A table with its heading. ``next`` is the URL of the page with the next rows."""

    heading: str
    columns: Sequence[str | Column]
    rows: Sequence[Sequence[Cell]]
    empty: str = "None."
    next: str | None = None


def when(at: datetime | None, otherwise: str = "never") -> Cell:
    return Cell(at=at) if at is not None else Cell(otherwise)


def exactly(at: datetime) -> Cell:
    """Return a cell with a time to the second."""
    return Cell(at=at, exact=True)


def text(value: Any) -> Cell:
    """Format a value as text."""
    if isinstance(value, datetime):
        return Cell(at=value)
    if isinstance(value, bool):
        return Cell("yes" if value else "no")
    if isinstance(value, list | tuple):
        return Cell(" ".join(map(str, value)))
    return Cell("" if value is None else str(value))


def facts(values: Mapping[str, Any]) -> list[tuple[str, Cell]]:
    """Format names and values as a list of facts."""
    return [(name, value if isinstance(value, Cell) else text(value)) for name, value in values.items()]


async def asked_page(admin_request: AdminRequest, listing: Listing, **fixed: str) -> Page:
    """Return the page of a list that the query selects. Unknown filters and sort orders are ignored."""
    known = {name: value for name, value in admin_request.query.items() if name in listing.filters and value}
    try:
        return await list_page(
            listing,
            known | fixed,
            sort=admin_request.query.get("sort"),
            cursor=admin_request.query.get("cursor"),
            limit=50,
        )
    except InvalidQueryError:
        return await list_page(listing, fixed, limit=50)


def next_url(admin_request: AdminRequest, page: Page) -> str | None:
    """Return the URL of the next page, or None."""
    if page.next_cursor is None:
        return None
    kept = {name: value for name, value in admin_request.query.items() if name not in ("cursor", "done")}
    return f"{admin_request.http.scope['path']}?{urlencode(kept | {'cursor': page.next_cursor})}"


def sortable(
    admin_request: AdminRequest, listing: Listing, columns: Sequence[str], sorts: Mapping[str, str]
) -> list[str | Column]:
    """Return the columns of a list with links that sort it.

    Args:
        sorts: the names of sort orders by column.
    """
    asked = admin_request.query.get("sort", "")
    now = asked if asked.removeprefix("-") in listing.sorts else listing.default_sort
    kept = {name: value for name, value in admin_request.query.items() if name not in ("cursor", "done", "sort")}

    def column(label: str) -> str | Column:
        sort = sorts.get(label)
        if sort is None:
            return label
        order = {sort: "ascending", f"-{sort}": "descending"}.get(now, "")
        # Times begin with the latest.
        first = f"-{sort}" if listing.sorts[sort].type == "timestamptz" else sort
        reverse = f"-{first}".replace("--", "")
        href = f"{admin_request.http.scope['path']}?{urlencode(kept | {'sort': reverse if now == first else first})}"
        return Column(label, href, order)

    return [column(label) for label in columns]


def version(admin_request: AdminRequest, updated_at: datetime | None = None) -> str | None:
    """Return the version of the record that a form shows. After an error it is still the first one."""
    return admin_request.form.get("version") or (updated_at.isoformat() if updated_at is not None else None)


def seen(admin_request: AdminRequest, row: Any) -> datetime:
    """Return the ``updated_at`` that the record must still have.

    Raises:
        VersionConflictError: the record has changed since the form was shown.
    """
    updated_at: datetime = row["updated_at"]
    if admin_request.form.get("version") != updated_at.isoformat():
        raise VersionConflictError
    return updated_at


def shown_version(form: Mapping[str, str]) -> datetime | None:
    """Return the version that a form shows of a record that may be absent; None: there was none.

    Raises:
        ValidationError: it is no moment.
    """
    try:
        return datetime.fromisoformat(form["version"]) if form.get("version") else None
    except ValueError as error:
        raise ValidationError("Reload the form and try again.") from error


async def one(listing: Listing, **key: str) -> Any:
    """Return the record with this key.

    Raises:
        PageError: there is no such record."""
    row = await find(listing, **key)
    if row is None:
        raise not_found()
    return row
