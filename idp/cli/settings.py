"""`idp settings`: every setting with its value and meaning."""

from typing import Any

import rich_click as click

from idp.cli.output import json_option, print_json, print_table

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
    """Every setting with its value and meaning. Secrets are masked."""
    rows = _rows()
    if markdown:
        click.echo(_MARKDOWN_HEAD + "\n".join(map(_markdown_row, rows)))
    elif as_json:
        print_json(rows)
    else:
        print_table(
            ("Name", "Value", "Default", "Meaning"),
            [(row["name"], row["value"], row["default"], row["help"]) for row in rows],
        )


def _rows() -> list[dict[str, Any]]:
    from idp.admin.configuration import settings_in_effect

    return settings_in_effect()


def _markdown_row(row: dict[str, Any]) -> str:
    mark = "¹" if row["secret"] else ""
    default = f"`{row['default']}`" if row["default"] else ""
    meaning = row["help"].replace("|", "\\|").replace("<", "&lt;")
    return f"| `{row['name']}`{mark} | {default} | {meaning} |"
