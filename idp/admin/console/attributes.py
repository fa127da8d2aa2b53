"""Screens of declared attributes: list, declaration, change and deletion."""

from collections.abc import Mapping
from typing import Any

from litestar import Response

from idp.accounts.attributes import declaration, repository
from idp.accounts.attributes.jobs import repository as jobs
from idp.accounts.attributes.models import DEFAULT, Attribute, StoredAttribute, Type
from idp.accounts.attributes.repository import ATTRIBUTES, read
from idp.accounts.attributes.values import parse_limit
from idp.admin.console import actions
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.components import Action, Cell, Field, asked_page, facts, next_url, one, seen, version
from idp.admin.console.screen import FORM_ERRORS, HOME, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.errors import ValidationError, VersionConflictError
from idp.infra.db.rows import known

SECTION = "attributes"
_READ, _WRITE = Permission.ATTRIBUTES_READ, Permission.ATTRIBUTES_WRITE
_WHO = (("person", "the user"), ("support", "administrators who may see users"))
_REGISTRATION = (("no", "Not asked for"), ("optional", "Asked for, may stay empty"), ("required", "Required"))
_NUMBERS = {"min_length": "Shortest text", "max_length": "Longest text"}
_LIMITS = {"minimum": "Least number, or first date", "maximum": "Greatest number, or last date"}
_JOBS: dict[jobs.Kind, str] = {
    "index": "is being made searchable",
    "unindex": "is being made not searchable",
    "delete": "is deleted, and its values are being deleted",
}


@screen("GET", f"/{SECTION}", _READ)
async def list_attributes(request: AdminRequest) -> Response[str]:
    found = await asked_page(request, ATTRIBUTES)
    rows = [
        [
            Cell(attribute.name, f"{HOME}/{SECTION}/{attribute.name}"), Cell(attribute.label[DEFAULT]),
            Cell(_type(attribute)), Cell(_names(attribute.visible_to)), Cell(_names(attribute.editable_by)),
            Cell("not yet" if attribute.indexing else "yes" if attribute.searchable else "no"),
            Cell(attribute.claim or ""),
        ]
        for attribute in known(read, found.rows, "attribute")
    ]  # fmt: skip
    add = [Action("New attribute", f"{HOME}/{SECTION}/new")] if _WRITE in request.caller.allowed else []
    return render(
        request, "list", section=SECTION, heading="Attributes", path=f"{HOME}/{SECTION}", acts=add,
        intro=" ".join((
            "What users have besides the standard claims. Owners see and edit all of them.",
            *(f"{job.attribute} {_progress(job)}." for job in await jobs.jobs()),
        )),
        filters=[],
        columns=("Name", "Label", "Type", "Visible to", "Editable by", "Searchable", "Claim"),
        rows=rows, next=next_url(request, found),
    )  # fmt: skip


def _progress(job: jobs.Job) -> str:
    return f"{_JOBS[job.kind]}: {job.done:,} of {job.total:,} values"


def _type(attribute: Attribute) -> str:
    return f"{attribute.type}, several" if attribute.multivalued else str(attribute.type)


def _names(who: tuple[str, ...]) -> str:
    return ", ".join(who) or "nobody"


