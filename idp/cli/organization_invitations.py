"""`idp organizations invite` and others: invitations into organizations."""

from typing import TYPE_CHECKING
from uuid import UUID

import rich_click as click

from idp.cli.database import with_database
from idp.cli.output import json_option, print_details, print_json, print_table

if TYPE_CHECKING:
    from idp.directory.invitations import Sent


@click.command()
@click.argument("organization")
@click.argument("email")
@click.option("--role", "roles", multiple=True, help="A role of the organisation to give. Repeatable.")
@click.option("--admin", is_flag=True, help="The person manages the organisation.")
@json_option
@with_database
async def invite(*, organization: str, email: str, roles: tuple[str, ...], admin: bool, as_json: bool) -> None:
    """Mail an invitation into an organisation, and print its link.

    Anyone who opens the link can create an account with this address.
    """
    from idp.directory import invitations
    from idp.directory.organizations import named

    found = await named(organization)
    role_ids = [await _role_id(found.id, name) for name in roles]
    await _tell(await invitations.invite(found.id, email, role_ids=role_ids, admin=admin), as_json)


async def _role_id(organization_id: UUID, name: str) -> UUID:
    from idp.directory import names
    from idp.directory.errors import UnknownRoleError
    from idp.directory.repository.roles import role_by_name

    role = await role_by_name(None, names.key(name), organization_id)
    if role is None:
        raise UnknownRoleError
    return role.id


async def _tell(sent: "Sent", as_json: bool) -> None:
    from idp.cli.development import tell_without_mail
    from idp.mail import outbox

    await outbox.deliver_due()
    if sent.link:
        tell_without_mail()
    shown = {"id": sent.invitation.id, "email": sent.invitation.email, "link": sent.link or None}
    if as_json:
        print_json(shown | {"expires_at": sent.invitation.expires_at})
    else:
        print_details(shown)


@click.command()
@click.argument("organization")
@json_option
@with_database
async def invitations(organization: str, as_json: bool) -> None:
    """List the invitations into an organisation, the latest first."""
    from idp.directory.organizations import named
    from idp.directory.repository.invitations import INVITATIONS
    from idp.infra.db.listing import all_rows

    found = await named(organization)
    rows = await all_rows(INVITATIONS, {"organization_id": str(found.id)})
    columns = ("email", "state", "admin", "inviter_email", "sent_at", "expires_at", "id")
    if as_json:
        print_json([{name: row[name] for name in columns} for row in rows])
        return
    print_table(
        ("Email address", "State", "Admin", "Invited by", "Sent", "Expires", "Id"),
        [[row[name] for name in columns] for row in rows],
    )


@click.command("resend-invitation")
@click.argument("organization")
@click.argument("email")
@json_option
@with_database
async def resend_invitation(organization: str, email: str, as_json: bool) -> None:
    """Mail an invitation again, with another link. The earlier one stops working."""
    from idp.directory import invitations as service
    from idp.directory.organizations import named

    found = await named(organization)
    await _tell(await service.resend(found.id, (await service.of_address(found.id, email)).id), as_json)


@click.command("revoke-invitation")
@click.argument("organization")
@click.argument("email")
@with_database
async def revoke_invitation(organization: str, email: str) -> None:
    """Revoke an invitation: the link of its mail stops working."""
    from idp.directory import invitations as service
    from idp.directory.organizations import named

    found = await named(organization)
    revoked = await service.revoke(found.id, (await service.of_address(found.id, email)).id)
    click.echo(f"The invitation of {revoked.email} into {found.slug} is revoked.")


COMMANDS = (invite, invitations, resend_invitation, revoke_invitation)
