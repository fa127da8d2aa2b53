"""The conditions of a sign-in for an organization needs: in the browser, on a device, in an app, and for tokens."""

import re
from typing import Any

import httpx
import pyotp
import pytest

from idp.accounts.tables import User
from idp.directory import organizations
from idp.directory.models import Organization
from idp.directory.sign_in_policy import TWO_FACTORS
from idp.directory.sign_in_policy_changes import set_policy
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.signin.transitions import ACR_VALUES, Step
from tests.conftest import MakeClient
from tests.oauth.test_organizations import is_recorded
from tests.support.browser import Browser, Page, Redirect, as_page
from tests.support.ciba import CIBA, asked, open_request, poll
from tests.support.devices import METADATA, Device, enter
from tests.support.directory import an_organization
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.person import equip
from tests.support.server import Server
from tests.support.tokens import claims_of

SCOPE = "openid organization"
AGED = "UPDATE session SET auth_time = auth_time - interval '2 hours' WHERE user_id = $1"
PAUSED = "UPDATE session SET last_seen_at = last_seen_at - interval '2 hours' WHERE user_id = $1"


@pytest.fixture
async def app(make_client: MakeClient) -> RelyingParty:
    return await make_client(scope=SCOPE, skip_consent=True)


@pytest.fixture
async def acme(alice: User) -> Organization:
    return await an_organization(alice)


def test_the_levels_are_those_of_a_sign_in() -> None:
    assert ACR_VALUES[1:] == TWO_FACTORS


async def begin(app: RelyingParty, browser: Browser, user: User, **changes: str | None) -> Page | Redirect:
    """Sign in with the password, up to what comes next."""
    answer = await app.authorize(browser, **changes)
    if isinstance(answer, Page) and "login-submit" in answer.ids:
        answer = await browser.sign_in(answer, user.email, PASSWORD)
    return answer


async def tokens_of(app: RelyingParty, answer: Page | Redirect) -> dict[str, Any]:
    assert isinstance(answer, Redirect), answer.text
    response = await app.redeem(answer.parameters["code"])
    assert response.status_code == 200, response.text
    tokens: dict[str, Any] = response.json()
    return tokens


def error_of(answer: Page | Redirect) -> str:
    assert isinstance(answer, Redirect), answer.text
    return answer.parameters["error"]


async def set_up_app(browser: Browser, page: Page) -> Page | Redirect:
    """Set up an authenticator app on the page of the sign-in, and keep the recovery codes."""
    secret = page.text.partition('id="totp-secret"')[2].partition(">")[2].partition("<")[0]
    shown = as_page(await browser.submit(page, "totp-confirm", code=pyotp.TOTP(secret).now()))
    onward = re.search(r'id="codes-kept"[^>]*href="([^"]+)"', shown.text)
    assert onward
    return await browser.get(onward[1])


async def test_a_member_without_a_second_factor_sets_one_up(
    app: RelyingParty, browser: Browser, alice: User, acme: Organization
) -> None:
    """In the sign-in itself, which names who asks for it. It cannot be skipped."""
    await set_policy(acme.id, second_factor=True)
    page = as_page(await begin(app, browser, alice))
    assert "totp-confirm" in page.ids
    assert "enrol-skip" not in page.ids
    assert acme.name in page.text
    tokens = await tokens_of(app, await set_up_app(browser, page))
    claims = claims_of(tokens["id_token"])
    assert (claims["acr"], claims["organization"]["slug"]) == ("2", acme.slug)


async def test_a_session_with_one_factor_is_stepped_up(
    app: RelyingParty, browser: Browser, alice: User, acme: Organization, server: Server
) -> None:
    """Only for the organization; without a page, the client is told."""
    person = await equip(alice, server.issuer, [Step.TOTP], two_step=False)
    assert isinstance(await begin(app, browser, alice, scope="openid"), Redirect)
    await set_policy(acme.id, second_factor=True)
    assert isinstance(await app.authorize(browser, scope="openid"), Redirect)
    assert error_of(await app.authorize(browser, prompt="none")) == "interaction_required"
    page = as_page(await app.authorize(browser))
    assert "login-submit" not in page.ids
    tokens = await tokens_of(app, await browser.submit(page, "totp-submit", code=await person.otp()))
    assert claims_of(tokens["id_token"])["acr"] == "2"
    assert isinstance(await app.authorize(browser, prompt="none"), Redirect)


