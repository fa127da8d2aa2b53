"""Row 30: what the sign-in page answers does not tell whether there is such a user."""

import re

import pytest

from idp.accounts.tables import User
from idp.accounts.users import disable_user
from idp.oauth.sign_out import sign_out_user
from tests.conftest import MakeUser
from tests.support.browser import Browser, Page
from tests.support.oauth import PASSWORD

#: What differs between any two pages: the id of the request, the form's token, the flow, what was typed.
VARIES = re.compile(r'<code>[0-9a-f]{16}</code>|name="csrf_token" value="[^"]*"|/login/[\w-]+|value="[^"]*@[^"]*"')


async def _attempt(browser: Browser, email: str, password: str) -> tuple[int, str, list[str]]:
    page = await browser.get("/login")
    assert isinstance(page, Page)
    answer = await browser.sign_in(page, email, password)
    assert isinstance(answer, Page)
    names = sorted(name for name in answer.response.headers if name not in ("date", "content-length"))
    return answer.status, VARIES.sub("", answer.text), names


async def _email(kind: str, make_user: MakeUser) -> str:
    if kind == "unknown":
        return "nobody-at-all@example.com"
    user = await make_user(password=None if kind == "without a password" else PASSWORD)
    if kind == "disabled":
        await disable_user(user.id, sign_out_user)
    return str(user.email)


@pytest.mark.parametrize("kind", ["unknown", "disabled", "without a password"])
async def test_30_the_answer_is_that_to_a_wrong_password(
    browser: Browser, make_user: MakeUser, alice: User, kind: str
) -> None:
    wrong_password = await _attempt(browser, alice.email, "not her password")
    assert wrong_password[0] == 400
    assert await _attempt(browser, await _email(kind, make_user), PASSWORD) == wrong_password


async def test_30_the_comparison_sees_a_difference(browser: Browser, alice: User) -> None:
    """What varies is taken out narrowly: another message would be noticed."""
    _, page, _ = await _attempt(browser, alice.email, "not her password")
    assert "That email and password do not match." in page
