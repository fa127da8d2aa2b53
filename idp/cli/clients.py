"""`idp clients`: register and change OAuth clients."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import rich_click as click

from idp.cli.database import with_database
from idp.cli.options import ADMIN_ROLES, DURATION, JSON_OBJECT, SECONDS, given, together, yes_option
from idp.cli.output import json_option, print_details, print_json, print_secret, print_table, text
from idp.errors import OAuthError, OperatorError
from idp.oauth.clients.members import APPLICATION, MEMBERS, Kind, default_of, is_optional, kind_of
from idp.oauth.clients.presets import KINDS
from idp.oauth.clients.profiles import PROFILES, describe

if TYPE_CHECKING:
    from idp.oauth.clients.models import StoredClient


@click.group()
def clients() -> None:
    """The applications that users sign in to."""


#: Members with an option of their own in each command.
_SPECIAL = ("client_name", "application_type")


def _spelled(name: str) -> str:
    """Return the option of a member. Lists have one in the singular, which may be repeated."""
    kind = kind_of(name)
    flag = "--" + (name.removesuffix("s") if kind is Kind.LIST else name).replace("_", "-")
    return MEMBERS[name].option or (f"{flag}/--no-{flag[2:]}" if kind is Kind.FLAG else flag)


def _option(name: str) -> Callable[[Any], Any]:
    member, kind = MEMBERS[name], kind_of(name)
    help_text = member.help + (" May be repeated." if kind is Kind.LIST else "")
    if kind is Kind.FLAG:
        return click.option(_spelled(name), name, default=None, help=help_text, panel=member.section)
    if member.choices is not None:
        # An empty value clears the member.
        empty = ("",) if kind is Kind.LIST or is_optional(name) else ()
        of: Any = click.Choice([*member.choices, *empty])
        shown = f"[{'|'.join(member.choices)}]"
    else:
        of = {Kind.NUMBER: SECONDS, Kind.OBJECT: JSON_OBJECT}.get(kind, str)
        shown = None
    return click.option(
        _spelled(name), name, type=of, metavar=shown, multiple=kind is Kind.LIST, help=help_text,
        panel=member.section,
    )  # fmt: skip


#: Client metadata that `create` and `update` accept.
_OFFERED = [name for name, each in MEMBERS.items() if name not in _SPECIAL and each.choices != ()]
_METADATA = together(*map(_option, _OFFERED))


#: The names are long: the form of a value stands after the text.
_LAYOUT = click.rich_config(
    {
        "options_table_column_types": ["required", "opt_long", "help"],
        "options_table_help_sections": ["help", "metavar", "default", "required"],
    }
)


@clients.command()
@_LAYOUT
@click.option("--name", "client_name", required=True, help="The name that pages show.", panel=APPLICATION)
@click.option(
    "--type", "kind", type=click.Choice(list(KINDS)), default="web", show_default=True,
    help="web: has a server; spa: runs in a browser; native: on a phone or desktop; device: without a browser;"
    " service: without users.",
    panel=APPLICATION,
)  # fmt: skip
@_METADATA
@click.option("--id", "client_id", help="A client_id of your choice.", panel=APPLICATION)
@json_option
@with_database
async def create(*, kind: str, client_id: str | None, as_json: bool, **options: Any) -> None:
    """Register a client. Its secret is shown once; only its hash is stored."""
    from idp.oauth.clients.registration import register_client

    with _naming_options():
        client, secret = await register_client(client_id, **KINDS[kind] | _metadata(options))
    if secret is None:
        (print_json if as_json else print_details)({"client_id": client.client_id})
    else:
        print_secret({"client_id": client.client_id, "client_secret": secret}, as_json)
    await _note_scopes(client.client_id)


@clients.command()
@_LAYOUT
@click.argument("client_id")
@click.option("--name", "client_name", help="The name that pages show.", panel=APPLICATION)
@_METADATA
@json_option
@with_database
async def update(client_id: str, as_json: bool, **options: Any) -> None:
    """Change the metadata of a client.

    Options that are not given keep their value. An empty value, as in --tos-uri "", removes it.
    """
    from idp.oauth.clients.service import update_client

    changes = _metadata(options)
    if not changes:
        raise click.UsageError("Name at least one option to change.")
    with _naming_options():
        client = await update_client(client_id, **changes)
    await _show(client_id, as_json)
    if "scope" in changes:
        await _note_scopes(client_id)
    if client.has_secret and client.client_secret_hash is None:
        click.echo(f"The client has no secret yet. Make one: idp clients rotate-secret {client_id}", err=True)


# Those that are an English word name a member at the beginning of a sentence only.
_OPTIONS = {name: _spelled(name).partition("/")[0] for name in _OFFERED}
_MEMBER = re.compile("|".join(rf"\b{name}\b" if "_" in name or name == "jwks" else rf"^{name}\b" for name in _OPTIONS))


@contextmanager
def _naming_options() -> Iterator[None]:
    """Name the options, and not the members, in an error of the metadata."""
    try:
        yield
    except OAuthError as error:
        raise OperatorError(_MEMBER.sub(lambda found: _OPTIONS[found[0]], error.description)) from error


async def _note_scopes(client_id: str) -> None:
    from idp.admin.built_in import build_in
    from idp.doctor.clients import undefined_scopes
    from idp.oauth.clients.repository import find_client

    # Their scopes are defined too.
    build_in()
    client = await find_client(client_id)
    for note in await undefined_scopes(client) if client is not None else ():
        click.echo(f"{note.text} {note.mend}", err=True)


def _metadata(options: dict[str, Any]) -> dict[str, Any]:
    named = given(options)
    if named.get("scope", "") is None:
        named["scope"] = ""
    if named.get("upstreams") == ():
        named["upstreams"] = None
    return named


@clients.command()
@click.option("--markdown", is_flag=True, help="Print the table of docs/clients.md.")
@json_option
def metadata(markdown: bool, as_json: bool) -> None:
    """List the members of client metadata: name, default, option and meaning."""
    rows = [_row(name) for name in MEMBERS]
    if markdown:
        head = "| Member | Default | Option | Meaning |\n|---|---|---|---|\n"
        click.echo(head + "\n".join(map(_markdown_row, rows)))
    elif as_json:
        print_json(rows)
    else:
        columns = ("Member", "Default", "Option", "Meaning", "Values")
        print_table(columns, [tuple(map(row.get, ("name", "default", "option", "meaning", "values"))) for row in rows])


@clients.command()
@click.option("--markdown", is_flag=True, help="Print the tables of docs/profiles.md.")
@json_option
def profiles(markdown: bool, as_json: bool) -> None:
    """List the security profiles, and what each requires."""
    rows = [(name, *row) for name in PROFILES for row in describe(name)]
    if markdown:
        click.echo("\n".join(map(_section, PROFILES)), nl=False)
    elif as_json:
        print_json([dict(zip(("profile", "requirement", "specification"), row, strict=True)) for row in rows])
    else:
        print_table(("Profile", "Requirement", "Specification"), rows)


def _section(name: str) -> str:
    """Return the table of a profile, without the rows of the one that it extends."""
    rows, others = describe(name), [other for other in PROFILES if other != name]
    base = next((other for other in others if set(describe(other)) <= set(rows)), None)
    left = [row for row in rows if base is None or row not in describe(base)]
    lines = [
        f"### {PROFILES[name].title}: `{name}`",
        *(["", f"All of `{base}`, and:"] if base else []),
        "",
        "| Requirement | Specification |",
        "|---|---|",
        *(f"| {_code(words)} | {section} |" for words, section in left),
    ]
    return "\n".join(lines) + "\n"


def _code(words: str) -> str:
    """Return a sentence with its identifiers in code font."""
    return re.sub(r"\b\w+_\w+\b|\b(?:PS|ES)256\b|\bEd\w+\b", lambda found: f"`{found[0]}`", words)


def _row(name: str) -> dict[str, Any]:
    member, default = MEMBERS[name], default_of(name)
    option = "" if name == "application_type" or member.choices == () else _spelled(name)
    return {"name": name, "default": default, "option": option, "meaning": member.help, "values": member.choices}


def _markdown_row(row: dict[str, Any]) -> str:
    default = row["default"]
    if isinstance(default, bool):
        default = str(default).lower()
    elif isinstance(default, tuple):
        default = " ".join(default)
    values = ", ".join(f"`{value}`" for value in row["values"] or ())
    option = f"`{row['option']}`" if row["option"] else ""
    meaning = row["meaning"] + (f" One of {values}." if values else "")
    return f"| `{row['name']}` | {f'`{default}`' if default else ''} | {option} | {meaning} |"


@clients.command("list")
@json_option
@with_database
async def list_clients(as_json: bool) -> None:
    """List the clients, newest last."""
    from idp.oauth.clients import repository
    from idp.oauth.clients.kinds import application_kind

    found = await repository.clients()
    if as_json:
        print_json([_plain(client) for client in found])
        return
    print_table(
        ("Client id", "Name", "Kind", "Authentication", "Grants", "Registered by", "Expires", "Disabled"),
        [
            (
                client.client_id,
                client.client_name,
                application_kind(client),
                client.token_endpoint_auth_method,
                client.grant_types,
                client.origin,
                client.expires_at,
                client.disabled_at,
            )
            for client in found
        ],
    )


@clients.command()
@click.argument("client_id")
@json_option
@with_database
async def show(client_id: str, as_json: bool) -> None:
    """Show the metadata of a client. Its secret is not stored and cannot be shown."""
    await _show(client_id, as_json)


async def _show(client_id: str, as_json: bool) -> None:
    from idp.oauth.clients import repository
    from idp.oauth.clients.registration import UnknownClientError

    found = await repository.find_client(client_id)
    if found is None:
        raise UnknownClientError("There is no client with this id.")
    if as_json:
        print_json(_plain(found))
    else:
        print_details(_plain(found))


@clients.command()
@click.argument("client_id")
@with_database
async def disable(client_id: str) -> None:
    """Disable a client and revoke all tokens issued to it."""
    from idp.oauth.clients.registration import disable_client

    await _tell(client_id, await disable_client(client_id), "is disabled", "was disabled already")


@clients.command()
@click.argument("client_id")
@with_database
async def enable(client_id: str) -> None:
    """Enable a client. Its users have to sign in again."""
    from idp.oauth.clients.registration import enable_client

    await _tell(client_id, await enable_client(client_id), "is enabled", "was not disabled")


@clients.command("rotate-secret")
@click.argument("client_id")
@click.option(
    "--overlap", type=DURATION, help="How long the old secret stays valid, as 24h. Default: IDP_CLIENT_SECRET_OVERLAP."
)
@json_option
@with_database
async def rotate_client_secret(client_id: str, overlap: int | None, as_json: bool) -> None:
    """Replace the secret of a client. The new one is shown once.

    The old one stops working immediately, unless there is an overlap.
    """
    from idp.oauth.clients.registration import rotate_secret

    secret = await rotate_secret(client_id, overlap)
    print_secret({"client_id": client_id, "client_secret": secret}, as_json)


@clients.command("end-old-secret")
@click.argument("client_id")
@with_database
async def end_old_secret(client_id: str) -> None:
    """End the secret of a client that was replaced, before its overlap is over."""
    from idp.oauth.clients.registration import end_previous_secret

    await _tell(client_id, await end_previous_secret(client_id), "accepts the newest secret only", "has no old secret")


@clients.command("rotate-registration-token")
@click.argument("client_id")
@json_option
@with_database
async def rotate_registration_token(client_id: str, as_json: bool) -> None:
    """Replace the token with which a client that registered itself changes its metadata. The new one is shown once.

    The old one stops working immediately.
    """
    from idp.oauth.clients.dynamic.service import rotate_token

    print_secret({"client_id": client_id, "registration_access_token": await rotate_token(client_id)}, as_json)


@clients.command("not-before")
@click.argument("client_id", required=False)
@click.option("--all", "everybody", is_flag=True, help="Of all clients.")
@click.option("--at", type=click.DateTime(["%Y-%m-%dT%H:%M:%S"]), help="A time in UTC; by default now.")
@with_database
async def not_before(client_id: str | None, everybody: bool, at: datetime | None) -> None:
    """Reject a client's tokens of before a time. The time can only move forward."""
    from idp import clock
    from idp.oauth.clients.service import set_not_before

    if everybody == (client_id is not None):
        raise click.UsageError("Name a client, or use --all.")
    moment = at.replace(tzinfo=UTC) if at else clock.now()
    await set_not_before(client_id, moment)
    click.echo(f"Tokens issued to {client_id or 'any client'} before {text(moment)} are rejected.")


