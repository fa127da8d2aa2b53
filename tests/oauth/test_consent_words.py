"""What the consent page says: what an application can do, what it sees of this user, and for how long."""

import secrets

import pytest

from idp.accounts.tables import User
from idp.errors import OAuthError
from idp.infra.db.engine import execute
from idp.oauth.clients.registration import register_resource_server
from idp.oauth.clients.service import delete_resource_server
from idp.oauth.clients.service import update_resource_server as update
from idp.oauth.consent_grant import ConsentedScope
from idp.selfservice import apps
from tests.conftest import MakeClient
from tests.support.attributes import Declare, declare
from tests.support.browser import Page, as_page, open_browser
from tests.support.oauth import PASSWORD, RelyingParty, until_settled

__all__ = ["declare"]


async def _asked(party: RelyingParty, user: User, **changes: str | None) -> Page:
    """Sign in, up to the consent page."""
    async with open_browser(party.issuer) as browser:
        page = as_page(await party.authorize(browser, **changes))
        page = as_page(await browser.sign_in(page, user.email, "correct horse battery staple"))
    assert "consent-allow" in page.ids, page.text
    return page


async def test_values_of_the_profile(make_client: MakeClient, alice: User) -> None:
    await execute(
        "UPDATE users SET name = 'Alice <Example>', birthdate = '1990-12-31', phone_number = '+49 30 1' WHERE id = $1",
        alice.id,
    )
    party = await make_client(scope="openid profile email phone address")
    page = await _asked(party, alice, scope="openid profile email phone address")
    assert "Alice &lt;Example&gt;" in page.text
    assert "1990-12-31" in page.text
    assert "+49 30 1" in page.text
    assert page.text.count(alice.email) >= 2


async def test_what_the_profile_lacks_is_named_too(make_client: MakeClient, alice: User) -> None:
    """The client also sees a birthday that the user enters later."""
    await execute("UPDATE users SET name = 'Alice Example', birthdate = NULL WHERE id = $1", alice.id)
    party = await make_client(scope="openid profile")
    page = await _asked(party, alice, scope="openid profile")
    assert "Alice Example" in page.text
    assert "Your name, picture, birthday, language and so on." in page.text


@pytest.mark.parametrize("service", ["named", "unnamed"])
async def test_attributes_of_a_scope_of_a_resource_server(
    make_client: MakeClient, alice: User, declare: Declare, service: str
) -> None:
    """The words of the service do not hide what else is released, here and on the page of the account."""
    scope = f"{secrets.token_hex(6)}:read"
    api = f"https://{secrets.token_hex(6)}.example.com"
    label = f"Badge {secrets.token_hex(6)}"
    await declare(scope=scope, label={"default": label})
    await register_resource_server(api, "Orders", scope=scope, scope_descriptions={scope: "See your orders"})
    party = await make_client(scope=f"openid {scope}")
    await until_settled(party.issuer)
    named = {"resource": api} if service == "named" else {}
    async with open_browser(party.issuer) as browser:
        page = as_page(await party.authorize(browser, scope=f"openid {scope}", **named))
        page = as_page(await browser.sign_in(page, alice.email, PASSWORD))
        assert "See your orders" in page.text
        assert f"Also these details about you: {label}." in page.text
        await browser.submit(page, "consent-allow")
        assert label in as_page(await browser.get("/account/apps")).text
    await delete_resource_server(api)


async def test_attributes_of_a_standard_scope_on_the_page_of_the_account(alice: User, declare: Declare) -> None:
    label = f"Badge {secrets.token_hex(6)}"
    await declare(scope="profile", label={"default": label})
    assert label in apps._title(ConsentedScope("profile"))


async def test_a_claim_by_name(make_client: MakeClient, alice: User) -> None:
    party = await make_client(scope="openid email")
    page = await _asked(party, alice, scope="openid", claims='{"userinfo": {"email": null}}')
    assert f"Email address: {alice.email}" in page.text


