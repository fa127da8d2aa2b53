"""No grant yields tokens for a resource server that was deleted, or closed to its client (RFC 8707 section 2)."""

import secrets
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute
from idp.oauth.clients.registration import register_resource_server
from idp.oauth.clients.registry import registry
from idp.oauth.clients.service import delete_resource_server, update_resource_server
from tests.conftest import MakeClient
from tests.oauth.ciba.test_decision import approved
from tests.support.browser import Browser, Redirect
from tests.support.ciba import CIBA, poll
from tests.support.devices import METADATA, Device, approve, error_of
from tests.support.exchange import a_service, allow, an_api, an_app, exchange, refusal, sign_in
from tests.support.oauth import RelyingParty, until_current
from tests.support.tokens import claims_of

SCOPE = "openid offline_access read"


@pytest.fixture
async def apis(db: str) -> list[str]:
    """The identifiers of two resource servers."""
    identifiers = [f"https://{name}.{secrets.token_hex(4)}.example.com" for name in ("one", "two")]
    for identifier in identifiers:
        await register_resource_server(identifier, "API")
    return identifiers


@pytest.fixture
async def party(make_client: MakeClient, apis: list[str]) -> RelyingParty:
    return await make_client(scope=SCOPE, skip_consent=True)


def audience(tokens: dict[str, Any]) -> Any:
    return claims_of(tokens["access_token"])["aud"]


async def test_a_refresh(party: RelyingParty, browser: Browser, alice: User, apis: list[str]) -> None:
    """The tokens are for those that are left, in the end for the issuer. What was granted stays stored."""
    one, two = apis
    tokens = await party.tokens(browser, alice.email, scope=SCOPE, resource=" ".join(apis))
    assert audience(tokens) == [one, two, party.issuer]
    await delete_resource_server(one)
    await until_current(party)
    refused = await party.refresh(tokens["refresh_token"], resource=one)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_target")
    tokens = (await party.refresh(tokens["refresh_token"])).json()
    assert audience(tokens) == [two, party.issuer]
    tokens = (await party.refresh(tokens["refresh_token"], resource=two)).json()
    assert audience(tokens) == [two, party.issuer]
    await delete_resource_server(two)
    await until_current(party)
    tokens = (await party.refresh(tokens["refresh_token"])).json()
    assert audience(tokens) == party.issuer
    await register_resource_server(one, "API")
    await until_current(party)
    assert audience((await party.refresh(tokens["refresh_token"])).json()) == [one, party.issuer]


async def test_a_code(party: RelyingParty, browser: Browser, alice: User, apis: list[str]) -> None:
    one, two = apis
    code = await party.sign_in(browser, alice.email, scope=SCOPE, resource=" ".join(apis))
    await delete_resource_server(one)
    await until_current(party)
    refused = await party.redeem(code, resource=one)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_target")
    assert audience((await party.redeem(code)).json()) == [two, party.issuer]


async def test_a_pushed_request(party: RelyingParty, browser: Browser, alice: User, apis: list[str]) -> None:
    await party.tokens(browser, alice.email)
    pushed = await party.push(scope=SCOPE, resource=apis[0])
    await delete_resource_server(apis[0])
    await until_current(party)
    answer = await browser.get("/authorize", client_id=party.client_id, request_uri=pushed)
    assert isinstance(answer, Redirect)
    assert answer.parameters["error"] == "invalid_target"


async def test_a_device(make_client: MakeClient, browser: Browser, alice: User, apis: list[str]) -> None:
    """The code is not used up, as for any resource that is refused."""
    device = await Device.start(await make_client(**METADATA), scope=METADATA["scope"], resource=apis[0])
    await approve(browser, alice.email, device)
    await delete_resource_server(apis[0])
    await until_current(device.party)
    for _ in range(2):
        assert await error_of(device) == "invalid_target"


async def test_a_backchannel_request(make_client: MakeClient, browser: Browser, alice: User, apis: list[str]) -> None:
    bank = await make_client(**CIBA)
    auth_req_id = await approved(bank, browser, alice, resource=apis[0])
    await delete_resource_server(apis[0])
    await until_current(bank)
    assert (await poll(bank, auth_req_id)).json()["error"] == "invalid_target"


async def test_an_exchange(alice: User) -> None:
    """By either parameter, and by the subject token."""
    app, service, api = await an_app("openid"), await a_service("openid"), await an_api()
    await allow(service, api, scope="openid", subject_clients=[app.client_id])
    token = (await sign_in(app, alice, (api,))).access_token
    assert api in claims_of((await exchange(service, token)).access_token)["aud"]
    await delete_resource_server(api)
    await registry.load()
    for named in ({}, {"resource": api}, {"audience": api}):
        assert (await refusal(service, token, **named))[0] == "invalid_target"


async def _close(api: str) -> None:
    await update_resource_server(api, self_registered_clients=False)


@pytest.mark.parametrize("end", [_close, delete_resource_server], ids=["closed", "deleted"])
async def test_a_client_that_registered_itself(
    end: Callable[[str], Coroutine[Any, Any, None]],
    party: RelyingParty,
    browser: Browser,
    alice: User,
    apis: list[str],
) -> None:
    await execute("UPDATE client SET origin = 'dynamic', updated_at = now() WHERE client_id = $1", party.client_id)
    await update_resource_server(apis[0], self_registered_clients=True)
    await until_current(party)
    tokens = await party.tokens(browser, alice.email, scope=SCOPE, resource=apis[0])
    assert audience(tokens) == [apis[0], party.issuer]
    await end(apis[0])
    await until_current(party)
    assert audience((await party.refresh(tokens["refresh_token"])).json()) == party.issuer