@clients.command("admin-role")
@click.argument("client_id")
@click.argument("role", type=click.Choice([*ADMIN_ROLES, "none"]))
@with_database
async def admin_role(client_id: str, role: str) -> None:
    """Set the role of a client for its own access to the admin API."""
    from idp.oauth.clients.service import set_admin_role

    await set_admin_role(client_id, None if role == "none" else role)
    click.echo(f"The role of {client_id} is {role}.")


@clients.command()
@click.argument("client_id")
@yes_option
@with_database
async def delete(client_id: str, yes: bool) -> None:
    """Delete a client and everything issued to it."""
    from idp.oauth.clients import repository
    from idp.oauth.clients.registration import UnknownClientError
    from idp.oauth.clients.service import delete_client

    if not yes:
        found = await repository.find_client(client_id)
        if found is None:
            raise UnknownClientError("There is no client with this id.")
        click.confirm(f"All tokens and consents of {found.client_name} end. Delete the client?", abort=True)
    await delete_client(client_id)
    click.echo(f"The client {client_id} is deleted.")


async def _tell(client_id: str, done: bool, did: str, nothing: str) -> None:
    from idp.oauth.clients import repository
    from idp.oauth.clients.registration import UnknownClientError

    if not done and await repository.find_client(client_id) is None:
        raise UnknownClientError("There is no client with this id.")
    click.echo(f"The client {client_id} {did if done else nothing}.")


def _plain(client: "StoredClient") -> dict[str, Any]:
    """Return the fields of a client without its secrets, its id first."""
    import msgspec

    from idp.oauth.clients.kinds import application_kind
    from idp.oauth.clients.models import SECRETS

    fields = {name: value for name, value in msgspec.structs.asdict(client).items() if name not in SECRETS}
    live = [secret.live for secret in client.secrets]
    previous = client.previous_secret_hash is not None
    secrets = {"client_secret_live": any(live[:1]), "previous_secret_live": previous and live[-1]}
    return {"client_id": fields.pop("client_id"), "kind": application_kind(client)} | fields | secrets
