"""`idp config`: the configuration as files, compared with the database and applied to it."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click
from click.exceptions import Exit

from idp.cli.database import with_database
from idp.cli.options import together, yes_option
from idp.cli.output import json_option, print_json

if TYPE_CHECKING:
    from idp.config.planning import Plan

#: Exit code of a plan with changes.
CHANGES = 2

_files: Callable[[Any], Any] = together(
    click.option("-f", "--file", "files", multiple=True, required=True, metavar="PATH",
                 help="A file, a folder with files *.yaml, or - for the standard input. Repeat it for several."),
    click.option("--prune", is_flag=True,
                 help="Delete the objects of the sections in the files that no file names."),
)  # fmt: skip


class _Commands(click.RichGroup):
    """Commands whose usage errors do not have the exit code of a plan with changes."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            error.show()
            raise Exit(1) from error


@click.group(cls=_Commands)
def config() -> None:
    """The configuration as files: clients, groups, roles, upstreams and so on."""


@config.command()
@click.option("--section", "sections", multiple=True, help="Only this section. Repeat it for several.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file to write.")
@with_database
async def export(*, sections: tuple[str, ...], output: Path | None) -> None:
    """Write the configuration as YAML. Secrets are named, never written."""
    from idp.config.document import nearest
    from idp.config.export import export as exported
    from idp.config.kinds import BY_SECTION

    for section in sections:
        if section not in BY_SECTION:
            raise click.UsageError(f"There is no section {section}.{nearest(section, BY_SECTION)}")
    found = await exported(sections)
    if output is not None:
        _save(output, found.text.encode())
    else:
        click.echo(found.text, nl=False)
    if found.variables:
        click.echo(f"Secrets are named by variables. Set them where you apply: {', '.join(found.variables)}", err=True)


@config.command()
def schema() -> None:
    """Print the JSON Schema of files, for editors."""
    from idp.config.schema import schema as document

    print_json(document())


@config.command()
@_files
@click.option("--verify", is_flag=True, help="Also make the changes in a transaction, and roll them back.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Save the plan, for apply.")
@json_option
@with_database
async def plan(*, files: tuple[str, ...], prune: bool, verify: bool, output: Path | None, as_json: bool) -> None:
    """Show what would change. Exit code 0: nothing, 2: changes, 1: an error.

    A secret whose variable or file is missing here is not compared.
    """
    import msgspec

    from idp.admin.built_in import build_in
    from idp.config import applying, planning
    from idp.config.document import load

    build_in()
    document = load(files)
    found = (await planning.make(document, prune=prune, secrets=verify)).plan
    if verify:
        await applying.verify(document, found, prune=prune)
    if output is not None:
        _save(output, msgspec.json.format(msgspec.json.encode(found)))
    _show(found, as_json=as_json)
    if found.changes:
        raise Exit(CHANGES)


@config.command()
@_files
@click.option("--plan", "saved", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Apply only this saved plan, and nothing if it would be another one now.")  # fmt: skip
@yes_option
@json_option
@with_database
async def apply(*, files: tuple[str, ...], prune: bool, saved: Path | None, yes: bool, as_json: bool) -> None:
    """Make the database equal to the files: all changes, or none."""
    from idp.admin.built_in import build_in
    from idp.config import applying, planning
    from idp.config.document import load
    from idp.config.errors import StateChangedError

    build_in()
    document = load(files)
    found = (await planning.make(document, prune=prune)).plan
    if saved is not None and _revision(saved) != found.revision:
        raise StateChangedError
    _show(found, as_json=as_json)
    if not found.changes:
        return
    if not yes and saved is None:
        click.confirm("Apply these changes?", abort=True, err=True)
    await applying.apply(document, found.revision, prune=prune)
    click.echo("Applied.", err=True)


def _save(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _show(plan: "Plan", *, as_json: bool) -> None:
    from idp.config.rendering import render

    print_json(plan) if as_json else click.echo(render(plan))


def _revision(path: Path) -> str:
    """Return the revision of a saved plan."""
    import msgspec

    from idp.config.planning import Plan

    try:
        return msgspec.json.decode(path.read_bytes(), type=Plan).revision
    except (msgspec.MsgspecError, UnicodeError, OSError) as error:
        raise click.UsageError(f"{path} is not a plan that idp config plan saved.") from error
