"""Row 46: the link in the log creates one owner, once, and requires its token."""

import asyncio
import re
from collections.abc import Callable

import pyotp

from idp.accounts.users import create_user
from idp.admin import setup
from idp.admin.roles import Role
from idp.infra.db.engine import execute, fetch
from tests.support.browser import as_page, open_browser
from tests.support.isolated import own_database
from tests.support.server import Server

__all__ = ["own_database"]

PASSWORD = "seven tired otters nap"
PARALLEL = 50
Start = Callable[..., Server]


def _token(link: str | None) -> str:
    assert link is not None
    return link.partition("token=")[2]


async def _owners() -> list[str]:
    rows = await fetch("SELECT u.email FROM admin_role JOIN users u ON u.id = user_id WHERE role = 'owner'")
    return [row["email"] for row in rows]


async def _status(issuer: str, token: str) -> int:
    async with open_browser(issuer) as browser:
        return as_page(await browser.get(setup.PATH, token=token)).status


async def _try(issuer: str, token: str, number: int) -> None:
    async with open_browser(issuer) as browser:
        page = as_page(await browser.get(setup.PATH, token=token))
        if page.status == 200:
            fields = {"email": f"owner{number}@example.com", "name": "Olga Owner", "password": PASSWORD}
            await browser.submit(page, "setup-submit", **fields)


async def test_46_one_of_several_concurrent_requests_creates_the_owner(own_database: str, start_server: Start) -> None:
    server = start_server(IDP_DATABASE_URL=own_database)
    link = re.search(r"/admin/setup\?token=([\w-]+)", server.log)
    assert link is not None, server.log
    await asyncio.gather(*(_try(server.issuer, link[1], number) for number in range(PARALLEL)))
    assert len(await _owners()) == 1
    # The losers of the race get no account from it either.
    assert len(await fetch("SELECT 1 FROM users WHERE email LIKE 'owner%'")) == 1
    assert await _status(server.issuer, link[1]) == 404


async def test_46_to_look_at_the_page_changes_nothing_and_no_guess_opens_it(
    own_database: str,
    start_server: Start,
) -> None:
    server = start_server(IDP_DATABASE_URL=own_database)
    token = _token(await setup.create_setup_link())
    for _ in range(3):
        assert await _status(server.issuer, token) == 200
    for guess in ("", token[:-1], token + "A", "A" * len(token), token.swapcase()):
        assert await _status(server.issuer, guess) == 404
    assert await setup.is_valid_token(token)
    assert await _owners() == []


async def test_46_only_the_latest_link_is_valid(own_database: str) -> None:
    first, second = _token(await setup.create_setup_link()), _token(await setup.create_setup_link())
    assert not await setup.is_valid_token(first)
    assert await setup.is_valid_token(second)


async def test_46_it_stays_closed_after_the_first_admin_is_deleted(own_database: str) -> None:
    token = _token(await setup.create_setup_link())
    user = await create_user("first@example.com", PASSWORD)
    assert await setup.complete(token, user)
    await execute("DELETE FROM users WHERE id = $1", user.id)
    assert await _owners() == []
    assert await setup.create_setup_link() is None
    assert not await setup.is_valid_token(token)
    assert not await setup.complete(token, await create_user("second@example.com", PASSWORD))


async def test_46_an_admin_by_the_command_line_shuts_it_for_ever(own_database: str) -> None:
    token = _token(await setup.create_setup_link())
    user = await create_user("by-command@example.com", PASSWORD)
    assert await setup.add_admin(user, Role.AUDITOR, "cli:root")
    await execute("DELETE FROM users WHERE id = $1", user.id)
    assert await setup.create_setup_link() is None
    assert not await setup.is_valid_token(token)


async def test_46_an_existing_account_needs_its_password(own_database: str, start_server: Start) -> None:
    server = start_server(IDP_DATABASE_URL=own_database)
    await create_user("there@example.com", PASSWORD)
    token = _token(await setup.create_setup_link())
    async with open_browser(server.issuer) as browser:
        page = as_page(await browser.get(setup.PATH, token=token))
        fields = {"email": "there@example.com", "name": "Mallory", "password": "another long one of mine"}
        answer = as_page(await browser.submit(page, "setup-submit", **fields))
    assert answer.status == 400
    assert "the password is wrong" in answer.text
    assert await _owners() == []


async def test_46_the_first_owner_is_told_and_gets_recovery_codes(own_database: str, start_server: Start) -> None:
    """The sign-in that follows says that the account was made, knows its address, and asks for a second factor."""
    server = start_server(IDP_DATABASE_URL=own_database)
    link = re.search(r"/admin/setup\?token=([\w-]+)", server.log)
    assert link is not None, server.log
    async with open_browser(server.issuer) as browser:
        page = as_page(await browser.get("/admin/setup", token=link[1]))
        fields = {"email": "owner@example.com", "name": "Olga Owner", "password": PASSWORD}
        page = as_page(await browser.submit(page, "setup-submit", **fields))
        assert "account-created" in page.ids
        assert 'value="owner@example.com"' in page.text
        page = as_page(await browser.sign_in(page, "owner@example.com", PASSWORD))
        secret = re.search(r'id="totp-secret"[^>]*>([A-Z2-7 ]+)<', page.text)
        assert secret is not None
        page = as_page(await browser.submit(page, "totp-confirm", code=pyotp.TOTP(secret[1].replace(" ", "")).now()))
        assert "recovery-codes" in page.ids
