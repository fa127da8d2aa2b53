"""`idp authorization-details`: register and change types of authorization details (RFC 9396)."""

from typing import Any, TextIO

import rich_click as click

from idp.cli.database import with_database
from idp.cli.options import given, together, yes_option
from idp.cli.output import json_option, print_details, print_json, print_table


@click.group("authorization-details")
def authorization_details() -> None:
    """The types of authorization details that clients may request (RFC 9396)."""


#: What `create` and `update` accept.
_VALUES = together(
    click.option("--resource", help="The identifier of the resource server that the details are for."),
    click.option("--title", help="What an application may do, as the consent page says it."),
    click.option(
        "--summary", help="A sentence for the consent page. {amount.value} is replaced by that value of the object."
    ),
    click.option("--schema", type=click.File(), help="A file with the JSON Schema of the objects (draft 2020-12)."),
    click.option("--ask-always/--ask-once", default=None, help="Ask the user each time, or only once. Default: once."),
)


@authorization_details.command()
@click.argument("type")
@_VALUES
@json_option
@with_database
async def create(*, type: str, as_json: bool, schema: TextIO | None, **options: Any) -> None:
    """Register a type. --resource, --title and --schema are required.

    TYPE is the name that clients send, such as payment_initiation or https://bank.example.com/payment.
    """
    from idp.oauth.details.registration import register_type

    _print(await register_type(type=type, **_values(schema, options)), as_json)


@authorization_details.command()
@click.argument("type")
@_VALUES
@json_option
@with_database
async def update(*, type: str, as_json: bool, schema: TextIO | None, **options: Any) -> None:
    """Change a type. Options that are not given keep their value."""
    from idp.oauth.details.registration import update_type

    changes = _values(schema, options)
    if not changes:
        raise click.UsageError("Name at least one option to change.")
    _print(await update_type(await _id(type), **changes), as_json)


@authorization_details.command("list")
@json_option
@with_database
async def list_types(as_json: bool) -> None:
    """List the types."""
    from idp.oauth.details.repository import types

    found = [_shown(kind) for kind in await types()]
    if as_json:
        print_json(found)
    else:
        rows = [(row["type"], row["resource"], row["title"], row["ask_always"]) for row in found]
        print_table(("Type", "Resource server", "Title", "Ask always"), rows)


@authorization_details.command()
@click.argument("type")
@yes_option
@with_database
async def delete(type: str, yes: bool) -> None:
    """Delete a type."""
    from idp.oauth.details.registration import delete_type

    found = await _id(type)
    if not yes:
        click.confirm("Tokens are no longer issued with these details. Delete it?", abort=True)
    await delete_type(found)
    click.echo(f"The type {type} is deleted.")


async def _id(type: str) -> str:
    from idp.oauth.details.registration import UnknownDetailsTypeError
    from idp.oauth.details.repository import types

    found = next((kind.id for kind in await types() if kind.type == type), None)
    if found is None:
        raise UnknownDetailsTypeError
    return found


def _values(schema: TextIO | None, options: dict[str, Any]) -> dict[str, Any]:
    values = given(options)
    if values.get("summary", "") is None:
        values["summary"] = ""
    return values if schema is None else values | {"schema": schema.read()}


def _shown(kind: Any) -> dict[str, Any]:
    import json

    import msgspec

    shown = msgspec.structs.asdict(kind)
    return shown | {"schema": json.loads(shown["schema"])}


def _print(kind: Any, as_json: bool) -> None:
    if as_json:
        print_json(_shown(kind))
    else:
        print_details(_shown(kind))
