"""Attributes with a scope: at userinfo, in tokens, on the consent page, and in signals."""

import asyncio
import secrets
from typing import Any

import msgspec
import pytest

from idp import clock, ids
from idp.accounts.attributes import declaration, service
from idp.accounts.attributes.models import Audience
from idp.accounts.tables import User
from idp.audit.repository.feed import FedEvent
from idp.events.ssf.types import TOKEN_CLAIMS_CHANGE, signals_of
from idp.infra.db.engine import execute
from idp.oauth.claims import registration
from idp.oauth.claims.registration import InvalidClaimMappingError
from tests.conftest import MakeClient
from tests.support.attributes import Declare, declare
from tests.support.browser import Browser, as_page
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.tokens import claims_of

__all__ = ["declare"]

#: Values by type, as they are stored and released.
VALUES: dict[str, Any] = {
    "string": "Sales", "integer": 2**53 - 1, "number": 1.5, "boolean": False, "date": "1990-12-31",
    "email": "work@example.com", "url": "https://example.com/", "choice": "red",
}  # fmt: skip


async def until_released(client: RelyingParty, token: str, *names: str) -> dict[str, Any]:
    """Return what userinfo says once the server knows what another process declared."""
    async with asyncio.timeout(20):
        while True:
            found: dict[str, Any] = (await client.userinfo(token)).json()
            if found.keys() >= set(names):
                return found
            await asyncio.sleep(0.02)


async def test_values_have_their_types(
    declare: Declare, make_client: MakeClient, browser: Browser, alice: User
) -> None:
    scope = f"work-{secrets.token_hex(4)}"
    names = {
        kind: (await declare(kind, scope=scope, choices=["red"] if kind == "choice" else [])).name for kind in VALUES
    }
    many = await declare("integer", multivalued=True, scope=scope, claim=f"https://example.com/{scope}")
    # Whoever sees an attribute here, the application with the scope gets it.
    hidden = await declare(scope=scope, visible_to=[], editable_by=[])
    without, other = await declare(), await declare(scope=f"{scope}-other")
    empty = await declare(scope=scope)
    values = {names[kind]: value for kind, value in VALUES.items()}
    more = {many.name: [3, 1], hidden.name: "internal", without.name: "x", other.name: "x"}
    await service.change(alice.id, values | more)
    client = await make_client(scope=f"openid {scope}", skip_consent=True)
    tokens = await client.tokens(browser, alice.email)
    expected = values | {f"https://example.com/{scope}": [3, 1], hidden.name: "internal"}
    found = await until_released(client, tokens["access_token"], *expected)
    assert found == {"sub": str(alice.id)} | expected
    assert {name: value.__class__ for name, value in found.items()} == {"sub": str} | {
        name: value.__class__ for name, value in expected.items()
    }
    assert not {without.name, other.name, empty.name} & found.keys()
    # A lean ID token, and an access token for no resource server.
    for token in (tokens["id_token"], tokens["access_token"]):
        assert not expected.keys() & claims_of(token).keys()
    fat = await make_client(scope=f"openid {scope}", skip_consent=True, scope_claims_in_id_token=True)
    tokens = await fat.tokens(browser, alice.email)
    assert claims_of(tokens["id_token"]).items() >= expected.items()
    # Without the scope, nothing.
    lean = await make_client(scope="openid profile", skip_consent=True, scope_claims_in_id_token=True)
    tokens = await lean.tokens(browser, alice.email)
    assert not expected.keys() & claims_of(tokens["id_token"]).keys()
    assert not expected.keys() & (await lean.userinfo(tokens["access_token"])).json().keys()


async def test_a_change_is_there_at_once(
    declare: Declare, make_client: MakeClient, browser: Browser, alice: User
) -> None:
    scope = f"work-{secrets.token_hex(4)}"
    one = await declare("integer", scope=scope)
    await service.change(alice.id, {one.name: 1})
    client = await make_client(scope=f"openid {scope}", skip_consent=True)
    token = (await client.tokens(browser, alice.email))["access_token"]
    await until_released(client, token, one.name)
    for value in range(2, 6):
        await service.change(alice.id, {one.name: value})
        assert (await client.userinfo(token)).json()[one.name] == value
    await service.change(alice.id, {one.name: None})
    assert one.name not in (await client.userinfo(token)).json()
    await service.change(alice.id, {one.name: 7})
    await declaration.delete(one.name)
    assert one.name not in (await client.userinfo(token)).json()


async def test_the_consent_page_names_them(
    declare: Declare, make_client: MakeClient, browser: Browser, alice: User
) -> None:
    scope = f"work-{secrets.token_hex(4)}"
    await declare(scope=scope, label={"default": "Cost centre", "de": "Kostenstelle"}, position=1)
    await declare(scope=scope, label={"default": "<i>Level</i>"}, position=2)
    await declare(scope="profile", label={"default": "Shoe size"})
    client = await make_client(scope=f"openid profile {scope}")
    page = as_page(await browser.sign_in(as_page(await client.authorize(browser)), alice.email, PASSWORD))
    async with asyncio.timeout(20):
        while "Shoe size" not in page.text:
            page = as_page(await client.authorize(browser))
    assert "See these details about you: Cost centre, &lt;i&gt;Level&lt;/i&gt;" in page.text
    assert "language and so on. Also these details about you: Shoe size." in page.text
    in_german = await browser.client.get(f"{browser.issuer}{page.path}", headers={"Accept-Language": "de"})
    assert "Kostenstelle" in in_german.text


async def test_streams_are_told_of_what_is_released(declare: Declare, alice: User) -> None:
    released, internal = await declare(scope="employment"), await declare()

    def scopes(*names: str) -> list[tuple[str, tuple[str, ...]]]:
        detail = msgspec.json.encode({"attributes": names}).decode()
        event = FedEvent(
            id=ids.uuid7(), at=clock.now(), event="attributes_changed", outcome="success", actor="", user_id=alice.id,
            client_id=None, session_id=None, ip_address="", request_id="", detail=detail, seq=None, private={},
        )  # fmt: skip
        return [(signal.type, signal.scopes) for signal in signals_of(event)]

    assert scopes(internal.name, released.name) == [(TOKEN_CLAIMS_CHANGE, ("employment",))]
    assert scopes(internal.name) == []
    assert scopes("undeclared") == []


async def test_who_maps_an_attribute(declare: Declare, make_client: MakeClient) -> None:
    """Others than owners only with the scope with which the declaration lets it leave."""
    client_id = (await make_client()).client_id
    scope = f"s{secrets.token_hex(6)}"
    inside, released = await declare(visible_to=["support"]), await declare(visible_to=["support"], scope=scope)
    hidden = await declare(scope=scope, visible_to=[], editable_by=[])

    async def add(attribute: str, audience: Audience, scope: str | None = None) -> None:
        source = {"kind": "attribute", "name": attribute}
        values = {"claim": f"c{secrets.token_hex(6)}", "source": source, "places": ["userinfo"], "scope": scope}
        await registration.add(client_id, audience, **values)

    for name, asked in (
        (inside.name, None), (inside.name, scope), (released.name, None), (released.name, "openid"),
        (hidden.name, scope),
    ):  # fmt: skip
        with pytest.raises(InvalidClaimMappingError):
            await add(name, Audience.SUPPORT, asked)
    await add(released.name, Audience.SUPPORT, scope)
    await add(inside.name, Audience.OWNER)
    await execute("DELETE FROM claim_mapping WHERE client_id = $1", client_id)
