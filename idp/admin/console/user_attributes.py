"""Screens of the attributes of a user, and the search by one of them."""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from litestar import Response

from idp.accounts.attributes import forms, repository, search, service
from idp.accounts.attributes.errors import InvalidValueError
from idp.accounts.attributes.forms import Kind
from idp.accounts.attributes.models import DEFAULT, Attribute, in_order
from idp.accounts.attributes.values import parse
from idp.accounts.repository.users import USERS, user_by_id
from idp.accounts.tables import User
from idp.admin.access import Caller, check_user
from idp.admin.console.components import Cell, Field, Table, facts
from idp.admin.console.screen import (
    FORM_ERRORS,
    HOME,
    AdminRequest,
    not_found,
    redirect_with_notice,
    render,
    screen,
)
from idp.admin.roles import Permission
from idp.errors import VersionConflictError
from idp.infra.db.listing import Listing

#: The kinds of fields of the console.
_KINDS = {Kind.SELECT: "choice", Kind.BOXES: "lines", Kind.LINES: "lines", Kind.EMAIL: "email", Kind.DATE: "date"}


class Search(NamedTuple):
    """A search of users by an attribute.

    Attributes:
        request: with the filter in its query.
        listing: with the filter; None if no user can match.
        fields: of the form; none without searchable attributes.
    """

    request: AdminRequest
    listing: Listing | None
    fields: list[Field]


async def asked(request: AdminRequest) -> Search:
    """Return the search that the query of a request asks for."""
    searchable = [one for one in await _visible(request.caller) if one.searchable]
    if not searchable:
        return Search(request, USERS, [])
    name, value = request.query.get("attribute", ""), request.query.get("value", "").strip()
    fields = [
        Field(
            "attribute", "Attribute", name, "choice",
            choices=(("", "None"), *((one.name, one.label[DEFAULT]) for one in searchable)),
        ),
        Field("value", "with the value", value),
    ]  # fmt: skip
    wanted = next((one for one in searchable if one.name == name and value), None)
    if wanted is None:
        return Search(request, USERS, fields)
    if not search.fits(wanted, value):
        return Search(request, None, fields)
    query = {**request.query, f"{search.PREFIX}{name}": value}
    filters = await search.filters(request.caller.audience)
    listing = msgspec.structs.replace(USERS, filters={**USERS.filters, **filters})
    return Search(msgspec.structs.replace(request, query=query), listing, fields)


async def _visible(caller: Caller) -> list[Attribute]:
    """Return the attributes that a caller sees, in the order of pages."""
    return in_order(one for one in await repository.attributes() if one.is_visible(caller.audience))


async def table(request: AdminRequest, user: User) -> Table | None:
    """Return the attributes of a user as a part of the page of the user; None if there are none."""
    values = await service.stored_values(user.id, request.caller.audience)
    rows = [
        [Cell(one.name), Cell(one.label[DEFAULT]), Cell(forms.shown(values[one.name]))]
        for one in await _visible(request.caller)
        if one.name in values
    ]
    return Table("Attributes", ("Name", "Label", "Value"), rows) if rows else None


async def user_of(request: AdminRequest) -> User:
    """Return the user named in the path.

    Raises:
        NotFoundError: there is no such user.
    """
    return await user_by(request.params["user_id"])


async def user_by(text: str) -> User:
    """Return the user with this id.

    Raises:
        NotFoundError: there is no such user.
    """
    try:
        user = await user_by_id(UUID(text))
    except ValueError:
        user = None
    if user is None:
        raise not_found()
    return user


async def editable(caller: Caller) -> list[Attribute]:
    """Return the attributes that a caller may edit, in the order of pages."""
    return [one for one in await _visible(caller) if one.is_editable(caller.audience)]


async def new_fields(request: AdminRequest) -> list[Field]:
    """Return the fields of attributes in the form of a new user."""
    return [_field(one, None, request.form or None) for one in await editable(request.caller)]


async def entered(request: AdminRequest) -> dict[str, Any]:
    """Return the values that the form of a new user has."""
    values = {
        one.name: parse(one, request.form.get(forms.field_name(one.name), "")) for one in await editable(request.caller)
    }
    return {name: value for name, value in values.items() if value}


def _tag(values: Mapping[str, Any]) -> str:
    """Return a version of values, for a form that shows them."""
    return sha256(msgspec.json.encode(values)).hexdigest()


def _form(
    request: AdminRequest,
    user: User,
    may_edit: Iterable[Attribute],
    values: Mapping[str, Any],
    *,
    form: Mapping[str, str] | None = None,
    error: str | None = None,
) -> Response[str]:
    path = f"{HOME}/users/{user.id}"
    fields = [_field(one, values.get(one.name), form) for one in may_edit]
    named = {"Email address": user.email, "Name": user.name, "Id (sub)": str(user.id)}
    return render(
        request, "form", section="users", heading=f"Attributes of {user.email}", subject=facts(named), fields=fields,
        action=f"{path}/attributes", label="Save", back=path, error=error, status=400 if error else 200,
        version=(form or {}).get("version") or _tag(values),
    )  # fmt: skip


def _field(attribute: Attribute, value: Any, form: Mapping[str, str] | None) -> Field:
    name, kind = forms.field_name(attribute.name), _KINDS.get(forms.kind_of(attribute), "text")
    text = form.get(name, "") if form is not None else "\n".join(forms.texts(value))
    hint = "Each on its own line." if kind == "lines" else ""
    options = [*attribute.choices] if attribute.choices else ["true", "false"]
    choices = [("", ""), *((choice, choice) for choice in dict.fromkeys([*options, *([text] if text else [])]))]
    return Field(name, attribute.label[DEFAULT], text, kind, hint, choices=choices if kind == "choice" else ())


@screen("GET", "/users/{user_id}/attributes", Permission.USERS_WRITE)
async def edit_attributes(request: AdminRequest) -> Response[str]:
    user = await user_of(request)
    values = await service.stored_values(user.id, request.caller.audience)
    return _form(request, user, await editable(request.caller), values)


@screen("POST", "/users/{user_id}/attributes", Permission.USERS_WRITE)
async def save_attributes(request: AdminRequest) -> Response[Any]:
    user, audience = await user_of(request), request.caller.audience
    await check_user(request.caller, user.id)
    may_edit, form = await editable(request.caller), request.form
    values = await service.stored_values(user.id, audience)
    changes = {one.name: parse(one, form.get(forms.field_name(one.name), "")) for one in may_edit}
    try:
        if form.get("version") != _tag(values):
            raise VersionConflictError
        if await service.change(user.id, changes, audience, expected=values) is None:
            raise VersionConflictError
    except InvalidValueError as error:
        return _form(request, user, may_edit, values, form=form, error=forms.sentence(may_edit, error))
    except FORM_ERRORS as error:
        return _form(request, user, may_edit, values, form=form, error=error.description)
    return redirect_with_notice(f"/users/{user.id}")
