"""Row 31: whether an account exists, and where, does not follow from the time that a directory takes.

It gets the same messages whatever is wrong, and never a password of an account here.
"""

import secrets

import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute
from tests.conftest import MakeUser
from tests.federation.ldap.conftest import added
from tests.support.browser import Browser, as_page
from tests.support.domain import BIND_DN, BIND_PASSWORD, NAME, domain
from tests.support.server import Server


@pytest.fixture
async def kinds(make_user: MakeUser) -> dict[str, str]:
    disabled, bare, local = await make_user(), await make_user(None), await make_user()
    await execute("UPDATE users SET disabled_at = now() WHERE id = $1", disabled.id)
    return {
        "here": local.email,
        "here without a password": bare.email,
        "disabled": disabled.email,
        "in the directory": NAME,
        "unknown address": f"{secrets.token_hex(8)}@example.com",
        "unknown name": secrets.token_hex(8),
        "no name": "x" * 400,
    }


async def test_31_a_directory_gets_the_same_messages(
    browser: Browser, server: Server, kinds: dict[str, str], alice: User
) -> None:
    async with domain() as directory, added(server, directory.upstream):
        page = as_page(await browser.get("/login"))
        # The first attempt opens the connection.
        await browser.sign_in(page, alice.email, "wrong")
        seen, texts = {}, set()
        for kind, username in kinds.items():
            directory.kinds.clear()
            directory.binds.clear()
            password = secrets.token_hex(8)
            refused = as_page(await browser.sign_in(page, username, password))
            assert refused.status == 400
            seen[kind] = tuple(directory.kinds)
            texts.add(refused.text.partition('role="alert"')[2].partition("</")[0])
            assert (password in [sent for _, sent in directory.binds]) == (kind == "in the directory")
            assert directory.binds[-1] == (BIND_DN, BIND_PASSWORD)
        assert set(seen.values()) == {("search", "bind", "bind")}
        assert len(texts) == 1
