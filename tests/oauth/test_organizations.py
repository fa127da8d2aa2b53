"""The organization that a user signs in for: the request, the choice, and what tokens say as long as it lasts."""

import asyncio
import json
import secrets
from typing import Any

import httpx
import pytest

from idp.accounts.repository.users import increase_directory_version
from idp.accounts.tables import User
from idp.directory import organizations, roles
from idp.directory.models import Organization
from idp.infra.db.engine import execute, fetch, transaction
from idp.oauth.claims import registration
from idp.oauth.clients.registration import register_resource_server
from tests.conftest import MakeClient, MakeUser
from tests.support.access_policies import set_policy
from tests.support.browser import Browser, Page, Redirect, as_page
from tests.support.ciba import CIBA, asked, decide, open_request, page_path, poll
from tests.support.devices import METADATA, Device, approve, enter
from tests.support.directory import a_role_in, an_organization
from tests.support.exchange import a_service, allow, an_api, an_app, exchange, sign_in
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.tokens import claims_of

SCOPE = "openid organization"


@pytest.fixture
async def app(make_client: MakeClient) -> RelyingParty:
    """A client of our own, which asks for no consent."""
    return await make_client(scope=SCOPE, skip_consent=True)


def claim(organization: Organization, *names: str) -> dict[str, Any]:
    return {
        "id": str(organization.id), "slug": organization.slug, "name": organization.name, "roles": sorted(names),
    }  # fmt: skip


async def begin(app: RelyingParty, browser: Browser, user: User, **changes: str | None) -> Page | Redirect:
    """Sign in up to the next page, or to the response."""
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


async def everywhere(app: RelyingParty, tokens: dict[str, Any]) -> list[Any]:
    """The claim in the ID token, at userinfo and at introspection by the client."""
    userinfo = (await app.userinfo(tokens["access_token"])).json()
    return [claims_of(tokens["id_token"]).get("organization"), userinfo.get("organization")]


async def test_the_only_one_is_not_asked_for(
    browser: Browser, make_client: MakeClient, alice: User, make_user: MakeUser
) -> None:
    """Consent says what the application sees. The claim has the roles there, and those of others not."""
    client, organization = await make_client(scope=SCOPE), await an_organization(alice)
    role = await a_role_in(organization, alice)
    await a_role_in(await an_organization(await make_user()))
    page = as_page(await begin(client, browser, alice))
    assert "See your organisation" in page.text
    tokens = await tokens_of(client, await browser.submit(page, "consent-allow"))
    assert await everywhere(client, tokens) == [claim(organization, role.name)] * 2
    assert tokens["scope"] == SCOPE
    # No resource server asks for it.
    assert "organization" not in claims_of(tokens["access_token"])


async def test_one_of_several_is_chosen(app: RelyingParty, browser: Browser, alice: User) -> None:
    first, second = await an_organization(alice), await an_organization(alice, name="Zeta")
    page = as_page(await begin(app, browser, alice))
    assert f"organization-{first.slug}" in page.ids
    assert page.text.index(first.slug) < page.text.index(second.slug)
    chosen = await browser.submit(page, f"organization-{second.slug}")
    tokens = await tokens_of(app, chosen)
    assert await everywhere(app, tokens) == [claim(second)] * 2
    # The next request asks again: an application that knows which one names it.
    again = as_page(await app.authorize(browser))
    assert f"organization-{first.slug}" in again.ids
    assert isinstance(await app.authorize(browser, organization=first.slug), Redirect)


@pytest.mark.parametrize("how", ["parameter", "id", "scope", "pushed"])
async def test_a_request_names_it(how: str, app: RelyingParty, browser: Browser, alice: User) -> None:
    wanted = await an_organization(alice)
    await an_organization(alice)
    match how:
        case "parameter":
            changes = {"organization": wanted.slug}
        case "id":
            changes = {"organization": str(wanted.id)}
        case "scope":
            changes = {"scope": f"openid organization:{wanted.slug}"}
        case "pushed":
            uri = await app.push(organization=wanted.slug)
            query = {"client_id": app.client_id, "request_uri": uri}
            page = as_page(await browser.get("/authorize", **query))
            tokens = await tokens_of(app, await browser.sign_in(page, alice.email, PASSWORD))
            assert await everywhere(app, tokens) == [claim(wanted)] * 2
            return
    tokens = await tokens_of(app, await begin(app, browser, alice, **changes))
    assert await everywhere(app, tokens) == [claim(wanted)] * 2
    assert tokens["scope"] == SCOPE


