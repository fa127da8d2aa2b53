"""What people read is plain, modern English: pages, mails, the console, settings and the help of the command line."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from idp.cli.main import cli
from idp.settings import Settings

ROOT = Path(__file__).parents[1]

# A phrase that reads as translated, and what to write instead.
BETTER = {
    r"somebody": "someone",
    r"everybody": "everyone",
    r"(?<!')nobody": "no one",
    r"whoever": "anyone who, users who",
    r"anew": "again",
    r"one a line": "one per line",
    r"(count|counts) no more": "no longer works",
    r"(is|are|was|does|do|has|have|can|cannot) (not |no )?[^.]*\bany more": "no longer",
    r"parted by": "separated by",
    r"administrat(e|es|ing)": "administer, manage",
    r"(not|is) at hand": "when you do not have …",
    r"go on": "continue",
    r"goes on": "continues",
    r"at the most": "maximum",
    r"that was too often": "too many attempts",
    r"that it cannot have": "invalid",
    r"not for you": "you do not have access",
    r"(it goes|goes) with all that": "deletes X and everything issued to it",
    r"on its way": "was sent",
    r"mend(s|ed)?": "fix, repair",
    r"meanwhile": "in the meantime",
}
BANNED = {re.compile(rf"\b{phrase}\b", re.IGNORECASE): better for phrase, better in BETTER.items()}
LOWER_CASE = re.compile(r"%\}Hello [^\n]*\n+(?:<p>)?\{% trans[^%]*%\}(?P<text>[a-z][^{]*)")
"""A mail that goes on in lower case after the name."""


def _visible(template: str) -> str:
    """Return a template without its comments, tags and attributes that nobody reads."""
    template = re.sub(r"\{#.*?#\}|\{%.*?%\}", " ", template, flags=re.DOTALL)
    return re.sub(r'\b(class|id|href|action|name|value|src|for)="[^"]*"', "", template)


def _templates() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "templates").rglob("*.*")):
        if path.suffix in (".html", ".txt"):
            yield str(path.relative_to(ROOT)), _visible(path.read_text())


def _docstrings(tree: ast.AST) -> set[int]:
    return {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }


def _literals() -> Iterator[tuple[str, str]]:
    """Texts of two words or more in the code, but no docstrings: pages, the console, errors, checks and commands."""
    for path in sorted((ROOT / "idp").rglob("*.py")):
        if "repository" in str(path):
            continue
        tree = ast.parse(path.read_text())
        unread = _docstrings(tree)
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or id(node) in unread:
                continue
            if isinstance(node.value, str) and " " in node.value:
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node.value


def _commands(command: click.Command, name: str) -> Iterator[tuple[str, str]]:
    yield name, command.help or ""
    for option in command.params:
        yield f"{name} {option.name}", getattr(option, "help", None) or ""
    for each, child in (command.commands if isinstance(command, click.Group) else {}).items():
        yield from _commands(child, f"{name} {each}")


def _settings() -> Iterator[tuple[str, str]]:
    for name, field in Settings.model_fields.items():
        yield name, field.description or ""


KINDS = {"templates": _templates, "texts": _literals, "commands": lambda: _commands(cli, "idp"), "settings": _settings}


@pytest.mark.parametrize("kind", KINDS)
def test_no_phrase_reads_as_translated(kind: str) -> None:
    found = [
        f"{place}: “{match.group()}”. Better: {better}"
        for place, text in KINDS[kind]()
        for pattern, better in BANNED.items()
        if (match := pattern.search(text))
    ]
    assert found == []


def test_a_mail_continues_with_a_capital() -> None:
    lower = [
        f"{path.name}: {match['text']}"
        for path in sorted((ROOT / "templates/mail").iterdir())
        if (match := LOWER_CASE.search(path.read_text()))
    ]
    assert lower == []
