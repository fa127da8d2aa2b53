"""Every exception of the product is in the tree of `idp.errors`."""

import ast
import builtins
import inspect
import re
from pathlib import Path

import pytest

from idp import errors
from idp.errors import IdpError, ValidationError
from idp.reasons import Reason
from tests.test_architecture import modules

#: Exceptions that a library must see, and one that rolls a transaction back and is caught where it is raised.
OUTSIDE = {("idp.infra.outbound", "ForbiddenAddressError"), ("idp.oauth.token_hook.grants", "_RollBack")}
BUILT_IN = {
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException) and value is not IdpError
}


def _children(kind: type[IdpError]) -> list[type[IdpError]]:
    return [each for each in kind.__subclasses__() if each.__module__ == errors.__name__]


def _drawn(kind: type[IdpError], before: str = "") -> list[str]:
    lines = []
    for child in _children(kind):
        last = child is _children(kind)[-1]
        lines.append(f"{before}{'`- ' if last else '|- '}{child.__name__}")
        lines += _drawn(child, before + ("   " if last else "|  "))
    return lines


def test_the_tree_at_the_top_of_the_module_is_the_tree() -> None:
    printed = [re.match(r"([|` -]*\w+)", line) for line in inspect.cleandoc(errors.__doc__ or "").splitlines()]
    names = [found[1] for found in printed if found and (found[1] == "IdpError" or found[1][0] in "|`")]
    assert names == ["IdpError", *_drawn(IdpError)]


@pytest.mark.parametrize("name", sorted(modules()))
def test_every_exception_is_in_the_tree(name: str) -> None:
    """None is derived directly from a built-in exception or one of a library: a boundary would not know its family."""
    for node in ast.walk(modules()[name]):
        if not isinstance(node, ast.ClassDef) or (name, node.name) in OUTSIDE | {("idp.errors", "IdpError")}:
            continue
        bases = {ast.unparse(base) for base in node.bases}
        if bases & BUILT_IN or (node.name.endswith("Error") and not bases):
            assert bases == {"DomainError", "ValueError"}, f"{name}.{node.name} is outside the tree."
        assert node.name.endswith("Error") or not any(base.endswith("Error") for base in bases)


def test_a_validator_may_raise_a_validation_error() -> None:
    """msgspec and Pydantic convert only ValueErrors into their own errors."""
    assert issubclass(ValidationError, ValueError)


def test_the_documentation_explains_every_reason() -> None:
    text = Path("docs/audit.md").read_text().partition("## Reasons")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    explained = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(explained) == sorted(Reason)
