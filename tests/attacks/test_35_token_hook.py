"""Row 35: a token hook that leads inside is not called, and its answer gives nobody another identity."""

import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.oauth import until_current
from tests.support.receivers import Receivers
from tests.support.token_hooks import says, set_hook


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest/meta-data", "http://10.0.0.1/", "http://[fd00::1]/", "http://0x0a000001/"]
)
async def test_35_a_hook_that_leads_inside(browser: Browser, make_client: MakeClient, alice: User, url: str) -> None:
    """As one that a name resolves to, whatever was checked when it was added."""
    party = await make_client(skip_consent=True)
    token = (await party.tokens(browser, alice.email))["refresh_token"]
    hook_id, _ = await set_hook(party, "https://hook.example/")
    await execute("UPDATE token_hook SET url = $2 WHERE id = $1", hook_id, url)
    await until_current(party)
    response = await party.refresh(token)
    assert (response.status_code, response.json()["error"]) == (503, "temporarily_unavailable")
    assert "token_hook" not in response.text


@pytest.mark.parametrize(
    "claims", [{"sub": "root"}, {"SUB": "root"}, {"aud": "x"}, {"scope": "admin:users:write"}, {"email": "a@b.example"},
               {"client_id": "x"}, {"exp": 9999999999}, {"acr": "phr"}, {"cnf": {}}, {"act": {"sub": "x"}}]
)  # fmt: skip
async def test_35_a_hook_that_forges_claims(
    browser: Browser, make_client: MakeClient, alice: User, claims: dict[str, object]
) -> None:
    party = await make_client(skip_consent=True)
    token = (await party.tokens(browser, alice.email))["refresh_token"]
    async with Receivers() as receivers:
        await set_hook(party, receivers.url("hook"))
        receivers.behaviours["hook"] = says({"claims": {"id_token": claims}})
        assert (await party.refresh(token)).status_code == 503