def _form(
    request: AdminRequest,
    path: str,
    values: Mapping[str, str],
    error: str | None = None,
    *,
    heading: str,
    stored: StoredAttribute | None = None,
) -> Response[str]:
    translations = "One language on each line, such as: de = Abteilung"
    fields = [
        Field("label", "Label", values.get("label", ""), required=True, help="On pages, in other languages too."),
        Field("translations", "Labels in other languages", values.get("translations", ""), "lines", translations),
        Field("choices", "Choices, one per line", values.get("choices", ""), "lines", "For the type choice."),
        *(Field(name, label, values.get(name, ""), "number") for name, label in _NUMBERS.items()),
        *(Field(name, label, values.get(name, "")) for name, label in _LIMITS.items()),
        Field(
            "pattern", "Pattern", values.get("pattern", ""), help="A regular expression that the whole text matches."
        ),
        *(
            Field(name, label, values.get(name, ""), "check")
            for act, verb in (("visible", "Visible to"), ("editable", "Edited by"))
            for name, label in ((f"{act}_{who}", f"{verb} {text}") for who, text in _WHO)
        ),
        Field("searchable", "Users can be found by it", values.get("searchable", ""), "check"),
        Field("scope", "Released with the scope", values.get("scope", ""), help=(
            "Leave empty to release it to no application."
        )),
        Field("claim", "In the claim", values.get("claim", ""), help="Leave empty for the name of the attribute."),
        Field("registration", "At registration", values.get("registration", ""), "choice", choices=_REGISTRATION),
        Field(
            "required_for", "Clients whose users must have it, one per line", values.get("required_for", ""), "lines",
            "Users without a value are asked for it when they sign in. A * stands for all clients.",
        ),
        Field("position", "Place on pages", values.get("position", ""), "number", "Smaller numbers come first."),
    ]  # fmt: skip
    if stored is None:
        types = [(kind.value, kind.value) for kind in Type]
        fields[:0] = [
            Field("name", "Name", values.get("name", ""), help="This cannot be changed later.", required=True),
            Field(
                "type", "Type", values.get("type", ""), "choice", choices=types, help="This cannot be changed later."
            ),
            Field("multivalued", "Several values", values.get("multivalued", ""), "check"),
        ]
    return render(
        request, "form", section=SECTION, heading=heading, fields=fields, action=path, label="Save",
        back=path.rpartition("/")[0], error=error, status=400 if error else 200,
        version=version(request, stored.updated_at if stored else None),
    )  # fmt: skip


def _shown(attribute: Attribute) -> dict[str, str]:
    """Return the values of an attribute as the fields of the form."""
    texts = {
        name: "" if (value := getattr(attribute, name)) is None else f"{value}"
        for name in (*_NUMBERS, *_LIMITS, "pattern", "scope", "claim", "registration", "position")
    }
    others = [f"{language} = {text}" for language, text in attribute.label.items() if language != DEFAULT]
    return {
        **texts, "label": attribute.label[DEFAULT], "translations": "\n".join(others),
        "choices": "\n".join(attribute.choices), "required_for": "\n".join(attribute.required_for),
        **{f"visible_{who}": "on" for who in attribute.visible_to},
        **{f"editable_{who}": "on" for who in attribute.editable_by},
        **({"searchable": "on"} if attribute.searchable else {}),
    }  # fmt: skip


def _entered(form: Mapping[str, str]) -> dict[str, Any]:
    """
    Raises:
        ValidationError: a number is none, or a label has no language.
    """
    label = {DEFAULT: form.get("label", "").strip()}
    for line in form.get("translations", "").splitlines():
        language, equals, text = line.partition("=")
        if line.strip() and not equals:
            raise ValidationError("A label in another language must be written as: de = Abteilung.")
        if line.strip():
            label[language.strip()] = text.strip()
    try:
        numbers = {name: int(form[name]) if form.get(name) else None for name in _NUMBERS}
        position = int(form.get("position") or 0)
    except ValueError as error:
        raise ValidationError("Lengths and the place must be numbers.") from error
    return {
        **numbers,
        **{name: parse_limit(form[name].strip()) if form.get(name) else None for name in _LIMITS},
        **{name: form.get(name, "").strip() or None for name in ("pattern", "scope", "claim")},
        "label": label,
        "choices": [line.strip() for line in form.get("choices", "").splitlines() if line.strip()],
        "visible_to": [who for who, _text in _WHO if f"visible_{who}" in form],
        "editable_by": [who for who, _text in _WHO if f"editable_{who}" in form],
        "searchable": "searchable" in form,
        "registration": form.get("registration", "no"),
        "required_for": form.get("required_for", "").split(),
        "position": position,
    }


@screen("GET", f"/{SECTION}/new", _WRITE)
async def new_attribute(request: AdminRequest) -> Response[str]:
    values = {"visible_person": "on", "visible_support": "on", "editable_support": "on"}
    return _form(request, f"{HOME}/{SECTION}/new", values, heading="New attribute")


