"""`idp organizations …-domain`: the domains of organizations."""

from typing import TYPE_CHECKING

import rich_click as click

from idp.cli.database import with_database
from idp.cli.output import json_option, print_details, print_json, print_table

if TYPE_CHECKING:
    from idp.directory.models import Domain


@click.command()
@click.argument("organization")
@json_option
@with_database
async def domains(organization: str, as_json: bool) -> None:
    """List the domains of an organisation, verified and claimed."""
    from idp.directory import organizations as service
    from idp.directory.repository.domains import DOMAINS
    from idp.infra.db.listing import all_rows

    found = await service.named(organization)
    rows = await all_rows(DOMAINS, {"organization_id": str(found.id)})
    columns = ("domain", "verified_at", "enforced", "missing_since", "checked_at", "id")
    if as_json:
        print_json([{name: row[name] for name in columns} for row in rows])
        return
    print_table(
        ("Domain", "Verified", "Enforced", "Missing since", "Checked", "Id"),
        [[row[name] for name in columns] for row in rows],
    )


@click.command("add-domain")
@click.argument("organization")
@click.argument("domain")
@json_option
@with_database
async def add_domain(organization: str, domain: str, as_json: bool) -> None:
    """Claim a domain, and show the TXT record that proves control of it."""
    from idp.directory import domains as service
    from idp.directory import organizations

    claimed = await service.claim((await organizations.named(organization)).id, domain)
    shown = {
        "domain": claimed.domain,
        "record_name": service.record_name(claimed.domain),
        "record_type": "TXT",
        "record_value": service.record_value(claimed.token),
    }
    if as_json:
        print_json({"id": claimed.id} | shown)
    else:
        print_details(shown)


async def _found(organization: str, domain: str) -> "Domain":
    from idp.directory import domains as service
    from idp.directory import organizations

    return await service.of_organization((await organizations.named(organization)).id, domain)


@click.command("verify-domain")
@click.argument("organization")
@click.argument("domain")
@with_database
async def verify_domain(organization: str, domain: str) -> None:
    """Look for the TXT record of a domain."""
    from idp.directory import domains as service

    verified = await service.verify((await _found(organization, domain)).id)
    click.echo(f"{verified.domain} belongs to {organization}.")


@click.command("enforce-domain")
@click.argument("organization")
@click.argument("domain")
@click.option("--off", is_flag=True, help="Other ways are allowed again.")
@with_database
async def enforce_domain(organization: str, domain: str, off: bool) -> None:
    """Let the addresses of a domain sign in at the upstreams of the organisation only."""
    from idp.directory import domains as service
    from idp.federation import realms

    found = await _found(organization, domain)
    enforced = await service.enforce(found.id, enforced=False) if off else await realms.enforce(found.id)
    click.echo(f"{enforced.domain} is {'not ' if off else ''}enforced.")


@click.command("remove-domain")
@click.argument("organization")
@click.argument("domain")
@with_database
async def remove_domain(organization: str, domain: str) -> None:
    """Remove a domain, or a claim, from an organisation."""
    from idp.directory import domains as service

    found = await _found(organization, domain)
    await service.remove(found.id)
    click.echo(f"{found.domain} is removed from {organization}.")


COMMANDS = (domains, add_domain, verify_domain, enforce_domain, remove_domain)
