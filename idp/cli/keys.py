"""`idp keys`: the master key and the signing keys."""

from typing import IO, TYPE_CHECKING

import rich_click as click

from idp.cli.database import with_database
from idp.cli.options import DURATION, SIGNING_ALGORITHM, KeyCommand, yes_option
from idp.cli.output import json_option, print_details, print_json, print_table
from idp.errors import OperatorError
from idp.keys.algorithms import DEFAULT_ALGORITHM

if TYPE_CHECKING:
    from idp.keys.lifecycle import KeyInfo, Revocation
    from idp.keys.propagation import Witness


class KeyCommandError(OperatorError):
    """The command cannot be carried out. The message says why and how to fix it."""


@click.group()
def keys() -> None:
    """The master key and the signing keys."""


@keys.command()
@click.option("--if-missing", is_flag=True, help="Keep an existing one, without an error.")
def init(if_missing: bool) -> None:
    """Create the master key, which encrypts the secrets in the database.

    Keep a copy of the file in another place: without it the signing keys are lost.
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
        ("Key id", "Algorithm", "State", "Signs from", "Published until", "Tokens"),
        [
            (key.kid, key.alg, key.state, key.activates_at or _waits(key.deadline_at), key.retires_at, key.signed)
            for key in found
        ],
    )


def _waits(deadline_at: object) -> str:
    from idp.cli.output import text

    return f"when all have fetched it, at the latest {text(deadline_at)}" if deadline_at else "when all have fetched it"


async def _find(kid: str) -> "KeyInfo":
    from idp.keys import lifecycle

    found = await lifecycle.find_key(kid)
    if found is None:
        raise lifecycle.UnknownKeyError("There is no key with this id.")
    return found


@keys.command(cls=KeyCommand)
@click.argument("kid")
@json_option
@with_database
async def show(kid: str, as_json: bool) -> None:
    """Show a signing key and the resource servers that have fetched it.

    KID is its id, as `idp keys list` prints it.
    """
    import msgspec

    from idp.cli.output import text
    from idp.keys import propagation

    found = await _find(kid)
    seen = await propagation.view(kid)
    if as_json:
        print_json(msgspec.structs.asdict(found) | {"resource_servers": seen})
        return
    print_details(msgspec.structs.asdict(found))
    _print_witnesses(seen)
    for server in seen:
        for instance in server.instances if server.witnessed and not server.seen else ():
            if instance.live and kid not in instance.kids:
                agent = instance.user_agent or "a program without a name"
                last = text(instance.last_at)
                click.echo(f"{server.identifier}: not fetched since {last} by {agent} at {instance.address}.")


def _print_witnesses(seen: "list[Witness]") -> None:
    print_table(
        ("Resource server", "Identifier", "Has seen it", "Fetched last", "Fetches every", "Instances"),
        [
            (
                server.name,
                server.identifier,
                server.seen if server.witnessed else "not waited for",
                server.last_at or "never",
                f"{server.period:.0f} s" if server.period is not None else "not known",
                len(server.instances),
            )
            for server in seen
        ],
    )


@keys.command()
@click.option("--alg", type=SIGNING_ALGORITHM, default=DEFAULT_ALGORITHM, show_default=True, help="Algorithm.")
@click.option("--size", type=int, default=2048, show_default=True, help="Bits of an RSA key.")
@with_database
async def generate(alg: str, size: int) -> None:
    """Create the first signing key of an algorithm. It is active immediately."""
    from idp.keys import lifecycle

    if not await lifecycle.ensure_signing_key(alg, size):
        raise KeyCommandError(f"There is an active {alg} key already. Replace it with `idp keys rotate`.")
    click.echo(f"There is a first {alg} key, and it is active.")


@keys.command()
@click.option("--alg", type=SIGNING_ALGORITHM, default=DEFAULT_ALGORITHM, show_default=True, help="Algorithm.")
@click.option("--size", type=int, default=2048, show_default=True, help="Bits of an RSA key.")
@click.option("--now", is_flag=True, help="Activate it immediately, even if resource servers have not fetched it.")
@click.option("--hold", is_flag=True, help="Wait for all resource servers without a deadline.")
@click.option(
    "--deadline", type=DURATION, default="24h", show_default=True,
    help="How long to wait for resource servers that do not fetch it: 90m, 24h, 7d.",
)  # fmt: skip
@with_database
async def rotate(alg: str, size: int, now: bool, hold: bool, deadline: int) -> None:
    """Replace the signing key of an algorithm.

    The new key is published now and becomes active when every resource server has fetched it. Tokens that the old
    key signed stay valid until they expire.
    """
    from idp.keys import lifecycle, propagation

    if now and hold:
        raise click.UsageError("Choose one of --now and --hold.")
    kid = await lifecycle.rotate(alg, size, now=now, deadline=None if hold else deadline)
    if now:
        click.echo(f"The {alg} key {kid} is active.")
        return
    waits = await propagation.unseen(kid)
    within = "" if hold else ", or at the deadline"
    click.echo(f"The {alg} key {kid} is published. It signs when all resource servers have fetched it{within}.")
    for identifier in waits:
        click.echo(f"Waiting for {identifier}.")


@keys.command(cls=KeyCommand)
@click.argument("kid")
@yes_option
@with_database
async def activate(kid: str, yes: bool) -> None:
    """Activate a published key now, even if resource servers have not fetched it.

    They refuse its tokens until they fetch it, so the command names them and asks.
    """
    from idp.keys import lifecycle, propagation

    unseen = await propagation.unseen(kid)
    for identifier in unseen:
        click.echo(f"{identifier} has not fetched it.", err=True)
    if unseen and not yes:
        click.confirm("They refuse the tokens of the key until they fetch it. Activate it now?", abort=True)
    await lifecycle.activate(kid, unseen=tuple(unseen))
    click.echo(f"The key {kid} is active.")


@keys.command(cls=KeyCommand)
@click.argument("kid")
@yes_option
@json_option
@with_database
async def revoke(kid: str, yes: bool, as_json: bool) -> None:
    """Remove a compromised key from the JWKS immediately.

    If it is active, another key signs from now on. The report lists the affected tokens and services.
    """
    from idp.keys import lifecycle

    found = await _find(kid)
    if not yes and found.revoked_at is None:
        click.confirm(f"Tokens signed with this {found.state} {found.alg} key will be refused. Revoke it?", abort=True)
    report = await lifecycle.revoke(kid)
    if as_json:
        print_json(report)
    else:
        _print_report(report)


def _print_report(report: "Revocation") -> None:
    from idp.cli.output import text

    click.echo(f"The {report.alg} key {report.kid}, which was {report.was}, is revoked.")
    if report.successor:
        click.echo(f"The key {report.successor} signs from now on.")
    if report.last_token_expires_at:
        until = text(report.last_token_expires_at)
        click.echo(f"The key signed {report.signed} tokens. The last one expires at {until}.")
    click.echo("This server refuses them now. From its next fetch of the JWKS on, each of these services does too:")
    _print_witnesses(report.services)


@keys.command(cls=KeyCommand)
@click.argument("kid")
@yes_option
@with_database
async def destroy(kid: str, yes: bool) -> None:
    """Erase the private part of a retired key."""
    from idp.keys import lifecycle

    found = await _find(kid)
    if not yes and found.state in lifecycle.ERASABLE:
        click.confirm(f"This cannot be undone. Erase the private part of this {found.alg} key?", abort=True)
    await lifecycle.destroy(kid)
    click.echo(f"The private part of {kid} is erased.")


@keys.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--alg", type=SIGNING_ALGORITHM, default=DEFAULT_ALGORITHM, show_default=True, help="Algorithm.")
@click.option("--hold", is_flag=True, help="Wait for all resource servers without a deadline.")
@click.option("--deadline", type=DURATION, default="24h", show_default=True, help="As for `rotate`.")
@with_database
async def import_key(file: IO[bytes], alg: str, hold: bool, deadline: int) -> None:
    """Publish an existing private key as the next signing key.

    FILE is an unencrypted PEM file or a JWK; - reads standard input.
    """
    from idp.keys import jose, lifecycle

    key = jose.from_file(file.read(), alg)
    kid = await lifecycle.publish(key, deadline=None if hold else deadline)
    click.echo(f"The {alg} key {kid} is published. It signs when all have fetched it.")


@keys.command(cls=KeyCommand)
@click.argument("kid")
@click.option("--private", is_flag=True, help="Include the private part. The export is recorded in the audit trail.")
@click.option("--format", "form", type=click.Choice(["pem", "jwk"]), default="pem", show_default=True, help="Format.")
@click.option("--output", type=click.Path(dir_okay=False), help="Write to a new file that only its owner can read.")
@with_database
async def export(kid: str, private: bool, form: str, output: str | None) -> None:
    """Print a key, or write it to a file."""
    import msgspec

    from idp.keys import jose, lifecycle

    key = await lifecycle.export(kid, private=private)
    if form == "pem":
        content = jose.to_pem(key, private=private)
    else:
        content = msgspec.json.encode(jose.to_private_jwk(key) if private else key.public_jwk) + b"\n"
    if output is None:
        click.echo(content, nl=False)
    else:
        _write_private(output, content)


def _write_private(path: str, content: bytes) -> None:
    import os

    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise KeyCommandError(f"{path} cannot be written: {error.strerror}.") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


@keys.command()
@click.option("--finish", is_flag=True, help="Revoke the access of all older master keys.")
@with_database
async def rewrap(finish: bool) -> None:
    """Replace the master key without downtime.

    The new key replaces the file; the old key is kept beside it. Both open the database until
    `idp keys rewrap --finish`. Copy the new file to all machines and restart them before that.
    """
    from idp.keys import root_key
    from idp.settings import settings

    if finish:
        count = await root_key.forget_others()
        click.echo(f"{count} other master key{'' if count == 1 else 's'} can no longer open this database.")
        return
    if settings().master_key is not None:
        raise KeyCommandError("The master key is set by IDP_MASTER_KEY. Unset it and use a file.")
    old = await root_key.replace_master_key(settings().master_key_path)
    click.echo(f"The new master key is in {settings().master_key_path}, the old one in {old}.")
    click.echo("Both open the database. Give the new file to all machines, then run: idp keys rewrap --finish")
