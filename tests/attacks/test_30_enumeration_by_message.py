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
VARIES = re.compile(
    r'<code>[0-9a-f]{16}</code>|name="csrf_token" value="[^"]*"|/login/[\w-]+'
    r'|(?<=autocomplete="username" )value="[^"]*"'
)
HEADERS_THAT_VARY = {"date", "content-length", "x-request-id"}
WRONG = "not the password"


async def _attempt(browser: Browser, email: str, password: str) -> tuple[int, str, dict[str, str]]:
    page = await browser.get("/login")
    assert isinstance(page, Page)
    answer = await browser.sign_in(page, email, password)
    assert isinstance(answer, Page)
    headers = {name: value for name, value in answer.response.headers.items() if name not in HEADERS_THAT_VARY}
    return answer.status, VARIES.sub("", answer.text), headers


async def _email(kind: str, make_user: MakeUser) -> str:
    if kind == "unknown":
        return "nobody-at-all@example.com"
    user = await make_user(password=None if kind == "without a password" else PASSWORD)
    if kind == "disabled":
        await disable_user(user.id, sign_out_user)
    return str(user.email)


@pytest.mark.parametrize("password", [PASSWORD, WRONG, "x" * 5000], ids=["right", "wrong", "too long"])
@pytest.mark.parametrize("kind", ["unknown", "disabled", "without a password"])
async def test_30_the_answer_is_that_to_a_wrong_password(
    browser: Browser, make_user: MakeUser, alice: User, kind: str, password: str
) -> None:
    expected = await _attempt(browser, alice.email, WRONG)
    assert expected[0] == 400
    assert await _attempt(browser, await _email(kind, make_user), password) == expected


@pytest.mark.parametrize(
    "email",
    [
        "nobody",
        "nobody@",
        "@example.com",
        "a@b@example.com",
        "nobody@example..com",
        "n\u00f6b\u00f6dy@\u2603",
        " ",
        "x" * 500,
    ],
)
async def test_30_an_address_that_is_none(browser: Browser, alice: User, email: str) -> None:
    """It is not told apart either: whoever probes learns nothing of how addresses are kept."""
    assert await _attempt(browser, email, WRONG) == await _attempt(browser, alice.email, WRONG)


async def test_30_nothing_typed(browser: Browser, alice: User) -> None:
    """Without an address the field has the focus, as on the first page; all else is the same."""
    status, text, headers = await _attempt(browser, "", "")
    expected = await _attempt(browser, alice.email, "")
    moved = text.replace(" autofocus", "")
    assert (status, moved, headers) == (expected[0], expected[1].replace(" autofocus", ""), expected[2])


async def test_30_the_comparison_sees_a_difference(browser: Browser, alice: User) -> None:
    """What varies is taken out narrowly: another message would be noticed."""
    _, page, _ = await _attempt(browser, alice.email, WRONG)
    assert "That email and password do not match." in page
    assert alice.email not in page
