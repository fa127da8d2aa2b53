"""`idp access`: which users may use which clients."""

from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import rich_click as click
from click.exceptions import Exit

from idp.cli.database import with_database
from idp.cli.output import json_option, print_details, print_json, print_table
from idp.signin.transitions import ACR_VALUES

if TYPE_CHECKING:
    from idp.oauth.access_policies.models import AccessPolicy


@click.group()
def access() -> None:
    """Access policies: which users may use a client, from where, when, and after what sign-in.

    All conditions of a policy must hold. A client without a policy may be used by everybody.
    """


@access.command("set")
@click.argument("client_id")
@click.option("--group", "groups", multiple=True, help="Users in this group or in one below it, by name. Repeat it.")
@click.option(
    "--organization", "organizations", multiple=True, help="Members of this organization, by slug. Repeat it."
)
@click.option(
    "--role", "roles", multiple=True, help="Users with this role of the client or of the server, by name. Repeat it."
)
@click.option(
    "--attribute",
    "attributes",
    multiple=True,
    help="Users with this value of an attribute, as department=Sales. Repeat it for other values.",
)
@click.option(
    "--acr", type=click.Choice(ACR_VALUES), help="The level of the sign-in: 2 for two factors, phr for a passkey."
)
@click.option("--network", "networks", multiple=True, help="People in this network, such as 192.0.2.0/24. Repeat it.")
@click.option("--time", "times", multiple=True, help='In these hours, such as "mon-fri 08:00-18:00". Repeat it.')
@click.option("--time-zone", default="UTC", show_default=True, help="Whose clock --time means, such as Europe/Berlin.")
@json_option
@with_database
async def set_policy(*, client_id: str, as_json: bool, **options: Any) -> None:
    """Set the access policy of a client, in place of the one that it has.

    Of several groups one is enough, and so of several organizations, roles, values of an attribute, networks and times.
    """
    from idp.oauth.access_policies import registration, texts

    values = {
        "groups": await texts.read_groups(options["groups"]),
        "organizations": await texts.read_organizations(options["organizations"]),
        "roles": await texts.read_roles(options["roles"], client_id),
        "attributes": await texts.read_attributes(options["attributes"]),
        "times": list(map(texts.read_window, options["times"])),
    }
    await _print(await registration.set_policy(client_id, **options | values), as_json)


@access.command()
@click.argument("client_id")
@json_option
@with_database
async def show(client_id: str, as_json: bool) -> None:
    """Show the access policy of a client."""
    from idp.oauth.access_policies.registration import NoAccessPolicyError
    from idp.oauth.access_policies.repository import policy_of

    policy = await policy_of(client_id)
    if policy is None:
        raise NoAccessPolicyError
    await _print(policy, as_json)


async def _print(policy: "AccessPolicy", as_json: bool) -> None:
    from idp.oauth.access_policies import texts

    if as_json:
        print_json(policy)
        return
    print_details(
        {
            "client_id": policy.client_id,
            **await texts.named(policy),
            "attributes": texts.write_attributes(policy),
            "acr": policy.acr,
            "networks": policy.networks,
            "times": list(map(texts.write_window, policy.times)),
            "time_zone": policy.time_zone if policy.times else None,
        }
    )


@access.command("list")
@json_option
@with_database
async def list_policies(as_json: bool) -> None:
    """List the access policies of all clients."""
    from idp.oauth.access_policies import texts
    from idp.oauth.access_policies.repository import policies

    found = sorted(await policies(), key=lambda policy: policy.client_id)
    if as_json:
        print_json(found)
        return
    columns = ("Client", "Groups", "Organizations", "Roles", "Attributes", "Level", "Networks", "Times")
    print_table(
        columns,
        [
            (
                policy.client_id,
                *(await texts.named(policy)).values(),
                texts.write_attributes(policy),
                policy.acr,
                policy.networks,
                [f"{texts.write_window(window)} {policy.time_zone}" for window in policy.times],
            )
            for policy in found
        ],
    )


@access.command()
@click.argument("client_id")
@with_database
async def remove(client_id: str) -> None:
    """Remove the access policy of a client. Everybody may use it then."""
    from idp.oauth.access_policies.registration import remove_policy

    await remove_policy(client_id)
    click.echo(f"Everyone may use {client_id}.")


@access.command()
@click.argument("client_id")
@click.argument("user")
@click.option("--address", help="Where the user is. Default: networks are not compared.")
@click.option("--acr", type=click.Choice(ACR_VALUES), help="The level of the sign-in. Default: it is not compared.")
@click.option(
    "--at", type=click.DateTime(["%Y-%m-%dT%H:%M"]), help="A time in the time zone of the policy. Default: now."
)
@json_option
@with_database
async def check(
    *, client_id: str, user: str, address: str | None, acr: str | None, at: datetime | None, as_json: bool
) -> None:
    """Say whether a user may use a client, and if not, why. The user is named by email address or id.

    Exits with code 1 if they may not.
    """
    from idp.cli.named_user import find_user
    from idp.oauth.access_policies.decision import reasons_against
    from idp.oauth.access_policies.repository import policy_of
    from idp.oauth.clients.registration import UnknownClientError
    from idp.oauth.clients.repository import find_client

    if await find_client(client_id) is None:
        raise UnknownClientError("There is no client with this id.")
    policy = await policy_of(client_id)
    moment = at.replace(tzinfo=ZoneInfo(policy.time_zone)) if at is not None and policy is not None else None
    user_id = (await find_user(user)).id
    reasons = await reasons_against(policy, user_id, address=address, acr=acr, moment=moment)
    if as_json:
        print_json({"allowed": not reasons, "reasons": reasons})
    else:
        click.echo(f"No: {', '.join(reasons)}." if reasons else "Yes.")
    if reasons:
        raise Exit(1)
