"""The page of one user, in the order in which support asks.

Can the user sign in, and why not; what happened; where are they signed in; what may they use.
"""

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from litestar import Response

from idp.accounts import users
from idp.accounts.tables import User
from idp.admin.console import audit, user_attributes, user_memberships
from idp.admin.console.components import Action, Cell, Table, exactly, facts, text, when
from idp.admin.console.screen import HOME, AdminRequest, render, screen
from idp.admin.roles import Permission
from idp.audit.repository.audit_events import EVENTS
from idp.directory.repository.organizations import ORGANIZATIONS
from idp.federation.repository import identities_of
from idp.infra.db.listing import list_page
from idp.infra.geoip import device, place
from idp.mail import repository as mails
from idp.oauth import consent
from idp.oauth.clients.path_ids import path_id
from idp.oauth.consent_grant import ConsentedScope
from idp.oauth.details.models import Details
from idp.oauth.logout import reach
from idp.oauth.logout.reach import Reach
from idp.settings import settings
from idp.signin import limits
from idp.signin.factors import passkeys, recovery_codes
from idp.signin.factors import service as factors
from idp.signin.repository.sessions import SESSIONS
from idp.signin.transitions import Step


def state(row: Any) -> Cell:
    """Return the state of a user as a badge."""
    if row["disabled_at"] is not None:
        return Cell("disabled", mood="bad")
    return Cell("active", mood="good") if row["email_verified"] else Cell("address not confirmed", mood="plain")


@screen("GET", "/users/{user_id}", Permission.USERS_READ)
async def show_user(request: AdminRequest) -> Response[str]:
    user = await user_attributes.user_of(request)
    allowed = request.caller.allowed
    wait = await limits.wait_of_user(user.id, user.email)
    tables = [
        *([await _events(user)] if Permission.AUDIT_READ in allowed else []),
        *([await _sessions(request, user), await _reach(user)] if Permission.SESSIONS_READ in allowed else []),
        *([await _applications(request, user)] if Permission.CONSENTS_READ in allowed else []),
        *(await user_memberships.tables(request, user.id) if Permission.GROUPS_READ in allowed else []),
        *([await _organizations(user)] if Permission.ORGANIZATIONS_READ in allowed else []),
        await user_attributes.table(request, user),
        await _identities(user),
        *([await _mails(user)] if Permission.OUTBOX_READ in allowed else []),
    ]
    return render(
        request, "record", section="users", heading=user.name or user.email, facts=facts(await _facts(user, wait)),
        acts=await _acts(request, user, locked=wait > 0), tables=[table for table in tables if table is not None],
    )  # fmt: skip


async def _facts(user: User, wait: float) -> dict[str, Any]:
    """Return whether the user can sign in, by what, and who they are.

    Args:
        wait: seconds before the next password or code is accepted in a new browser.
    """
    own = await factors.factors_of(user.id)
    has = own.has if own else frozenset()
    keys = await passkeys.passkeys_of(user.id)
    return {
        "Email address": user.email,
        "Name": user.name,
        "State": state({"disabled_at": user.disabled_at, "email_verified": user.email_verified}),
        **({"Disabled by": user.disabled_by or "unknown"} if user.disabled_at else {}),
        **({"Failed attempts": Cell(f"next attempt in {_duration(wait)}", mood="bad")} if wait else {}),
        "Password": when(user.password_changed_at, "set") if user.password_hash else "none",
        "Passkeys": ", ".join(each.name for each in keys) or "none",
        "Authenticator app": Step.TOTP in has,
        "Recovery codes left": str(await recovery_codes.count_unused(user.id)),
        "Two-step sign-in": user.two_step,
        "Language": user.locale,
        "Id (sub)": str(user.id),
        "Created by": user.origin,
        "Created": user.created_at,
    }


def _duration(seconds: float) -> str:
    return f"{math.ceil(seconds)} s" if seconds < 90 else f"{math.ceil(seconds / 60)} min"


async def _acts(request: AdminRequest, user: User, *, locked: bool) -> list[Action]:
    path = f"{HOME}/users/{user.id}"
    found = []
    if Permission.USERS_WRITE in request.caller.allowed:
        found += [
            Action("Edit", f"{path}/edit"),
            *(
                [Action("Edit attributes", f"{path}/attributes")]
                if await user_attributes.editable(request.caller)
                else []
            ),
            *([Action("Send a password reset", f"{path}/reset_password")] if settings().sends_mail else []),
            *([Action("Allow attempts again", f"{path}/unlock")] if locked else []),
            Action("Reset second factors", f"{path}/reset_factors", danger=True),
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
    if Permission.AUDIT_READ in request.caller.allowed:
        found.append(Action("Traces", f"{HOME}/traces?user={user.id}"))
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
            [
                when(row["last_seen_at"]),
                _from(row["ip_address"]),
                text(row["amr"]),
                Cell(device(row["user_agent"])),
                state,
            ]
        )
    return Table("Sessions", ("Last used", "From", "By", "Browser", ""), rows, "Never signed in.")


def _from(address: str | None) -> Cell:
    """Return an address with its place, if that is known."""
    known = place(address) if address else ""
    return Cell(f"{address} ({known})" if known and known != address else address or "")


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
            text(each.response or ""),
            when(each.next_attempt_at or each.at, ""),
            Cell("offline access") if each.offline_access else when(each.tokens_until, ""),
        ]
        for session in await reach.of_user(user.id)
        for each in session.applications
    ]
    columns = ("Ended", "Application", "State", "Response", "At, or next attempt", "Tokens work until")
    return Table("Sign-outs sent to applications", columns, rows) if rows else None


async def _applications(request: AdminRequest, user: User) -> Table:
    may = Permission.CONSENTS_WRITE in request.caller.allowed
    path = f"{HOME}/users/{user.id}/consents"
    rows = [
        [
            Cell(each.client_name),
            Cell(", ".join((*(_words(pair) for pair in each.grants), *each.claims, *_types(each.details))) or ""),
            when(each.granted_at),
            when(each.last_used_at),
            *([Cell("Withdraw", f"{path}/{path_id(each.client_id)}/withdraw")] if may else []),
        ]
        for each in await consent.authorized_applications(user.id)
    ]
    columns = ("Application", "Allowed", "Since", "Last used", *([""] if may else []))
    return Table("Applications", columns, rows, "The user has allowed no application.")


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


async def _mails(user: User) -> Table:
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
            *audit.what(row),
            _from(row["ip_address"]),
        ]
        for row in page.rows
    ]
    return Table(
        "What happened",
        ("When", "Event", "Outcome", "From"),
        rows,
        next=f"{HOME}/audit?{urlencode({'user_id': user.id})}" if page.next_cursor else None,
    )