async def test_the_stricter_one_counts(
    make_client: MakeClient, browser: Browser, alice: User, acme: Organization
) -> None:
    """Of the client and of the organization, for the level and for the age."""
    app = await make_client(scope=SCOPE, skip_consent=True, default_acr_values=["phr"])
    await set_policy(acme.id, second_factor=True, session_max_age=86_400)
    page = as_page(await begin(app, browser, alice))
    assert "passkey" in page.text
    assert "totp-confirm" not in page.ids
    other = await make_client(scope=SCOPE, skip_consent=True)
    await set_policy(acme.id, session_max_age=86_400)
    assert isinstance(await begin(other, browser, alice), Redirect)
    await execute(AGED, alice.id)
    assert isinstance(await other.authorize(browser), Redirect)
    assert "login-submit" in as_page(await other.authorize(browser, max_age="600")).ids
    await set_policy(acme.id, session_max_age=900)
    assert "login-submit" in as_page(await other.authorize(browser, max_age="86400")).ids


@pytest.mark.parametrize(("policy", "change"), [({"session_max_age": 3600}, AGED), ({"session_idle": 3600}, PAUSED)])
async def test_a_session_that_is_too_old_signs_in_again(
    policy: dict[str, int], change: str, app: RelyingParty, browser: Browser, alice: User, acme: Organization
) -> None:
    assert isinstance(await begin(app, browser, alice), Redirect)
    await set_policy(acme.id, **policy)
    assert isinstance(await app.authorize(browser, prompt="none"), Redirect)
    await execute(change, alice.id)
    # A page elsewhere does not end a pause.
    assert as_page(await browser.get("/account")).status == 200
    assert isinstance(await app.authorize(browser, scope="openid"), Redirect)
    assert error_of(await app.authorize(browser, prompt="none")) == "login_required"
    page = as_page(await app.authorize(browser))
    assert {"login-submit", "organization"} <= set(page.ids)
    assert alice.email in page.text
    await tokens_of(app, await browser.sign_in(page, alice.email, PASSWORD))
    assert isinstance(await app.authorize(browser, prompt="none"), Redirect)


async def test_a_second_factor_does_not_end_a_pause(
    app: RelyingParty, browser: Browser, alice: User, acme: Organization, server: Server
) -> None:
    person = await equip(alice, server.issuer, [Step.TOTP], two_step=False)
    assert isinstance(await begin(app, browser, alice), Redirect)
    await execute(PAUSED, alice.id)
    page = as_page(await app.authorize(browser, scope="openid", acr_values="2"))
    assert isinstance(await browser.submit(page, "totp-submit", code=await person.otp()), Redirect)
    await set_policy(acme.id, session_idle=3600)
    assert error_of(await app.authorize(browser, prompt="none")) == "login_required"


async def test_another_way_is_needed(
    app: RelyingParty, browser: Browser, alice: User, acme: Organization, mailbox: Mailbox
) -> None:
    """The sign-in offers only the ways of the organization, whatever a form says."""
    await set_policy(acme.id, ways=["email_code", "passkey"])
    page = as_page(await begin(app, browser, alice))
    assert "login-submit" not in page.ids
    assert "Use your password" not in page.text
    flow = page.path.split("/")[2]
    forced = as_page(await browser.post(f"/login/{flow}/password", page.forms[0].fields | {"password": PASSWORD}))
    assert "login-submit" not in forced.ids
    page = as_page(await browser.submit(page, "email-code-send", username=alice.email))
    answer = await browser.submit(page, "code-submit", code=(await mailbox.next(alice.email)).code)
    assert claims_of((await tokens_of(app, answer))["id_token"])["amr"] == ["otp"]
    await set_policy(acme.id, ways=["password"])
    assert error_of(await app.authorize(browser, prompt="none")) == "login_required"


