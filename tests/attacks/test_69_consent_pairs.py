"""Row 69: consent to one scope at each of two services is not consent to both scopes at both."""

import secrets

import pytest

from idp.accounts.tables import User
from idp.oauth.clients.registration import register_resource_server
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, Redirect, as_page
from tests.support.oauth import RelyingParty

pytestmark = pytest.mark.fault(13)

SCOPE = "openid email read write"


@pytest.fixture
async def services() -> tuple[str, str]:
    """The identifiers of a calendar and of notes."""
    mark = secrets.token_hex(4)
    calendar, notes = f"https://calendar-{mark}.example.com", f"https://notes-{mark}.example.com"
    await register_resource_server(calendar, f"Calendar {mark}", scope="read write")
    await register_resource_server(notes, f"Notes {mark}", scope="read write")
    return calendar, notes


async def is_asked(browser: Browser, client: RelyingParty, scope: str, resource: str | None) -> bool:
    """Return whether the user is asked for consent; then prompt=none must be refused."""
    answer = await client.authorize(browser, scope=scope, resource=resource)
    silent = await client.authorize(browser, scope=scope, resource=resource, prompt="none")
    assert isinstance(silent, Redirect)
    if isinstance(answer, Page) and "consent-allow" in answer.ids:
        assert silent.parameters["error"] == "consent_required"
        return True
    assert isinstance(answer, Redirect)
    assert "code" in answer.parameters
    assert "code" in silent.parameters
    return False


async def test_69_read_here_and_write_there_are_not_write_here(
    services: tuple[str, str], browser: Browser, make_client: MakeClient, alice: User
) -> None:
    calendar, notes = services
    client = await make_client(scope=SCOPE)
    await client.sign_in(browser, alice.email, scope="openid read", resource=calendar)
    await client.sign_in(browser, alice.email, scope="openid write", resource=notes)
    for scope, resource in (("openid read", calendar), ("openid write", notes), ("openid", None)):
        assert not await is_asked(browser, client, scope, resource)
    for scope, resource in (
        ("openid write", calendar),
        ("openid read", notes),
        ("openid read write", calendar),
        ("openid read", f"{calendar} {notes}"),
        ("openid read", None),
        ("openid email", calendar),
        ("openid email", None),
    ):
        assert await is_asked(browser, client, scope, resource), (scope, resource)


async def test_69_pairs_are_stored_as_requested(
    services: tuple[str, str], browser: Browser, make_client: MakeClient, alice: User
) -> None:
    calendar, notes = services
    client = await make_client(scope=SCOPE)
    await client.sign_in(browser, alice.email, scope="openid email read write", resource=f"{calendar} {notes}")
    for scope in ("openid read", "openid read write", "openid email write"):
        for resource in (calendar, notes, f"{notes} {calendar}"):
            assert not await is_asked(browser, client, scope, resource)
    # A standard scope that was allowed with a service is allowed without it; another scope is not.
    assert not await is_asked(browser, client, "openid email", None)
    assert await is_asked(browser, client, "openid read", None)


async def test_69_the_account_page_tells_each_service(
    services: tuple[str, str], browser: Browser, make_client: MakeClient, alice: User
) -> None:
    """Also for an application without consent, by its tokens."""
    calendar, notes = services
    for skip in (False, True):
        client = await make_client(scope=SCOPE, skip_consent=skip)
        for scope, resource in (("openid email read", calendar), ("openid write", notes)):
            await client.redeem(await client.sign_in(browser, alice.email, scope=scope, resource=resource))
        page = as_page(await browser.get("/account/apps"))
        text = " ".join(page.text.split())
        mark = calendar.removeprefix("https://calendar-").partition(".")[0]
        assert f"At Calendar {mark}: See your email address · read<" in text
        assert f"At Notes {mark}: write<" in text
        await browser.submit(as_page(await browser.get(f"/account/apps/{client.client_id}/revoke")), "ask-confirm")
        assert client.client_id not in as_page(await browser.get("/account/apps")).text
