"""`idp issuers`: other servers whose tokens say who a person is."""

from typing import Any

import rich_click as click

from idp.cli.database import with_database
from idp.cli.options import JSON_OBJECT, given, together, yes_option
from idp.cli.output import json_option, print_details, print_json, print_table
from idp.keys.algorithms import VERIFICATION_ALGORITHMS

PURPOSES = ("jwt_bearer", "id_jag", "token_exchange", "login_hint")
SUBJECTS = ("identity", "email", "client")


@click.group()
def issuers() -> None:
    """Trusted issuers: other servers whose tokens say who a person is."""


#: What `add` and `update` accept.
_VALUES = together(
    click.option(
        "--purpose", "purposes", multiple=True, type=click.Choice(PURPOSES),
        help="What tokens are accepted for. May be repeated.",
    ),
    click.option("--client", "clients", multiple=True, help=(
        "A client that may present tokens of the issuer. May be repeated."
    )),
    click.option(
        "--subject", type=click.Choice(SUBJECTS),
        help="Whom sub means: the user to whom this identity is linked (default); in addition, the user with the"
        " verified address of the token; or the client itself.",
    ),
    click.option("--email-domain", "email_domains", multiple=True, help=(
        "A domain that the issuer vouches for. May be repeated."
    )),
    click.option("--create-users/--known-users", default=None, help="Create a user for a new verified address."),
    click.option("--scope", help="Scopes that the tokens can give, separated by spaces. Default: none."),
    click.option("--audience", "audiences", multiple=True, help="Another aud of subjects of token exchange."),
    click.option("--jwks-uri", help="URL of the keys. Default: the URL in the discovery document."),
    click.option("--jwks", type=JSON_OBJECT, help="The keys: a JWK Set, or the name of a file with one."),
    click.option(
        "--algorithm", "algorithms", multiple=True, type=click.Choice(VERIFICATION_ALGORITHMS),
        help="An accepted algorithm, instead of all. May be repeated.",
    ),
    click.option("--max-lifetime", type=int, help="The longest lifetime of a token, in seconds. Default: 300."),
)  # fmt: skip


@issuers.command()
@click.argument("issuer")
@_VALUES
@json_option
@with_database
async def add(*, issuer: str, as_json: bool, **options: Any) -> None:
    """Trust an issuer. At least one --purpose is required.

    ISSUER is the iss of its tokens, such as https://idp.example.org.
    """
    from idp.admin.built_in import build_in
    from idp.oauth.issuers import registration

    # Their scopes cannot be given.
    build_in()
    _print(await registration.add(issuer=issuer, **_values(options)), as_json)


@issuers.command()
@click.argument("issuer")
@_VALUES
@click.option(
    "--enable/--disable", "enabled", default=None, help="Accept tokens of the issuer, or refuse them for now."
)
@json_option
@with_database
async def update(*, issuer: str, as_json: bool, **options: Any) -> None:
    """Change an issuer. Options that are not given keep their value; an empty value clears it."""
    from idp.admin.built_in import build_in
    from idp.oauth.issuers import registration

    changes = _values(options)
    if not changes:
        raise click.UsageError("Name at least one option to change.")
    build_in()
    _print(await registration.update(await _id(issuer), **changes), as_json)


@issuers.command("list")
@json_option
@with_database
async def list_issuers(as_json: bool) -> None:
    """List the issuers."""
    from idp.oauth.issuers.repository import issuers

    found = await issuers()
    if as_json:
        print_json(found)
        return
    rows = [
        (one.issuer, " ".join(one.purposes), " ".join(one.clients), one.subject, one.scope, one.enabled)
        for one in found
    ]
    print_table(("Issuer", "Purposes", "Clients", "Subject", "Scope", "Enabled"), rows)


@issuers.command()
@click.argument("issuer")
@yes_option
@with_database
async def remove(issuer: str, yes: bool) -> None:
    """Trust an issuer no more."""
    from idp.oauth.issuers import registration

    found = await _id(issuer)
    if not yes:
        click.confirm("Tokens of the issuer are no longer accepted. Remove it?", abort=True)
    await registration.remove(found)
    click.echo(f"The issuer {issuer} is no longer trusted.")


async def _id(issuer: str) -> str:
    from idp.oauth.issuers.registration import UnknownTrustedIssuerError
    from idp.oauth.issuers.repository import issuers

    found = next((stored.id for stored in await issuers() if issuer in (stored.issuer, stored.id)), None)
    if found is None:
        raise UnknownTrustedIssuerError
    return found


def _values(options: dict[str, Any]) -> dict[str, Any]:
    values = given(options)
    return values | ({"scope": ""} if "scope" in values and values["scope"] is None else {})


def _print(issuer: Any, as_json: bool) -> None:
    import msgspec

    if as_json:
        print_json(issuer)
    else:
        print_details(msgspec.to_builtins(issuer))
