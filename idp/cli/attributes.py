"""`idp attributes`: declare attributes of users."""

from typing import TYPE_CHECKING, Any

import rich_click as click

from idp.cli.attribute_jobs import finish_job, list_jobs
from idp.cli.database import with_database
from idp.cli.options import given, together, yes_option
from idp.cli.output import json_option, print_details, print_json, print_table

if TYPE_CHECKING:
    from idp.accounts.attributes.models import Attribute, StoredAttribute

_TYPES = click.Choice(["string", "integer", "number", "boolean", "date", "email", "url", "choice"])
_REGISTRATION = click.Choice(["no", "optional", "required"])
_WHO = click.Choice(["person", "support", "nobody"])


@click.group()
def attributes() -> None:
    """The attributes of users that you declare."""


#: What `create` and `update` accept.
_VALUES = together(
    click.option("--label", help="The text on pages, in languages without one of their own."),
    click.option(
        "--translation", nargs=2, multiple=True, metavar="LANGUAGE TEXT",
        help="The text in one language, such as: --translation de Kostenstelle. An empty text removes it.",
    ),
    click.option("--choice", "choices", multiple=True, help="A value to choose from. Repeat it for each."),
    click.option("--min-length", type=int, help="Length of text, in characters."),
    click.option("--max-length", type=int, help="Length of text, in characters."),
    click.option("--minimum", help="The least number, or the first date."),
    click.option("--maximum", help="The greatest number, or the last date."),
    click.option("--pattern", help="A regular expression that the whole text matches."),
    click.option("--visible-to", multiple=True, type=_WHO, help="Who sees it besides owners. Repeat it for several."),
    click.option("--editable-by", multiple=True, type=_WHO, help="Who edits it besides owners."),
    click.option("--searchable/--not-searchable", default=None, help="Whether users can be found by a value."),
    click.option("--scope", help="The scope with which clients get it. An empty value: it is not released."),
    click.option("--claim", help="The claim that has the value. Default: the name of the attribute."),
    click.option("--registration", type=_REGISTRATION, help="Whether the registration asks for it."),
    click.option(
        "--required-for", multiple=True, help="A client whose users must have it, or * for all. Repeat it for several."
    ),
    click.option("--position", type=int, help="Place on pages. Smaller numbers come first."),
)  # fmt: skip


@attributes.command()
@click.argument("name")
@click.option("--type", type=_TYPES, default="string", show_default=True, help="Type of the values.")
@click.option("--multivalued", is_flag=True, help="A user can have several values.")
@_VALUES
@json_option
@with_database
async def create(*, name: str, type: str, multivalued: bool, as_json: bool, **options: Any) -> None:
    """Declare an attribute. --label is required. NAME and type cannot change later."""
    from idp.accounts.attributes.declaration import declare

    if not options["label"]:
        raise click.UsageError("Name it for people, with --label.")
    changes = _changes(options, {})
    _print(await declare(name=name, type=type, multivalued=multivalued, **changes), as_json)


_WAIT = click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Wait until the values of all users are changed."
)


@attributes.command()
@click.argument("name")
@_VALUES
@_WAIT
@json_option
@with_database
async def update(*, name: str, wait: bool, as_json: bool, **options: Any) -> None:
    """Change an attribute. Options that are not given keep their value; those that repeat replace all of theirs.

    Values that users have stay, even if they would be refused now. To make those of many users searchable takes a
    while; the servers do it too, and go on if this command is stopped.
    """
    from idp.accounts.attributes.declaration import update

    changes = _changes(options, (await _find(name)).label)
    if not changes:
        raise click.UsageError("Name at least one option to change.")
    stored = await update(name, **changes)
    assert stored is not None  # noqa: S101 -- no version is expected
    if wait:
        await finish_job(name)
    _print(await _find(name), as_json)


@attributes.command("list")
@json_option
@with_database
async def list_attributes(as_json: bool) -> None:
    """List the attributes."""
    from idp.accounts.attributes.repository import attributes

    found = await attributes()
    if as_json:
        print_json(found)
        return
    rows = [
        (one.name, f"{one.type}, several" if one.multivalued else one.type, _who(one.visible_to),
         _who(one.editable_by), "not yet" if one.indexing else one.searchable, one.claim)
        for one in found
    ]  # fmt: skip
    print_table(("Name", "Type", "Visible to", "Editable by", "Searchable", "Claim"), rows)


@attributes.command()
@click.argument("name")
@json_option
@with_database
async def show(name: str, as_json: bool) -> None:
    """Show an attribute."""
    _print(await _find(name), as_json)


@attributes.command()
@click.argument("name")
@yes_option
@_WAIT
@with_database
async def delete(name: str, yes: bool, wait: bool) -> None:
    """Delete an attribute with the values of all users. It says first how many there are.

    The attribute is gone at once. To delete the values of many users takes a while; the servers do it too, and go on if
    this command is stopped.
    """
    from idp.accounts.attributes.declaration import delete
    from idp.accounts.attributes.repository import count_values

    number = await count_values((await _find(name)).name)
    if not yes:
        click.confirm(f"{number} values go with it. Delete it?", abort=True)
    deleted = await delete(name)
    if wait:
        await finish_job(name)
    click.echo(f"The attribute {name} is deleted, with {deleted} values.")


attributes.add_command(list_jobs)


async def _find(name: str) -> "StoredAttribute":
    from idp.accounts.attributes.errors import UnknownAttributeError
    from idp.accounts.attributes.repository import attributes

    found = next((one for one in await attributes() if one.name == name), None)
    if found is None:
        raise UnknownAttributeError
    return found


def _changes(options: dict[str, Any], label: dict[str, str]) -> dict[str, Any]:
    """Return the members to change.

    Args:
        label: the label as it is, which translations are added to.
    """
    from idp.accounts.attributes.values import parse_limit

    changes = given(options)
    texts = dict(changes.pop("translation", ()))
    if changes.get("label"):
        texts["default"] = changes.pop("label")
    if texts:
        changes["label"] = {language: text for language, text in (label | texts).items() if text}
    for name in ("minimum", "maximum"):
        if changes.get(name) is not None:
            changes[name] = parse_limit(changes[name])
    for name in ("visible_to", "editable_by"):
        if name in changes:
            changes[name] = [who for who in changes[name] if who != "nobody"]
    if "scope" in changes and changes["scope"] is None:
        changes["claim"] = None
    return changes


def _who(given: tuple[str, ...]) -> str:
    return ", ".join(given) or "nobody"


def _print(attribute: "Attribute", as_json: bool) -> None:
    import msgspec

    if as_json:
        print_json(attribute)
    else:
        shown = msgspec.to_builtins(attribute)
        print_details(shown | {name: shown[name] or "nobody" for name in ("visible_to", "editable_by")})
