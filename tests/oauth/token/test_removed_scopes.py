"""New tokens have only the scopes that their client is still registered for."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from idp.accounts.tables import User
from idp.oauth.clients.registry import registry
from idp.oauth.clients.service import update_client
from idp.oauth.exchange import token_types
from idp.oauth.token import refresh_jwt
from idp.oauth.token.repository import refresh_tokens
from idp.oauth.token.repository.refresh_tokens import Rotation
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.exchange import a_service, allow, an_api, an_app, exchange, sign_in
from tests.support.oauth import RelyingParty, until_current
from tests.support.tokens import claims_of

SCOPE = "openid offline_access email phone"


@pytest.fixture
async def party(make_client: MakeClient) -> RelyingParty:
    return await make_client(scope=SCOPE, skip_consent=True)


async def _register(party: RelyingParty, scope: str) -> None:
    await update_client(party.client_id, scope=scope)
    await until_current(party)


async def test_a_refresh(party: RelyingParty, browser: Browser, alice: User) -> None:
    """The response shows what is left (RFC 6749 section 5.1). The family keeps what was granted."""
    tokens = await party.tokens(browser, alice.email, scope=SCOPE)
    await _register(party, "openid offline_access phone")
    for _ in range(2):
        # The second one repeats the rotation.
        answer = (await party.refresh(tokens["refresh_token"])).json()
        assert answer["scope"] == claims_of(answer["access_token"])["scope"] == "openid offline_access phone"
        assert "email" not in (await party.userinfo(answer["access_token"])).json()
    await _register(party, SCOPE)
    assert (await party.refresh(answer["refresh_token"])).json()["scope"] == SCOPE


async def test_a_refresh_for_less(party: RelyingParty, browser: Browser, alice: User) -> None:
    tokens = await party.tokens(browser, alice.email, scope=SCOPE)
    await _register(party, "openid offline_access phone")
    refused = await party.refresh(tokens["refresh_token"], scope="email")
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_scope")
    answer = (await party.refresh(tokens["refresh_token"], scope="email openid")).json()
    assert answer["scope"] == "openid"


@pytest.mark.parametrize("openid", [True, False])
async def test_without_openid_there_is_no_id_token(
    openid: bool, party: RelyingParty, browser: Browser, alice: User
) -> None:
    tokens = await party.tokens(browser, alice.email, scope=SCOPE)
    await _register(party, SCOPE if openid else "email")
    answer = (await party.refresh(tokens["refresh_token"])).json()
    assert ("id_token" in answer) is openid
    assert (await party.userinfo(answer["access_token"])).status_code == (200 if openid else 403)


async def test_no_scope_is_left(party: RelyingParty, browser: Browser, alice: User) -> None:
    """The refusal uses up nothing (RFC 6749 section 5.2)."""
    token = (await party.tokens(browser, alice.email, scope=SCOPE))["refresh_token"]
    code = await party.sign_in(browser, alice.email, scope="openid email")
    await _register(party, "profile")
    for _ in range(2):
        for refused in (await party.refresh(token), await party.redeem(code)):
            assert (refused.status_code, refused.json()["error"]) == (400, "invalid_scope")
    await _register(party, "profile email")
    assert (await party.refresh(token)).json()["scope"] == "email"
    assert (await party.redeem(code)).json()["scope"] == "email"


async def test_a_token_that_is_kept(party: RelyingParty, browser: Browser, alice: User) -> None:
    """As those of a FAPI client."""
    given = await party.tokens(browser, alice.email, scope=SCOPE)
    token, client = refresh_jwt.decode(given["refresh_token"]), await _stored(party)
    assert isinstance(token, refresh_jwt.PresentedRefreshToken)
    rotation = Rotation(
        token=token,
        client_id=client.client_id,
        scope=(),
        registered="profile",
        resource=(),
        not_before=registry.not_before(client),
    )
    assert await refresh_tokens.keep(rotation, 60) is None
    assert await refresh_tokens.keep(msgspec.structs.replace(rotation, registered="profile email"), 60) is not None


async def _stored(party: RelyingParty) -> Any:
    await registry.load()
    return registry.client(party.client_id)


async def test_a_code(party: RelyingParty, browser: Browser, alice: User) -> None:
    code = await party.sign_in(browser, alice.email, scope=SCOPE)
    await _register(party, "openid offline_access phone")
    tokens = (await party.redeem(code)).json()
    assert tokens["scope"] == claims_of(tokens["access_token"])["scope"] == "openid offline_access phone"
    await _register(party, SCOPE)
    assert (await party.refresh(tokens["refresh_token"])).json()["scope"] == SCOPE


async def test_an_exchanged_id_token(alice: User) -> None:
    """It allows what its client could get now."""
    app, service, api = await an_app("openid email phone"), await a_service("openid email phone"), await an_api()
    await allow(
        service, api, scope="openid email phone", subject_token_types=["id_token"], subject_clients=[app.client_id]
    )
    subject: Mapping[str, str] = {"resource": api, "subject_token_type": token_types.ID_TOKEN}
    token = (await sign_in(app, alice, (api,))).id_token
    assert (await exchange(service, token, **subject)).scope == "email openid phone"
    await update_client(app.client_id, scope="openid phone")
    await registry.load()
    assert (await exchange(service, token, **subject)).scope == "openid phone"
