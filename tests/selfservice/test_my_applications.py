"""The applications that a user may start, on the account page."""

import re
import secrets
from html import unescape
from typing import Any

import pytest

from idp.accounts.tables import User
from idp.directory import groups
from idp.oauth.clients.registration import disable_client, register_client
from tests.conftest import MakeClient
from tests.support.access_policies import set_policy
from tests.support.browser import Browser, as_page
from tests.support.oauth import PASSWORD, RelyingParty, until_current


async def shown(browser: Browser, user: User) -> dict[str, str]:
    """Return the addresses of the applications on the account page, by name."""
    page = as_page(await browser.get("/account/apps"))
    if "login-submit" in page.ids:
        page = as_page(await browser.sign_in(page, user.email, PASSWORD))
    listed = page.text.partition('aria-labelledby="mine"')[2].partition("</ul>")[0]
    found = re.findall(r'<a class="card tile" href="([^"]*)".*?<span>([^<]*)</span>', listed, re.DOTALL)
    return {unescape(name): unescape(uri) for uri, name in found}


def named() -> dict[str, Any]:
    name = secrets.token_hex(6)
    return {"client_name": name, "client_uri": f"https://{name}.example/"}


async def test_what_is_listed(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """Web applications with an address, unless they are hidden or disabled."""
    wiki, login, hidden, disabled, native, service = (named() for _ in range(6))
    login |= {"initiate_login_uri": f"{login['client_uri']}login?from=idp"}
    without = {"client_name": secrets.token_hex(6)}
    await make_client(**wiki)
    await make_client(**login)
    await make_client(**hidden, hidden_from_users=True)
    off = await make_client(**disabled)
    await make_client(**native, application_type="native", redirect_uris=["com.example.app:/cb"])
    await make_client(**service, grant_types=["client_credentials"], redirect_uris=[], scope="")
    party = await make_client(**without)
    await disable_client(off.client_id)
    await until_current(party)
    listed = await shown(browser, alice)
    assert listed[wiki["client_name"]] == wiki["client_uri"]
    issuer = re.escape("http%3A%2F%2F")
    assert re.fullmatch(rf"{re.escape(login['initiate_login_uri'])}&iss={issuer}[\w.%-]+", listed[login["client_name"]])
    for other in (hidden, disabled, native, service, without):
        assert other["client_name"] not in listed


async def test_a_policy_decides_who_sees_it(make_client: MakeClient, browser: Browser, alice: User) -> None:
    """By who they are; where they are and what time it is do not matter."""
    group = await groups.create(f"Staff {secrets.token_hex(6)}")
    values = named()
    party = await make_client(**values)
    await set_policy(party, groups=[group.id], networks=["192.0.2.0/24"], acr="phr")
    assert values["client_name"] not in await shown(browser, alice)
    await groups.add_members(group.id, [alice.id])
    assert values["client_name"] in await shown(browser, alice)
    await set_policy(party, networks=["192.0.2.0/24"])
    await groups.remove_members(group.id, [alice.id])
    assert values["client_name"] in await shown(browser, alice)


@pytest.mark.parametrize("origin", ["admin", "dynamic"])
async def test_what_the_user_has_used(origin: str, make_client: MakeClient, browser: Browser, alice: User) -> None:
    """Also a native app, and one that registered itself, which nobody else is shown."""
    values = named()
    client, _ = await register_client(
        origin=origin,
        application_type="native",
        redirect_uris=["com.example.app:/cb"],
        token_endpoint_auth_method="none",
        **values,
    )
    shared = await make_client()
    await until_current(shared)
    assert values["client_name"] not in await shown(browser, alice)
    party = RelyingParty(
        shared.issuer, shared.http, client.client_id, redirect_uri="com.example.app:/cb", scope="openid"
    )
    page = as_page(await party.authorize(browser))
    await browser.submit(page, "consent-allow")
    assert (await shown(browser, alice))[values["client_name"]] == values["client_uri"]


async def test_the_start_page_leads_there(browser: Browser, alice: User) -> None:
    await shown(browser, alice)
    assert 'href="/account/apps"' in as_page(await browser.get("/")).text
