"""Row 75: a name or a password that means something else to a directory.

A name with the characters of a filter finds another entry, and a directory lets in who sends no password, as nobody.
"""

import pytest

from tests.federation.ldap.conftest import added
from tests.support.browser import Browser, as_page
from tests.support.domain import BIND_DN, DN, NAME, PASSWORD, domain
from tests.support.server import Server

NAMES = [
    "*",
    f"{NAME})(objectClass=*",
    f"*)(|(cn={NAME}",
    f"{NAME}\\2a",
    "a*",
    f"({NAME})",
    f"{NAME}))(&(cn=x",
    "\\61da",
]


async def test_75_a_name_that_changes_the_filter(browser: Browser, server: Server) -> None:
    async with domain() as directory, added(server, directory.upstream):
        for name in NAMES:
            browser.cookies.clear()
            page = as_page(await browser.sign_in(as_page(await browser.get("/login")), name, PASSWORD))
            assert page.status == 400, name
            assert not browser.signed_in
        assert (DN, PASSWORD) not in directory.binds
        shapes = {each.count("(") for each in directory.filters}
        assert len(directory.filters) == len(NAMES)
        assert len(shapes) == 1


@pytest.mark.parametrize("password", ["", "\0", f"{PASSWORD}\0"])
async def test_75_no_password(browser: Browser, server: Server, password: str) -> None:
    """This directory accepts a bind with an empty password, as real ones do."""
    async with domain() as directory, added(server, directory.upstream):
        page = as_page(await browser.sign_in(as_page(await browser.get("/login")), NAME, password))
        assert page.status in (400, 413)
        assert not browser.signed_in
        assert all(sent for _, sent in directory.binds)
        assert {name for name, _ in directory.binds} & {BIND_DN, DN} <= {BIND_DN}
