"""docs/troubleshooting.md shows what `idp trace` prints for each symptom."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute
from idp.keys import jose
from idp.oauth import sign_out
from idp.oauth.clients.authentication.assertions import ASSERTION_TYPE
from tests.cli.conftest import Cli
from tests.conftest import MASTER_KEY
from tests.support import assertions
from tests.support.browser import Browser, as_page, open_browser
from tests.support.oauth import RelyingParty, until_current
from tests.support.tokens import jti_of, signed
from tests.support.traces import recorded

PAGE = Path("docs/troubleshooting.md")
ID = "x-request-id"
Scenario = Callable[[Browser, RelyingParty, User], Awaitable[httpx.Response]]


async def redirect_uri(browser: Browser, client: RelyingParty, _alice: User) -> httpx.Response:
    uri = "https://app.example.com/Callback/"
    return as_page(await client.authorize(browser, redirect_uri=uri)).response


async def cookie(browser: Browser, client: RelyingParty, _alice: User) -> httpx.Response:
    page = as_page(await client.authorize(browser))
    async with open_browser(client.issuer) as other:
        return as_page(await other.get(page.path)).response


async def no_session(browser: Browser, client: RelyingParty, alice: User) -> httpx.Response:
    await client.tokens(browser, alice.email)
    await sign_out.sign_out_everywhere(alice.id, "signed_out_by_admin")
    return await browser.client.get(f"{client.issuer}/authorize", params=client.parameters(prompt="none"))


async def secret(_browser: Browser, client: RelyingParty, _alice: User) -> httpx.Response:
    form = {"grant_type": "client_credentials"}
    return await client.http.post(f"{client.issuer}/token", data=form, auth=(client.client_id, "a-wrong-secret"))


async def clock(_browser: Browser, client: RelyingParty, _alice: User) -> httpx.Response:
    key = jose.generate("ES256")
    bank = await assertions.register_bank(jwks={"keys": [key.public_jwk | {"kid": "bank-1"}]})
    await until_current(client)
    now = int(time.time()) + 240
    claims = assertions.claims(bank.client_id, aud=client.issuer, iat=now, exp=now + 60)
    assertion = signed(key, {"alg": "ES256", "kid": "bank-1"}, claims)
    form = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
    return await client.http.post(f"{client.issuer}/token", data=form)


async def pkce(browser: Browser, client: RelyingParty, alice: User) -> httpx.Response:
    code = await client.sign_in(browser, alice.email)
    return await client.redeem(code, code_verifier="the-verifier-of-another-tab-in-the-same-browser")


async def reuse(browser: Browser, client: RelyingParty, alice: User) -> httpx.Response:
    token = (await client.tokens(browser, alice.email))["refresh_token"]
    await client.refresh(token)
    statement = "UPDATE refresh_token SET rotated_at = rotated_at - interval '1 hour' WHERE jti = $1"
    await execute(statement, jti_of(token))
    return await client.refresh(token)


SCENARIOS: dict[str, Scenario] = {
    each.__name__: each for each in (redirect_uri, cookie, no_session, secret, clock, pkce, reuse)
}


def shown(name: str) -> str:
    """The last request of the flow on the page."""
    return PAGE.read_text().partition(f"<!-- {name} -->\n```text\n")[2].partition("```")[0]


def last_request(output: str) -> str:
    return output.rstrip().rpartition("\n\n")[2] + "\n"


def normal(text: str, issuer: str = "https://id.example.com") -> str:
    """A text without what differs in each run."""
    text = text.replace(issuer, "ISSUER")
    for pattern, word in (
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[0-9.]*(Z| UTC|\+00:00)?", "TIME"),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
        (r"\b[0-9a-f]{20}\b", "ID"),
        (r"\d+ ms", "MS"),
        (r"seconds +\d+", "seconds N"),
        (r"\s+", " "),
    ):
        text = re.sub(pattern, word, text)
    return text.strip()


@pytest.mark.parametrize("name", SCENARIOS)
async def test_the_page_shows_what_the_command_prints(
    name: str, browser: Browser, client: RelyingParty, alice: User, db: str, tmp_path: Path
) -> None:
    response = await SCENARIOS[name](browser, client, alice)
    request_id = response.headers[ID]
    await recorded(request_id)
    cli = Cli(tmp_path, {"IDP_DATABASE_URL": db, "IDP_MASTER_KEY": MASTER_KEY})
    printed = (await asyncio.to_thread(cli, "trace", request_id)).out
    assert max(map(len, printed.splitlines())) <= 80
    assert normal(shown(name)) == normal(last_request(printed), client.issuer), f"{name}:\n{printed}"


def test_the_page_has_no_other_output() -> None:
    assert set(re.findall(r"<!-- (\w+) -->\n```text", PAGE.read_text())) == SCENARIOS.keys()
