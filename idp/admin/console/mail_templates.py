"""Screens of the mail templates: what each mail says, in each language."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from litestar import Response
from markupsafe import escape

from idp.accounts.addresses import mask_email
from idp.admin.console import actions
from idp.admin.console.actions import ConfirmedAction
from idp.admin.console.components import Action, Cell, Field, Table, exactly
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
from idp.errors import TooManyRequestsError
from idp.http.mail_preview import DARK, LIGHT, framed_mail
from idp.infra import i18n
from idp.infra.templates import templates
from idp.mail import trial
from idp.mail.messages import message_of
from idp.mail.templates import checks, customization, repository, sources
from idp.mail.templates.customization import LANGUAGES, MAX_BODY
from idp.mail.templates.kinds import KINDS, variables_of
from idp.mail.templates.language import FILTERS, InvalidTemplateError
from idp.mail.templates.models import ALL, Source, Version
from idp.mail.templates.registry import overrides
from idp.mail.templates.rendering import Parts
from idp.settings import settings

SECTION = "mail_templates"
_READ, _WRITE = Permission.MAIL_TEMPLATES_READ, Permission.MAIL_TEMPLATES_WRITE
_INTRO = (
    "What each mail says. A template here replaces the shipped one, and the one in the folder of IDP_TEMPLATES_DIR."
    " One for a language goes before one for all languages."
)
_HELP = (
    "Inside of the frame with the logo and the footer; a whole document if it begins with <!doctype html>. You may use"
    ' {{ variables }}, {% if %}, {% trans %}, {{ button(link, "Label") }}, {{ brand.name }}, and the filters '
    + ", ".join(sorted(FILTERS))
    + "."
)
_NAMES = {ALL: "All languages", **i18n.NAMES}


def _key(name: str, language: str) -> str:
    return f"{name}.{language}"


def _path(name: str, language: str = ALL) -> str:
    return f"{HOME}/{SECTION}/{_key(name, language)}"


def _asked(key: str) -> tuple[str, str]:
    """Return the name of the mail and the language."""
    name, _, language = key.partition(".")
    if name not in KINDS or (language or ALL) not in LANGUAGES:
        raise not_found()
    return name, language or ALL


def _is_own(name: str) -> bool:
    return any(templates().is_own(f"mail/{name}.{kind}") for kind in ("html", "txt"))


@screen("GET", f"/{SECTION}", _READ)
async def list_templates(request: AdminRequest) -> Response[str]:
    wrong = {name for name, _, _ in await asyncio.to_thread(checks.problems)}
    rows = [
        [
            Cell(name.replace("_", " "), _path(name)), Cell(kind.purpose), Cell(" ".join(kind.variables)),
            Cell("cannot be used", mood="bad") if name in wrong else _state(name),
        ]
        for name, kind in KINDS.items()
    ]  # fmt: skip
    return render(
        request, "list", section=SECTION, heading="Mail templates", intro=_INTRO, acts=[], filters=[],
        columns=("Mail", "Sent when", "Variables", "Template"), rows=rows,
    )  # fmt: skip


def _state(name: str) -> Cell:
    languages = [one.language for one in overrides.all() if one.template == name]
    if languages:
        return Cell(f"changed here: {', '.join(languages)}", mood="changed")
    return Cell("of the folder", mood="changed") if _is_own(name) else Cell("shipped")


@screen("GET", f"/{SECTION}/{{mail}}", _READ)
async def show_template(request: AdminRequest) -> Response[str]:
    name, language = _asked(request.params["mail"])
    number = request.query.get("version", "")
    old = await repository.source(name, language, int(number)) if number.isdecimal() and len(number) < 9 else None
    return await _page(request, name, language, old or _effective(name, language))


def _effective(name: str, language: str) -> Source:
    return overrides.get(name, language) or sources.shipped(name, language)


async def _page(
    request: AdminRequest, name: str, language: str, source: Source, *, error: str | None = None, version: str = ""
) -> Response[str]:
    kind, path = KINDS[name], _path(name, language)
    kept = {field: request.kept.get(field, getattr(source, field)) for field in ("subject", "html", "text")}
    own = overrides.get(name, language) is not None
    found = await repository.versions(name, language)
    newest = found[0].version if found else 0
    needed = f"Must contain {', '.join(f'{{{{ {each} }}}}' for each in kind.proofs)}. " if kind.proofs else ""
    fields = [
        Field("subject", "Subject", kept["subject"], required=True),
        Field("html", "HTML", kept["html"], "lines", needed + _HELP, required=True),
        Field("text", "Text", kept["text"], "lines", f"{needed}Without the footer.", required=True),
    ]
    may_write = _WRITE in request.caller.allowed
    reset = [Action("Reset to the shipped one", f"{path}/reset", danger=True)] if own and may_write else []
    return render(
        request, "mail_template", section=SECTION, heading=f"{name.replace('_', ' ').capitalize()}: {_NAMES[language]}",
        intro=kind.purpose, path=path, fields=fields, version=request.kept.get("version") or version or str(newest),
        languages=_languages(name, language), variables=_variables(name), versions=_versions(found, path),
        may_write=may_write, acts=reset, error=error, status=400 if error else 200, framed=["'self'"],
    )  # fmt: skip


class _Language(NamedTuple):
    """A tab: the template of the mail in one language."""

    label: str
    href: str
    current: bool
    changed: bool


def _languages(name: str, language: str) -> list[_Language]:
    return [
        _Language(_NAMES[each], _path(name, each), each == language, overrides.get(name, each) is not None)
        for each in LANGUAGES
    ]


def _variables(name: str) -> Table:
    kind = KINDS[name]
    rows = [
        [
            Cell(f"{{{{ {each} }}}}", code=True),
            Cell(f"{variable.meaning}{'; may be missing' if each in kind.optional else ''}"),
            Cell(str(variable.example).replace("{issuer}", settings().issuer)),
        ]
        for each, variable in variables_of(kind).items()
    ]
    return Table("Variables", ("Variable", "Meaning", "Example"), rows)


def _versions(found: list[Version], path: str) -> Table:
    rows = [
        [
            Cell(str(one.version), f"{path}?version={one.version}" if one.subject is not None else None),
            exactly(one.created_at),
            Cell(one.subject if one.subject is not None else "the shipped one"),
        ]
        for one in found
    ]
    empty = "It was never changed here."
    return Table("Versions. Open one to edit and save it again.", ("Version", "Saved", "Subject"), rows, empty)


def _source(form: Mapping[str, str]) -> Source:
    return customization.normalised(Source(*(form.get(field, "") for field in ("subject", "html", "text"))))


@screen("POST", f"/{SECTION}/{{mail}}", _WRITE, fresh=True, max_body=MAX_BODY)
async def save_template(request: AdminRequest) -> Response[Any]:
    name, language = _asked(request.params["mail"])
    source, version = _source(request.form), request.form.get("version", "")
    try:
        expected = int(version) if version.isdecimal() and len(version) < 9 else -1
        await customization.set_template(name, language, source, expected)
    except FORM_ERRORS as error:
        return await _page(request, name, language, source, error=error.description, version=version)
    return redirect_with_notice(f"/{SECTION}/{_key(name, language)}")


@screen("GET", f"/{SECTION}/{{mail}}/preview", _READ)
async def preview_used(request: AdminRequest) -> Response[str]:
    name, language = _asked(request.params["mail"])
    return framed_mail((await asyncio.to_thread(checks.preview, name, language, None)).html)


@screen("POST", f"/{SECTION}/{{mail}}/preview", _WRITE, max_body=MAX_BODY)
async def preview_entered(request: AdminRequest) -> Response[str]:
    name, language = _asked(request.params["mail"])
    if request.form.get("as") == "send":
        return await _send(request, name, language)
    try:
        parts = await _checked(name, language, _source(request.form))
    except InvalidTemplateError as error:
        return _words("This template cannot be used", error.description)
    if request.form.get("as") == "text":
        return _words(parts.subject, parts.text)
    return framed_mail(parts.html, DARK if request.form.get("as") == DARK else LIGHT)


async def _checked(name: str, language: str, source: Source) -> Parts:
    await asyncio.to_thread(checks.check, name, language, source)
    return await asyncio.to_thread(checks.preview, name, language, source)


async def _send(request: AdminRequest, name: str, language: str) -> Response[str]:
    """Send what was entered to the administrator, and to nobody else."""
    try:
        parts = await _checked(name, language, _source(request.form))
        await trial.limit(request.user.email, request.caller.actor)
        response = await trial.send(message_of(request.user.email, parts), name, mask_email(request.user.email))
    except (*FORM_ERRORS, trial.TrialFailedError, TooManyRequestsError) as error:
        return _words("The email was not sent", error.description)
    return _words(f"Sent to {request.user.email}", response)


def _words(title: str, text: str) -> Response[str]:
    """Return a document with plain text for the frame."""
    return framed_mail(
        f'<!doctype html><html lang="en"><head><title>{escape(title)}</title></head>'
        f'<body style="font-family:sans-serif;padding:16px"><h1 style="font-size:18px">{escape(title)}</h1>'
        f'<pre style="white-space:pre-wrap;overflow-wrap:anywhere">{escape(text)}</pre></body></html>'
    )


async def _named(key: str) -> dict[str, Any]:
    name, language = _asked(key)
    return {"Mail": name.replace("_", " "), "Language": _NAMES[language]}


async def _reset(_visit: AdminRequest, key: str) -> tuple[str, str]:
    name, language = _asked(key)
    await customization.reset(name, language)
    return f"/{SECTION}/{_key(name, language)}", "saved"


actions.declare_actions(
    SECTION,
    "mail",
    _named,
    [
        ConfirmedAction(
            "reset", "Reset to the shipped one",
            "New mails are made of the template of the folder, if there is one, or of the shipped one. The versions"
            " here stay, and can be saved again.",
            _WRITE, _reset,
        )
    ],
)  # fmt: skip
