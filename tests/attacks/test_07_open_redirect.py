"""Row 7: no value of a request decides where the browser is redirected."""

import httpx
import pytest

from idp.accounts.tables import User
from idp.infra.templates import web_url
from tests.support.browser import Browser, Page, sent_to
from tests.support.hostile import EVIL, LOCATIONS, SCHEMES, assert_refused_here, stays_at
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.server import Server

#: Names of this parameter in other servers.
NAMES = (
    "next", "return_to", "returnTo", "return", "returnUrl", "redirect", "redirect_to", "redirect_url", "redirect_uri",
    "url", "uri", "to", "target", "continue", "back", "cancel_to", "goto", "dest", "destination", "RelayState",
    "service", "post_logout_redirect_uri", "action", "client_uri", "r", "u",
)  # fmt: skip


def everywhere(location: str) -> dict[str, str]:
    return dict.fromkeys(NAMES, location)


def assert_stays(response: httpx.Response, issuer: str) -> None:
    location = sent_to(response)
    assert location is None or stays_at(issuer, location), location
    assert "refresh" not in response.headers
    assert response.status_code < 500
    assert EVIL not in response.text


@pytest.mark.parametrize("location", LOCATIONS, ids=ascii)
async def test_07_parameters_on_the_way_in_and_out(location: str, browser: Browser, alice: User) -> None:
    """From the sign-in's start to the sign-out's end, with the address in every parameter that could mean one."""
    issuer, http, extra = browser.issuer, browser.client, everywhere(location)
    origin = {"Origin": issuer}
    for path in ("/", "/login", "/logout", "/authorize", "/no-such-page"):
        assert_stays(await http.get(f"{issuer}{path}", params=extra), issuer)

    start = await http.get(f"{issuer}/login", params=extra)
    flow = start.headers["location"]
    shown = await http.get(f"{issuer}{flow}", params=extra)
    assert_stays(shown, issuer)
    form = extra | Page(shown).forms[0].fields | {"username": alice.email, "password": PASSWORD, "action": "login"}
    done = await http.post(f"{issuer}{flow}/password", params=extra, data=form, headers=origin)
    # A NUL is refused in any parameter.
    assert done.status_code == (400 if "\0" in location else 200)
    assert_stays(done, issuer)
    if done.status_code == 200:
        assert sent_to(done) == "/"
        assert_stays(await http.get(f"{issuer}/login", params=extra), issuer)
        asked = await browser.get("/logout")
        form = extra | asked.forms[0].fields
        for action in ("cancel", "logout"):
            answer = await http.post(
                f"{issuer}/logout/confirm", params=extra, data=form | {"action": action}, headers=origin
            )
            assert_stays(answer, issuer)


@pytest.mark.parametrize("location", LOCATIONS, ids=ascii)
async def test_07_during_an_authorization(location: str, client: RelyingParty, browser: Browser, alice: User) -> None:
    """Sign-in, cancelling, consent and the return: each continues to the path stored on the server."""
    issuer, http = browser.issuer, browser.client
    extra = {name: value for name, value in everywhere(location).items() if name != "action"}
    if "\0" in location:
        extra = {name: value.replace("\0", "") for name, value in extra.items()}
    origin = {"Origin": issuer}
    began = await http.get(f"{issuer}/authorize", params=client.parameters())
    flow = began.headers["location"]
    page = Page(await http.get(f"{issuer}{flow}", params=extra))
    form = extra | page.forms[0].fields
    for changes in ({"action": "login", "username": alice.email, "password": "wrong"},
                    {"action": "login", "username": alice.email, "password": PASSWORD}):  # fmt: skip
        answer = await http.post(f"{issuer}{flow}/password", params=extra, data=form | changes, headers=origin)
        assert_stays(answer, issuer)
    waiting = sent_to(answer)
    answer = await http.get(f"{issuer}{waiting}", params=extra)
    assert_stays(answer, issuer)
    consent = answer.headers["location"]
    page = Page(await http.get(f"{issuer}{consent}", params=extra))
    form = extra | page.forms[0].fields
    for action in ("", location.replace("\0", ""), "allow"):
        answer = await http.post(f"{issuer}{consent}", params=extra, data=form | {"action": action}, headers=origin)
        assert_stays(answer, issuer)
    final = await http.get(f"{issuer}{sent_to(answer)}", params=extra)
    assert final.headers["location"].startswith(f"{client.redirect_uri}?code=")


@pytest.mark.parametrize("suffix", ["", "/", "/..", "/%2e%2e", "/login", "?x"])
async def test_07_paths_that_read_as_hosts(suffix: str, server: Server, http: httpx.AsyncClient) -> None:
    """Normalising slashes, dots or case never turns a path into a host."""
    for location in LOCATIONS:
        quoted = f"{location}{suffix}".translate({9: "%09", 10: "%0a", 13: "%0d", 0: "%00", 32: "%20"})
        for prefix in (
            "" if quoted.startswith("/") else "/",
            "/login",
            "/login/",
            "/logout/",
            "/static/",
            "/authorize/",
        ):
            url = httpx.URL(server.issuer).copy_with(raw_path=f"{prefix}{quoted}".encode())
            response = await http.get(url, headers={"Accept": "text/html"})
            assert_stays(response, server.issuer)
            assert EVIL not in response.headers.get("location", ""), url


async def test_07_the_page_that_refuses_leads_home(server: Server, http: httpx.AsyncClient) -> None:
    for location in LOCATIONS:
        page = assert_refused_here(await http.get(f"{server.issuer}/authorize", params=everywhere(location)))
        assert 'href="/"' in page.text


@pytest.mark.parametrize("value", [*LOCATIONS, *SCHEMES, "http:evil.example"], ids=ascii)
def test_07_links_of_pages(value: str) -> None:
    """The filter that every link of a page passes lets through a path that stays, or a URL that names its host."""
    shown = web_url(value)
    if shown is not None:
        assert shown.isprintable()
        assert "\\" not in shown
        assert stays_at("https://id.example.com", shown) or shown.lower().startswith(f"https://{EVIL}")
