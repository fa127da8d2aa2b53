"""Screens of the sign-in policy of an organization."""

from collections.abc import Mapping
from typing import Any

from litestar import Response

from idp.admin.console.components import Action, Field, facts, seen, version
from idp.admin.console.organizations import ONE, SECTION, organization
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.directory import sign_in_policy_changes as service
from idp.directory.lockouts import LockoutError
from idp.directory.sign_in_policy import WAYS, SignInPolicy
from idp.errors import ValidationError

_READ, _WRITE = Permission.ORGANIZATIONS_READ, Permission.ORGANIZATIONS_WRITE
_PATH = f"{ONE}/policy"
_LABELS = {"password": "Password", "passkey": "Passkey", "email_code": "Code by email", "upstream": "Another provider"}
_MINUTES = {
    "session_max_age": (
        "Longest session, in minutes",
        "Since the user proved their identity. Leave empty for no limit.",
    ),
    "session_idle": (
        "Longest pause, in minutes",
        "Of the session, and between two refreshes. Leave empty for no limit.",
    ),
}


@screen("GET", _PATH, _READ)
async def show_policy(request: AdminRequest) -> Response[str]:
    row = await organization(request)
    path, policy = f"{HOME}/{SECTION}/{row['id']}", await service.policy_of(row["id"])
    shown = {
        "Second factor": "required" if policy.second_factor else "not required",
        **{label: _minutes(policy, name) or "any" for name, (label, _) in _MINUTES.items()},
        "Ways to sign in": ", ".join(_LABELS[name] for name in policy.ways) or "any",
    }
    change = [Action("Change", f"{path}/policy/change")] if _WRITE in request.caller.allowed else []
    return render(
        request, "record", section=SECTION, heading=f"Sign-in policy of {row['name']}", facts=facts(shown),
        intro="What members need to sign in for the organisation.", acts=[Action("Organisation", path), *change],
    )  # fmt: skip


def _minutes(policy: SignInPolicy, name: str) -> str:
    seconds = getattr(policy, name)
    return f"{seconds / 60:g}" if seconds is not None else ""


@screen("GET", f"{_PATH}/change", _WRITE)
async def change_policy(request: AdminRequest) -> Response[str]:
    policy = await service.policy_of((await organization(request))["id"])
    entered = {name: _minutes(policy, name) for name in _MINUTES} | dict.fromkeys(policy.ways, "on")
    return await _form(request, entered | ({"second_factor": "on"} if policy.second_factor else {}))


async def _form(
    request: AdminRequest, entered: Mapping[str, str], error: str | None = None, *, locks_out: bool = False
) -> Response[str]:
    row = await organization(request)
    path = f"{HOME}/{SECTION}/{row['id']}/policy"
    fields = [
        Field(
            "second_factor", "Require a second factor", entered.get("second_factor", ""), "check",
            "Members without one set it up when they sign in for the organisation.",
        ),
        *(Field(name, label, entered.get(name, ""), "number", about) for name, (label, about) in _MINUTES.items()),
        *(Field(name, label, entered.get(name, ""), "check", _HELP[name]) for name, label in _LABELS.items()),
        *([Field("accept_lockout", "Save anyway", "", "check")] if locks_out else []),
    ]  # fmt: skip
    return render(
        request, "form", section=SECTION, heading=f"Sign-in policy of {row['name']}", fields=fields, label="Save",
        intro="Applies from the next sign-in and the next token. If no way to sign in is chosen, all are allowed.",
        action=f"{path}/change", back=path, error=error, version=version(request, row["updated_at"]),
        status=400 if error else 200,
    )  # fmt: skip


_HELP = dict.fromkeys(WAYS, "") | {
    "passkey": (
        "If this is the only choice, members without a passkey set one up when they sign in for the organisation."
    ),
    "upstream": "If sessions have a maximum length, only providers that report when the user signed in.",
}


@screen("POST", f"{_PATH}/change", _WRITE, fresh=True)
async def save_policy(request: AdminRequest) -> Response[Any]:
    row, form = await organization(request), request.form
    try:
        await service.set_policy(
            row["id"],
            seen(request, row),
            second_factor="second_factor" in form,
            ways=[name for name in WAYS if name in form],
            accept_lockout="accept_lockout" in form,
            session_max_age=_seconds(form.get("session_max_age", "").strip()),
            session_idle=_seconds(form.get("session_idle", "").strip()),
        )
    except FORM_ERRORS as error:
        return await _form(request, form, error.description, locks_out=isinstance(error, LockoutError))
    return redirect_with_notice(f"/{SECTION}/{row['id']}/policy")


def _seconds(minutes: str) -> int | None:
    if not minutes:
        return None
    if not (minutes.isascii() and minutes.isdigit() and len(minutes) <= 9):
        raise ValidationError("The lengths must be whole numbers of minutes.")
    return int(minutes) * 60
