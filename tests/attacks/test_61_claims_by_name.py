"""Row 61: the ``claims`` parameter returns nothing beyond the client's scopes and the user's consent."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from idp.accounts.claims import DIRECTORY_CLAIMS, TEXT_CLAIMS, VERIFICATION_CLAIMS
from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetchrow
from idp.oauth.scopes import CLAIMS, SCOPE_OF_CLAIM
from tests.conftest import MakeClient, MakeUser
from tests.support.browser import Browser, Page, Redirect, as_page
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.tokens import claims_of

pytestmark = pytest.mark.fault(3)

PERSONAL = {
    "name": "Alice Example",
    "birthdate": "1990-12-31",
    "phone_number": "+4912345678",
    "address": {"formatted": "Somewhere 1"},
}
PROTOCOL = {"iss", "sub", "aud", "iat", "exp", "auth_time", "acr", "amr", "at_hash", "jti", "sid", "nonce"}


@pytest.fixture
async def alice(make_user: MakeUser) -> User:
    return await make_user(**PERSONAL)


def by_name(*names: str, at: Sequence[str] = ("userinfo", "id_token")) -> str:
    return json.dumps({place: {name: {"essential": True} for name in names} for place in at})


EVERY = by_name(*SCOPE_OF_CLAIM, "password_hash", "id", "disabled_at")


async def everything(client: RelyingParty, tokens: dict[str, Any]) -> set[str]:
    """Every claim about the user that tokens and userinfo can return."""
    userinfo = (await client.userinfo(tokens["access_token"])).json()
    found = {*userinfo, *claims_of(tokens["id_token"]), *await client.introspect(tokens["access_token"])}
    return found & set(SCOPE_OF_CLAIM)


async def consent_page(browser: Browser, client: RelyingParty, user: User, **changes: str | None) -> Page:
    answer = as_page(await client.authorize(browser, **changes))
    if "login-submit" in answer.ids:
        answer = as_page(await browser.sign_in(answer, user.email, PASSWORD))
    assert "consent-allow" in answer.ids
    return answer


def test_61_every_claim_belongs_to_a_scope() -> None:
    """A claim without a scope would be returned to every client that knows its name."""
    profile = {*TEXT_CLAIMS, *VERIFICATION_CLAIMS, "address", "updated_at"}
    assert profile | DIRECTORY_CLAIMS.keys() == SCOPE_OF_CLAIM.keys() <= set(CLAIMS)


async def test_61_outside_the_scopes_of_the_client(browser: Browser, make_client: MakeClient, alice: User) -> None:
    client = await make_client(scope="openid")
    page = await consent_page(browser, client, alice, claims=EVERY)
    assert "The application learns nothing else about you." in page.text
    answer = await browser.submit(page, "consent-allow")
    assert isinstance(answer, Redirect)
    tokens = (await client.redeem(answer.parameters["code"])).json()
    assert await everything(client, tokens) == set()
    assert claims_of(tokens["id_token"]).keys() <= PROTOCOL
    refreshed = (await client.refresh(tokens["refresh_token"])).json()
    assert await everything(client, refreshed) == set()
    code = await client.sign_in(browser, alice.email, claims=EVERY, prompt="none")
    assert await everything(client, (await client.redeem(code)).json()) == set()


async def test_61_inside_the_scopes_it_is_asked_for_by_name(
    browser: Browser, make_client: MakeClient, alice: User
) -> None:
    """The consent was for the scopes only: prompt=none is refused, and the page shows the claim."""
    client = await make_client(scope="openid profile phone")
    code = await client.sign_in(browser, alice.email, scope="openid")
    assert await everything(client, (await client.redeem(code)).json()) == set()
    wanted = by_name("birthdate", "phone_number", "email")
    silent = await client.authorize(browser, scope="openid", claims=wanted, prompt="none")
    assert isinstance(silent, Redirect)
    assert silent.parameters["error"] == "consent_required"
    page = await consent_page(browser, client, alice, scope="openid", claims=wanted)
    for shown in ("See these details about you", "Birthday", "Phone number"):
        assert shown in page.text
    assert "Email address" not in page.text
    answer = await browser.submit(page, "consent-allow")
    assert isinstance(answer, Redirect)
    tokens = (await client.redeem(answer.parameters["code"])).json()
    assert await everything(client, tokens) == {"birthdate", "phone_number"}
    assert await everything(client, (await client.refresh(tokens["refresh_token"])).json()) == {
        "birthdate",
        "phone_number",
    }


async def test_61_it_is_remembered_by_name(browser: Browser, make_client: MakeClient, alice: User) -> None:
    client = await make_client(scope="openid profile email")
    await client.sign_in(browser, alice.email, scope="openid", claims=by_name("birthdate"))
    for place in (("userinfo",), ("id_token",)):
        answer = await client.authorize(browser, scope="openid", claims=by_name("birthdate", at=place), prompt="none")
        assert isinstance(answer, Redirect)
        assert "code" in answer.parameters
    for more in (by_name("birthdate", "gender"), by_name("email"), by_name("name", at=["id_token"])):
        await consent_page(browser, client, alice, scope="openid", claims=more)
    # Consent to a scope covers its claims; consent to a claim does not cover its scope.
    await consent_page(browser, client, alice, scope="openid profile")
    await client.sign_in(browser, alice.email, scope="openid profile")
    for claims in (by_name("birthdate"), by_name("gender", "name")):
        answer = await client.authorize(browser, scope="openid", claims=claims, prompt="none")
        assert isinstance(answer, Redirect)
        assert "code" in answer.parameters


async def test_61_withdrawing_takes_the_claims_back(browser: Browser, make_client: MakeClient, alice: User) -> None:
    client = await make_client(client_name="Orchard", scope="openid profile")
    tokens = await client.tokens(browser, alice.email, scope="openid", claims=by_name("birthdate"))
    page = as_page(await browser.get("/account/apps"))
    assert "Birthday" in page.text
    await browser.submit(as_page(await browser.get(f"/account/apps/{client.client_id}/revoke")), "ask-confirm")
    assert (await client.userinfo(tokens["access_token"])).status_code == 401
    await consent_page(browser, client, alice, scope="openid", claims=by_name("birthdate"))


async def test_61_without_openid_there_are_no_claims(browser: Browser, make_client: MakeClient, alice: User) -> None:
    client = await make_client(scope="openid profile read")
    page = await consent_page(browser, client, alice, scope="read", claims=EVERY)
    assert "See these details" not in page.text
    answer = await browser.submit(page, "consent-allow")
    assert isinstance(answer, Redirect)
    await client.redeem(answer.parameters["code"])
    family = await fetchrow("SELECT claims FROM token_family WHERE client_id = $1", client.client_id)
    assert family is not None
    assert family["claims"] is None


async def test_61_a_first_party_client_has_its_own_scopes_only(
    browser: Browser, make_client: MakeClient, alice: User
) -> None:
    client = await make_client(scope="openid profile", skip_consent=True)
    tokens = await client.tokens(browser, alice.email, scope="openid", claims=EVERY)
    assert await everything(client, tokens) == {"name", "birthdate", "updated_at"}


async def test_61_stored_claims_are_limited_to_the_scopes(
    browser: Browser, make_client: MakeClient, alice: User
) -> None:
    """Tokens with claims beyond the scopes, or of a client whose scopes were removed."""
    client = await make_client(scope="openid email")
    tokens = await client.tokens(browser, alice.email, scope="openid")
    await execute("UPDATE token_family SET claims = $2 WHERE client_id = $1", client.client_id, EVERY)
    assert await everything(client, tokens) == {"email", "email_verified"}
    refreshed = (await client.refresh(tokens["refresh_token"])).json()
    assert await everything(client, refreshed) == {"email", "email_verified"}


async def test_61_a_request_that_waits_goes_by_the_scopes_of_now(
    browser: Browser, make_client: MakeClient, alice: User
) -> None:
    """The client lost a scope while the person was at the sign-in page."""
    client = await make_client(scope="openid email")
    page = as_page(await client.authorize(browser, scope="openid"))
    wider = {"scope": ["openid", "email", "profile"], "claims": json.loads(by_name("birthdate", "email"))}
    statement = "UPDATE authorization_request SET request = request || $2::jsonb WHERE client_id = $1"
    await execute(statement, client.client_id, json.dumps(wider))
    page = as_page(await browser.sign_in(page, alice.email, PASSWORD))
    assert "See your email address" in page.text
    assert "See your profile" not in page.text
    assert "Birthday" not in page.text
    answer = await browser.submit(page, "consent-allow")
    assert isinstance(answer, Redirect)
    tokens = (await client.redeem(answer.parameters["code"])).json()
    assert tokens["scope"] == "openid email"
    assert await everything(client, tokens) == {"email", "email_verified"}
