"""`idp keys`: the master key, and the keys that sign tokens."""

import rich_click as click

from idp.cli.database import with_database
from idp.cli.options import SIGNING_ALGORITHM
from idp.cli.output import json_option, print_json, print_table


@click.group()
def keys() -> None:
    """The master key and the signing keys."""


@keys.command()
@click.option("--if-missing", is_flag=True, help="Leave one that exists, without an error.")
def init(if_missing: bool) -> None:
    """Make the master key, which protects all that is secret in the database.

    Keep a copy of the file somewhere else: without it the signing keys are lost.
    """
    from idp.keys.vault import create_master_key
    from idp.settings import settings

    path = settings().master_key_path
    if if_missing and path.exists():
        return
    create_master_key(path)
    click.echo(f"The master key is in {path}. Keep a copy of it somewhere else.")


@keys.command("list")
@json_option
@with_database
async def list_keys(as_json: bool) -> None:
    """List the signing keys and their states."""
    from idp.keys import lifecycle

    found = await lifecycle.list_keys()
    if as_json:
        print_json(found)
        return
    print_table(
        ("Key id", "Algorithm", "State", "Signs from", "Published until"),
        [(key.kid, key.alg, key.state, key.activates_at, key.retires_at) for key in found],
    )


def _options(command: click.decorators.FC) -> click.decorators.FC:
    """The options of both commands that make a key."""
    for option in (
        click.option("--now", is_flag=True, help="It signs at once. For emergencies: others may not know it yet."),
        click.option("--size", type=int, default=2048, show_default=True, help="Bits of an RSA key."),
        click.option(
            "--alg", type=SIGNING_ALGORITHM, default="RS256", show_default=True,
            help="Algorithm.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


@keys.command()
@_options
@with_database
async def generate(alg: str, size: int, now: bool) -> None:
    """Publish a new signing key.

    It signs as soon as everybody had time to fetch it, and replaces the one before.
    """
    from idp.keys import lifecycle
    from idp.keys.ring import keyring

    # A master key that is not the one of this database would make a key that no server can open.
    await keyring.load()
    await _tell(await lifecycle.generate(alg, size, now=now))


@keys.command()
@_options
@with_database
async def rotate(alg: str, size: int, now: bool) -> None:
    """Replace the signing key of an algorithm.

    What it signed stays valid until it expires.
    """
    from idp.keys import lifecycle
    from idp.keys.ring import keyring

    await keyring.load()
    await _tell(await lifecycle.rotate(alg, size, now=now))


async def _tell(kid: str) -> None:
    from idp.keys import lifecycle

    (key,) = [key for key in await lifecycle.list_keys() if key.kid == kid]
    click.echo(f"The {key.alg} key {kid} is {key.state}. It signs from {key.activates_at:%Y-%m-%d %H:%M:%S} UTC.")
