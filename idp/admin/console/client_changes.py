"""Changing the metadata of a client, and its logo."""

from typing import Any

import msgspec
from litestar import Response

from idp.admin.access import check_client, check_scope
from idp.admin.console import client_form
from idp.admin.console.client_paths import allowed_client, named_client, path_of, read_client, url_of
from idp.admin.console.components import Field, facts, seen, version
from idp.admin.console.screen import FORM_ERRORS, AdminRequest, redirect_with_notice, render, screen
from idp.admin.roles import Permission
from idp.errors import ValidationError
from idp.infra import pictures
from idp.oauth.clients import logos, service
from idp.oauth.clients.models import Client
from idp.oauth.clients.validation import not_possible


@screen("GET", "/clients/{client_id}/change", Permission.CLIENTS_WRITE)
async def change_client(request: AdminRequest) -> Response[str]:
    return _form(request, await read_client(request.params["client_id"]))


def _form(request: AdminRequest, values: dict[str, Any], error: str | None = None) -> Response[str]:
    reasons = {} if error else not_possible(msgspec.convert(values, Client))
    fields = client_form.fields(client_form.NAMES, values, reasons)
    back = url_of(request.params["client_id"])
    return render(
        request, "form", section="clients", heading=f"Change {values['client_name']}", fields=fields, error=error,
        action=f"{back}/change", label="Save", back=back, status=400 if error else 200,
        version=version(request, values.get("updated_at")),
    )  # fmt: skip


@screen("POST", "/clients/{client_id}/change", Permission.CLIENTS_WRITE, fresh=True)
async def save_client(request: AdminRequest) -> Response[Any]:
    client_id = request.params["client_id"]
    row = await read_client(client_id)
    await check_client(request.caller, client_id)
    entered = client_form.read(request.form, client_form.NAMES, row)
    check_scope(request.caller, entered["scope"].split())
    try:
        client_form.check_readable(entered)
        stored = msgspec.convert(row, Client)
        # The others get what a new profile requires.
        changed = {name: value for name, value in entered.items() if value != getattr(stored, name)}
        await service.update_client(client_id, seen(request, row), **changed)
    except FORM_ERRORS as error:
        return _form(request, entered, error.description)
    return redirect_with_notice(path_of(client_id))


@screen("GET", "/clients/{client_id}/logo", Permission.CLIENTS_WRITE)
async def ask_for_logo(request: AdminRequest) -> Response[str]:
    return await _logo(request, await read_client(request.params["client_id"]))


async def _logo(request: AdminRequest, row: dict[str, Any], error: str | None = None) -> Response[str]:
    back, size = url_of(row["client_id"]), pictures.MAX_BYTES // 1024
    hint = f"PNG, JPEG, GIF or WebP, up to {size} KiB. SVG is not accepted, because it can run scripts."
    entered = request.form.get("logo_uri", row["logo_uri"] or "")
    return render(
        request, "form", section="clients", heading="Logo", multipart=True,
        subject=facts(await named_client(row["client_id"])),
        intro="The sign-in and consent pages show it.", error=error, action=f"{back}/logo",
        fields=[
            Field("file", "Picture", kind="file", help=hint),
            Field("logo_uri", "Or its URL", entered, help="An https URL. The browsers of users load it from there."),
        ],
        label="Save", back=back, status=400 if error else 200,
    )  # fmt: skip


@screen("POST", "/clients/{client_id}/logo", Permission.CLIENTS_WRITE, upload=True)
async def save_logo(request: AdminRequest) -> Response[Any]:
    client_id = await allowed_client(request, request.params["client_id"])
    row = await read_client(client_id)
    uri = request.form.get("logo_uri", "").strip()
    try:
        if request.file:
            await logos.save_logo(client_id, request.file)
        elif not uri:
            raise ValidationError("Choose a picture, or enter its URL.")
        elif uri != row["logo_uri"]:
            await logos.link_logo(client_id, uri)
    except FORM_ERRORS as error:
        return await _logo(request, row, error.description)
    return redirect_with_notice(path_of(client_id))
