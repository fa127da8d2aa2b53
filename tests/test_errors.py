"""Every exception of the product is in the tree of `idp.errors`."""

import ast
import builtins
import inspect
import re
from pathlib import Path

import pytest

from idp import errors
from idp.admin.api.problems import HTTP_CODES
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


#: Arguments for the errors of the tree that need some.
ARGUMENTS: dict[type[IdpError], tuple[object, ...]] = {
    errors.OAuthError: ("invalid_request", "x"),
    errors.InvalidGrantError: ("x", errors.Refused(Reason.EXPIRED)),
    errors.UseDPoPNonceError: ("x", "nonce"),
    errors.BearerError: ("invalid_token", "x"),
    errors.PageError: ("x", "x"),
    errors.TooManyRequestsError: (1,),
    errors.InvalidTokenError: (),
    errors.BoundTokenError: (),
    errors.MissingTokenError: (),
    errors.InvalidClientError: (),
    errors.FlowFinishedError: (),
    errors.FlowExpiredError: (),
    errors.OverloadedError: (),
    errors.SessionEndedError: (),
}
#: The families whose errors a client or a user sees as the answer to a request of the protocol.
PUBLIC = (errors.OAuthError, errors.FlowError, errors.TryLaterError, errors.SessionEndedError)
#: Only their subclasses are raised.
ABSTRACT = {errors.FlowError, errors.TryLaterError}


def _public(kind: type[IdpError]) -> list[type[IdpError]]:
    return [kind, *(found for child in _children(kind) for found in _public(child))]


@pytest.mark.parametrize("kind", sorted({each for kind in PUBLIC for each in _public(kind)} - ABSTRACT, key=str))
def test_every_public_error_has_a_reason(kind: type[IdpError]) -> None:
    """None can be raised without one, however little is said about it."""
    keywords = {"sends_keys": True} if kind is errors.FlowNotBoundError else {}
    made = kind(*ARGUMENTS.get(kind, () if keywords else ("x",)), **keywords)
    assert isinstance(made.reason, Reason)


def _codes() -> list[tuple[str, str]]:
    """The codes of errors that are raised without an exact reason, with their modules."""
    found = []
    for name, module in modules().items():
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("OAuthError", "PageError"):
                given = {each.arg: each.value for each in node.keywords}
                code = given.get("code", node.args[0] if ast.unparse(node.func) == "OAuthError" and node.args else None)
                if not given.keys() & {"refused", "reason"} and isinstance(code, ast.Constant):
                    found.append((name, code.value))
    return found


def test_the_reason_of_every_code_is_known() -> None:
    """Otherwise its reason would be that of a malformed request."""
    assert len(_codes()) > 20
    assert [each for each in _codes() if each[1] not in errors.BY_CODE] == []


#: Codes that are no member of BY_CODE: they are raised with an exact reason, or need none.
OTHER_CODES = {
    "invalid_grant",
    "server_error",
    "temporarily_unavailable",
    "insufficient_authorization",
    "redirect_to_web",
}


def _explained(heading: str) -> list[str]:
    text = Path("docs/errors.md").read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return [code for row in rows for code in re.findall(r"`([\w-]+)`", row)]


def test_the_documentation_explains_every_code_of_the_protocol() -> None:
    assert sorted(_explained("Of the protocol")) == sorted(errors.BY_CODE.keys() | OTHER_CODES)


def _problem_codes() -> set[str]:
    """The codes of the errors of services, and those that only the admin API has."""
    families = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.DomainError)
    ]
    found = {str(kind.code) for kind in families if kind is not errors.DomainError} | {"try_later", "invalid_query"}
    found |= {*HTTP_CODES.values()}
    for name, module in modules().items():
        if name.startswith(("idp.scim", "idp.errors")):
            continue
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "ProblemError":
                found.add(ast.literal_eval(node.args[1]))
            elif isinstance(node, ast.ClassDef):
                found |= {each.value.value for each in node.body
                          if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == "code"}  # fmt: skip
    return {code.replace("_", "-") for code in found}


def test_the_documentation_explains_every_code_of_the_admin_api() -> None:
    assert sorted(_explained("Of the admin API")) == sorted(_problem_codes())
