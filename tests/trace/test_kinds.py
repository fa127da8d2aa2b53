"""Every recorded step is of a declared kind, with fields that the kind allows."""

import ast
from collections.abc import Iterator

from idp.admin.api.operation import PREFIX
from idp.reasons import Reason
from idp.scim import access
from idp.trace import recorder
from idp.trace.hints import HINTS
from idp.trace.kinds import KINDS
from tests.test_architecture import modules

RECORDING = {"recorder.step", "recorder.aside"}
#: Parameters that hold a secret or prove something. None may be the name of a field.
SECRET = {
    "password", "code", "state", "nonce_value", "token", "access_token", "refresh_token_value", "client_secret",
    "assertion", "client_assertion", "cookie", "code_verifier", "code_challenge", "otp", "secret", "hash",
}  # fmt: skip


def _calls() -> Iterator[tuple[str, ast.Call]]:
    for name, module in modules().items():
        for node in ast.walk(module):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in RECORDING:
                yield name, node


def _names(kind: ast.expr) -> set[str]:
    match kind:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.IfExp():
            return _names(kind.body) | _names(kind.orelse)
    raise AssertionError(ast.unparse(kind))


def test_steps_are_of_declared_kinds() -> None:
    """A step of another kind could not be written, and a field that is not declared would be dropped."""
    used = set()
    for module, call in _calls():
        for kind in _names(call.args[0]):
            assert kind in KINDS, f"{module}: {kind}"
            fields = {keyword.arg for keyword in call.keywords if keyword.arg is not None}
            assert fields <= set(KINDS[kind].fields), f"{module}: {kind} {fields}"
            used.add(kind)
    assert used == KINDS.keys()


#: Calls that cannot fail for values of a declared type.
_TOTAL = {"sorted", "set", "str", "split", "get"}


def _guarded(module: ast.Module) -> set[ast.AST]:
    """Return what is in functions and blocks of explanations."""
    return {
        inner
        for node in ast.walk(module)
        if (isinstance(node, ast.FunctionDef) and "recorder.explanation" in map(ast.unparse, node.decorator_list))
        or (isinstance(node, ast.With) and ast.unparse(node.items[0].context_expr) == "recorder.explanation")
        for inner in ast.walk(node)
    }


def test_what_is_computed_for_a_step_is_in_an_explanation() -> None:
    """The recorder survives its own errors. Those of arguments arise in the caller, and would fail its request."""
    for name, module in modules().items():
        guarded = _guarded(module)
        for node in ast.walk(module):
            is_record = isinstance(node, ast.Call) and ast.unparse(node.func).startswith("recorder.")
            if not is_record or node in guarded or name.startswith("idp.trace"):
                continue
            inner = [each for part in ast.iter_child_nodes(node) for each in ast.walk(part)]
            called = {ast.unparse(each.func).rpartition(".")[2] for each in inner if isinstance(each, ast.Call)}
            assert called <= _TOTAL, f"{name}:{node.lineno}: {called - _TOTAL}"
            assert not any(isinstance(each, ast.Await) for each in inner), f"{name}:{node.lineno}"


def test_no_field_is_named_like_a_secret() -> None:
    for name, kind in KINDS.items():
        assert not SECRET.intersection(kind.fields), name
        assert kind.sentence.endswith("."), name


def test_every_reason_has_a_hint() -> None:
    """A new reason needs a sentence on how to mend it."""
    assert HINTS.keys() == set(Reason)


def test_routes_that_are_no_part_of_a_flow() -> None:
    assert all(path.startswith(recorder.MANAGEMENT) for path in (PREFIX, access.PATH))
