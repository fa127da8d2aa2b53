"""Row 30: the responses of the sign-in page do not reveal whether a user exists."""

import re
import secrets

import pytest

from idp.accounts.tables import User
from idp.accounts.users import disable_user
from idp.infra.db.engine import execute
from idp.oauth.sign_out import sign_out_user
from tests.conftest import MakeClient, MakeUser
from tests.support.browser import Browser, Page
from tests.support.oauth import PASSWORD

#: Values that differ between any two pages: the id of the request, the form's token, the flow and its challenge, and
#: the input.
VARIES = re.compile(
    r'<code>[0-9a-f]{20}</code>|name="csrf_token" value="[^"]*"|/login/[\w-]+'
    r'|(?<=autocomplete="username" )value="[^"]*"|(?<=autocomplete="username webauthn" )value="[^"]*"'
    r'|data-options="[^"]*"'
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
        return f"{secrets.token_hex(8)}@example.com"
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
    """It has the same response, so that probing reveals nothing about the normalisation."""
    assert await _attempt(browser, email, WRONG) == await _attempt(browser, alice.email, WRONG)


async def test_30_nothing_typed(browser: Browser, alice: User) -> None:
    """Without an address the field has the focus, as on the first page; all else is the same."""
    status, text, headers = await _attempt(browser, "", "")
    expected = await _attempt(browser, alice.email, "")
    moved = text.replace(" autofocus", "")
    assert (status, moved, headers) == (expected[0], expected[1].replace(" autofocus", ""), expected[2])


async def test_30_the_comparison_sees_a_difference(browser: Browser, alice: User) -> None:
    """The masking of variable parts is narrow: a different message would be noticed."""
    _, page, _ = await _attempt(browser, alice.email, WRONG)
    assert "That email and password do not match." in page
    assert alice.email not in page


async def _sent(browser: Browser, step: str, email: str) -> list[tuple[int, str]]:
    """Return the responses of a step that sends a mail, and of a wrong code."""
    page = await browser.get("/login")
    assert isinstance(page, Page)
    base, fields = page.path, page.forms[0].fields
    data = {"username": email, "action": "send"}
    if step == "registration":
        data = {"username": email, "password": "five odd fishes swim", "name": "Some One"}
    answers = [
        await browser.post(f"{base}/{step}", fields | data),
        await browser.get(f"{base}/{step}"),
        await browser.post(f"{base}/{step}", fields | {"code": "000000", "action": "x", "password": ""}),
        await browser.get(base),
    ]
    found = []
    for answer in answers:
        assert isinstance(answer, Page)
        found.append((answer.status, VARIES.sub("", answer.text).replace(email, "")))
    return found


@pytest.mark.parametrize("step", ["email_code", "forgot", "registration"])
@pytest.mark.parametrize("kind", ["unknown", "disabled", "without a password"])
async def test_30_steps_that_send_a_mail(
    browser: Browser, make_user: MakeUser, alice: User, step: str, kind: str
) -> None:
    """Only the mail differs."""
    expected = await _sent(browser, step, alice.email)
    assert expected[0][0] == 200
    assert await _sent(browser, step, await _email(kind, make_user)) == expected


@pytest.mark.parametrize("kind", ["unknown", "disabled", "without a password"])
async def test_30_an_app_learns_no_more(make_client: MakeClient, make_user: MakeUser, alice: User, kind: str) -> None:
    app = await make_client(token_endpoint_auth_method="none", authorization_challenge=True, skip_consent=True)

    async def answers(email: str) -> list[tuple[int, object]]:
        begin = app.parameters(redirect_uri=None, response_type=None, state=None)
        found = []
        for form in (
            {"username": email, "password": WRONG},
            {"step": "email_code", "action": "send", "username": email},
            {"step": "registration", "username": email, "password": "five odd fishes swim"},
        ):
            await execute("DELETE FROM throttle WHERE rule LIKE 'mails%'")
            answer = await app.post("/challenge", **begin | form)
            content = answer.json()
            session = content.pop("auth_session")
            content.pop("passkey_options", None)
            found.append((answer.status_code, content))
            sent = await app.post("/challenge/forgot", auth_session=session, username=email)
            found.append((sent.status_code, sorted(sent.json())))
            wrong = await app.post("/challenge", auth_session=session, step=form.get("step"), otp="000000")
            found.append((wrong.status_code, wrong.json()["error"]))
        return found

    expected = await answers(alice.email)
    assert await answers(await _email(kind, make_user)) == expected
