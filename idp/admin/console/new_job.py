"""The way to a new job: whom it acts on, and the confirmation.

The users are ticked rows of the list, all that match its filter, or a list that is entered. The confirmation carries
the choice and the number of users in hidden fields, so that a job is created for just the number that was shown.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from litestar import Response

from idp.accounts.repository.users import EVERY_USER
from idp.admin.access import Caller
from idp.admin.bulk import service
from idp.admin.bulk.kinds import InGroup, Kind, NoParameters, act_of, acts
from idp.admin.bulk.models import Selection
from idp.admin.console import named, user_attributes
from idp.admin.console.components import Field, facts
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.errors import ValidationError
from idp.infra.db.listing import Listing

_READ = Permission.USERS_READ
_PATH = f"{HOME}/jobs/new"
#: Maximum size of a form, in bytes: about 25,000 users by id.
MAX_BODY = 1024 * 1024
#: The beginning of the names of the boxes in the list of users.
PICK = "pick."
#: The filters of the list of users, and of its search by an attribute.
FILTERS = ("q", "disabled", "attribute", "value")


class _Chosen(NamedTuple):
    """The users of a job: the selection, the list that its filters are of, and the same as a fact."""

    selection: Selection
    users: Listing
    shown: str


def kinds_of(caller: Caller) -> list[tuple[str, str]]:
    """Return the kinds of jobs that a caller may start, as choices of a form."""
    return [(kind.name, kind.label) for kind in acts() if kind.permission in caller.allowed]


@screen("GET", "/jobs/new", _READ, fresh=True)
async def ask(request: AdminRequest) -> Response[str]:
    entered = request.kept or request.query
    return await (_confirm(request, entered) if "kind" in entered else _choose(request, entered))


@screen("POST", "/jobs/new", _READ, fresh=True, max_body=MAX_BODY)
async def create(request: AdminRequest) -> Response[Any]:
    entered = request.form
    if "confirmed" not in entered:
        return await _confirm(request, entered)
    kind = _kind(request, entered)
    try:
        chosen, number = await _chosen(request, entered), entered.get("expected", "").replace(",", "").strip()
        if not number.isascii() or not number.isdigit():
            raise ValidationError("Enter the number of users to confirm it.")
        job = await service.create(
            request.caller, kind, await _parameters(kind, entered), chosen.selection,
            users=chosen.users, expected=int(number[:12]),
        )  # fmt: skip
    except FORM_ERRORS as error:
        return await _confirm(request, entered, error=error.description)
    return redirect_with_notice(f"/jobs/{job.id}", "job-created")


async def _choose(request: AdminRequest, entered: Mapping[str, str], error: str | None = None) -> Response[str]:
    """Ask for users and for what to do with them."""
    return render(
        request, "form", section="jobs", heading="Act on many users", status=400 if error else 200, error=error,
        intro="The next page shows how many users match, and what will happen.",
        action=_PATH, label="Continue", back=f"{HOME}/jobs",
        fields=[
            Field("kind", "What to do", entered.get("kind", ""), "choice", choices=kinds_of(request.caller)),
            named.group_field("Group", entered.get("group", ""), (
                "The name of the group to add users to, or to remove them from."
            )),
            *(
                _hidden(entered, "who", *FILTERS)
                if entered.get("who") == "all"
                else [Field("names", "Users", _names(entered), "lines", "Email addresses or ids, one per line.")]
            ),
        ],
    )  # fmt: skip


async def _confirm(request: AdminRequest, entered: Mapping[str, str], error: str | None = None) -> Response[str]:
    """Show how many users were chosen, what will happen to them, and how to undo it."""
    kind = _kind(request, entered)
    try:
        chosen = await _chosen(request, entered)
        parameters = await _parameters(kind, entered)
        number = await service.count(chosen.selection, chosen.users)
    except FORM_ERRORS as refused:
        return await _choose(request, entered, refused.description)
    confirmation = (
        Field("expected", "Number of users", "", "number", f"Enter {number} to confirm.", required=True)
        if kind.counted
        else Field("expected", "", str(number), "hidden")
    )
    shown = {"Users": f"{number:,}", "Chosen by": chosen.shown}
    shown |= {"Group": entered.get("group", "")} if isinstance(parameters, InGroup) else {}
    shown |= {"What happens": kind.effect, "To undo it": kind.undo}
    return render(
        request, "form", section="jobs", heading=f"{kind.label}: {number:,} {'user' if number == 1 else 'users'}?",
        status=400 if error else 200, error=error, subject=facts(shown), action=_PATH, label=kind.label,
        danger=kind.danger, back=f"{HOME}/users",
        fields=[
            Field("confirmed", "", "on", "hidden"), *_hidden(entered, "kind", "group", "who", *FILTERS),
            Field("names", "", _names(entered), "hidden"), confirmation,
        ],
    )  # fmt: skip


def _hidden(entered: Mapping[str, str], *names: str) -> list[Field]:
    return [Field(name, "", entered[name], "hidden") for name in names if entered.get(name)]


def _kind(request: AdminRequest, entered: Mapping[str, str]) -> Kind:
    """
    Raises:
        NotFoundError: there is no such kind.
        PermissionDeniedError: no role of the caller allows it.
    """
    kind = act_of(entered.get("kind", ""))
    request.caller.require(kind.permission)
    return kind


async def _parameters(kind: Kind, entered: Mapping[str, str]) -> msgspec.Struct:
    """
    Raises:
        ValidationError: there is no such group.
    """
    if kind.parameters is not InGroup:
        return NoParameters()
    return InGroup((await named.group(entered.get("group", ""))).id)


async def _chosen(request: AdminRequest, entered: Mapping[str, str]) -> _Chosen:
    """
    Raises:
        ValidationError: no user can match the filter.
    """
    if entered.get("who") != "all":
        names = tuple(_names(entered).split())
        return _Chosen(Selection(names=names), EVERY_USER, "ticked, or listed")
    search = await user_attributes.asked(msgspec.structs.replace(request, query=entered))
    if search.listing is None:
        raise service.NobodyChosenError
    users = msgspec.structs.replace(EVERY_USER, filters={**search.listing.filters, **EVERY_USER.filters})
    filters = {name: value for name, value in search.request.query.items() if name in users.filters and value}
    words = [f"{name} = {value}" for name, value in filters.items()]
    return _Chosen(Selection(filters), users, ", ".join(words) or "all users")


def _names(entered: Mapping[str, str]) -> str:
    picked = [name.removeprefix(PICK) for name in entered if name.startswith(PICK)]
    return "\n".join([*picked, *entered.get("names", "").split()])
