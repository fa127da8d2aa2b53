"""Records of an organization with screens of their own, such as domains, and the acts on them.

GET of an act shows what will happen; POST to the same path does it.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import asyncpg
from litestar import Response

from idp.admin.console.components import facts, one
from idp.admin.console.organizations import ONE, SECTION, organization
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.errors import NotFoundError, TooManyRequestsError
from idp.infra.db.listing import Listing

#: Errors that the page of an act, or its form, shows.
REFUSALS = (*FORM_ERRORS, NotFoundError, TooManyRequestsError)


class Part(NamedTuple):
    """A kind of record of an organization.

    Attributes:
        name: the segment of its path.
        parameter: the parameter of the path with its id.
        label, column: of what identifies a record for people.
    """

    name: str
    parameter: str
    listing: Listing
    label: str
    column: str

    @property
    def pattern(self) -> str:
        """The path of a record, with parameters."""
        return f"{ONE}/{self.name}/{{{self.parameter}}}"

    async def found(self, request: AdminRequest) -> asyncpg.Record:
        """Return the record that the path names.

        Raises:
            PageError: the organization has no such record.
        """
        key = {"id": request.params[self.parameter], "organization_id": request.params["organization_id"]}
        row: asyncpg.Record = await one(self.listing, **key)
        return row

    def path(self, row: asyncpg.Record) -> str:
        """Return the path of a record, after that of the console."""
        return f"/{SECTION}/{row['organization_id']}/{self.name}/{row['id']}"


class Act(NamedTuple):
    """An act on a record, with a confirmation page.

    Attributes:
        name: the last segment of its path.
        explanation: what will happen, and how to undo it.
        perform: carries it out.
        fresh: whether a recent sign-in is required.
        removes: whether there is no such record afterwards.
        notice: what the next page says.
    """

    name: str
    title: str
    explanation: str
    perform: Callable[[asyncpg.Record], Awaitable[object]]
    danger: bool = False
    fresh: bool = False
    removes: bool = False
    notice: str = "saved"


def declare_acts(part: Part, acts: Sequence[Act]) -> None:
    """Declare the confirmation pages of the acts on a kind of record."""
    for act in acts:
        _declare(part, act)


def _declare(part: Part, act: Act) -> None:
    path = f"{part.pattern}/{act.name}"

    async def asked(request: AdminRequest, error: str | None = None) -> Response[str]:
        row, found = await organization(request), await part.found(request)
        back = f"{HOME}{part.path(found)}"
        return render(
            request, "form", section=SECTION, heading=f"{act.title}?", fields=[], action=f"{back}/{act.name}",
            label=act.title, subject=facts({"Organisation": row["name"], part.label: found[part.column]}),
            intro=act.explanation, danger=act.danger, back=back, error=error, status=400 if error else 200,
        )  # fmt: skip

    @screen("GET", path, Permission.ORGANIZATIONS_WRITE)
    async def ask(request: AdminRequest) -> Response[str]:
        return await asked(request)

    @screen("POST", path, Permission.ORGANIZATIONS_WRITE, fresh=act.fresh)
    async def perform(request: AdminRequest) -> Response[Any]:
        found = await part.found(request)
        try:
            await act.perform(found)
        except REFUSALS as error:
            return await asked(request, sentence(error))
        target = part.path(found)
        return redirect_with_notice(target.rpartition("/")[0] if act.removes else target, act.notice)


def sentence(error: Exception) -> str:
    """Return why something was refused."""
    return "Too many attempts. Try again later." if isinstance(error, TooManyRequestsError) else str(error)
