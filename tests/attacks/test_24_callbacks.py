"""Row 24: a provider's response is accepted once, in the browser and the sign-in flow that requested it."""

import asyncio

import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetch, fetchrow
from tests.federation.conftest import Add, add, leave, provider
from tests.support.browser import Browser, as_page, open_browser
from tests.support.oauth import PASSWORD
from tests.support.stand_ins import OpenIDProvider

__all__ = ["add", "provider"]


async def _sessions(provider: OpenIDProvider) -> int:
    rows = await fetch(
        "SELECT 1 FROM session AS s JOIN identity AS i USING (user_id) WHERE i.subject = $1", provider.person.sub
    )
    return len(rows)


async def test_24_replayed(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    upstream = await add(issuer=provider.issuer, trust_email=True)
    location = await leave(browser, as_page(await browser.get("/login")), upstream)
    cookies = dict(browser.cookies)
    await browser.get(location)
    assert browser.signed_in
    redeemed = [path for path, _ in provider.requests].count("/token")
    async with open_browser(browser.issuer) as replay:
        replay.cookies.update(cookies)
        assert as_page(await replay.get(location)).status == 400
        assert not replay.signed_in
    assert [path for path, _ in provider.requests].count("/token") == redeemed


async def test_24_twenty_times_at_once(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    upstream = await add(issuer=provider.issuer, trust_email=True)
    location = await leave(browser, as_page(await browser.get("/login")), upstream)
    await asyncio.gather(*(browser.client.get(location) for _ in range(20)))
    assert await _sessions(provider) == 1
    assert [path for path, _ in provider.requests].count("/token") == 1


async def test_24_in_another_browser(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    """An attacker who lures a user to the callback of their own sign-in gains nothing, and disturbs nothing."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    location = await leave(browser, as_page(await browser.get("/login")), upstream)
    async with open_browser(browser.issuer) as victim:
        as_page(await victim.get("/login"))
        assert as_page(await victim.get(location)).status == 400
        assert not victim.signed_in
    await browser.get(location)
    assert browser.signed_in


async def test_24_in_another_tab(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    """Each tab finishes its own sign-in, in any order."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    pages = [as_page(await browser.get("/account/apps")), as_page(await browser.get("/account/sessions"))]
    first, second = [await leave(browser, page, upstream) for page in pages]
    assert as_page(await browser.get(second)).path == "/account/sessions"
    assert as_page(await browser.get(first)).path == "/account/apps"


STATES = {"none": "", "empty": "&state=", "made up": f"&state={'x' * 43}", "long": f"&state={'x' * 9000}"}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
async def test_24_without_its_state(browser: Browser, provider: OpenIDProvider, add: Add, state: str) -> None:
    upstream = await add(issuer=provider.issuer, trust_email=True)
    location = await leave(browser, as_page(await browser.get("/login")), upstream)
    path, _, query = location.partition("?")
    kept = "&".join(part for part in query.split("&") if not part.startswith("state="))
    assert as_page(await browser.get(f"{path}?{kept}{state}")).status in (400, 431)
    assert not browser.signed_in


async def test_24_too_late(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    upstream = await add(issuer=provider.issuer, trust_email=True)
    location = await leave(browser, as_page(await browser.get("/login")), upstream)
    await execute("UPDATE upstream_attempt SET expires_at = now() WHERE upstream_id = $1", upstream.id)
    assert as_page(await browser.get(location)).status == 400
    assert not browser.signed_in


async def test_24_after_the_sign_in_went_on(browser: Browser, provider: OpenIDProvider, add: Add, alice: User) -> None:
    """The user signed in another way in the meantime: the late response does not change that."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    page = as_page(await browser.get("/login"))
    location = await leave(browser, page, upstream)
    await browser.sign_in(page, alice.email, PASSWORD)
    await browser.get(location)
    assert alice.email in as_page(await browser.get("/account")).text
    assert await fetchrow("SELECT 1 FROM identity WHERE subject = $1", provider.person.sub) is None


async def test_24_a_code_of_another_browser(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    """A code that another browser received does not match this one's verifier (RFC 7636)."""
    upstream = await add(issuer=provider.issuer, trust_email=True)
    async with open_browser(browser.issuer) as mallory:
        stolen = await leave(mallory, as_page(await mallory.get("/login")), upstream)
    own = await leave(browser, as_page(await browser.get("/login")), upstream)
    code = stolen.partition("code=")[2].partition("&")[0]
    injected = own.replace(own.partition("code=")[2].partition("&")[0], code)
    assert as_page(await browser.get(injected)).status == 400
    assert not browser.signed_in
