"""Commands that ask before they delete or end something look first: nobody is asked about what does not exist."""

import importlib
from collections.abc import Iterator

import pytest
import rich_click as click

from idp.cli.main import COMMANDS
from tests.cli.conftest import Cli

#: These ask about all there is.
WITHOUT_NAME = {("config", "apply"), ("db", "restored")}


def _asking(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from _asking(inner, (*path, name))
    elif any(option.name == "yes" for option in command.params):
        yield path


def _all() -> Iterator[tuple[str, ...]]:
    for name, (_, place) in COMMANDS.items():
        module, _, attribute = place.partition(":")
        yield from _asking(getattr(importlib.import_module(module), attribute), (name,))


ASKING = set(_all())


def test_which_ask() -> None:
    assert WITHOUT_NAME < ASKING
    assert {("clients", "delete"), ("incident", "revoke", "user"), ("users", "delete")} < ASKING


@pytest.mark.parametrize("command", sorted(ASKING - WITHOUT_NAME), ids=" ".join)
def test_what_does_not_exist_is_said_without_a_question(cli: Cli, command: tuple[str, ...]) -> None:
    assert cli.fails(*command, "unknown-name", input="n\n").startswith(("There is no ", "No "))
