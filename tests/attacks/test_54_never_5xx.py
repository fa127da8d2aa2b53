"""Row 54: whatever is sent, in whatever encoding, the answer is a refusal and never a 5xx."""

from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from idp.accounts.tables import User
from idp.db.engine import fetchrow
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.routes import routes
from tests.support.server import Server

NAMES = [
    *("client_id", "client_secret", "redirect_uri", "response_type", "response_mode", "scope", "state", "nonce"),
    *("prompt", "max_age", "claims", "id_token_hint", "login_hint", "acr_values", "code_challenge", "resource"),
    *("code_challenge_method", "request", "grant_type", "code", "code_verifier", "refresh_token", "token"),
    *("access_token", "token_type_hint", "username", "password", "action", "csrf_token", "post_logout_redirect_uri"),
]
VALUES = st.one_of(
    st.text(max_size=40).map(lambda text: quote(text.encode("utf-8", "surrogatepass"))),
    st.binary(max_size=30).map(quote),
    st.sampled_from(
        ["%00", "a%00b", "%ff%fe", "%ED%A0%80", "%", "%zz", "", "%F0%9F%92%A9", "1e999", "-1", "null", "[]", "{}"]
    ),
    st.sampled_from(["authorization_code", "refresh_token", "client_credentials", "code", "openid", "none", "query"]),
    st.integers(min_value=3000, max_value=20000).map(lambda length: "x" * length),
)
FORM = st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=8).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "authorization": st.one_of(
            st.sampled_from(["Basic", "Basic =", "Basic AAAA", "Bearer", "Bearer \xff", "Digest x", "Basic \xe9"]),
            st.binary(max_size=40).map(lambda data: "Basic x" + data.hex()),
        ).map(lambda text: text.encode("latin-1")),
        "cookie": st.sampled_from(
            [b"__Host-session=%00", b"__Host-session=\xff", b"=;;=", b"__Host-flow.x=" + b"y" * 5000]
        ),
        "content-type": st.sampled_from([b"application/json", b"text/plain", b"multipart/form-data", b"\xff"]),
        "origin": st.sampled_from([b"null", b"\xff", b"https://evil.example"]),
        "x-forwarded-for": st.sampled_from([b"not an address", b"::1, 300.1.1.1", b"\xff"]),
    },
)
PATHS = sorted({route.url() for route in routes()} | {"/login/%00", "/authorize/%ff", "/consent/%2e%2e", "/static/%00"})


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(path=st.sampled_from(PATHS), query=FORM, body=FORM, headers=HEADERS, get=st.booleans())
def test_54_anything_anywhere(
    server: Server, path: str, query: str, body: str, headers: dict[str, bytes], get: bool
) -> None:
    url = httpx.URL(f"{server.url}{path}").copy_with(query=query[:8000].encode() or None)
    with httpx.Client(timeout=30) as client:
        if get:
            response = client.get(url, headers=headers)
        else:
            response = client.post(
                url, content=body, headers={"content-type": b"application/x-www-form-urlencoded"} | headers
            )
    assert response.status_code < 500, (path, query, body, headers, response.text)


@pytest.mark.parametrize("hostile", ["a\0b", "\0", "\ud800", "é" * 400, "x" * 30000, "<svg>", "' OR 1=1 --"])
async def test_54_what_people_type(browser: Browser, client: RelyingParty, alice: User, hostile: str) -> None:
    """The sign-in form, at which every field is sent on to hashing, the database and the audit trail."""
    for field in ("username", "password"):
        page = await client.authorize(browser)
        assert isinstance(page, Page)
        form = page.forms[0].fields | {"username": alice.email, "password": PASSWORD, "action": "login"}
        body = "&".join(
            f"{name}={quote(value.encode('utf-8', 'surrogatepass'))}"
            for name, value in (form | {field: hostile}).items()
        )
        response = await browser.client.post(
            page.url,
            content=body,
            headers={"Origin": client.issuer, "Content-Type": "application/x-www-form-urlencoded"},
        )
        assert response.status_code == 400


async def test_54_a_user_agent_cannot_stop_the_audit(browser: Browser, client: RelyingParty, alice: User) -> None:
    """What is recorded of a request is made storable first."""
    browser.client.headers.encoding = "latin-1"
    browser.client.headers["User-Agent"] = "badé\xadagent" + "x" * 5000
    await client.sign_in(browser, alice.email)
    row = await fetchrow("SELECT user_agent FROM session WHERE user_id = $1", alice.id)
    assert row is not None
    assert row["user_agent"].startswith("bad")
    assert len(row["user_agent"]) <= 300
    event = await fetchrow("SELECT 1 FROM audit_event WHERE user_id = $1 AND event = 'sign_in'", alice.id)
    assert event is not None


async def test_54_a_body_that_is_too_large(server: Server, http: httpx.AsyncClient, make_client: MakeClient) -> None:
    response = await http.post(f"{server.issuer}/token", data={"code": "x" * 200_000})
    assert response.status_code in (400, 413)
