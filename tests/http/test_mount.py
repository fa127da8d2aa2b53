"""An issuer with a path: everything is below it, and every URL contains it."""

import re
from collections.abc import AsyncIterator, Iterator
from urllib.parse import urljoin

import httpx
import jwt
import pytest

from idp.accounts.tables import User
from idp.http.pages import see_other
from idp.infra.templates import Templates, Theme
from tests.conftest import MASTER_KEY, MakeClient
from tests.support.browser import Browser, Redirect, as_page, open_browser
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.server import Server, free_port
from tests.support.tour import tour

pytestmark = pytest.mark.fault(29)

PATH = "/tenants/auth"
BYE = "https://app.example.com/bye"
#: Everything in a page that refers to a path.
LINK = re.compile(r"\s(?:href|src|action|formaction)=\"(/[^\"]*)\"")


@pytest.fixture(scope="module")
def below(db: str, mailbox: Mailbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server below a path, on the shared database."""
    port = free_port()
    server = Server(
        tmp_path_factory.mktemp("below"),
        port=port,
        IDP_ISSUER=f"http://localhost:{port}{PATH}",
        IDP_DATABASE_URL=db,
        IDP_MASTER_KEY=MASTER_KEY,
        IDP_SMTP_URL=mailbox.url,
        IDP_ADDRESS_LIMITS="false",
    )
    yield server
    server.stop()


@pytest.fixture
async def party(make_client: MakeClient, below: Server) -> RelyingParty:
    return await make_client(at=below, post_logout_redirect_uris=[BYE])


@pytest.fixture
async def browser(below: Server) -> AsyncIterator[Browser]:
    async with open_browser(below.issuer) as browser:
        yield browser


async def test_discovery_documents(below: Server, http: httpx.AsyncClient) -> None:
    """OpenID Connect Discovery section 4, RFC 8414 section 3.1 and section 5."""
    origin = below.issuer.removesuffix(PATH)
    places = [
        f"{below.issuer}/.well-known/openid-configuration",
        f"{below.issuer}/.well-known/oauth-authorization-server",
        f"{origin}/.well-known/oauth-authorization-server{PATH}",
        f"{origin}/.well-known/openid-configuration{PATH}",
    ]
    first, *others = [(await http.get(place)).json() for place in places]
    assert others == [first, first, first]
    assert first["issuer"] == below.issuer
    for name, value in first.items():
        if name.endswith(("_endpoint", "_uri")):
            assert value.startswith(f"{below.issuer}/"), name
    assert (await http.get(first["jwks_uri"])).json()["keys"]


async def test_nothing_is_beside_the_path(below: Server, http: httpx.AsyncClient) -> None:
    origin = below.issuer.removesuffix(PATH)
    for path in (
        "/", "/login", "/authorize", "/token", "/static/idp.css", "/.well-known/openid-configuration", "/tenants",
        "/tenants/auth2/login", "/tenants/authlogin", "/.outside", f"{PATH}/.outside", f"{PATH}{PATH}/login",
        "//login", f"/.well-known/jwks.json{PATH}", f"/.well-known/openid-configuration{PATH}/",
    ):  # fmt: skip
        assert (await http.get(f"{origin}{path}")).status_code == 404, path
    for path in ("/health/live", "/health/ready", PATH, f"{PATH}/", f"{PATH}/health/ready"):
        assert (await http.get(f"{origin}{path}")).status_code == 200, path


async def test_a_whole_sign_in(browser: Browser, party: RelyingParty, alice: User, below: Server) -> None:
    """From the request to the tokens and out again, with nothing but the links of the pages."""
    page = as_page(await party.authorize(browser))
    assert page.path.startswith(f"{PATH}/login/")
    page = as_page(await browser.sign_in(page, alice.email, PASSWORD))
    assert page.path.startswith(f"{PATH}/consent/")
    answer = await browser.submit(page, "consent-allow")
    assert isinstance(answer, Redirect)
    assert answer.parameters["iss"] == below.issuer
    tokens = (await party.redeem(answer.parameters["code"])).json()
    jwks = jwt.PyJWKSet.from_dict((await party.http.get(f"{below.issuer}/.well-known/jwks.json")).json())
    for token, audience in ((tokens["id_token"], party.client_id), (tokens["access_token"], below.issuer)):
        key = next(key for key in jwks.keys if key.key_id == jwt.get_unverified_header(token)["kid"])
        jwt.decode(token, key, algorithms=["RS256"], audience=audience, issuer=below.issuer)
    assert (await party.userinfo(tokens["access_token"])).json()["email"] == alice.email
    assert (await party.introspect(tokens["access_token"]))["active"]
    refreshed = (await party.refresh(tokens["refresh_token"])).json()
    account = as_page(await browser.get("/account"))
    assert account.path == f"{PATH}/account"
    assert as_page(await browser.submit(account, "profile-save", name="Alice Below")).path == f"{PATH}/account"
    out = await browser.get("/logout", id_token_hint=refreshed["id_token"], post_logout_redirect_uri=BYE)
    assert isinstance(out, Redirect)
    assert out.location == BYE
    assert not browser.signed_in
    assert "login-submit" in as_page(await browser.get("/account")).ids


async def test_every_page_and_redirect(browser: Browser, party: RelyingParty, alice: User, below: Server) -> None:
    """Each link, form and file of each page is below the path and there; so is every redirect to ourselves."""
    seen = await tour(browser, party, alice.email)
    assert len(seen.pages) > 12
    files = set()
    for name, response in seen.pages.items():
        links = LINK.findall(response.text)
        assert links, name
        for link in links:
            assert link.startswith(f"{PATH}/"), (name, link)
        files |= {link for link in links if "/static/" in link}
    assert len(files) > 2
    for file in files:
        assert (await party.http.get(urljoin(below.issuer, file))).status_code == 200, file
    for response in seen.responses:
        location = response.headers.get("location", PATH)
        assert location.startswith((f"{PATH}/", PATH, "https://app.example.com/")), location


async def test_cookies_are_of_the_whole_host_and_named_by_the_path(
    browser: Browser, party: RelyingParty, alice: User
) -> None:
    """``__Host-`` demands ``Path=/``; the names keep two servers at one host apart."""
    page = as_page(await party.authorize(browser))
    await browser.sign_in(page, alice.email, PASSWORD)
    assert browser.signed_in
    assert browser.cookies
    for name in browser.cookies:
        assert name.startswith("__Host-tenants~auth~"), name
    header = (await browser.client.get(f"{browser.issuer}/login")).headers.get_list("set-cookie")
    other = await party.http.get(f"{browser.issuer}/login", follow_redirects=False)
    for cookie in [*header, *other.headers.get_list("set-cookie")]:
        assert "; Path=/;" in cookie


async def test_mails_and_their_links(browser: Browser, party: RelyingParty, mailbox: Mailbox, below: Server) -> None:
    email = f"{party.client_id}@example.com"
    page = as_page(await party.authorize(browser, prompt="create"))
    page = as_page(await browser.submit(page, "register-submit", username=email, name="New", password=PASSWORD))
    letter = await mailbox.next(email)
    assert letter.link.startswith(f"{below.issuer}/login/")
    page = as_page(await browser.get(letter.link))
    answer = as_page(await browser.submit(page, "link-submit"))
    assert "consent-allow" in answer.ids


async def test_a_form_from_a_neighbouring_host_is_refused(browser: Browser, below: Server) -> None:
    """The Origin header of our own pages has no path."""
    page = as_page(await browser.get("/login"))
    action = urljoin(page.url, page.forms[0].action)
    for origin in (None, below.issuer, "http://localhost"):
        refused = as_page(await browser.post(action, page.forms[0].fields, origin=origin))
        assert "came from another site" in refused.text


def test_links_of_templates_are_changed_and_values_are_not() -> None:
    pages = Templates(Theme(), path="/auth")
    html = pages.render("home.html", user=None)
    assert {link.split("/")[1] for link in LINK.findall(html)} == {"auth"}
    hostile = ' href="/x" action="/y"'
    html = Templates(Theme(hostile), path="/auth").render("home.html", user=None)
    assert "/auth/x" not in html
    assert Templates(Theme()).render("home.html", user=None).count('href="/login"') == 1


@pytest.mark.parametrize(("location", "sent"), [("//evil.example/x", "/evil.example/x"), ("/login", "/login")])
def test_a_path_of_ours_never_begins_a_host(location: str, sent: str) -> None:
    assert see_other(location).headers["Location"] == sent


async def test_a_doubled_slash_leads_back_here(browser: Browser, alice: User) -> None:
    """The router takes `//account` for `/account`; the way back to it stays on this host."""
    page = as_page(await browser.get("//account"))
    assert as_page(await browser.sign_in(page, alice.email, PASSWORD)).path == f"{PATH}/account"
