"""Row 4: over HTTP, an address that begins like, ends like or contains a registered one is another address."""

from typing import Any

import pytest

from idp.accounts.tables import User
from idp.errors import OAuthError
from idp.oauth.clients.registration import register_client
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, Redirect
from tests.support.hostile import EVIL, assert_refused_here, lookalikes
from tests.support.oauth import REDIRECT_URI, RelyingParty

GOODBYE = "https://portal.example.com/goodbye"


async def log_out(browser: Browser, **parameters: str) -> Page | Redirect:
    answer = await browser.get("/logout", **parameters)
    if isinstance(answer, Page) and "logout-confirm" in answer.ids:
        return await browser.submit(answer, "logout-confirm")
    return answer


async def test_04_the_registered_address_is_accepted(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """The control, with a hint, and without one after the person's yes. Only ``state`` is added to it."""
    client = await make_client(post_logout_redirect_uris=[GOODBYE])
    hint = (await client.tokens(browser, alice.email))["id_token"]
    answer = await log_out(browser, id_token_hint=hint, post_logout_redirect_uri=GOODBYE, state="a b&c=d")
    assert isinstance(answer, Redirect)
    assert answer.location == f"{GOODBYE}?state=a+b%26c%3Dd"

    await client.sign_in(browser, alice.email)
    answer = await log_out(browser, client_id=client.client_id, post_logout_redirect_uri=GOODBYE)
    assert isinstance(answer, Redirect)
    assert answer.location == GOODBYE


async def test_04_lookalikes_after_log_out(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """Refused with every combination of hint and client, by GET and POST; and the user is not signed out."""
    client = await make_client(post_logout_redirect_uris=[GOODBYE])
    hint = (await client.tokens(browser, alice.email))["id_token"]
    for uri in (*lookalikes(GOODBYE), REDIRECT_URI, browser.issuer):
        for proof in ({"id_token_hint": hint}, {"client_id": client.client_id}):
            parameters = proof | {"post_logout_redirect_uri": uri, "state": "x"}
            assert_refused_here(await browser.client.get(f"{browser.issuer}/logout", params=parameters))
            assert_refused_here(await browser.client.post(f"{browser.issuer}/logout", data=parameters))
    answer = await client.authorize(browser, prompt="none")
    assert isinstance(answer, Redirect)
    assert "code" in answer.parameters


async def test_04_lookalikes_in_the_answer_to_the_question(
    make_client: MakeClient, browser: Browser, alice: User
) -> None:
    """The submitted values are compared with the registration again."""
    client = await make_client(post_logout_redirect_uris=[GOODBYE])
    await client.sign_in(browser, alice.email)
    page = await browser.get("/logout", client_id=client.client_id, post_logout_redirect_uri=GOODBYE)
    assert isinstance(page, Page)
    for uri in lookalikes(GOODBYE):
        answer = await browser.submit(page, "logout-confirm", post_logout_redirect_uri=uri)
        assert isinstance(answer, Page), uri
        assert_refused_here(answer.response)
    answer = await browser.submit(page, "logout-confirm", client_id="", post_logout_redirect_uri=GOODBYE)
    assert isinstance(answer, Page)
    assert_refused_here(answer.response)


async def test_04_the_client_must_be_known(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """A URI alone, another client's, or one with the hint of another client is refused."""
    client = await make_client(post_logout_redirect_uris=[GOODBYE])
    other = await make_client(post_logout_redirect_uris=["https://other.example.com/bye"])
    hint = (await other.tokens(browser, alice.email))["id_token"]
    for proof in (
        {},
        {"client_id": other.client_id},
        {"client_id": "nobody"},
        {"id_token_hint": hint},
        {"id_token_hint": hint, "client_id": client.client_id},
    ):
        parameters = proof | {"post_logout_redirect_uri": GOODBYE}
        assert_refused_here(await browser.client.get(f"{browser.issuer}/logout", params=parameters))
    # A hint that cannot be verified proves nothing: the server asks the user, who stays signed in.
    for bad in (hint[:-4], "x.y.z"):
        asked = {"id_token_hint": bad, "client_id": client.client_id, "post_logout_redirect_uri": GOODBYE}
        page = await browser.get("/logout", **asked)
        assert isinstance(page, Page)
        assert "logout-confirm" in page.ids
        assert browser.signed_in


async def test_04_lookalikes_of_our_own_origin(client: RelyingParty, browser: Browser, alice: User) -> None:
    """A form is ours when its origin is, not when it looks like it."""
    page = await client.authorize(browser)
    assert isinstance(page, Page)
    form, own = page.forms[0], browser.issuer
    host = own.removeprefix("http://")
    port = host.rpartition(":")[2]
    for origin in (
        f"{own}.{EVIL}", f"{own}@{EVIL}", f"{own}/", f"{own}0", f"{own}#", f"http://{EVIL}/{host}", f"http://x{host}",
        f"https://{host}", f"http://127.0.0.1:{port}", "http://localhost", own.upper(), f"{own} {own}", "null", "",
        None,
    ):  # fmt: skip
        data = form.fields | {"username": alice.email, "password": "wrong", "action": "login"}
        answer = await browser.post(form.action, data, origin=origin)
        assert isinstance(answer, Page)
        assert_refused_here(answer.response)
        assert "came from another site" in answer.text, origin
    answer = await browser.sign_in(page, alice.email, "wrong")
    assert isinstance(answer, Page)
    assert "do not match" in answer.text


async def test_04_lookalikes_of_a_clients_origin(make_client: MakeClient) -> None:
    """The pages of a client may call us; those of a host that looks like its own may not."""
    own = "https://spa.example.com"
    client = await make_client(redirect_uris=[f"{own}/callback"])

    async def allowed(origin: str) -> str | None:
        response = await client.post("/token", headers={"Origin": origin}, grant_type="none-such")
        return response.headers.get("access-control-allow-origin")

    assert await allowed(own) == own
    for origin in (
        f"{own}.{EVIL}", f"{own}:443", f"{own}:8443", f"{own}/", f"{own}@{EVIL}", "http://spa.example.com", "null",
        "https://xspa.example.com", "https://x.spa.example.com", "https://example.com", "https://SPA.example.com",
    ):  # fmt: skip
        assert await allowed(origin) is None, origin


@pytest.mark.parametrize("name", ["client_uri", "logo_uri", "policy_uri", "tos_uri"])
async def test_04_links_name_one_host_plainly(name: str, db: str) -> None:
    """A link that is shown on our pages must not read as one host and lead to another."""
    metadata: dict[str, Any] = {"client_name": "Portal", "redirect_uris": [REDIRECT_URI]}
    host = "https://portal.example.com"
    for uri in (
        f"{host}@{EVIL}/", f"{host}:x@{EVIL}/", f"https://{EVIL}\\@portal.example.com/", f"{host}\\.{EVIL}/",
        f"{host}%2f.{EVIL}/", f"//{EVIL}", f"/\\{EVIL}", f"https:{EVIL}", f"https:///{EVIL}", "https://",
        "https://p\u043ertal.example.com/", "https://portal\u3002example.com/", "http://portal.example.com/",
        f"{host}/\u202e", f"{host}/ x", f"{host}:99999/", "javascript:alert(1)", "", "portal.example.com",
    ):  # fmt: skip
        with pytest.raises(OAuthError, match="invalid_client_metadata"):
            await register_client(**metadata, **{name: uri})
