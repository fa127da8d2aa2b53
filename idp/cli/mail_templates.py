"""`idp mail templates`: what each mail says."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import rich_click as click

from idp.cli.database import with_database
from idp.cli.output import json_option, print_details, print_json, print_table
from idp.errors import OperatorError

if TYPE_CHECKING:
    from idp.mail.templates.models import Source

_language = click.option("--language", default="all", show_default=True, help="The language, such as de.")


class NotTextError(OperatorError):
    """A file is not text in UTF-8."""

    def __init__(self) -> None:
        super().__init__("The file is not text in UTF-8.")


@click.group()
def templates() -> None:
    """The templates of mails: list, change, check and preview them."""


@templates.command("list")
@click.option("--markdown", is_flag=True, help="Print the table of docs/mail.md.")
@json_option
@with_database
async def list_templates(markdown: bool, as_json: bool) -> None:
    """List every mail, its variables, and the languages in which its template was changed."""
    from idp.mail.templates.kinds import KINDS
    from idp.mail.templates.registry import overrides

    await overrides.load()
    if markdown:
        click.echo(table())
        return
    changed = {name: [one.language for one in overrides.all() if one.template == name] for name in KINDS}
    if as_json:
        print_json(
            [
                {
                    "template": name, "purpose": kind.purpose, "variables": kind.variables,
                    "required": kind.proofs, "changed": changed[name],
                }
                for name, kind in KINDS.items()
            ]
        )  # fmt: skip
        return
    print_table(
        ("Mail", "Sent when", "Variables", "Changed"),
        [(name, kind.purpose, kind.variables, changed[name]) for name, kind in KINDS.items()],
    )


def table() -> str:
    """Return the mails and their variables in Markdown."""
    from idp.mail.templates.kinds import COMMON, KINDS, VARIABLES

    lines = ["| mail | sent when | variables |", "|---|---|---|"]
    for name, kind in KINDS.items():
        shown = (f"`{each}`{' (or none)' if each in kind.optional else ''}" for each in kind.variables)
        lines.append(f"| `{name}` | {kind.purpose} | {', '.join(shown)} |")
    lines += ["", "| variable | |", "|---|---|"]
    lines += [f"| `{name}` | {variable.meaning} |" for name, variable in (VARIABLES | COMMON).items()]
    return "\n".join(lines)


async def _used(name: str, language: str) -> "Source":
    """Return the template to edit: of the console, or the shipped one."""
    from idp.mail.templates import customization, sources
    from idp.mail.templates.registry import overrides

    customization.check_name(name, language)
    await overrides.load()
    return overrides.get(name, language) or sources.shipped(name, language)


@templates.command()
@click.argument("name")
@_language
@json_option
@with_database
async def show(name: str, language: str, as_json: bool) -> None:
    """Show the template of a mail. Without a change it is the shipped one."""
    source = await _used(name, language)
    shown = {"subject": source.subject, "html": source.html, "text": source.text}
    if as_json:
        print_json(shown)
    else:
        print_details(shown)


@templates.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@_language
@with_database
async def export(folder: Path, language: str) -> None:
    """Write the template of each mail into a folder: NAME.subject, NAME.html and NAME.txt."""
    from idp.mail.templates.kinds import KINDS

    _write(folder, {name: await _used(name, language) for name in KINDS})
    click.echo(f"Wrote {len(KINDS)} templates to {folder}.")


def _write(folder: Path, sources: Mapping[str, "Source"]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in sources.items():
        for suffix, text in (("subject", f"{source.subject}\n"), ("html", source.html), ("txt", source.text)):
            (folder / f"{name}.{suffix}").write_text(text, encoding="utf-8")


@templates.command("set")
@click.argument("name")
@_language
@click.option("--subject", help="The subject.")
@click.option("--html", type=click.File("rb"), help="A file with the HTML, inside of the frame.")
@click.option("--text", type=click.File("rb"), help="A file with the text, without the footer.")
@with_database
async def set_template(
    name: str, language: str, subject: str | None, html: BinaryIO | None, text: BinaryIO | None
) -> None:
    """Set the template of a mail, for a language or for all. It is checked first.

    A part that is not given stays as it is.
    """
    from idp.mail.templates import customization
    from idp.mail.templates.models import Source

    used = await _used(name, language)
    source = Source(
        used.subject if subject is None else subject,
        used.html if html is None else _read(html),
        used.text if text is None else _read(text),
    )
    await customization.set_template(name, language, source)
    click.echo(f"The template {name} is set ({language}).")


def _read(file: BinaryIO) -> str:
    try:
        return file.read().decode()
    except UnicodeDecodeError as error:
        raise NotTextError from error


@templates.command()
@click.argument("name")
@_language
@with_database
async def reset(name: str, language: str) -> None:
    """Use the template of the folder or the shipped one again."""
    from idp.mail.templates import customization

    await customization.reset(name, language)
    click.echo(f"The template {name} is reset ({language}).")


@templates.command()
@click.argument("name")
@_language
@click.option("--html", "as_html", is_flag=True, help="Print the HTML.")
@with_database
async def preview(name: str, language: str, as_html: bool) -> None:
    """Print the mail that is sent now, with example values."""
    from idp.mail.templates import checks, customization
    from idp.mail.templates.registry import overrides

    customization.check_name(name, language)
    await overrides.load()
    parts = checks.preview(name, language, None)
    click.echo(parts.html if as_html else f"Subject: {parts.subject}\n\n{parts.text}")
