"""``access_token_lifetime`` of a client: its access tokens expire earlier than the setting says, never later."""

from typing import Any

import pytest

from idp.accounts.tables import User
from idp.settings import settings
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.oauth import RelyingParty
from tests.support.tokens import claims_of

SERVICE: dict[str, Any] = {"grant_types": ["client_credentials"], "redirect_uris": [], "scope": "read"}


def _seconds(response: dict[str, Any]) -> int:
    """The lifetime that a response says, which is that of the token."""
    claims = claims_of(response["access_token"])
    assert claims["exp"] - claims["iat"] == response["expires_in"]
    seconds: int = response["expires_in"]
    return seconds


async def test_a_code_and_its_refresh_tokens(browser: Browser, make_client: MakeClient, alice: User) -> None:
    party = await make_client(access_token_lifetime=60, skip_consent=True)
    tokens = await party.tokens(browser, alice.email)
    assert _seconds(tokens) == 60
    assert _seconds((await party.refresh(tokens["refresh_token"])).json()) == 60
    claims = claims_of(tokens["id_token"])
    assert claims["exp"] - claims["iat"] == settings().id_token_lifetime


@pytest.mark.parametrize(("own", "seconds"), [(45, 45), (None, 600), (86400, 600)])
async def test_a_service(make_client: MakeClient, own: int | None, seconds: int) -> None:
    assert settings().access_token_lifetime == 600
    service: RelyingParty = await make_client(access_token_lifetime=own, **SERVICE)
    assert _seconds((await service.post("/token", grant_type="client_credentials")).json()) == seconds
