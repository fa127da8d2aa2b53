"""Row 21: an account that a stranger made with an address does not keep it from those who give it or prove it."""

import json
import secrets
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from idp.accounts import invitations
from idp.accounts.repository.users import user_by_email, user_by_id
from idp.accounts.tables import Origin, User
from idp.infra.db.engine import execute
from tests.admin.api.conftest import Caller, owner
from tests.cli.conftest import Cli, cli
from tests.conftest import MakeUser
from tests.support.browser import Browser, as_page
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD

__all__ = ["cli", "owner"]


@pytest.fixture(params=[Origin.REGISTRATION, Origin.UPSTREAM])
async def squatted(make_user: MakeUser, request: pytest.FixtureRequest) -> User:
    """An account of somebody who never proved the address."""
    user = await make_user(email=f"{secrets.token_hex(6)}@example.com")
    await execute("UPDATE users SET origin = $2 WHERE id = $1", user.id, request.param)
    return user


async def _is_taken_from(squatted: User) -> None:
    """The address has another user, and the account of the stranger is of no use."""
    user, voided = await user_by_email(squatted.email), await user_by_id(squatted.id)
    assert user is not None
    assert voided is not None
    assert user.id != squatted.id
    assert (voided.email.endswith("@voided.invalid"), voided.password_hash) == (True, None)
    assert voided.disabled_at is not None


async def test_21_the_admin_api_creates_a_user(owner: Caller, squatted: User) -> None:
    body = {"email": squatted.email.upper(), "send_mail": False}
    assert (await owner("POST", "/users", body)).status_code == 201
    await _is_taken_from(squatted)
    assert (await owner("POST", "/users", body)).status_code == 409


async def test_21_the_command_line_creates_a_user(cli: Cli, squatted: User) -> None:
    cli("users", "create", squatted.email, "--no-mail", "--password-stdin", input=f"{PASSWORD}-long enough\n")
    await _is_taken_from(squatted)


async def test_21_an_import(cli: Cli, squatted: User, make_user: MakeUser, tmp_path: Path) -> None:
    """Its dry run says the same. Users whom the operator made stay."""
    known, file = await make_user(), tmp_path / "users.jsonl"
    file.write_text("".join(json.dumps({"email": one.email}) + "\n" for one in (squatted, known)))
    for options in (["--dry-run"], []):
        done = cli("users", "import", str(file), "--json", *options).json
        assert (done["imported"], done["existing"]) == (1, 1)
    await _is_taken_from(squatted)


async def test_21_an_invitation(browser: Browser, squatted: User) -> None:
    link = urlsplit(await invitations.invite(squatted.email, "Invited One"))
    page = as_page(await browser.get(f"{link.path}?{link.query}"))
    page = as_page(await browser.submit(page, "invitation-accept"))
    await browser.submit(page, "register-submit", password="seven tired otters nap")
    assert browser.signed_in
    await _is_taken_from(squatted)


async def test_21_a_change_of_the_address(
    browser: Browser, squatted: User, make_user: MakeUser, mailbox: Mailbox
) -> None:
    """The owner of the address proves it. So does somebody who has not proved the address of the account itself."""
    mover = await make_user()
    await browser.sign_in(as_page(await browser.get("/login")), mover.email, PASSWORD)
    page = as_page(await browser.get("/account/email"))
    page = as_page(await browser.submit(page, "email-send", email=squatted.email))
    await browser.submit(page, "code-submit", code=(await mailbox.next(squatted.email)).code)
    await _is_taken_from(squatted)
    kept = await user_by_id(mover.id)
    assert kept is not None
    assert (kept.email, kept.email_verified, kept.disabled_at) == (squatted.email, True, None)


async def test_21_the_address_of_the_account_itself(browser: Browser, squatted: User, mailbox: Mailbox) -> None:
    """Who proves it in time keeps the account."""
    await browser.sign_in(as_page(await browser.get("/login")), squatted.email, PASSWORD)
    page = as_page(await browser.get("/account/email"))
    page = as_page(await browser.submit(page, "email-send", email=squatted.email))
    await browser.submit(page, "code-submit", code=(await mailbox.next(squatted.email)).code)
    kept = await user_by_id(squatted.id)
    assert kept is not None
    assert (kept.email_verified, kept.disabled_at) == (True, None)
