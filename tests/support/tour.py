"""Visits every kind of page, for tests that apply to all of them."""

from dataclasses import dataclass, field

import httpx

from tests.support.browser import Browser, Page, Redirect
from tests.support.oauth import PASSWORD, RelyingParty


@dataclass
class Tour:
    """The responses of the server.

    Attributes:
        pages: the response for each kind of page, by name.
        responses: all responses in order, including redirects.
    """

    pages: dict[str, httpx.Response] = field(default_factory=dict)
    responses: list[httpx.Response] = field(default_factory=list)


def _page(answer: Page | Redirect) -> Page:
    assert isinstance(answer, Page), answer.location
    return answer


async def tour(browser: Browser, client: RelyingParty, email: str) -> Tour:
    """Visit every page once, in a fresh browser. The client must require consent and have a log-out URI."""
    seen = Tour()

    async def note(response: httpx.Response) -> None:
        seen.responses.append(response)

    def keep(name: str, answer: Page | Redirect) -> Page:
        page = _page(answer)
        seen.pages[name] = page.response
        return page

    browser.client.event_hooks["response"] = [note]
    keep("home", await browser.get("/"))
    keep("no such page", _page(Page(await browser.client.get(f"{browser.issuer}/x", headers={"Accept": "text/html"}))))
    keep("error", await browser.get("/authorize", client_id="nobody"))
    keep("own login", await browser.get("/login"))
    keep("form from elsewhere", await browser.post("/login/x", {}, origin="https://evil.example"))
    login = keep("login", await client.authorize(browser, response_mode="form_post"))
    keep("wrong password", await browser.sign_in(login, email, "wrong"))
    consent = keep("consent", await browser.sign_in(login, email, PASSWORD))
    keep("form_post", await browser.submit(consent, "consent-allow"))
    seen.pages["continue"] = next(each for each in seen.responses if 'id="continue"' in each.text)
    keep("finished sign-in", await browser.get(login.path))
    keep("form_post error", await client.authorize(browser, response_mode="form_post", scope="none-such"))
    keep("reauthenticate", await client.authorize(browser, prompt="login"))
    keep("home, signed in", await browser.get("/"))
    keep("logout", await browser.get("/logout", client_id=client.client_id, state="s"))
    logout = await browser.get(
        "/logout", client_id=client.client_id, post_logout_redirect_uri="https://app.example.com/bye"
    )
    assert isinstance(await browser.submit(keep("logout for a client", logout), "logout-confirm"), Redirect)
    keep("logged out", await browser.get("/logout"))
    browser.client.event_hooks["response"] = []
    return seen
