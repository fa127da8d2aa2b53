"""Row 66, second part: no password is hashed without a live proof or a counted attempt."""

import ast
import secrets
from pathlib import Path
from typing import Any

import pytest

import idp
from idp.accounts import email_proofs, passwords, recovery
from idp.accounts.email_proofs import Purpose
from idp.accounts.tables import User
from idp.errors import TooManyRequestsError
from idp.infra.request_context import client_address
from idp.oauth.sign_out import sign_out_user
from idp.signin import flow as flows
from idp.signin import limits
from idp.signin.browser import Browser, BrowserKey
from idp.signin.password_reset import reset_by_code, reset_by_link

pytestmark = pytest.mark.fault(8)

NEW = "seven tired otters nap"
PACKAGE = Path(idp.__file__).parent
HASHING = {"check_new_password", "hash_password", "rehash_password", "verify_password"}
#: Every function that hashes or estimates, and the checks before it.
CALLERS = {
    "accounts/passwords.py hash_password": "its callers",
    "accounts/passwords.py verify_password": "itself, with nothing to compare",
    "accounts/recovery.py reset_password": "a live proof, of a counted step",
    "accounts/users.py create_user": "an operator",
    "accounts/users.py set_password": "an operator",
    "admin/console/setup.py _user": "the token of the set-up, of a counted step",
    "cli/users.py create": "an operator",
    "cli/users.py set_password": "an operator",
    "dev/seed.py _user": "an operator",
    "selfservice/security.py change_password": "a fresh session",
    "signin/steps/password.py verify": "a try counted at the account",
    "signin/steps/password.py _upgraded": "a right password",
    "signin/steps/registration.py verify": "a counted step",
}


def test_66_the_callers_that_hash_are_known() -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.AsyncFunctionDef):
                continue
            calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
            if HASHING & {getattr(call, "id", getattr(call, "attr", "")) for call in calls}:
                found.add(f"{path.relative_to(PACKAGE)} {function.name}")
    assert found == CALLERS.keys()


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls of the hashing threads, by the name of the function."""
    calls: list[str] = []

    async def run(function: Any, *arguments: Any, **named: Any) -> Any:
        calls.append(function.__name__)
        return function(*arguments, **named)

    monkeypatch.setattr(passwords._pool(), "run", run)
    return calls


@pytest.fixture
def stranger(db: str) -> Any:
    """An address without earlier attempts."""
    token = client_address.set(f"10.{secrets.randbelow(256)}.{secrets.randbelow(256)}.{secrets.randbelow(256)}")
    yield
    client_address.reset(token)


@pytest.mark.usefixtures("stranger")
async def test_66_a_wrong_code_hashes_nothing(alice: User, hashed: list[str]) -> None:
    flow = await flows.load_bound(await flows.start(BrowserKey.new(), "/"))
    for code in ("", "000000", "x" * 10_000):
        assert not await reset_by_code(flow, code, NEW, sign_out_user, Browser())
    sent = await email_proofs.create(
        Purpose.PASSWORD_RESET, alice.email, lifetime=60, flow_id=flow.binding.id, user_id=alice.id
    )
    wrong = f"{(int(sent.code) + 1) % 10**6:06}"
    for _ in range(email_proofs.TRIES):
        assert not await reset_by_code(flow, wrong, NEW, sign_out_user, Browser())
    # The right one does not work any more either.
    assert not await reset_by_code(flow, sent.code, NEW, sign_out_user, Browser())
    assert hashed == []


@pytest.mark.usefixtures("stranger")
async def test_66_a_dead_link_hashes_nothing(alice: User, hashed: list[str]) -> None:
    sent = await email_proofs.create(Purpose.PASSWORD_RESET, alice.email, lifetime=60, user_id=alice.id)
    for token in ("", "x" * 43):
        assert not await reset_by_link(token, NEW, sign_out_user, Browser())
    assert hashed == []
    with pytest.raises(passwords.InvalidPasswordError):
        await reset_by_link(sent.token, "password", sign_out_user, Browser())
    assert await reset_by_link(sent.token, NEW, sign_out_user, Browser())
    assert hashed == ["estimate", "estimate", "hash"]
    assert not await reset_by_link(sent.token, NEW, sign_out_user, Browser())
    assert hashed == ["estimate", "estimate", "hash"]


@pytest.mark.usefixtures("stranger")
async def test_66_a_live_link_is_counted(alice: User, hashed: list[str]) -> None:
    """Its holder, who may be any user, cannot keep the threads busy with it."""
    sent = await email_proofs.create(Purpose.PASSWORD_RESET, alice.email, lifetime=60, user_id=alice.id)
    refused = passwords.InvalidPasswordError, TooManyRequestsError
    for _ in range(2 * limits.STEPS_OF_HOST.burst):
        with pytest.raises(refused) as error:
            await reset_by_link(sent.token, "password", sign_out_user, Browser())
    assert error.type is TooManyRequestsError
    assert len(hashed) <= limits.STEPS_OF_HOST.burst + 10


async def test_66_a_used_proof_is_seen_after_the_hash_too(alice: User) -> None:
    """Only one of two concurrent requests with one proof changes the password."""
    sent = await email_proofs.create(Purpose.PASSWORD_RESET, alice.email, lifetime=60, user_id=alice.id)
    proved = await email_proofs.verify_token(sent.token, Purpose.PASSWORD_RESET)
    assert proved is not None
    assert await recovery.reset_password(proved, NEW, sign_out_user)
    assert not await recovery.reset_password(proved, NEW + " again", sign_out_user)
