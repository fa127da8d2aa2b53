"""Row 3: the browser is redirected only to a registered redirect URI, compared byte for byte."""

import asyncio
from typing import Any

import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import fetch
from idp.oauth.clients.service import update_client
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, Redirect
from tests.support.hostile import assert_refused_here, lookalikes
from tests.support.oauth import PASSWORD, REDIRECT_URI, RelyingParty

WITH_QUERY = "https://app.example.com/callback?tenant=1"


async def assert_refused(client: RelyingParty, uri: str | None, **changes: str | None) -> None:
    """Check that neither the response nor the error is sent there, by GET or by POST, with or without a session."""
    parameters = client.parameters(redirect_uri=uri, **changes)
    assert_refused_here(await client.http.get(f"{client.issuer}/authorize", params=parameters))
    assert_refused_here(await client.http.post(f"{client.issuer}/authorize", data=parameters))


async def test_03_an_exact_match_is_accepted(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """The control: it is the address, not the request, that the others are refused for."""
    client = await make_client(redirect_uris=[REDIRECT_URI, WITH_QUERY])
    for uri in (REDIRECT_URI, WITH_QUERY):
        client.redirect_uri = uri
        await client.sign_in(browser, alice.email)


@pytest.mark.parametrize("registered", [REDIRECT_URI, WITH_QUERY])
async def test_03_lookalikes(registered: str, make_client: MakeClient) -> None:
    client = await make_client(redirect_uris=[registered])
    for uri in lookalikes(registered):
        await assert_refused(client, uri)
        await assert_refused(client, uri, response_mode="form_post", prompt="none")


async def test_03_a_query_added_changed_or_removed(make_client: MakeClient) -> None:
    client = await make_client(redirect_uris=[WITH_QUERY])
    for uri in (REDIRECT_URI, f"{WITH_QUERY}1", f"{WITH_QUERY}&x=1", f"{REDIRECT_URI}?x=1&tenant=1",
                f"{REDIRECT_URI}?tenant=2", f"{REDIRECT_URI}?TENANT=1", f"{REDIRECT_URI}?tenant=%31"):  # fmt: skip
        await assert_refused(client, uri)


async def test_03_nothing_is_learned_on_first_use(make_client: MakeClient) -> None:
    """A client without redirect URIs, like one with several, accepts neither an unregistered URI nor a missing one."""
    machine = await make_client(redirect_uris=[], grant_types=["client_credentials"])
    for _ in range(2):
        await assert_refused(machine, REDIRECT_URI)
    for uris in ([REDIRECT_URI], [REDIRECT_URI, WITH_QUERY]):
        client = await make_client(redirect_uris=uris)
        await assert_refused(client, None)
        await assert_refused(client, "")


async def test_03_another_clients_address(make_client: MakeClient) -> None:
    await make_client(redirect_uris=["https://other.example.com/callback"])
    await assert_refused(await make_client(), "https://other.example.com/callback")


LOOPBACK = ["http://127.0.0.1/callback", "http://[::1]:5000/callback?x=1", "http://localhost:1/local"]


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1/callback",
        "http://127.0.0.1:1/callback",
        "http://127.0.0.1:65535/callback",
        "http://[::1]/callback?x=1",
        "http://[::1]:49152/callback?x=1",
        pytest.param("http://localhost/local", marks=pytest.mark.fault(29)),
        pytest.param("http://localhost:49152/local", marks=pytest.mark.fault(36)),
    ],
)
async def test_03_any_port_on_loopback_for_a_native_client(
    uri: str, make_client: MakeClient, browser: Browser, alice: User
) -> None:
    """RFC 8252 section 7.3; and the code is redeemed only with that very port."""
    client = await make_client(application_type="native", token_endpoint_auth_method="none", redirect_uris=LOOPBACK)
    client.redirect_uri = uri
    code = await client.sign_in(browser, alice.email)
    for other in LOOPBACK:
        if other != uri:
            response = await client.redeem(code, redirect_uri=other)
            assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    assert (await client.redeem(code)).status_code == 200


