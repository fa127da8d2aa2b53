"""`idp migrate`: moving here from another system."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from idp.cli.database import with_database
from idp.cli.import_report import SHOWN, report_option, writing_report
from idp.cli.options import together
from idp.cli.output import json_option, print_json, text
from idp.cli.progress import progress

if TYPE_CHECKING:
    from idp.migration.models import Export

_common: Callable[[Any], Any] = together(
    click.option("--apply", "applying", is_flag=True, help="Make the changes. Otherwise they are only shown."),
    click.option("--update", is_flag=True,
                 help="Also make clients, groups and so on that exist here equal to the export."),
    click.option("--only", type=click.Choice(["configuration", "users"]), help="Only one of the two parts."),
    click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False),
                 help="Write the configuration to site.yaml in this folder, and the secrets to secrets.env."),
)  # fmt: skip


_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group()
def migrate() -> None:
    """Move here from Keycloak or Auth0: import an export again and again, compare the issuers, and switch."""


@migrate.command()
@click.argument("export", type=click.Path(path_type=Path, exists=True))
@click.option("--realm", help="The realm to take from a folder with several.")
@_common
@report_option
@json_option
@with_database
async def keycloak(*, export: Path, realm: str | None, **options: Any) -> None:
    """Import the export of a realm: EXPORT is a file, or the folder of `kc.sh export`.

    Users keep their sub, password, authenticator app and linked accounts. Run again, the command imports what is new
    and updates users whom nobody has changed here. Exits with 1 if a user was refused.
    """
    from idp.migration.keycloak.export import read

    await _run(read(export, realm), **options)


@migrate.command()
@click.option(
    "--users", "users_file", type=_FILE, help="The users: an export job of the Management API, one object per line."
)
@click.option("--hashes", type=_FILE, help="The password hashes from Auth0's support, one object per line.")
@click.option("--memberships", type=_FILE, help="Roles and organizations of users, one object per line.")
@click.option("--tenant", type=_FILE, help="The tenant as the Deploy CLI writes it, YAML or JSON.")
@click.option("--clients", type=_FILE, help="The clients as the Management API lists them, with their secrets.")
@click.option("--attribute", "attributes", multiple=True, metavar="PATH=NAME",
              help="Import a member of the metadata, as app_metadata.team=team; several values: team[].")  # fmt: skip
@click.option("--new-sub", "new_subjects", is_flag=True, help="Give users a new sub whose own cannot be kept.")
@_common
@report_option
@json_option
@with_database
async def auth0(
    *,
    users_file: Path | None,
    hashes: Path | None,
    memberships: Path | None,
    tenant: Path | None,
    clients: Path | None,
    attributes: tuple[str, ...],
    **options: Any,
) -> None:
    """Import the exports of a tenant.

    Users keep their sub, such as auth0|5f7c8ec7c33c6c004bbafe82, their password and their linked accounts. Run again,
    the command imports what is new and updates users whom nobody has changed here. Exits with 1 if a user was refused.
    """
    from idp.migration.auth0.export import Files, read

    named = dict(one.split("=", 1) for one in attributes if "=" in one)
    if len(named) < len(attributes):
        raise click.UsageError("--attribute needs a path of the metadata and a name, as app_metadata.team=team.")
    files = Files(users_file, hashes, memberships, tenant, clients)
    if not any(files):
        raise click.UsageError("Name at least one file.")
    await _run(read(files, named), **options)


async def _run(
    export: "Export",
    *,
    applying: bool,
    update: bool,
    only: str | None,
    output: Path | None,
    report: Path | None,
    as_json: bool,
    new_subjects: bool = False,
) -> None:
    result: dict[str, Any] = {"applied": applying}
    if only != "users":
        result["configuration"] = await _configure(export, applying=applying, update=update, output=output)
        result["notes"] = [note._asdict() for note in export.notes]
        result["settings"] = export.settings
    if only != "configuration":
        result["users"] = await _import(export, report, dry_run=not applying, new_subjects=new_subjects)
        result["lost"] = dict(export.lost.most_common())
    if as_json:
        print_json(result)
    else:
        _show(result)
    if result.get("users", {}).get("refused"):
        raise Exit(1)


async def _configure(export: "Export", *, applying: bool, update: bool, output: Path | None) -> dict[str, Any]:
    from idp.config.rendering import render
    from idp.migration import configuration

    accepted = configuration.document(export)
    if output is not None:
        _write(output, configuration.as_file(export), export.secrets)
    kept, plan, left = await configuration.plan(export, accepted, update=update)
    shown = render(plan)
    if applying and plan.changes:
        await configuration.apply(export, kept, plan.revision)
        shown += "\nApplied."
    return {"plan": plan, "text": shown, "left_alone": left}


def _write(folder: Path, site: str, secrets: dict[str, str]) -> None:
    """Write the configuration, and its secrets to a file that only the owner can read."""
    import os
    import shlex

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "site.yaml").write_text(site, encoding="utf-8")
    lines = [f"{name}={shlex.quote(secret)}\n" for name, secret in secrets.items()]
    descriptor = os.open(folder / "secrets.env", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchmod(descriptor, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.writelines(lines)


async def _import(export: "Export", report: Path | None, *, dry_run: bool, new_subjects: bool) -> dict[str, Any]:
    from idp.migration.people import RefusedPerson, import_people

    counts = {"imported": 0, "updated": 0, "unchanged": 0, "refused": 0}
    shown: list[RefusedPerson] = []
    with writing_report(report, None, RefusedPerson._fields) as write, progress("0 users") as tell:
        async for batch in import_people(export, dry_run=dry_run, new_subjects=new_subjects):
            write(batch.refused)
            shown += batch.refused[: SHOWN - len(shown)]
            for name in ("imported", "updated", "unchanged"):
                counts[name] += getattr(batch, name)
            counts["refused"] += len(batch.refused)
            tell(description=f"{sum(counts.values()):,} users")
    for one in shown:
        click.echo(text(f"{one.place}: {one.email or 'no address'}: {one.reason}"), err=True)
    if (more := counts["refused"] - len(shown)) > 0:
        click.echo(f"{more} more users were refused; --report FILE writes all of them.", err=True)
    return counts


def _show(result: dict[str, Any]) -> None:
    if (configuration := result.get("configuration")) is not None:
        click.echo(f"{configuration['text']}\n")
        _list("Exists here, differs, and is left alone (--update changes it)", configuration["left_alone"])
        for weight in dict.fromkeys(note["weight"] for note in result["notes"]):
            notes = [f"{note['what']}: {note['text']}" for note in result["notes"] if note["weight"] == weight]
            _list(weight.capitalize(), notes)
        _list("Settings to consider", [f"{name}={value}" for name, value in result["settings"].items()])
    if (counts := result.get("users")) is not None:
        _list("What users lose", [f"{number} x {reason}" for reason, number in result["lost"].items()])
        done = "Users:" if result["applied"] else "Users, if it is applied:"
        click.echo(f"{done} {', '.join(f'{number} {name}' for name, number in counts.items())}.")
    if not result["applied"]:
        click.echo("Nothing was changed. Make the changes with --apply.", err=True)


def _list(title: str, lines: list[str]) -> None:
    if lines:
        click.echo(text(title) + ":")
        for line in lines:
            click.echo(text(f"  {line}"))
        click.echo()


@migrate.command()
@click.option("--issuer", help="The old issuer, to compare its discovery document and keys.")
@click.option(
    "--tokens",
    type=_FILE,
    help="Tokens and userinfo responses of the old issuer, one object per line, to compare their claims.",
)
@click.option("--user", "users", multiple=True, help="Only this user: an email address or an id. May be repeated.")
@click.option(
    "--ignore",
    multiple=True,
    metavar="NAME",
    help="A member, an algorithm or a claim whose difference is known. May be repeated.",
)
@click.option("--all", "every", is_flag=True, help="Show what is the same, too.")
@json_option
@with_database  # fmt: skip
async def compare(
    *,
    issuer: str | None,
    tokens: Path | None,
    users: tuple[str, ...],
    ignore: tuple[str, ...],
    every: bool,
    as_json: bool,
) -> None:
    """Compare the old issuer with this server, before applications are switched.

    Nothing is issued or changed. Exits with 1 if something that the old issuer has is missing here, or differs.
    """
    from idp.cli.named_user import find_user
    from idp.cli.output import print_table
    from idp.migration import comparison
    from idp.migration.comparison import State

    if issuer is None and tokens is None:
        raise click.UsageError("Name the old issuer with --issuer, or a file with --tokens.")
    with progress("Comparing"):
        found = await comparison.issuers(issuer) if issuer is not None else []
        if tokens is not None:
            only = [(await find_user(user)).id for user in users]
            with tokens.open("rb") as file:
                found += await comparison.claims(comparison.samples(file, tokens.name), only)
    found = [one for one in found if one.name not in ignore]
    different = [one for one in found if one.state in (State.MISSING, State.DIFFERS)]
    if as_json:
        print_json(found)
    else:
        shown = [one for one in found if every or one.state is not State.SAME]
        rows = [(one.where, one.name, one.state, _short(one.old), _short(one.ours), one.about) for one in shown]
        print_table(("In", "Name", "State", "Old", "Here", "User and client"), rows)
        click.echo(f"Different or missing: {len(different)}. Others: {len(found) - len(different)}.")
    if different:
        raise Exit(1)


def _short(value: Any) -> str:
    """Return a value as a line of JSON."""
    import msgspec

    return "" if value is None else msgspec.json.encode(value).decode()
