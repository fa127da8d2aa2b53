"""Screens of users: search, one user's record, and actions."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from litestar import Response

from idp.accounts import invitations, profile, recovery, users
from idp.accounts.repository.users import user_by_id
from idp.accounts.tables import User
from idp.admin.access import check_user
from idp.admin.console import actions, reports, user_attributes, user_memberships
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.components import (
    Action,
    Cell,
    Field,
    Table,
    asked_page,
    exactly,
    facts,
    next_url,
    one,
    text,
    when,
)
from idp.admin.console.new_job import FILTERS, PICK, kinds_of
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, not_found, redirect_with_notice, render, screen
from idp.admin.incidents import contain_user
from idp.admin.roles import Permission, Role, grant
from idp.admin.subjects import UnknownSubjectError, who_is
from idp.audit.repository.audit_events import EVENTS
from idp.directory.repository.organizations import ORGANIZATIONS
from idp.federation.repository import identities_of
from idp.infra.db.listing import Page, list_page
from idp.mail import repository as mails
from idp.oauth import consent, sign_out
from idp.oauth.consent_grant import ConsentedScope
from idp.oauth.credentials import credentials_changed
from idp.oauth.details.models import Details
from idp.oauth.logout import reach
from idp.oauth.logout.reach import Reach
from idp.oauth.sign_out import sign_out_for_deletion
from idp.settings import settings
from idp.signin.factors import passkeys, recovery_codes
from idp.signin.factors import service as factors
from idp.signin.repository.sessions import SESSIONS
from idp.signin.transitions import Step


@screen("GET", "/users", Permission.USERS_READ)
async def list_users(request: AdminRequest) -> Response[str]:
    search = await user_attributes.asked(request)
    found = await asked_page(search.request, search.listing) if search.listing is not None else Page([], None)
    rows = [
        [
            Cell(row["email"], f"{HOME}/users/{row['id']}"),
            Cell(row["name"] or "-"),
            _state(row),
            Cell(", ".join(row["roles"]).replace("_", " ") or "-"),
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
            Field("group", "Group", "", help="Its name, to add users to it or to remove them."),
        ],
        "buttons": (("ticked", "With the ticked users"), ("all", "With all that match")),
    }
    invite = {
        "heading": "Invite a user",
        "action": f"{HOME}/invitations",
        "fields": [Field("email", "Email address", kind="email", required=True), Field("name", "Name")],
        "label": "Send the invitation",
    }
    whose = {
        "heading": "Whose subject is this?",
        "action": f"{HOME}/subjects",
        "fields": [Field("subject", "The sub that an application knows", required=True)],
        "label": "Find the user",
    }
    return render(
        request,
        "list",
        section="users",
        heading="Users",
        path=f"{HOME}/users",
        filters=[
            Field("q", "Address, name or id begins with", request.query.get("q", ""), "search"),
            Field(
                "disabled", "State", request.query.get("disabled", ""), "choice",
                choices=(("", "All"), ("false", "Active"), ("true", "Disabled")),
            ),
            *search.fields,
        ],
        columns=("Email", "Name", "State", "Roles", "Since"),
        rows=rows,
        next=next_url(request, found),
        choose=choose if kinds else None,
        forms=[
            *([invite] if Permission.USERS_WRITE in request.caller.allowed and settings().sends_mail else []),
            whose,
        ],
    )  # fmt: skip


def _state(row: Any) -> Cell:
    if row["disabled_at"] is not None:
        return Cell("disabled", mood="bad")
    return Cell("active", mood="good") if row["email_verified"] else Cell("address not confirmed", mood="plain")


@screen("POST", "/invitations", Permission.USERS_WRITE, page="/users")
async def invite(request: AdminRequest) -> Response[Any]:
    name = request.form.get("name", "")[: users.MAX_NAME_LENGTH] or None
    try:
        await invitations.invite(request.form.get("email", ""), name)
    except FORM_ERRORS as error:
        return render(
            request, "form", section="users", status=400, heading="Invite a user", error=error.description,
            action=f"{HOME}/invitations", label="Send the invitation", back=f"{HOME}/users",
            fields=[
                Field("email", "Email address", request.form.get("email", ""), "email", required=True),
                Field("name", "Name", request.form.get("name", "")),
            ],
        )  # fmt: skip
    return redirect_with_notice("/users", "invited")


@screen("POST", "/subjects", Permission.USERS_READ, page="/users")
async def identify_subject(request: AdminRequest) -> Response[Any]:
    entered = request.form.get("subject", "").strip()
    try:
        user = await who_is(entered)
    except UnknownSubjectError as error:
        return render(
            request, "form", section="users", status=error.status, heading="Whose subject is this?",
            error=error.description, action=f"{HOME}/subjects", label="Find the user", back=f"{HOME}/users",
            fields=[Field("subject", "The sub that an application knows", entered, required=True)],
        )  # fmt: skip
    return redirect_with_notice(f"/users/{user.id}", "identified")


async def _user(text_id: str) -> User:
    try:
        user = await user_by_id(UUID(text_id))
    except ValueError:
        user = None
    if user is None:
        raise not_found()
    return user


@screen("GET", "/users/{user_id}", Permission.USERS_READ)
async def show_user(request: AdminRequest) -> Response[str]:
    user = await _user(request.params["user_id"])
    own = await factors.factors_of(user.id)
    has = own.has if own else frozenset()
    shown = {
        "Id (sub)": str(user.id),
        "Email address": user.email,
        "State": _state({"disabled_at": user.disabled_at, "email_verified": user.email_verified}),
        **({"Disabled by": user.disabled_by or "unknown"} if user.disabled_at else {}),
        "Name": user.name,
        "Password": when(user.password_changed_at, "never changed") if user.password_hash else "none",
        "Passkeys": str(len(await passkeys.passkeys_of(user.id))),
        "Authenticator app": Step.TOTP in has,
        "Recovery codes left": str(await recovery_codes.count_unused(user.id)),
        "Two-step sign-in": user.two_step,
        "Made by": user.origin,
        "Since": user.created_at,
    }
    tables = [
        await user_attributes.table(request, user),
        await _applications(request, user),
        await _identities(user),
        await _mails(request, user),
    ]
    if Permission.SESSIONS_READ in request.caller.allowed:
        tables[:0] = [await _sessions(request, user), await _reach(user)]
    if Permission.GROUPS_READ in request.caller.allowed:
        tables += await user_memberships.tables(request, user.id)
    if Permission.ORGANIZATIONS_READ in request.caller.allowed:
        tables.append(await _organizations(user))
    if Permission.AUDIT_READ in request.caller.allowed:
        tables.append(await _events(user))
    return render(
        request,
        "record",
        section="users",
        heading=user.name or user.email,
        facts=facts(shown),
        acts=_acts(request, user),
        tables=[table for table in tables if table is not None],
    )


def _acts(request: AdminRequest, user: User) -> list[Action]:
    path = f"{HOME}/users/{user.id}"
    found = []
    if Permission.AUDIT_READ in request.caller.allowed:
        found.append(Action("Requests of sign-ins", f"{HOME}/traces?user={user.id}"))
    if Permission.USERS_WRITE in request.caller.allowed:
        found += [
            Action("Edit attributes", f"{path}/attributes"),
            *([Action("Mail a password reset", f"{path}/reset_password")] if settings().sends_mail else []),
            Action("Reset second factors", f"{path}/reset_factors"),
            *([Action("Enable", f"{path}/enable")] if user.disabled_at else []),
            # What a SCIM client has disabled it enables too, unless an administrator disables it.
            *([] if user.disabled_by == users.ADMIN else [Action("Disable", f"{path}/disable", danger=True)]),
        ]
    if Permission.SESSIONS_WRITE in request.caller.allowed:
        found.append(Action("Sign out everywhere", f"{path}/sign_out"))
    if Permission.GROUPS_WRITE in request.caller.allowed:
        found += [Action("Add to a group", f"{path}/add_to_group"), Action("Give a role", f"{path}/give_role")]
    if Permission.ADMINS_WRITE in request.caller.allowed:
        found.append(Action("Make an administrator", f"{path}/role"))
    if Permission.USERS_WRITE in request.caller.allowed:
        found += [Action("Contain", f"{path}/contain", danger=True), Action("Delete", f"{path}/delete", danger=True)]
    return found


async def _organizations(user: User) -> Table:
    page = await list_page(ORGANIZATIONS, {"user_id": str(user.id)})
    rows = [
        [Cell(row["slug"], f"{HOME}/organizations/{row['id']}/members/{user.id}"), Cell(row["name"])]
        for row in page.rows
    ]
    return Table("Organisations", ("Slug", "Name"), rows)


async def _sessions(request: AdminRequest, user: User) -> Table:
    page = await list_page(SESSIONS, {"user_id": str(user.id)}, limit=20)
    may_end = Permission.SESSIONS_WRITE in request.caller.allowed
    rows = []
    for row in page.rows:
        end = Cell("End", f"{HOME}/users/{user.id}/sessions/{row['sid']}/end") if may_end else Cell("live")
        state = Cell(_ended(row), mood="plain") if row["ended_at"] is not None else end
        rows.append(
            [when(row["last_seen_at"]), Cell(row["ip_address"]), text(row["amr"]), Cell(row["user_agent"][:60]), state]
        )
    return Table("Sessions", ("Last used", "From", "By", "Browser", ""), rows, "Never signed in.")


def _ended(row: Mapping[str, Any]) -> str:
    return f"ended: {row['ended_reason'].replace('_', ' ')}" if row["ended_reason"] else "ended"


#: Whether a state is good.
_MOODS = {Reach.TOLD: "good", Reach.TRYING: "plain", Reach.TOLD_BY_BROWSER: "plain"}


async def _reach(user: User) -> Table | None:
    rows = [
        [
            when(session.ended_at),
            Cell(each.client_name or each.client_id),
            Cell(each.state.replace("_", " "), mood=_MOODS.get(each.state, "bad")),
            text(each.response or "-"),
            when(each.next_attempt_at or each.at, "-"),
            Cell("offline access") if each.offline_access else when(each.tokens_until, "-"),
        ]
        for session in await reach.of_user(user.id)
        for each in session.applications
    ]
    columns = ("Ended", "Application", "State", "Response", "At, or next attempt", "Tokens work until")
    return Table("Where the end of sessions has arrived", columns, rows) if rows else None


async def _applications(request: AdminRequest, user: User) -> Table | None:
    if Permission.CONSENTS_READ not in request.caller.allowed:
        return None
    rows = [
        [
            Cell(each.client_name),
            Cell(", ".join((*(_words(pair) for pair in each.grants), *each.claims, *_types(each.details))) or "-"),
            when(each.granted_at),
            when(each.last_used_at),
        ]
        for each in await consent.authorized_applications(user.id)
    ]
    return Table("Applications", ("Application", "Allowed", "Since", "Last used"), rows)


def _types(details: Details) -> list[str]:
    return list(dict.fromkeys(detail["type"] for detail in details))


def _words(pair: ConsentedScope) -> str:
    return pair.scope if pair.resource is None else f"{pair.scope} at {pair.resource}"


async def _identities(user: User) -> Table:
    rows = [
        [Cell(each.upstream_id), Cell(each.subject), text(each.email), when(each.last_used_at)]
        for each in await identities_of(user.id)
    ]
    return Table("Accounts at other providers", ("Provider", "Subject", "Email address", "Last used"), rows)


async def _mails(request: AdminRequest, user: User) -> Table | None:
    if Permission.OUTBOX_READ not in request.caller.allowed:
        return None
    rows = [
        [Cell(mail.template.replace("_", " "), f"{HOME}/outbox/{mail.id}"), text(mail.state), text(mail.response),
         when(mail.created_at)]
        for mail in await mails.latest(10, recipient=user.email)
    ]  # fmt: skip
    return Table("Mail", ("Mail", "State", "SMTP response", "Written"), rows)


async def _events(user: User) -> Table:
    page = await list_page(EVENTS, {"user_id": str(user.id)}, limit=20)
    rows = [
        [
            exactly(row["at"]),
            Cell(row["event"], f"{HOME}/audit/{row['id']}"),
            Cell(row["outcome"]),
            text(row["ip_address"]),
        ]
        for row in page.rows
    ]
    return Table("What happened", ("When", "Event", "Outcome", "From"), rows)


# Actions


async def _allowed(request: AdminRequest, user_id: str) -> User:
    user = await _user(user_id)
    await check_user(request.caller, user.id)
    return user


async def _disable(request: AdminRequest, user_id: str) -> tuple[str, str]:
    user = await _allowed(request, user_id)
    await users.disable_user(user.id, credentials_changed)
    return f"/users/{user.id}", "disabled"


async def _enable(request: AdminRequest, user_id: str) -> tuple[str, str]:
    user = await _allowed(request, user_id)
    await users.enable_user(user.id)
    return f"/users/{user.id}", "enabled"


async def _sign_out(request: AdminRequest, user_id: str) -> tuple[str, str]:
    user = await _allowed(request, user_id)
    await sign_out.sign_out_everywhere(user.id, "signed_out_by_admin")
    return f"/users/{user.id}", "signed-out"


async def _reset_factors(request: AdminRequest, user_id: str) -> tuple[str, str]:
    user = await _allowed(request, user_id)
    await factors.remove_all(user.id, credentials_changed)
    return f"/users/{user.id}", "reset"


async def _reset_password(request: AdminRequest, user_id: str) -> tuple[str, str]:
    user = await _allowed(request, user_id)
    await recovery.send_reset_to_user(user)
    return f"/users/{user.id}", "mailed"


async def _contain(request: AdminRequest, user_id: str) -> Response[str]:
    user = await _allowed(request, user_id)
    return reports.show_report(request, "users", await contain_user(user.id), f"{HOME}/users/{user.id}")


async def _delete(request: AdminRequest, user_id: str) -> tuple[str, str]:
    user = await _allowed(request, user_id)
    await profile.delete_user(user.id, sign_out_for_deletion)
    return "/users", "deleted"


async def _named(user_id: str) -> dict[str, Any]:
    user = await _user(user_id)
    return {"Email address": user.email, "Name": user.name, "Id (sub)": str(user.id)}


_WRITE = Permission.USERS_WRITE
actions.declare_actions(
    "users",
    "user_id",
    _named,
    [
        ConfirmedAction("disable", "Disable", "The user cannot sign in. Sessions and tokens end.", _WRITE, _disable),
        ConfirmedAction(
            "enable", "Enable", "The user can sign in again. Ended sessions stay ended.", _WRITE, _enable, danger=False
        ),
        ConfirmedAction(
            "sign_out", "Sign out everywhere", "All sessions end, and the tokens of every application are revoked.",
            Permission.SESSIONS_WRITE, _sign_out, fresh=False,
        ),
        ConfirmedAction(
            "reset_factors", "Reset second factors",
            "Authenticator app, passkeys and recovery codes are removed, and all sessions and tokens end. Verify the"
            " identity of the person who asks: afterwards the password alone is enough.", _WRITE, _reset_factors,
        ),
        ConfirmedAction(
            "reset_password", "Mail a password reset", "The user gets a mail with a link to choose a new password.",
            _WRITE, _reset_password, danger=False, fresh=False,
        ),
        ConfirmedAction(
            "contain", "Contain",
            "For a compromised account. It is disabled, and all sessions, tokens, consents and pending"
            " sign-ins end immediately. A report shows what stays usable.", _WRITE, _contain,
        ),
        ConfirmedAction(
            "delete", "Delete", "The account is deleted with all its data. This cannot be undone.", _WRITE, _delete
        ),
    ],
)  # fmt: skip


@screen("GET", "/users/{user_id}/sessions/{sid}/end", Permission.SESSIONS_WRITE)
async def ask_to_end_session(request: AdminRequest) -> Response[str]:
    row = await one(SESSIONS, sid=request.params["sid"], user_id=request.params["user_id"])
    back = f"{HOME}/users/{row['user_id']}"
    named = await _named(str(row["user_id"])) | {"From": row["ip_address"], "Browser": row["user_agent"][:60]}
    return render(
        request, "form", section="users", heading="End this session?", fields=[],
        subject=facts(named), danger=True, label="End it", back=back,
        intro="That browser is signed out, and the tokens issued in this session are revoked.",
        action=f"{back}/sessions/{request.params['sid']}/end",
    )  # fmt: skip


@screen("POST", "/users/{user_id}/sessions/{sid}/end", Permission.SESSIONS_WRITE)
async def end_session(request: AdminRequest) -> Response[Any]:
    user = await _allowed(request, request.params["user_id"])
    try:
        sid = UUID(request.params["sid"])
    except ValueError:
        raise not_found() from None
    await sign_out.end_session(user.id, sid, "signed_out_by_admin")
    return redirect_with_notice(f"/users/{user.id}", "ended")


@screen("GET", "/users/{user_id}/role", Permission.ADMINS_WRITE, fresh=True)
async def ask_for_role(request: AdminRequest) -> Response[str]:
    user = await _user(request.params["user_id"])
    choices = [(role.value, role.replace("_", " ")) for role in Role]
    return render(
        request, "form", section="users", heading=f"Make {user.email} an administrator", label="Give the role",
        subject=facts(await _named(str(user.id))),
        fields=[Field("role", "Role", Role.AUDITOR, "choice", choices=choices)],
        action=f"{HOME}/users/{user.id}/role", back=f"{HOME}/users/{user.id}",
    )  # fmt: skip


@screen("POST", "/users/{user_id}/role", Permission.ADMINS_WRITE, fresh=True)
async def give_role(request: AdminRequest) -> Response[Any]:
    user = await _allowed(request, request.params["user_id"])
    role = request.form.get("role", "")
    if role not in set(Role):
        raise not_found()
    await grant(user.id, Role(role), granted_by=request.caller.actor)
    return redirect_with_notice("/admins", "granted")