@pytest.mark.parametrize(
    "changes",
    {
        "two": {"scope": "openid organization:a organization:b"},
        "other than in the scope": {"scope": "openid organization:a", "organization": "b"},
        "capitals": {"organization": "Acme"},
        "look-alike": {"organization": "\u0430cme"},
        "override": {"organization": "acme\u202e"},
        "empty": {"organization": ""},
        "empty in the scope": {"scope": "openid organization:"},
        "long": {"organization": "a" * 5000},
        "markup": {"organization": "<script>"},
    }.items(),
    ids=lambda item: item[0],
)
async def test_what_is_no_organization(
    changes: tuple[str, dict[str, str]], app: RelyingParty, browser: Browser
) -> None:
    answer = await app.authorize(browser, **changes[1])
    if changes[0] == "empty":
        # As every empty parameter, it counts as omitted (RFC 6749 section 3.1).
        assert isinstance(answer, Page)
        return
    assert isinstance(answer, Redirect)
    assert answer.parameters["error"] == "invalid_request"


async def test_nobody_else_gets_in(app: RelyingParty, browser: Browser, alice: User, make_user: MakeUser) -> None:
    """The page is the same for an organization that does not exist, and leads to another account or back."""
    other, bob = await an_organization(), await make_user()
    await organizations.add_members(other.id, [bob.id])
    await an_organization(alice)
    page = as_page(await begin(app, browser, alice, organization=other.slug))
    unknown = as_page(await app.authorize(browser, organization=f"no-{secrets.token_hex(8)}"))
    assert "organization-none" in page.ids
    assert page.ids == unknown.ids
    assert other.name not in page.text
    assert other.slug not in page.text
    refused = await browser.submit(unknown, "organization-cancel")
    assert isinstance(refused, Redirect)
    assert refused.parameters["error"] == "access_denied"
    # A form for another one does not help.
    (form,) = page.forms
    again = await browser.post(form.action, form.fields | {"organization": str(other.id)})
    assert "organization-none" in as_page(again).ids
    page = as_page(await browser.submit(as_page(again), "organization-switch"))
    tokens = await tokens_of(app, await browser.sign_in(page, bob.email, PASSWORD))
    assert await everywhere(app, tokens) == [claim(other)] * 2


async def test_without_a_page(app: RelyingParty, browser: Browser, alice: User) -> None:
    """``prompt=none``: the only one and a named one are enough."""

    async def error(**changes: str) -> str | None:
        answer = await app.authorize(browser, prompt="none", **changes)
        assert isinstance(answer, Redirect)
        return answer.parameters.get("error")

    first = await an_organization(alice)
    await begin(app, browser, alice)
    assert await error() is None
    second = await an_organization(alice)
    assert await error() == "interaction_required"
    assert await error(organization=second.slug) is None
    await lose_membership(second, alice)
    assert await error(organization=second.slug) == "access_denied"
    assert await error(organization="nobody-has-this-slug") == "access_denied"
    await organizations.disable(first.id)
    assert await error(organization=first.slug) == "access_denied"


