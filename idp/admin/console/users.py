"""The list of users, invitations, and the search by subject."""

from typing import Any

from litestar import Response

from idp.accounts import invitations, users
from idp.accounts.repository.users import USERS, count_users
from idp.admin.console import user_attributes, user_export
from idp.admin.console.components import Action, Cell, Field, asked_page, next_url, sortable, when
from idp.admin.console.new_job import FILTERS, PICK, kinds_of
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.console.user_record import state
from idp.admin.roles import Permission
from idp.admin.subjects import UnknownSubjectError, who_is
from idp.infra.db.listing import Page
from idp.settings import settings


@screen("GET", "/users", Permission.USERS_READ)
async def list_users(request: AdminRequest) -> Response[str]:
    search = await user_attributes.asked(request)
    found = await asked_page(search.request, search.listing) if search.listing is not None else Page([], None)
    rows = [
        [
            Cell(row["email"], f"{HOME}/users/{row['id']}"),
            Cell(row["name"] or ""),
            state(row),
            Cell(", ".join(row["roles"]).replace("_", " ") or ""),
            when(row["created_at"]),
        ]
        for row in found.rows
    ]
    kinds = kinds_of(request.caller)
    choose = {
        "action": f"{HOME}/jobs/new",
        "picks": [f"{PICK}{row['id']}" for row in found.rows],
        "fields": [
            *(Field(name, "", request.query[name], "hidden") for name in FILTERS if request.query.get(name)),
            Field("kind", "What to do", "", "choice", choices=kinds),
            Field("group", "Group", "", help="The name of the group to add users to, or to remove them from."),
        ],
        "buttons": (("ticked", "With the ticked users"), ("all", "With all that match")),
    }
    return render(
        request,
        "list",
        section="users",
        heading="Users",
        path=f"{HOME}/users",
        filters=[
            Field("q", "Address, name, domain or id", request.query.get("q", ""), "search"),
            Field(
                "disabled", "State", request.query.get("disabled", ""), "choice",
                choices=(("", "All"), ("false", "Active"), ("true", "Disabled")),
            ),
            *search.fields,
        ],
        columns=sortable(
            request, search.listing or USERS, ("Email", "Name", "State", "Roles", "Created"),
            {"Email": "email", "Created": "created_at"},
        ),

        rows=rows,
        next=next_url(request, found),
        total=await _total(request),
        choose=choose if kinds else None,
        acts=_list_acts(request),
    )  # fmt: skip


async def _total(request: AdminRequest) -> str | None:
    if any(request.query.get(name) for name in ("q", "disabled", "attribute", "cursor")):
        return None
    count = await count_users()
    return f"{'About ' if count.estimated else ''}{count.number:,} {'user' if count.number == 1 else 'users'}"


def _list_acts(request: AdminRequest) -> list[Action]:
    found = []
    if Permission.USERS_WRITE in request.caller.allowed:
        found.append(Action("New user", f"{HOME}/users/new"))
        found += [Action("Invite a user", f"{HOME}/users/invite")] if settings().sends_mail else []
        found.append(Action("Import users", f"{HOME}/jobs/import"))
    found += (
        [Action("Export users", f"{HOME}/users/export")] if user_export.PERMISSION in request.caller.allowed else []
    )
    return [*found, Action("Find by subject", f"{HOME}/users/subject")]


@screen("GET", "/users/invite", Permission.USERS_WRITE)
async def ask_whom_to_invite(request: AdminRequest) -> Response[str]:
    return _invitation(request)


def _invitation(request: AdminRequest, error: str | None = None) -> Response[str]:
    return render(
        request, "form", section="users", status=400 if error else 200, heading="Invite a user", error=error,
        intro="The email has a link to create an account with this address.",
        action=f"{HOME}/users/invite", label="Send invitation", back=f"{HOME}/users",
        fields=[
            Field("email", "Email address", request.form.get("email", ""), "email", required=True),
            Field("name", "Name", request.form.get("name", "")),
        ],
    )  # fmt: skip


@screen("POST", "/users/invite", Permission.USERS_WRITE)
async def invite(request: AdminRequest) -> Response[Any]:
    name = request.form.get("name", "")[: users.MAX_NAME_LENGTH] or None
    try:
        await invitations.invite(request.form.get("email", ""), name)
    except FORM_ERRORS as error:
        return _invitation(request, error.description)
    return redirect_with_notice("/invitations", "invited")


@screen("GET", "/users/subject", Permission.USERS_READ)
async def ask_for_subject(request: AdminRequest) -> Response[str]:
    return _subject(request)


def _subject(request: AdminRequest, error: UnknownSubjectError | None = None) -> Response[str]:
    return render(
        request, "form", section="users", status=error.status if error else 200, heading="Find by subject",
        intro="Applications with pairwise subjects know each user by another sub. The audit trail records who asks.",
        error=error.description if error else None, action=f"{HOME}/users/subject", label="Find user",
        back=f"{HOME}/users",
        fields=[Field("subject", "Subject (sub)", request.form.get("subject", ""), required=True)],
    )  # fmt: skip


@screen("POST", "/users/subject", Permission.USERS_READ)
async def identify_subject(request: AdminRequest) -> Response[Any]:
    try:
        user = await who_is(request.form.get("subject", "").strip())
    except UnknownSubjectError as error:
        return _subject(request, error)
    return redirect_with_notice(f"/users/{user.id}", "identified")
