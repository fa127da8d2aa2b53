"""Forms that create a user, and change address and profile."""

from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Response

from idp.accounts import profile
from idp.accounts.attributes.errors import InvalidValueError
from idp.accounts.attributes.forms import sentence
from idp.accounts.claims import ADDRESS_MEMBERS
from idp.accounts.tables import User
from idp.admin import user_accounts
from idp.admin.access import check_user
from idp.admin.console import user_attributes
from idp.admin.console.components import Field, facts, seen, version
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.errors import VersionConflictError
from idp.infra.db.engine import transaction
from idp.settings import settings

_WRITE = Permission.USERS_WRITE
#: The labels of claims (OpenID Connect Core section 5.1) by part of the form.
_SECTIONS: Mapping[str, Mapping[str, str]] = {
    "": {
        "name": "Full name", "given_name": "First name", "middle_name": "Middle name", "family_name": "Last name",
        "nickname": "Nickname", "preferred_username": "Username shown in applications",
    },
    "Contact": {"phone_number": "Phone number", "website": "Website", "profile": "Profile page", "picture": "Picture"},
    "Address": {
        "address.street_address": "Street", "address.postal_code": "Postal code", "address.locality": "City",
        "address.region": "Region", "address.country": "Country",
    },
    "Personal": {
        "birthdate": "Birthday", "gender": "Gender", "locale": "Language", "zoneinfo": "Time zone",
    },
}  # fmt: skip
_HELP = {
    "phone_number": "With the country code, for example +44 20 7946 0000.",
    "birthdate": "For example, 1990-12-31, or only the year.",
    "locale": "A language tag, for example en or pt-BR. Emails to the user are in this language.",
    "picture": "The URL of an image.",
}


@screen("GET", "/users/new", _WRITE)
async def ask_for_new_user(request: AdminRequest) -> Response[str]:
    return await _new(request)


async def _new(request: AdminRequest, error: str | None = None) -> Response[str]:
    form = request.form
    mail = [Field("send_mail", "Send a link to choose a password", "on" if not form else form.get("send_mail", ""),
                  "check")] if settings().sends_mail else []  # fmt: skip
    return render(
        request, "form", section="users", heading="New user", error=error, status=400 if error else 200,
        intro="The account has no password until the user chooses one.",
        action=f"{HOME}/users/new", label="Create user", back=f"{HOME}/users",
        fields=[
            Field("email", "Email address", form.get("email", ""), "email", required=True),
            *(Field(name, label, form.get(name, "")) for name, label in (
                ("name", "Full name"), ("given_name", "First name"), ("family_name", "Last name"))),
            *await user_attributes.new_fields(request),
            *mail,
        ],
    )  # fmt: skip


@screen("POST", "/users/new", _WRITE)
async def create_user(request: AdminRequest) -> Response[Any]:
    form = request.form
    names = {name: form.get(name, "").strip() or None for name in ("name", "given_name", "family_name")}
    try:
        user = await user_accounts.create(
            form.get("email", ""), names, await user_attributes.entered(request), request.caller.audience,
            send_mail=settings().sends_mail and "send_mail" in form,
        )  # fmt: skip
    except InvalidValueError as error:
        return await _new(request, sentence(await user_attributes.editable(request.caller), error))
    except FORM_ERRORS as error:
        return await _new(request, error.description)
    return redirect_with_notice(f"/users/{user.id}", "user-created")


def _stored(user: User) -> dict[str, str]:
    address = msgspec.json.decode(user.address) if user.address else {}
    return {
        "email": user.email,
        **{name: user[name] or "" for name in profile.FIELDS},
        **{f"address.{name}": address.get(name, "") for name in ADDRESS_MEMBERS},
    }


@screen("GET", "/users/{user_id}/edit", _WRITE, fresh=True)
async def ask_for_changes(request: AdminRequest) -> Response[str]:
    return _edit(request, await user_attributes.user_of(request))


def _edit(request: AdminRequest, user: User, error: str | None = None) -> Response[str]:
    stored = _stored(user)
    values = {name: request.form.get(name, "") for name in stored} if request.form else stored
    path = f"{HOME}/users/{user.id}"
    changed = "If you change the address, it becomes unverified, and all sessions and tokens of the user end."
    return render(
        request, "form", section="users", heading=f"Edit {user.email}", error=error, status=400 if error else 200,
        subject=facts({"Id (sub)": str(user.id)}), action=f"{path}/edit", label="Save", back=path,
        version=version(request, user.updated_at),
        fields=[
            Field("email", "Email address", values["email"], "email", changed, required=True),
            *(
                _field(name, label, values[name], section)
                for section, labels in _SECTIONS.items() for name, label in labels.items()
            ),
        ],
    )  # fmt: skip


def _field(name: str, label: str, value: str, section: str) -> Field:
    kind = {"zoneinfo": "choice", "address.street_address": "lines"}.get(name, "text")
    zones = sorted({*profile.time_zones(), value} - {""}) if kind == "choice" else ()
    choices = (("", "Not set"), *((zone, zone) for zone in zones))
    return Field(name, label, value, kind, _HELP.get(name, ""), section=section, choices=choices)


@screen("POST", "/users/{user_id}/edit", _WRITE, fresh=True)
async def save_changes(request: AdminRequest) -> Response[Any]:
    user = await user_attributes.user_of(request)
    await check_user(request.caller, user.id)
    stored, form = _stored(user), request.form
    entered = {name: form.get(name, "").replace("\r\n", "\n").strip() for name in stored}
    try:
        user.updated_at = seen(request, {"updated_at": user.updated_at})
        async with transaction():
            if any(entered[name] != stored[name] for name in stored if name != "email") and (
                not await profile.update_profile(user, entered)
            ):
                raise VersionConflictError
            await user_accounts.change_email(user.id, entered["email"], by_owner=request.caller.owner)
    except FORM_ERRORS as error:
        return _edit(request, user, error.description)
    return redirect_with_notice(f"/users/{user.id}")