async def test_a_passkey_alone_is_set_up(app: RelyingParty, browser: Browser, alice: User, acme: Organization) -> None:
    """A member without one signs in in another way, and then creates it."""
    await set_policy(acme.id, ways=["passkey"])
    page = as_page(await begin(app, browser, alice))
    assert page.path.startswith("/login/")
    assert "enrol-skip" not in page.ids
    assert "create" in page.text


async def test_no_way_is_left(app: RelyingParty, browser: Browser, alice: User, acme: Organization) -> None:
    """There is no provider: the page says so, and does not redirect for ever."""
    await set_policy(acme.id, ways=["upstream"])
    page = as_page(await begin(app, browser, alice))
    assert (page.status, "You cannot sign in" in page.text) == (400, True)


async def test_others_do_not_see_the_policy(app: RelyingParty, browser: Browser, alice: User) -> None:
    """Of an organization that a request names: the first page is that of a request without, or of an unknown one."""
    acme = await an_organization()
    await set_policy(acme.id, ways=["passkey"], second_factor=True)
    pages = [as_page(await app.authorize(browser, organization=name)) for name in (acme.slug, "nobody-has-this", None)]
    varying = re.compile(r"""/login/[^/"]+|value="[^"]+"|data-options=(?:'[^']+'|"[^"]+")""")
    assert len({varying.sub("", page.text) for page in pages}) == 1
    page = as_page(await begin(app, browser, alice, organization=acme.slug))
    assert "organization-none" in page.ids


async def test_the_choice_decides(app: RelyingParty, browser: Browser, alice: User, acme: Organization) -> None:
    other = await an_organization(alice)
    await set_policy(acme.id, second_factor=True)
    page = as_page(await begin(app, browser, alice))
    assert "totp-confirm" in as_page(await browser.submit(page, f"organization-{acme.slug}")).ids
    page = as_page(await app.authorize(browser))
    assert isinstance(await browser.submit(page, f"organization-{other.slug}"), Redirect)


async def test_a_device(make_client: MakeClient, browser: Browser, alice: User, acme: Organization) -> None:
    await set_policy(acme.id, second_factor=True)
    device = await Device.start(await make_client(**METADATA | {"scope": SCOPE}, skip_consent=True), scope=SCOPE)
    page = as_page(await browser.submit(await enter(browser, alice.email, device), "device-confirm"))
    assert "totp-confirm" in page.ids
    page = as_page(await set_up_app(browser, page))
    page = as_page(await browser.submit(page, "consent-allow")) if "consent-allow" in page.ids else page
    assert "device-approved" in page.ids
    assert claims_of((await device.tokens())["id_token"])["acr"] == "2"


@pytest.mark.parametrize("several", [False, True])
async def test_a_user_who_is_asked_elsewhere(
    several: bool, make_client: MakeClient, browser: Browser, alice: User, acme: Organization
) -> None:
    client = await make_client(**CIBA | {"scope": SCOPE})
    if several:
        await an_organization(alice)
    await set_policy(acme.id, second_factor=True)
    request = await asked(client, alice.email, scope=SCOPE)
    row = await fetchrow("SELECT id FROM backchannel_request WHERE user_id = $1", alice.id)
    assert row is not None
    page = await open_request(browser, f"/account/requests/{row['id']}", alice.email)
    chosen = {"organization": str(acme.id)} if several else {}
    if several:
        page = as_page(await browser.submit(page, "consent-allow", **chosen))
    assert "totp-confirm" in page.ids
    page = as_page(await set_up_app(browser, page))
    await browser.submit(page, "consent-allow", **chosen)
    assert claims_of((await poll(client, request)).json()["id_token"])["acr"] == "2"


