"""`idp settings`: every setting with its value and meaning."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import rich_click as click

from idp.cli.output import json_option, print_json, print_table

_MARKDOWN_HEAD = """# Settings

A setting is an environment variable, or a line of the file `.env` in the working folder; the environment comes first.
Where a name is marked with ¹, the value may also stand in a file that `<name>_FILE` names. Durations are in seconds.
This page is made by `idp settings --markdown`.
"""
_MARKDOWN_TABLE = """
## {group}

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
        click.echo(_MARKDOWN_HEAD + "\n".join(_markdown_tables(rows)))
    elif as_json:
        print_json(rows)
    else:
        print_table(
            ("Name", "Value", "Default", "Meaning"),
            [_cells(row) for row in rows],
        )


def _rows() -> list[dict[str, Any]]:
    from idp.admin.configuration import settings_in_effect

    return settings_in_effect()


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    from idp.admin.configuration import with_unit

    unit = row["unit"]
    return row["name"], with_unit(row["value"], unit), with_unit(row["default"], unit), row["help"]


def _markdown_tables(rows: list[dict[str, Any]]) -> Iterator[str]:
    for group, inside in groupby(rows, lambda row: row["group"]):
        yield _MARKDOWN_TABLE.format(group=group) + "\n".join(map(_markdown_row, inside))


def _markdown_row(row: dict[str, Any]) -> str:
    from idp.admin.configuration import in_words

    mark = "¹" if row["secret"] else ""
    words = in_words(row["default"], row["unit"])
    default = f"`{row['default']}`{f' ({words})' if words else ''}" if row["default"] else ""
    meaning = row["help"].replace("|", "\\|").replace("<", "&lt;")
    return f"| `{row['name']}`{mark} | {default} | {meaning} |"
