"""`idp settings`: every setting, its value and what it means."""

from typing import Any

import rich_click as click

from idp.cli.output import json_option, print_json, print_table, text

_MARKDOWN_HEAD = """# Settings

A setting is an environment variable, or a line of the file `.env` in the working folder; the environment comes first.
Where a name is marked with ¹, the value may also stand in a file that `<name>_FILE` names. Durations are in seconds.
This page is made by `idp settings --markdown`.

| Name | Default | Meaning |
| --- | --- | --- |
"""


@click.command("settings")
@click.option("--markdown", is_flag=True, help="Print the page docs/settings.md.")
@json_option
def show_settings(markdown: bool, as_json: bool) -> None:
    """Every setting, its value and what it means. Secrets are not shown."""
    rows = list(_rows(with_values=not markdown))
    if markdown:
        click.echo(_MARKDOWN_HEAD + "\n".join(map(_markdown_row, rows)))
    elif as_json:
        print_json(rows)
    else:
        print_table(
            ("Name", "Value", "Default", "Meaning"),
            [(row["name"], row["value"], row["default"], row["help"]) for row in rows],
        )


def _rows(*, with_values: bool) -> list[dict[str, Any]]:
    from idp.settings import PREFIX, SECRETS, Settings, settings

    rows = []
    for name, field in Settings.model_fields.items():
        row: dict[str, Any] = {
            "name": PREFIX + name.upper(),
            "default": _plain(field.default),
            "help": field.description,
            "secret": name in SECRETS,
        }
        if with_values:
            # A secret prints as asterisks by itself.
            row["value"] = _plain(getattr(settings(), name))
        rows.append(row)
    return rows


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, tuple) else text(value)


def _markdown_row(row: dict[str, Any]) -> str:
    mark = "¹" if row["secret"] else ""
    default = f"`{row['default']}`" if row["default"] else ""
    meaning = row["help"].replace("|", "\\|").replace("<", "&lt;")
    return f"| `{row['name']}`{mark} | {default} | {meaning} |"
