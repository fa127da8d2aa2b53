"""The language that a user chooses, and that of the profile."""

import pytest

from tests.conftest import MakeClient, MakeUser
from tests.support.browser import Browser, Page, as_page
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD


def language_of(page: Page) -> str:
    return page.text.partition('<html lang="')[2].partition('"')[0]


async def choose(browser: Browser, language: str, page: str) -> Page:
    """Follow the link of a page."""
    browser.client.headers["Referer"] = page
    try:
        return as_page(await browser.get("/language", to=language))
    finally:
        del browser.client.headers["Referer"]


async def test_a_choice_is_kept_for_all_pages(browser: Browser, make_client: MakeClient) -> None:
    """It goes before the browser's languages and those of the request. The link leads back to the same page."""
    browser.client.headers["Accept-Language"] = "fr"
    client = await make_client(client_name="Shop")
    page = as_page(await client.authorize(browser, ui_locales="es"))
    assert language_of(page) == "es"
    assert 'href="/language?to=de"' in page.text
    chosen = await choose(browser, "de", page.url)
    assert (chosen.path, language_of(chosen)) == (page.path, "de")
    assert '<span lang="de">Deutsch</span></summary>' in chosen.text
    assert 'href="/language?to=de"' not in chosen.text
    assert language_of(as_page(await browser.get("/"))) == "de"
    assert language_of(as_page(await client.authorize(browser, ui_locales="es"))) == "de"


async def test_the_query_of_the_page_is_kept(browser: Browser) -> None:
    """It may hold the token of a mail, so the page does not repeat it."""
    page = as_page(await browser.get("/reset", token="a-token"))
    assert "a-token" not in page.text.partition("<footer>")[2]
    answer = await browser.client.get(
        f"{browser.issuer}/language", params={"to": "de"}, headers={"Referer": f"{browser.issuer}/reset?token=a-token"}
    )
    assert answer.headers["location"] == "/reset?token=a-token"


@pytest.mark.parametrize("to", ["xx", "", "../../de", "de; Domain=evil.example", "de\r\nX: y"])
async def test_an_unknown_language_is_ignored(browser: Browser, to: str) -> None:
    answer = await browser.client.get(f"{browser.issuer}/language", params={"to": to})
    assert answer.status_code in (303, 400)
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "referer",
    ["", "https://evil.example/x", "//evil.example", "{}.evil.example/x", "{}@evil.example", "{}//evil.example",
     "{}/\\evil.example", "javascript:alert(1)", "{}/language?to=fr"],
)  # fmt: skip
async def test_it_leads_to_this_server_only(browser: Browser, referer: str) -> None:
    headers = {"Referer": referer.format(browser.issuer)}
    answer = await browser.client.get(f"{browser.issuer}/language", params={"to": "de"}, headers=headers)
    assert answer.status_code == 303
    location = answer.headers["location"]
    assert location.startswith("/")
    assert location[1:2] not in ("/", "\\")
    assert not location.startswith("/language")


async def test_a_forged_cookie_changes_nothing(browser: Browser) -> None:
    for value in ("xx", "de/../fr", "%64%65"):
        browser.client.headers["Cookie"] = f"__Host-language={value}"
        assert language_of(as_page(await browser.get("/"))) == "en"


async def test_account_pages_and_mails_are_in_the_language_of_the_profile(
    browser: Browser, mailbox: Mailbox, make_user: MakeUser
) -> None:
    user = await make_user(email_verified=True, locale="de-AT", name="Frida")
    page = as_page(await browser.get("/login"))
    assert language_of(page) == "en"
    await browser.sign_in(page, user.email, PASSWORD)
    account = as_page(await browser.get("/account/password"))
    assert language_of(account) == "de"
    await browser.submit(account, "password-save", password="a long enough new passphrase")
    assert "Passwort" in (await mailbox.next(user.email)).message["subject"]
    await choose(browser, "fr", account.url)
    assert language_of(as_page(await browser.get("/account"))) == "fr"


async def test_an_unavailable_language_of_a_profile(browser: Browser, make_user: MakeUser) -> None:
    user = await make_user(locale="tlh")
    await browser.sign_in(as_page(await browser.get("/login")), user.email, PASSWORD)
    assert language_of(as_page(await browser.get("/account"))) == "en"
