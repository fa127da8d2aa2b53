"""The page of a client: what it is, its metadata by section, its configuration to paste."""

from typing import Any
from urllib.parse import urlencode

from litestar import Response

from idp.admin.console import access_policies, snippets
from idp.admin.console.claim_preview import may_preview
from idp.admin.console.client_choices import choices_of
from idp.admin.console.client_paths import read_client, url_of
from idp.admin.console.clients import ORIGINS, state
from idp.admin.console.components import Action, Cell, Table, facts, text, when
from idp.admin.console.once import secret_of
from idp.admin.console.screen import HOME, AdminRequest, render, screen
from idp.admin.roles import Permission
from idp.directory.repository.roles import OWN_ROLES
from idp.infra.db.listing import list_page
from idp.oauth.access_policies.repository import policy_of
from idp.oauth.clients.auth_methods import SECRET_BEARING_METHODS
from idp.oauth.clients.members import MEMBERS, SECTIONS, Kind, default_of, kind_of
from idp.oauth.clients.presets import KINDS
from idp.oauth.clients.words import in_words

METHOD = "token_endpoint_auth_method"
#: Members that the page shows even if they have their default.
ALWAYS = ("redirect_uris", "grant_types", "scope", METHOD, "id_token_signed_response_alg", "require_pkce")


@screen("GET", "/clients/{client_id}", Permission.CLIENTS_READ)
async def show_client(request: AdminRequest) -> Response[str]:
    secret, row = secret_of(request), await read_client(request.params["client_id"])
    return render(
        request, "record", section="clients", heading=row["client_name"], facts=facts(await _about(row)),
        sections=_sections(row), secret=secret, acts=_acts(request, row),
        snippets=snippets.of_client(row, secret or "THE_SECRET"),
        tables=[await _roles(row)] if Permission.GROUPS_READ in request.caller.allowed else [],
    )  # fmt: skip


async def _about(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "Client id": Cell(row["client_id"], copy="client-id"),
        "Kind": in_words("kind", row["kind"]),
        "State": state(row),
        "Who may use it": await _who(row["client_id"]),
        "Registered": ORIGINS[row["origin"]],
        **({"Deleted if unused": row["expires_at"]} if row["expires_at"] else {}),
        **({"Document read": when(row["document_fetched_at"])} if row["origin"] == "document" else {}),
        **_secrets(row),
        "Role at the admin API": row["admin_role"] or "none",
        "Tokens valid since": when(row["not_before"], "always"),
        "Created": row["created_at"],
        "Changed": row["updated_at"],
    }


async def _who(client_id: str) -> Cell:
    policy = await policy_of(client_id)
    return Cell("everyone" if policy is None else "see its access policy", f"{HOME}{access_policies.path(client_id)}")


def _secrets(row: dict[str, Any]) -> dict[str, Cell]:
    """Return which secrets are accepted."""
    if row[METHOD] not in SECRET_BEARING_METHODS:
        return {}
    newest = when(row["client_secret_expires_at"], "no end") if row["client_secret_live"] else None
    found = {"Secret is valid until": newest or Cell("none is valid", mood="bad")}
    if row["previous_secret_live"]:
        found["Old secret is valid until"] = when(row["previous_secret_expires_at"])
    return found


def _sections(row: dict[str, Any]) -> list[tuple[str, list[tuple[str, Cell]]]]:
    """Return the members that are worth a line, by section."""
    shown = {
        section: facts(
            {
                member.label: _cell(name, row)
                for name, member in MEMBERS.items()
                if member.section == section and name != "client_name" and _tells(name, row)
            }
        )
        for section in SECTIONS
    }
    return [(section, values) for section, values in shown.items() if values]


def _usual(name: str, row: dict[str, Any]) -> Any:
    """Return what a client of this kind has by default."""
    if name == "response_types":
        return ["code"] if "authorization_code" in row["grant_types"] else []
    value = KINDS[row["kind"]].get(name, default_of(name))
    return list(value) if isinstance(value, tuple) else value


def _tells(name: str, row: dict[str, Any]) -> bool:
    value = row.get(name, default_of(name))
    return (name in ALWAYS and bool(value or kind_of(name) is Kind.FLAG)) or value != _usual(name, row)


def _cell(name: str, row: dict[str, Any]) -> Cell:
    """Return a value in words. A choice that is not the usual one is marked."""
    value = row.get(name, default_of(name))
    chosen = kind_of(name) in (Kind.FLAG, Kind.NUMBER) or choices_of(name) is not None
    note = "changed" if chosen and value != _usual(name, row) else ""
    if isinstance(value, dict):
        value = " ".join(str(key.get("kid", key.get("kty"))) for key in value["keys"])
    if isinstance(value, list | tuple):
        return Cell(lines=[in_words(name, each) for each in value] or ["none"], note=note)
    shown = text(in_words(name, value) if isinstance(value, str) else value)
    return shown._replace(note=note, code=name == "scope")


async def _roles(row: dict[str, Any]) -> Table:
    found = await list_page(OWN_ROLES, {"client_id": row["client_id"]}, limit=20)
    rows = [[Cell(each["name"], f"{HOME}/roles/{each['id']}"), text(each["description"])] for each in found.rows]
    more = f"{HOME}/roles?{urlencode({'client_id': row['client_id']})}" if found.next_cursor else None
    return Table("Roles", ("Name", "Description"), rows, "No roles of this client yet.", next=more)


def _acts(request: AdminRequest, row: Any) -> list[Action]:
    of_it = urlencode({"client_id": row["client_id"]})
    may_add = Permission.GROUPS_WRITE in request.caller.allowed
    new_role = [Action("New role", f"{HOME}/roles/new?{of_it}")] if may_add else []
    path = url_of(row["client_id"])
    preview = [Action("Claims of a user", f"{path}/claims")] if may_preview(request.caller) else []
    preview.append(Action("Branding", f"{path}/branding"))
    if Permission.CLIENTS_WRITE not in request.caller.allowed:
        return [*preview, *new_role]
    found = [Action("Change", f"{path}/change"), *preview, Action("Logo", f"{path}/logo")]
    if row["logo_uri"]:
        found.append(Action("Remove the logo", f"{path}/remove_logo"))
    if row[METHOD] in SECRET_BEARING_METHODS:
        found.append(Action("New secret", f"{path}/rotate_secret"))
    if row["origin"] == "dynamic":
        found.append(Action("New registration token", f"{path}/rotate_registration_token"))
    return [*found, *new_role, *_fatal(row, path)]


def _fatal(row: Any, path: str) -> list[Action]:
    """Return the actions that interrupt users, those that cannot be undone last."""
    found = []
    if row["previous_secret_live"]:
        found.append(Action("End the old secret", f"{path}/end_previous_secret", danger=True))
    found.append(
        Action("Enable", f"{path}/enable") if row["disabled_at"] else Action("Disable", f"{path}/disable", danger=True)
    )
    found.append(Action("Revoke all tokens", f"{path}/not_before", danger=True))
    return [*found, Action("Contain", f"{path}/contain", danger=True), Action("Delete", f"{path}/delete", danger=True)]
