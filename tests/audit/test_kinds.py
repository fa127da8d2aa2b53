"""Every event of the audit trail is listed: as one that webhooks may subscribe to, or as one that is not."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from idp.events.kinds import KINDS, OTHERS
from tests.test_architecture import modules

#: The functions that take the name of an event, with its position. Others pass a parameter of theirs on to one of them.
RECORDING = {"idp.audit.events.record": 0, "idp.audit.events.record_many": 0, "idp.audit.events.note": 0}


class _UnknownError(Exception):
    """An expression is not one of some texts."""


def _texts(node: ast.expr, function: ast.AST, module: str) -> set[str]:
    """Return the texts that an expression can be: a constant, one of two, or what is assigned to a name in
    the function or the module.
    """
    match node:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.IfExp():
            return _texts(node.body, function, module) | _texts(node.orelse, function, module)
        case ast.Name():
            assigned = [
                each.value
                for each in (*ast.walk(function), *modules()[module].body)
                if isinstance(each, ast.Assign) and _name(each.targets[0]) == node.id
            ]
            if assigned:
                return set().union(*(_texts(value, function, module) for value in assigned))
    raise _UnknownError(f"{module}: {ast.unparse(node)}")


def _imported(module: str) -> dict[str, str]:
    """Return the full name of each function that a module imports or defines, as it is written there."""
    names = {}
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.setdefault(node.name, f"{module}.{node.name}")
    return names


class _Call(NamedTuple):
    """A call in a function, whose parameters are without ``self``, and the full name of what it calls."""

    module: str
    function: ast.FunctionDef | ast.AsyncFunctionDef
    parameters: list[str]
    called: str
    arguments: list[ast.expr]


def _name(node: ast.expr) -> str:
    """Return a name with its attributes; empty for another expression."""
    match node:
        case ast.Name():
            return node.id
        case ast.Attribute() if owner := _name(node.value):
            return f"{owner}.{node.attr}"
    return ""


def _calls() -> Iterator[_Call]:
    for module, tree in modules().items():
        imported = _imported(module)
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            parameters = [each.arg for each in (*function.args.posonlyargs, *function.args.args) if each.arg != "self"]
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and node.args and (called := _name(node.func).removeprefix("self.")):
                    first, dot, rest = called.partition(".")
                    full = imported.get(first, first) + dot + rest
                    yield _Call(module, function, parameters, full, node.args)


@cache
def recorded() -> frozenset[str]:
    """Return every event that the code can record."""
    calls, recording = list(_calls()), dict(RECORDING)
    while True:
        before, found, unknown = len(recording), set[str](), list[str]()
        for call in calls:
            place = recording.get(call.called)
            if place is None or place >= len(call.arguments):
                continue
            argument = call.arguments[place]
            if isinstance(argument, ast.Name) and argument.id in call.parameters:
                recording[f"{call.module}.{call.function.name}"] = call.parameters.index(argument.id)
                continue
            try:
                found |= _texts(argument, call.function, call.module)
            except _UnknownError as error:
                unknown.append(str(error))
        if len(recording) == before:
            assert unknown == [], "Write the name of the event as a constant."
            # Tokens that were issued share rows, which are made apart (idp.audit.buffer).
            return frozenset(found | {"token_issued"})


def test_every_event_is_for_webhooks_or_listed() -> None:
    listed, events = [*KINDS, *OTHERS], recorded()
    assert len(listed) == len(set(listed))
    assert sorted(events - set(listed)) == [], "Add it to one of the lists of idp/events/kinds.py."
    assert sorted(set(listed) - events) == [], "There is no such event any more."


def test_the_documentation_has_every_event() -> None:
    text = Path("docs/audit.md").read_text(encoding="utf-8").partition("## What is recorded")[2].partition("\n## ")[0]
    names = {re.escape(name).replace("…", ".*") for name in re.findall(r"`([a-z_…]+)`", text)}
    assert [event for event in sorted(recorded()) if not any(re.fullmatch(name, event) for name in names)] == []


def test_the_documentation_has_every_event_of_webhooks() -> None:
    text = Path("docs/events.md").read_text(encoding="utf-8").partition("## Webhooks")[2].partition("\n## ")[0]
    rows = "".join(line for line in text.splitlines() if line.startswith("|"))
    assert tuple(re.findall(r"`([a-z_]+)`", rows)) == KINDS
