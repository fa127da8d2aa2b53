"""Row 8: until client and redirect URI are validated, every error is a page of this server."""

import asyncio
from urllib.parse import urlencode

import httpx
import pytest

from idp.accounts.tables import User
from idp.oauth.clients.registration import disable_client
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, Redirect
from tests.support.hostile import EVIL, assert_refused_here
from tests.support.oauth import RelyingParty

HOSTILE = f"https://{EVIL}/callback"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

#: Faults of the client or the redirect URI. None leaves the parameter out.
UNVALIDATED: dict[str, dict[str, str | None]] = {
    "no client": {"client_id": None, "redirect_uri": HOSTILE},
    "empty client": {"client_id": "", "redirect_uri": HOSTILE},
    "unknown client": {"client_id": "nobody", "redirect_uri": HOSTILE},
    "URL as client": {"client_id": f"https://{EVIL}", "redirect_uri": HOSTILE},
    "overlong client": {"client_id": "x" * 5000, "redirect_uri": HOSTILE},
    "unknown client, registered URI": {"client_id": "nobody"},
    "no URI": {"redirect_uri": None},
    "empty URI": {"redirect_uri": ""},
    "unregistered URI": {"redirect_uri": HOSTILE},
}

#: Further faults, which a server might check first and answer with a redirect.
FAULTS: dict[str, dict[str, str | None]] = {
    "nothing": {},
    "response_type missing": {"response_type": None},
    "response_type unknown": {"response_type": "token"},
    "form_post": {"response_mode": "form_post"},
    "response_mode unknown": {"response_mode": "web_message"},
    "scope unknown": {"scope": "none-such"},
    "scope blank": {"scope": " "},
    "challenge missing": {"code_challenge": None},
    "plain": {"code_challenge_method": "plain"},
    "prompt none": {"prompt": "none"},
    "prompt unknown": {"prompt": "dance"},
    "prompt contradictory": {"prompt": "none login"},
    "max_age": {"max_age": "-1"},
    "claims": {"claims": "{"},
    "request object": {"request": "x.y.z"},
    "request_uri": {"request_uri": f"https://{EVIL}/request"},
    "resource unknown": {"resource": f"https://{EVIL}/api"},
    "id_token_hint": {"id_token_hint": "x.y.z", "prompt": "none"},
    "state too long": {"state": "x" * 5000},
    "idp_hint too long": {"idp_hint": "x" * 5000},
}


@pytest.mark.parametrize("unvalidated", UNVALIDATED.values(), ids=UNVALIDATED)
async def test_08_no_redirect_to_an_unvalidated_uri(unvalidated: dict[str, str | None], client: RelyingParty) -> None:
    for fault in FAULTS.values():
        parameters = client.parameters(**(fault | unvalidated))
        assert_refused_here(await client.http.get(f"{client.issuer}/authorize", params=parameters))
        assert_refused_here(await client.http.post(f"{client.issuer}/authorize", data=parameters))


@pytest.mark.parametrize("fault", [name for name in FAULTS if name not in ("nothing", "form_post")])
async def test_08_validated_ones_are_told(fault: str, client: RelyingParty, browser: Browser) -> None:
    """The control: with the right client and URI the same faults go to the client, and only there."""
    answer = await client.authorize(browser, **FAULTS[fault])
    assert isinstance(answer, Redirect), answer.text
    # What asks for a token is answered in the fragment.
    assert answer.location.startswith((f"{client.redirect_uri}?", f"{client.redirect_uri}#"))
    assert (answer.parameters or answer.fragment)["error"]
    assert "code" not in answer.parameters


@pytest.mark.parametrize(
    "suffix",
    [
        "&x=%00",
        "&%00=x",
        "&x=%ff",
        "&x=%c0%af",
        "&state=%ed%a0%80",
        "&x=1" * 200,
        f"&redirect_uri={HOSTILE}",
        "&state=2",
    ],
    ids=[
        "NUL",
        "NUL in a name",
        "not UTF-8",
        "overlong UTF-8",
        "surrogate",
        "too many",
        "repeated URI",
        "repeated state",
    ],
)
async def test_08_malformed_requests(suffix: str, client: RelyingParty) -> None:
    """A request that cannot be parsed unambiguously does not identify a client."""
    for parameters in (client.parameters(), client.parameters(redirect_uri=HOSTILE)):
        text = urlencode(parameters) + suffix
        assert_refused_here(await client.http.get(f"{client.issuer}/authorize?{text}"))
        assert_refused_here(await client.http.post(f"{client.issuer}/authorize", content=text, headers=FORM))


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data; boundary=x", "", "/", ";"])
async def test_08_bodies_of_another_kind(kind: str, client: RelyingParty) -> None:
    url, body = f"{client.issuer}/authorize", urlencode(client.parameters(redirect_uri=HOSTILE))
    assert_refused_here(await client.http.post(url, content=body, headers={"Content-Type": kind}))
    for method in ("PUT", "PATCH", "DELETE"):
        headers = {"Content-Type": kind, "Accept": "text/html"}
        assert_refused_here(await client.http.request(method, f"{url}?{body}", headers=headers))


async def until_disabled(client: RelyingParty) -> None:
    await disable_client(client.client_id)
    for _ in range(1500):
        response = await client.http.get(f"{client.issuer}/authorize", params=client.parameters())
        if response.status_code == 400:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("The server does not get to know that the client was disabled.")


async def test_08_a_disabled_client(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """Neither new nor pending requests redirect to it: not after the sign-in, the cancellation or the consent."""
    client = await make_client()
    at_consent = await client.authorize(browser, prompt="consent")
    assert isinstance(at_consent, Page)
    at_consent = await browser.sign_in(at_consent, alice.email, "correct horse battery staple")
    assert isinstance(at_consent, Page)
    waiting = []
    for _ in range(3):
        asked = client.parameters(prompt="login")
        began: httpx.Response = await browser.client.get(f"{browser.issuer}/authorize", params=asked)
        waiting.append(began.headers["location"])
    await until_disabled(client)

    for fault in FAULTS.values():
        assert_refused_here(await browser.client.get(f"{browser.issuer}/authorize", params=client.parameters(**fault)))
    login = await browser.get(waiting[0])
    for answer in (
        await browser.submit(await browser.get(waiting[1]), "login-cancel"),
        await browser.sign_in(login, alice.email, "correct horse battery staple"),
        await browser.submit(at_consent, "consent-allow"),
        await browser.submit(at_consent, "consent-deny"),
    ):
        assert isinstance(answer, Page)
        assert_refused_here(answer.response)
        assert answer.error == "invalid_client"