@screen("POST", f"/{SECTION}/new", _WRITE, fresh=True)
async def add_attribute(request: AdminRequest) -> Response[Any]:
    form = request.form
    try:
        fixed = {
            "name": form.get("name", "").strip(),
            "type": form.get("type", ""),
            "multivalued": "multivalued" in form,
        }
        attribute = await declaration.declare(**fixed, **_entered(form))
    except FORM_ERRORS as error:
        return _form(request, f"{HOME}/{SECTION}/new", form, error.description, heading="New attribute")
    return redirect_with_notice(f"/{SECTION}/{attribute.name}")


async def _stored(name: str) -> StoredAttribute:
    return read(await one(ATTRIBUTES, name=name))


@screen("GET", f"/{SECTION}/{{attribute}}", _READ)
async def show_attribute(request: AdminRequest) -> Response[str]:
    attribute = await _stored(request.params["attribute"])
    limits = {name: getattr(attribute, name) for name in (*_NUMBERS, *_LIMITS, "pattern")}
    job = await jobs.job(attribute.name)
    shown = {
        **({"In progress": f"It {_progress(job)}"} if job is not None else {}),
        "Label": attribute.label[DEFAULT],
        "Labels in other languages": _shown(attribute)["translations"].replace("\n", ", "),
        "Type": _type(attribute),
        "Choices": ", ".join(attribute.choices),
        **{(_NUMBERS | _LIMITS).get(name, "Pattern"): value for name, value in limits.items() if value is not None},
        "Visible to": _names(attribute.visible_to),
        "Editable by": _names(attribute.editable_by),
        "Searchable": "Not yet" if attribute.indexing else attribute.searchable,
        "Released with the scope": attribute.scope,
        "In the claim": attribute.claim,
        "At registration": dict(_REGISTRATION)[attribute.registration],
        "Required for": attribute.required_for,
        "Values of all users": str(await repository.count_values(attribute.name)),
        "Created": attribute.created_at,
    }
    path = f"{HOME}/{SECTION}/{attribute.name}"
    buttons = [Action("Change", f"{path}/change"), Action("Delete", f"{path}/delete", danger=True)]
    return render(
        request, "record", section=SECTION, heading=attribute.name, facts=facts(shown), secret=None, snippets=[],
        acts=buttons if _WRITE in request.caller.allowed else [],
    )  # fmt: skip


@screen("GET", f"/{SECTION}/{{attribute}}/change", _WRITE)
async def change_attribute(request: AdminRequest) -> Response[str]:
    attribute = await _stored(request.params["attribute"])
    path, heading = f"{HOME}/{SECTION}/{attribute.name}/change", f"Change {attribute.name}"
    return _form(request, path, _shown(attribute), heading=heading, stored=attribute)


@screen("POST", f"/{SECTION}/{{attribute}}/change", _WRITE, fresh=True)
async def save_attribute(request: AdminRequest) -> Response[Any]:
    row = await one(ATTRIBUTES, name=request.params["attribute"])
    attribute = read(row)
    try:
        changed = await declaration.update(attribute.name, seen(request, row), **_entered(request.form))
        if changed is None:
            raise VersionConflictError
    except FORM_ERRORS as error:
        path, heading = f"{HOME}/{SECTION}/{attribute.name}/change", f"Change {attribute.name}"
        return _form(request, path, request.form, error.description, heading=heading, stored=attribute)
    return redirect_with_notice(f"/{SECTION}/{attribute.name}")


async def _delete(_request: AdminRequest, name: str) -> tuple[str, str]:
    await declaration.delete((await _stored(name)).name)
    return f"/{SECTION}", "deleted"


async def _named(name: str) -> dict[str, Any]:
    attribute = await _stored(name)
    number = await repository.count_values(attribute.name)
    return {"Name": attribute.name, "Label": attribute.label[DEFAULT], "Values that go with it": str(number)}


actions.declare_actions(
    SECTION,
    "attribute",
    _named,
    [
        ConfirmedAction(
            "delete",
            "Delete",
            "The values of all users are deleted with it. This cannot be undone.",
            _WRITE,
            _delete,
            question="Delete {Name}?",
            typed="Name",
        )
    ],
)
