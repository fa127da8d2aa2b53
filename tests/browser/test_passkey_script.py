"""The script of passkeys in a real browser, with the browser's own virtual authenticator, against the real checks.

The test creates the pages, because their content belongs to the routes that show them.
"""

import html
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import Page, Request, Route, expect

from idp.accounts.tables import User
from idp.http.pages import content_security_policy
from idp.signin.factors import passkeys
from tests.support.authenticator import VirtualAuthenticator, virtual_authenticator

pytestmark = pytest.mark.browser

CHALLENGE = b"a challenge of thirty-two bytes.."
ORIGIN = "http://localhost:8000"
SCRIPT = (Path(__file__).parents[2] / "templates/static/passkey.js").read_text()
PAGE = """
<!doctype html><title>Passkeys</title><input name="username" autocomplete="username webauthn">
<form method="post" action="/answer" data-passkey="{way}" data-options="{options}" {more} data-message="message"
      data-cancelled="That was cancelled." data-failed="That failed.">
  <input type="hidden" name="credential"><p id="message" role="alert" hidden></p>
  <button id="passkey-{way}" name="action" value="passkey" hidden>Passkey</button>
</form>
<script src="/passkey.js" defer></script>
"""

# The virtual authenticator chooses at once from what autofill offers. A person may not; then no other request is heard
# until that one is aborted.
NOBODY_CHOOSES = """
const get = navigator.credentials.get.bind(navigator.credentials);
let waiting = false;
navigator.credentials.get = async (request) => {
  if (waiting) throw new DOMException("A request is already pending.", "OperationError");
  if (request.mediation !== "conditional") return get(request);
  waiting = true;
  return new Promise((_, reject) => {
    request.signal.addEventListener("abort", () => { waiting = false; reject(request.signal.reason); });
  });
};
"""

Show = Callable[..., Awaitable[Page]]


@pytest.fixture
async def page(chromium: Chromium) -> AsyncIterator[Page]:
    context = await chromium.new_context()
    yield await context.new_page()
    await context.close()


@pytest.fixture
async def device(page: Page) -> VirtualAuthenticator:
    return await virtual_authenticator(page)


@pytest.fixture
def show(page: Page) -> Show:
    """Shows a page with a form for a passkey, in place of a server. It answers a POST with OK."""

    async def show(way: str, options: str, more: str = "") -> Page:
        content = PAGE.format(way=way, options=html.escape(options), more=more)
        headers = {"content-security-policy": content_security_policy(scripts=True)}

        async def answer(route: Route) -> None:
            if route.request.url.endswith(".js"):
                await route.fulfill(body=SCRIPT, content_type="text/javascript")
            else:
                body = "OK" if route.request.method == "POST" else content
                await route.fulfill(body=body, content_type="text/html", headers=headers)

        await page.unroute_all()
        await page.route(f"{ORIGIN}/**", answer)
        await page.goto(f"{ORIGIN}/")
        return page

    return show


def _credential(request: Request) -> str:
    fields = parse_qs(request.post_data or "")
    assert fields["action"] == ["passkey"]
    return fields["credential"][0]


async def _press(page: Page) -> str:
    async with page.expect_request(f"{ORIGIN}/answer") as sent:
        await page.click("button")
    return _credential(await sent.value)


async def _make(show: Show, user: User) -> None:
    options = passkeys.registration_options(user, CHALLENGE, await passkeys.passkeys_of(user.id))
    await passkeys.register(user.id, "", CHALLENGE, await _press(await show("create", options)))


async def test_making_one_and_signing_in_with_it(show: Show, device: VirtualAuthenticator, alice: User) -> None:
    await _make(show, alice)
    assert len(await device.credentials()) == 1
    (own,) = await passkeys.passkeys_of(alice.id)
    for known in (None, [own]):
        page = await show("get", passkeys.authentication_options(CHALLENGE, known))
        verified = await passkeys.verify(CHALLENGE, await _press(page), user_id=alice.id if known else None)
        assert (verified.user_id, verified.passkey_id, verified.user_verified) == (alice.id, own.id, True)


async def test_autofill_signs_in_without_a_press(show: Show, device: VirtualAuthenticator, alice: User) -> None:
    await _make(show, alice)
    page = await show("get", passkeys.authentication_options(CHALLENGE))
    async with page.expect_request(f"{ORIGIN}/answer") as sent:
        await show("get", passkeys.authentication_options(CHALLENGE), "data-conditional")
    verified = await passkeys.verify(CHALLENGE, _credential(await sent.value), user_id=None)
    assert verified.user_id == alice.id


async def test_a_press_ends_the_waiting_of_autofill(
    show: Show, page: Page, device: VirtualAuthenticator, alice: User
) -> None:
    await _make(show, alice)
    await page.add_init_script(NOBODY_CHOOSES)
    await show("get", passkeys.authentication_options(CHALLENGE), "data-conditional")
    assert (await passkeys.verify(CHALLENGE, await _press(page), user_id=None)).user_id == alice.id


async def test_the_device_that_has_one_makes_no_second(show: Show, device: VirtualAuthenticator, alice: User) -> None:
    await _make(show, alice)
    page = await show("create", passkeys.registration_options(alice, CHALLENGE, await passkeys.passkeys_of(alice.id)))
    await page.click("button")
    await expect(page.get_by_role("alert")).to_have_text("That failed.")


async def test_the_wrong_finger_is_told_and_may_try_again(
    show: Show, device: VirtualAuthenticator, alice: User
) -> None:
    await _make(show, alice)
    await device.set_user_verified(False)
    page = await show("get", passkeys.authentication_options(CHALLENGE))
    await expect(page.get_by_role("alert")).to_have_count(0)
    await page.click("button")
    await expect(page.get_by_role("alert")).to_have_text("That was cancelled.")
    assert page.url == f"{ORIGIN}/"
    await device.set_user_verified(True)
    assert await passkeys.verify(CHALLENGE, await _press(page), user_id=alice.id)


async def test_options_that_cannot_be_read(show: Show, device: VirtualAuthenticator) -> None:
    page = await show("get", "{}")
    await page.click("button")
    await expect(page.get_by_role("alert")).to_have_text("That failed.")


async def test_a_browser_without_passkeys_shows_no_button(page: Page, show: Show) -> None:
    await page.add_init_script("delete window.PublicKeyCredential")
    await show("get", passkeys.authentication_options(CHALLENGE))
    await expect(page.locator("button")).to_be_hidden()