NEAR_LOOPBACK = [
    f"http://{host}/callback"
    for host in (
        "localhost", "localhost:5000", "127.0.0.2", "127.1", "127.0.1", "0x7f.0.0.1", "2130706433", "0177.0.0.1",
        "127.0.0.1.", "127.0.0.1.evil.example", "127.0.0.1:80.evil.example", "127.0.0.1:80@evil.example",
        "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:00080", "127.0.0.1:65536", "127.0.0.1:99999", "127.0.0.1:-1",
        "127.0.0.1:8o", "127.0.0.1:\u0661", "127.0.0.1:80:80", "127.0.0.1 :80", "user@127.0.0.1", "0.0.0.0", "[::]",
        "[::1]", "[::ffff:127.0.0.1]", "[0:0:0:0:0:0:0:1]", "[::1%25lo]", "[::1]:5000", "\u2460\u2461\u2466.0.0.1",
    )
] + [
    "https://127.0.0.1/callback",
    "http://127.0.0.1:80/callback/",
    "http://127.0.0.1:80/",
    "http://127.0.0.1:80",
    "http://127.0.0.1:80/callback?x=1",
    "http://127.0.0.1:80/callback#x",
    "http://127.0.0.1:80/../callback",
    "http://127.0.0.1:80\\@evil.example/callback",
    "HTTP://127.0.0.1:80/callback",
    "http://[::1]:80/callback",
    "http://[::1]:80/callback?x=2",
    "http://127.0.0.1:80/local",
    "http://localhost.:80/local",
    "http://LOCALHOST:80/local",
    "http://app.localhost:80/local",
    "http://localhost:0/local",
    "http://localhost:80/local/",
    "https://localhost:80/local",
]  # fmt: skip


async def test_03_only_the_port_is_free_on_loopback(make_client: MakeClient) -> None:
    client = await make_client(application_type="native", token_endpoint_auth_method="none", redirect_uris=LOOPBACK)
    for uri in NEAR_LOOPBACK:
        await assert_refused(client, uri)


@pytest.mark.parametrize("metadata", [{}, {"application_type": "native"}], ids=["web", "native"])
async def test_03_no_free_port_anywhere_else(metadata: dict[str, Any], make_client: MakeClient) -> None:
    """Not on loopback for a web client, not beyond loopback, not at one host for another."""
    registered = [REDIRECT_URI, "https://localhost/callback"]
    if not metadata:
        registered += ["http://127.0.0.1/callback", "http://localhost/callback"]
    client = await make_client(redirect_uris=registered, **metadata)
    for uri in (
        "http://localhost:5000/callback",
        "https://localhost:5000/callback",
        "https://app.example.com:8443/callback",
        "http://127.0.0.1:5000/callback",
    ):
        await assert_refused(client, uri)


async def test_03_the_code_knows_its_redirect_uri(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """At the token endpoint it must be the one of the request, not merely a registered one."""
    client = await make_client(redirect_uris=[REDIRECT_URI, WITH_QUERY])
    code = await client.sign_in(browser, alice.email)
    for uri in (WITH_QUERY, *lookalikes(REDIRECT_URI)):
        response = await client.redeem(code, redirect_uri=uri)
        assert response.status_code == 400, uri
        assert response.json()["error"] in ("invalid_grant", "invalid_request")
    assert (await client.redeem(code)).status_code == 200


async def test_03_a_registered_query_survives(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """Our parameters come behind it and are read as ours."""
    client = await make_client(redirect_uris=[WITH_QUERY])
    await client.sign_in(browser, alice.email)
    answer = await client.authorize(browser)
    assert isinstance(answer, Redirect)
    assert answer.location.startswith(f"{WITH_QUERY}&code=")
    assert answer.parameters["tenant"] == "1"


async def test_03_a_redirect_uri_removed_during_a_sign_in(
    make_client: MakeClient, browser: Browser, alice: User
) -> None:
    """The request was valid when it came. The user who waits at the sign-in page is not redirected anyway."""
    client = await make_client(skip_consent=True)
    page = await client.authorize(browser)
    assert isinstance(page, Page)
    await update_client(client.client_id, redirect_uris=("https://elsewhere.example.com/callback",))
    async with asyncio.timeout(30):
        while (await client.http.get(f"{client.issuer}/authorize", params=client.parameters())).status_code == 303:
            await asyncio.sleep(0.02)
    answer = await browser.sign_in(page, alice.email, PASSWORD)
    assert isinstance(answer, Page)
    assert answer.error == "invalid_client"
    assert not await fetch("SELECT FROM authorization_code WHERE client_id = $1", client.client_id)