async def test_only_those_of_the_access_policy(app: RelyingParty, browser: Browser, alice: User) -> None:
    """They are offered, and of two the only one is not asked for. Tokens for another one end with the policy."""
    allowed, other = await an_organization(alice), await an_organization(alice)
    before = await tokens_of(app, await begin(app, browser, alice, organization=other.slug))
    await set_policy(app, organizations=[allowed.id])
    tokens = await tokens_of(app, await begin(app, browser, alice))
    assert claims_of(tokens["id_token"])["organization"]["slug"] == allowed.slug
    refused = await app.authorize(browser, organization=other.slug, prompt="none")
    assert isinstance(refused, Redirect)
    assert refused.parameters["error"] == "access_denied"
    assert (await app.refresh(before["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await app.refresh(tokens["refresh_token"])).status_code == 200


async def test_someone_in_none(app: RelyingParty, browser: Browser, alice: User) -> None:
    """Signs in without one, unless the request names it."""
    tokens = await tokens_of(app, await begin(app, browser, alice))
    assert await everywhere(app, tokens) == [None, None]


async def test_a_client_without_the_scope(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """It gets no claim. A named organization still decides who gets in, and binds the grant."""
    client, organization = await make_client(scope="openid"), await an_organization(alice)
    tokens = await client.tokens(browser, alice.email, scope=SCOPE)
    assert (tokens["scope"], await everywhere(client, tokens)) == ("openid", [None, None])
    tokens = await client.tokens(browser, alice.email, organization=organization.slug)
    assert await everywhere(client, tokens) == [None, None]
    # Without a page, it does not find out who is a member of what.
    for slug in (organization.slug, "nobody-has-this-slug"):
        answer = await client.authorize(browser, prompt="none", organization=slug)
        assert isinstance(answer, Redirect)
        assert answer.parameters["error"] == "interaction_required"
    await lose_membership(organization, alice)
    assert (await client.refresh(tokens["refresh_token"])).status_code == 400


async def test_the_claims_parameter_asks_for_it(app: RelyingParty, browser: Browser, alice: User) -> None:
    organization = await an_organization(alice)
    wanted = json.dumps({"id_token": {"organization": None}})
    tokens = await tokens_of(app, await begin(app, browser, alice, scope="openid", claims=wanted))
    assert await everywhere(app, tokens) == [claim(organization), None]


async def test_a_mapping_makes_another_claim_of_it(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """The client needs no scope, and its users are asked all the same."""
    client = await make_client(scope="openid", skip_consent=True)
    source = {"kind": "organization", "member": "slug"}
    await registration.add(client.client_id, claim="tenant", source=source, places=["id_token"])
    first, second = await an_organization(alice), await an_organization(alice)
    await begin(client, browser, alice)
    # The server knows a new mapping as soon as it has reloaded its registry.
    async with asyncio.timeout(30):
        while isinstance(answer := await client.authorize(browser), Redirect):
            await asyncio.sleep(0.02)
    page = as_page(answer)
    assert f"organization-{first.slug}" in page.ids
    tokens = await tokens_of(client, await browser.submit(page, f"organization-{second.slug}"))
    assert claims_of(tokens["id_token"])["tenant"] == second.slug


async def test_it_lasts_as_long_as_the_membership(app: RelyingParty, browser: Browser, alice: User) -> None:
    """The claim changes with the roles; without the membership nothing is issued, and nothing is answered."""
    organization = await an_organization(alice)
    await an_organization(alice)
    tokens = await tokens_of(app, await begin(app, browser, alice, organization=organization.slug))
    role = await a_role_in(organization, alice)
    tokens = (await app.refresh(tokens["refresh_token"])).json()
    assert await everywhere(app, tokens) == [claim(organization, role.name)] * 2
    await roles.take(role.id, [alice.id])
    assert await everywhere(app, tokens) == [claim(organization, role.name), claim(organization)]
    await lose_membership(organization, alice)
    refused = await app.refresh(tokens["refresh_token"])
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert (await app.userinfo(tokens["access_token"])).status_code == 401
    assert not (await app.introspect(tokens["access_token"]))["active"]
    assert await is_recorded(alice)
    # A refused token is not used up: a member who is back goes on.
    await organizations.add_members(organization.id, [alice.id])
    tokens = (await app.refresh(tokens["refresh_token"])).json()
    assert await everywhere(app, tokens) == [claim(organization)] * 2
    await organizations.disable(organization.id)
    assert (await app.refresh(tokens["refresh_token"])).status_code == 400
    await organizations.enable(organization.id)
    tokens = (await app.refresh(tokens["refresh_token"])).json()
    await organizations.delete(organization.id)
    assert (await app.refresh(tokens["refresh_token"])).status_code == 400


async def lose_membership(organization: Organization, user: User) -> None:
    """End a membership without revoking what was issued: what issues and accepts tokens refuses by itself."""
    async with transaction():
        await increase_directory_version([user.id])
        await execute(
            "DELETE FROM organization_member WHERE user_id = $1 AND organization_id = $2", user.id, organization.id
        )


async def is_recorded(user: User, reason: str = "not_a_member") -> bool:
    """Wait until a refusal is written for this reason, which takes up to a second."""
    refused = "SELECT FROM audit_event WHERE user_id = $1 AND event = 'token_refused' AND detail ->> 'reason' = $2"
    async with asyncio.timeout(30):
        while not await fetch(refused, user.id, reason):
            await asyncio.sleep(0.02)
    return True


async def test_a_code_is_worth_nothing_after_the_membership(app: RelyingParty, browser: Browser, alice: User) -> None:
    organization = await an_organization(alice)
    answer = await begin(app, browser, alice)
    assert isinstance(answer, Redirect)
    await lose_membership(organization, alice)
    refused = await app.redeem(answer.parameters["code"])
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert await fetch("SELECT FROM token_family WHERE user_id = $1", alice.id) == []


@pytest.mark.parametrize("how", ["removed", "disabled", "deleted"])
async def test_it_ends_between_the_choice_and_the_response(
    how: str, make_client: MakeClient, browser: Browser, alice: User
) -> None:
    """The user is told, and chooses another one. Nothing is half done."""
    client, first, second = await make_client(scope=SCOPE), await an_organization(alice), await an_organization(alice)
    third = await an_organization(alice)
    page = as_page(await begin(client, browser, alice))
    consent = as_page(await browser.submit(page, f"organization-{first.slug}"))
    assert "consent-allow" in consent.ids
    match how:
        case "removed":
            await lose_membership(first, alice)
        case "disabled":
            await organizations.disable(first.id)
        case "deleted":
            await organizations.delete(first.id)
    page = as_page(await browser.submit(consent, "consent-allow"))
    assert "no longer available" in page.text
    assert f"organization-{first.slug}" not in page.ids
    assert f"organization-{third.slug}" in page.ids
    tokens = await tokens_of(client, await browser.submit(page, f"organization-{second.slug}"))
    assert await everywhere(client, tokens) == [claim(second)] * 2
    assert len(await fetch("SELECT FROM authorization_code WHERE user_id = $1", alice.id)) == 1


async def test_the_choice_of_another_user_does_not_count(
    make_client: MakeClient, browser: Browser, alice: User, make_user: MakeUser
) -> None:
    client, bob = await make_client(scope=SCOPE), await make_user()
    first, second = await an_organization(alice, bob), await an_organization(alice, bob)
    page = as_page(await begin(client, browser, alice))
    consent = as_page(await browser.submit(page, f"organization-{first.slug}"))
    (form,) = consent.forms
    page = as_page(await browser.post(form.action, form.fields | {"action": "switch"}))
    page = as_page(await browser.sign_in(page, bob.email, PASSWORD))
    assert {f"organization-{each.slug}" for each in (first, second)} <= page.ids


async def test_a_resource_server_that_asks(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """By having the scope among its own. It gets the claim in the token and at introspection."""
    backend = await make_client(grant_types=["client_credentials"], redirect_uris=[], scope="")
    api = f"https://{secrets.token_hex(6)}.example.com"
    await register_resource_server(api, "API", scope="organization", client_id=backend.client_id)
    app = await make_client(scope=SCOPE, skip_consent=True)
    organization = await an_organization(alice)
    tokens = await tokens_of(app, await begin(app, browser, alice, resource=api))
    assert claims_of(tokens["access_token"])["organization"] == claim(organization)
    role = await a_role_in(organization, alice)
    assert (await backend.introspect(tokens["access_token"]))["organization"] == claim(organization, role.name)


async def test_an_exchanged_token_stays_with_it(db: str, alice: User) -> None:
    organization = await an_organization(alice)
    service, app, api = (
        await a_service(f"{SCOPE} read"),
        await an_app(f"{SCOPE} read"),
        await an_api("read organization"),
    )
    await allow(service, api, scope="organization read", subject_clients=[app.client_id])
    signed_in = await sign_in(app, alice, (api,), organization_id=organization.id)
    issued = await exchange(service, signed_in.access_token, resource=api)
    assert claims_of(issued.access_token)["organization"] == claim(organization)


async def _device(make_client: MakeClient, scope: str) -> Device:
    return await Device.start(await make_client(**METADATA | {"scope": scope}), scope=scope)


async def test_a_device_signs_in_for_it(browser: Browser, make_client: MakeClient, alice: User) -> None:
    organization = await an_organization(alice)
    await an_organization(alice)
    device = await _device(make_client, f"{SCOPE} offline_access")
    page = await enter(browser, alice.email, device)
    page = as_page(await browser.submit(page, "device-confirm"))
    page = as_page(await browser.submit(page, f"organization-{organization.slug}"))
    assert "device-approved" in as_page(await browser.submit(page, "consent-allow")).ids
    tokens = await device.tokens()
    assert await everywhere(device.party, tokens) == [claim(organization)] * 2
    await lose_membership(organization, alice)
    assert (await device.party.refresh(tokens["refresh_token"])).status_code == 400


async def test_a_member_who_leaves_before_the_device_polls(
    browser: Browser, make_client: MakeClient, alice: User
) -> None:
    organization = await an_organization(alice)
    device = await _device(make_client, SCOPE)
    await approve(browser, alice.email, device)
    await lose_membership(organization, alice)
    refused = await device.poll()
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
    assert await is_recorded(alice)


async def test_what_was_approved_ends_with_the_membership(
    browser: Browser, make_client: MakeClient, alice: User, mailbox: Mailbox
) -> None:
    """Device codes and backchannel requests yield nothing, also after the user is added again."""
    organization = await an_organization(alice)
    device = await _device(make_client, SCOPE)
    await approve(browser, alice.email, device)
    client = await make_client(**CIBA | {"scope": SCOPE})
    request = await asked(client, alice.email, scope=SCOPE)
    await decide(browser, page_path(await mailbox.next(alice.email)), alice.email)
    assert await organizations.remove_members(organization.id, [alice.id]) == 1
    await organizations.add_members(organization.id, [alice.id])
    assert (await device.poll()).status_code == 400
    assert (await poll(client, request)).status_code == 400


async def test_a_user_who_is_asked_elsewhere_chooses_it(
    browser: Browser, make_client: MakeClient, alice: User, mailbox: Mailbox
) -> None:
    client = await make_client(**CIBA | {"scope": SCOPE})
    organization, other = await an_organization(alice), await an_organization(alice)
    request = await asked(client, alice.email, scope=SCOPE)
    path = page_path(await mailbox.next(alice.email))
    page = await open_request(browser, path, alice.email)
    assert other.slug in page.text
    refused = as_page(await browser.submit(page, "consent-allow", organization=""))
    assert refused.status == 400
    await browser.submit(page, "consent-allow", organization=str(organization.id))
    tokens = (await poll(client, request)).json()
    assert await everywhere(client, tokens) == [claim(organization)] * 2
    foreign = await an_organization()
    await asked(client, alice.email, scope=SCOPE, organization=foreign.slug)
    refused = await decide(browser, page_path(await mailbox.next(alice.email, 2)), alice.email)
    assert "You are not a member" in refused.text


async def test_an_app_with_its_own_screens_is_told(
    http: httpx.AsyncClient, make_client: MakeClient, alice: User
) -> None:
    app = await make_client(scope=SCOPE, authorization_challenge=True, skip_consent=True)
    first, second = await an_organization(alice), await an_organization(alice)

    async def challenge(**more: str) -> dict[str, Any]:
        fields = {
            name: value for name, value in app.parameters().items() if name not in ("redirect_uri", "response_type")
        }
        answer = await app.post("/challenge", **fields | {"username": alice.email, "password": PASSWORD} | more)
        found: dict[str, Any] = answer.json()
        return found

    found = await challenge()
    assert found["error"] == "redirect_to_web"
    assert {each["id"] for each in found["organizations"]} == {str(first.id), str(second.id)}
    code = (await challenge(organization=second.slug))["authorization_code"]
    response = await app.redeem(code, redirect_uri=None)
    assert await everywhere(app, response.json()) == [claim(second)] * 2
    assert (await challenge(organization="nobody-has-this-slug"))["error"] == "access_denied"