async def test_an_app_with_its_own_screens(
    http: httpx.AsyncClient, make_client: MakeClient, alice: User, acme: Organization, server: Server, mailbox: Mailbox
) -> None:
    """It is told of the next steps: a factor, or a sign-in in another way."""
    app = await make_client(scope=SCOPE, authorization_challenge=True, skip_consent=True)
    person = await equip(alice, server.issuer, [Step.TOTP], two_step=False)
    first = {name: value for name, value in app.parameters().items() if name not in ("redirect_uri", "response_type")}

    async def challenge(**fields: str) -> dict[str, Any]:
        found: dict[str, Any] = (await app.post("/challenge", **fields)).json()
        return found

    await set_policy(acme.id, second_factor=True)
    found = await challenge(**first, username=alice.email, password=PASSWORD)
    assert (found["error"], found["steps"]) == ("insufficient_authorization", ["totp"])
    found = await challenge(auth_session=found["auth_session"], otp=await person.otp())
    response = await app.redeem(found["authorization_code"], redirect_uri=None)
    assert claims_of(response.json()["id_token"])["acr"] == "2"
    await set_policy(acme.id, ways=["email_code"])
    found = await challenge(**first, username=alice.email, password=PASSWORD)
    assert found["steps"] == ["email_code"]
    fields = {"auth_session": found["auth_session"], "step": "email_code"}
    await challenge(**fields, username=alice.email, action="send")
    found = await challenge(**fields, otp=(await mailbox.next(alice.email)).code)
    response = await app.redeem(found["authorization_code"], redirect_uri=None)
    assert claims_of(response.json()["id_token"])["amr"] == ["otp"]


@pytest.mark.parametrize(
    ("policy", "change", "reason"),
    [
        ({"second_factor": True}, None, "acr_too_low"),
        ({"ways": ["passkey", "upstream"]}, None, "way_not_allowed"),
        (
            {"session_max_age": 3600},
            "UPDATE token_family SET auth_time = auth_time - interval '2 hours' WHERE user_id = $1",
            "session_too_old",
        ),
        (
            {"session_max_age": 3600},
            "UPDATE token_family SET auth_age = NULL WHERE user_id = $1",
            "session_too_old",
        ),
        (
            {"session_idle": 3600},
            "UPDATE refresh_token SET issued_at = issued_at - interval '2 hours' WHERE user_id = $1",
            "session_idle",
        ),
    ],
)
async def test_a_stricter_policy_counts_from_the_next_refresh_on(
    policy: dict[str, Any],
    change: str | None,
    reason: str,
    app: RelyingParty,
    browser: Browser,
    alice: User,
    acme: Organization,
) -> None:
    """A refused token stays as it is: it is neither used nor reused, and works again with the policy of before."""
    tokens = await tokens_of(app, await begin(app, browser, alice))
    await set_policy(acme.id, **policy)
    if change is not None:
        tokens = (await app.refresh(tokens["refresh_token"])).json()
        await execute(change, alice.id)
    for _ in range(2):
        answer = await app.refresh(tokens["refresh_token"])
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert await is_recorded(alice, reason)
    # The access token lives on until it expires.
    assert (await app.userinfo(tokens["access_token"])).status_code == 200
    await set_policy(acme.id)
    assert (await app.refresh(tokens["refresh_token"])).status_code == 200
    (family,) = await fetch("SELECT revoked_at FROM token_family WHERE user_id = $1", alice.id)
    assert family["revoked_at"] is None


async def test_a_token_without_organization_has_no_policy(
    app: RelyingParty, browser: Browser, alice: User, acme: Organization
) -> None:
    tokens = await tokens_of(app, await begin(app, browser, alice, scope="openid"))
    await set_policy(acme.id, second_factor=True, ways=["passkey"], session_max_age=900, session_idle=300)
    await execute("UPDATE token_family SET auth_time = auth_time - interval '2 hours' WHERE user_id = $1", alice.id)
    assert (await app.refresh(tokens["refresh_token"])).status_code == 200


async def test_it_goes_with_the_organization(
    app: RelyingParty, browser: Browser, alice: User, acme: Organization
) -> None:
    await set_policy(acme.id, second_factor=True)
    await organizations.disable(acme.id)
    assert isinstance(await begin(app, browser, alice), Redirect)
