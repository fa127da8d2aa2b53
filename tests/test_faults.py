"""Every known fault has a test that fails without its fix.

A test carries the number of its fault as ``@pytest.mark.fault(N)``, or its module does by ``pytestmark``. The numbers
are explained here and in docs/threat-model.md, nowhere else.
"""

import ast
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent

#: The faults, in the order of docs/threat-model.md.
FAULTS = {
    1: "a verified account for an address that was not the one proved",
    2: "authority decided before the body was read",
    3: "the claims parameter bypasses consent and the client's scopes",
    4: "refused requests spend the budgets of others",
    5: "idle and half-sent requests hold connections",
    6: "voiding destroys accounts that the operator made",
    7: "the required acr is skipped by asking for more",
    8: "Argon2 before the proof is checked and the try counted",
    9: "unbounded input is normalised in the event loop",
    10: "reset links, pending factors and sessions outlive a change of credentials",
    11: "a federated sign-in counts as fresh whatever the provider says",
    12: "mails of administrators withdraw each other across users",
    13: "consent is remembered as scopes times resources",
    14: "names in mails, the last owner, the issuer as an audience, file modes, forwarded addresses with ports",
    15: "input that makes a 5xx",
    16: "a form POST whose redirects leave the origin is stopped by form-action",
    17: "log-out and id_token_hint after a key rotation",
    18: "a fail-over leaves the old primary alive and read-only",
    19: "environment variables that Kubernetes injects",
    20: "abandoned sign-ins fill the cookie header",
    21: "X-Forwarded-For with ports",
    22: "ID tokens of other providers held to our own strictness",
    23: "GitHub without email addresses, Apple with half a name",
    24: "several tabs, and the browser's Back",
    25: "synced passkeys that count",
    26: "PgBouncer without prepared statements",
    27: "IDP_MAIL_FROM, addresses without SMTPUTF8, libpq parameters",
    28: "how codes are typed, empty Basic secrets, composed names, one clock",
    29: "native redirect URIs, response_mode=fragment, prompt=create, claims in the ID token, an issuer with a path",
    30: "import of password hashes and users of other systems",
    31: "response_mode=form_post inside a refused request object",
    32: "log-out without hint and client_id; the origin of form_post",
    33: "snippets of the console, README and docs that fail",
    34: "a client with a secret sends it by basic or by post",
    35: "the content type of an empty answer to a revocation",
    36: "PKCE as a setting of the client, any port of localhost",
    37: "audience by scope, default scopes, CORS with credentials, addresses that commands print",
    38: "a new column and statements prepared behind PgBouncer",
    39: "the death of a worker ends the server",
    40: "LISTEN refused",
    41: "a read-only or full database, statement time-outs",
    42: "a lost answer to a code or a refresh token",
    43: "an older backup restored",
    44: "a replica that lags at fail-over",
    45: "a clock behind the database's, index builds, mails of a killed worker, the queue of sign-ins",
    46: "console and account pages that lose input, name nobody or act at one click",
    47: "requests wait for a database that hangs",
    48: "an old primary that accepts writes after a promotion",
}


def _numbers(nodes: list[ast.expr]) -> set[int]:
    """Return the arguments of every ``pytest.mark.fault(...)`` among these expressions."""
    return {
        argument.value
        for node in nodes
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "fault"
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, int)
    }


def marked() -> dict[int, set[str]]:
    """Return the test modules with each number."""
    found: dict[int, set[str]] = {}
    for path in FOLDER.rglob("test_*.py"):
        text = path.read_text(encoding="utf-8")
        if "fault(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                numbers = _numbers(node.decorator_list)
            elif isinstance(node, ast.Assign) and any(getattr(name, "id", "") == "pytestmark" for name in node.targets):
                numbers = _numbers([node.value])
            else:
                continue
            for number in numbers:
                found.setdefault(number, set()).add(str(path.relative_to(FOLDER)))
    return found


MARKED = marked()


def test_every_number_is_explained() -> None:
    assert MARKED.keys() <= FAULTS.keys()


@pytest.mark.parametrize("number", sorted(FAULTS))
def test_every_fault_has_a_test(number: int) -> None:
    assert MARKED.get(number)