async def test_scopes_of_a_resource_server(make_client: MakeClient, alice: User) -> None:
    name = secrets.token_hex(6)
    read, write = f"{name}:read", f"{name}:write"
    api = f"https://{name}.example.com"
    await register_resource_server(
        api, "Orders", scope=f"{read} {write}", scope_descriptions={read: "See <all> your orders"}
    )
    party = await make_client(scope=f"openid {read} {write}")
    page = await _asked(party, alice, scope=f"openid {read} {write}", resource=api)
    assert "See &lt;all&gt; your orders" in page.text
    assert f">{read}</span>" in page.text
    assert "Use Orders on your behalf" in page.text
    assert f">{write}</span>" in page.text
    # Without the resource the service is still certain, because one service defines the scope.
    unnamed = await _asked(party, alice, scope=f"openid {read}")
    assert "See &lt;all&gt; your orders" in unnamed.text
    assert "At this service" in unnamed.text
    await delete_resource_server(api)


async def test_two_services_may_not_speak_for_each_other(make_client: MakeClient, alice: User) -> None:
    """A harmless description elsewhere must not hide what the scope does, not even where it has no description."""
    scope = f"{secrets.token_hex(6)}:write"
    harmless, dangerous, silent = (f"https://{secrets.token_hex(6)}.example.com" for _ in range(3))
    await register_resource_server(harmless, "Weather", scope=scope, scope_descriptions={scope: "See the weather"})
    await register_resource_server(silent, "Storage", scope=scope)
    party = await make_client(scope=f"openid {scope}")
    unnamed = await _asked(party, alice, scope=f"openid {scope}")
    assert "See the weather" not in unnamed.text
    assert scope in unnamed.text
    named = await _asked(party, alice, scope=f"openid {scope}", resource=silent)
    assert "See the weather" not in named.text
    assert "Use Storage on your behalf" in named.text
    await register_resource_server(dangerous, "API", scope=scope, scope_descriptions={scope: "Delete everything"})
    # The server knows the client, and so all that was changed before.
    party = await make_client(scope=f"openid {scope}")
    named = await _asked(party, alice, scope=f"openid {scope}", resource=dangerous)
    assert "Delete everything" in named.text
    assert "See the weather" not in named.text
    for api in (harmless, dangerous, silent):
        await delete_resource_server(api)


@pytest.mark.parametrize(
    ("grants", "scope", "words"),
    [
        (["authorization_code", "refresh_token"], "openid offline_access", "Until you remove it"),
        (["authorization_code", "refresh_token"], "openid", "Until you sign out"),
        (["authorization_code"], "openid", "minutes after each sign-in"),
    ],
)
async def test_for_how_long(make_client: MakeClient, alice: User, grants: list[str], scope: str, words: str) -> None:
    party = await make_client(scope=scope, grant_types=grants)
    page = await _asked(party, alice, scope=scope)
    assert words in page.text


async def test_the_home_page_of_a_client(make_client: MakeClient, alice: User) -> None:
    party = await make_client(client_uri="https://shop.example.com/about")
    page = await _asked(party, alice)
    assert 'id="consent-site"' in page.text
    assert ">shop.example.com</a>" in page.text


async def test_another_account_is_not_asked_to_confirm_who_it_is(make_client: MakeClient, alice: User) -> None:
    party = await make_client()
    async with open_browser(party.issuer) as browser:
        page = as_page(await party.authorize(browser))
        page = as_page(await browser.sign_in(page, alice.email, "correct horse battery staple"))
        page = as_page(await browser.submit(page, "consent-switch"))
    assert "login-submit" in page.ids
    assert "Confirm it" not in page.text
    assert alice.email not in page.text


@pytest.mark.parametrize("descriptions", [{"other": "Something"}, {"read": ""}, {"read": "Two\nlines"}])
async def test_descriptions_that_are_refused(db: str, descriptions: dict[str, str]) -> None:
    with pytest.raises(OAuthError):
        await register_resource_server(
            f"https://{secrets.token_hex(6)}.example.com", "API", scope="read", scope_descriptions=descriptions
        )


async def test_a_description_goes_with_its_scope(db: str) -> None:
    api = f"https://{secrets.token_hex(6)}.example.com"
    await register_resource_server(api, "API", scope="read write", scope_descriptions={"read": "Read"})
    with pytest.raises(OAuthError):
        await update(api, scope="write")
    changed = await update(api, scope="write", scope_descriptions={"write": "Write"})
    assert changed.scope_descriptions == {"write": "Write"}
    await delete_resource_server(api)
