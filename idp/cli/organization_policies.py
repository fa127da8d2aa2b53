"""`idp organizations …-policy`: the sign-in policies of organizations."""

from typing import TYPE_CHECKING

import rich_click as click

from idp.cli.database import with_database
from idp.cli.options import DURATION
from idp.cli.output import json_option, print_details, print_json

if TYPE_CHECKING:
    from idp.directory.sign_in_policy import SignInPolicy

#: As in :data:`idp.directory.sign_in_policy.WAYS`.
WAYS = ("password", "passkey", "email_code", "upstream")


@click.command()
@click.argument("organization")
@json_option
@with_database
async def policy(organization: str, as_json: bool) -> None:
    """Show what a sign-in for an organisation needs."""
    from idp.directory import organizations, sign_in_policy_changes

    found = await organizations.named(organization)
    _print(await sign_in_policy_changes.policy_of(found.id), as_json)


def _print(policy: "SignInPolicy", as_json: bool) -> None:
    if as_json:
        print_json(policy)
        return
    print_details(
        {
            "second_factor": "required" if policy.second_factor else "optional",
            "session_max_age": policy.session_max_age,
            "session_idle": policy.session_idle,
            "ways": policy.ways,
        }
    )


@click.command("set-policy")
@click.argument("organization")
@click.option(
    "--second-factor",
    type=click.Choice(("required", "optional")),
    default="optional",
    show_default=True,
    help="Whether two factors or a passkey are needed.",
)
@click.option("--session-max-age", type=DURATION, help="The greatest age of the sign-in, such as 8h.")
@click.option("--session-idle", type=DURATION, help="The longest pause, such as 30m.")
@click.option("--way", "ways", type=click.Choice(WAYS), multiple=True, help="A way to sign in. Repeat it for others.")
@click.option("--accept-lockout", is_flag=True, help="Set it even if people at an enforced domain could not sign in.")
@json_option
@with_database
async def set_policy(
    *,
    organization: str,
    second_factor: str,
    session_max_age: int | None,
    session_idle: int | None,
    ways: tuple[str, ...],
    accept_lockout: bool,
    as_json: bool,
) -> None:
    """Set what a sign-in for an organisation needs, in place of what it needed. Without --way, all ways are allowed."""
    from idp.directory import organizations, sign_in_policy_changes

    found = await organizations.named(organization)
    policy = await sign_in_policy_changes.set_policy(
        found.id,
        second_factor=second_factor == "required",
        session_max_age=session_max_age,
        session_idle=session_idle,
        ways=ways,
        accept_lockout=accept_lockout,
    )
    _print(policy, as_json)


@click.command("remove-policy")
@click.argument("organization")
@with_database
async def remove_policy(organization: str) -> None:
    """Let every sign-in of a member be one for the organisation."""
    from idp.directory import organizations, sign_in_policy_changes

    found = await organizations.named(organization)
    await sign_in_policy_changes.set_policy(found.id)
    click.echo(f"{found.slug} has no sign-in policy.")


COMMANDS = (policy, set_policy, remove_policy)
