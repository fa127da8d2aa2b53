"""``refresh_token_lifetime`` and ``refresh_token_family_lifetime`` of a client: shorter than the settings say, never
longer.
"""

from datetime import timedelta
from typing import Any

import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetchrow
from idp.oauth.clients.service import update_client
from idp.settings import DAY, HOUR
from tests.conftest import MakeClient, MakeUser
from tests.oauth.token.test_families import a_client, grant_of, start
from tests.support.browser import Browser
from tests.support.oauth import RelyingParty, until_current
from tests.support.tokens import claims_of, jti_of


async def _row(token: str) -> dict[str, Any]:
    row = await fetchrow(
        "SELECT r.expires_at - r.issued_at AS unused, f.expires_at - f.created_at AS family, f.id AS family_id"
        " FROM token_family AS f JOIN refresh_token AS r ON r.family_id = f.id WHERE r.jti = $1",
        jti_of(token),
    )
    assert row is not None
    return dict(row)


async def _seconds(token: str) -> tuple[int, int]:
    """The lifetimes of a refresh token, which its JWT says too, and of its family."""
    row, claims = await _row(token), claims_of(token)
    assert timedelta(seconds=claims["exp"] - claims["iat"]) == row["unused"]
    return claims["exp"] - claims["iat"], round(row["family"].total_seconds())


async def _age_family(token: str, seconds: int) -> None:
    await execute(
        "UPDATE token_family SET created_at = created_at - make_interval(secs => $2),"
        " expires_at = expires_at - make_interval(secs => $2) WHERE id = $1",
        (await _row(token))["family_id"],
        seconds,
    )


@pytest.mark.parametrize(
    ("own", "seconds"),
    [
        ({}, (14 * DAY, 90 * DAY)),
        ({"refresh_token_lifetime": HOUR}, (HOUR, 90 * DAY)),
        ({"refresh_token_family_lifetime": HOUR}, (HOUR, HOUR)),
        ({"refresh_token_lifetime": 60, "refresh_token_family_lifetime": HOUR}, (60, HOUR)),
        ({"refresh_token_lifetime": 15 * DAY, "refresh_token_family_lifetime": 91 * DAY}, (14 * DAY, 90 * DAY)),
    ],
)
async def test_a_code_and_its_refresh_tokens(
    browser: Browser, make_client: MakeClient, alice: User, own: dict[str, int], seconds: tuple[int, int]
) -> None:
    party = await make_client(skip_consent=True, **own)
    first = (await party.tokens(browser, alice.email))["refresh_token"]
    second = (await party.refresh(first)).json()["refresh_token"]
    assert [await _seconds(token) for token in (first, second)] == [seconds, seconds]


async def test_without_a_session(db: str, make_user: MakeUser) -> None:
    kinds = {"grant_types": ["authorization_code", "refresh_token"]}
    client = await a_client(refresh_token_lifetime=60, refresh_token_family_lifetime=HOUR, **kinds)
    token = (await start(client, grant_of(await make_user()))).refresh_token
    assert isinstance(token, str)
    assert await _seconds(token) == (60, HOUR)


async def test_a_cookie(browser: Browser, make_client: MakeClient, alice: User) -> None:
    spa = await make_client(
        token_endpoint_auth_method="none", refresh_token_cookie=True, refresh_token_lifetime=HOUR, skip_consent=True
    )
    form = {"code": await spa.sign_in(browser, alice.email), "code_verifier": spa.verifier}
    origin = {"Origin": "https://app.example.com"}
    response = await spa.post(
        "/token", headers=origin, grant_type="authorization_code", redirect_uri=spa.redirect_uri, **form
    )
    assert f"Max-Age={HOUR};" in response.headers["set-cookie"]


async def test_the_family_ends_however_often_its_tokens_are_used(
    browser: Browser, make_client: MakeClient, alice: User
) -> None:
    party = await make_client(refresh_token_family_lifetime=HOUR, skip_consent=True)
    token = (await party.tokens(browser, alice.email))["refresh_token"]
    end = (await party.introspect(token))["exp"]
    await _age_family(token, 1800)
    token = (await party.refresh(token)).json()["refresh_token"]
    assert abs((await party.introspect(token))["exp"] - (end - 1800)) <= 1
    await _age_family(token, 1800)
    assert (await party.introspect(token))["active"] is False
    assert (await party.refresh(token)).status_code == 400


@pytest.fixture
async def changed(make_client: MakeClient) -> RelyingParty:
    return await make_client(skip_consent=True)


async def test_a_shorter_lifetime_of_unused_tokens_is_for_the_next_one(
    browser: Browser, changed: RelyingParty, alice: User
) -> None:
    first = (await changed.tokens(browser, alice.email))["refresh_token"]
    await update_client(changed.client_id, refresh_token_lifetime=60)
    await until_current(changed)
    second = (await changed.refresh(first)).json()["refresh_token"]
    assert [(await _seconds(token))[0] for token in (first, second)] == [14 * DAY, 60]


async def test_a_shorter_lifetime_of_families_is_for_all(browser: Browser, changed: RelyingParty, alice: User) -> None:
    """Which were started before it was set: it ends them at their next use, or sooner."""
    token = (await changed.tokens(browser, alice.email))["refresh_token"]
    await _age_family(token, HOUR)
    assert (await changed.introspect(token))["active"] is True
    await update_client(changed.client_id, refresh_token_family_lifetime=HOUR)
    await until_current(changed)
    assert (await changed.introspect(token))["active"] is False
    assert (await changed.refresh(token)).status_code == 400
    await update_client(changed.client_id, refresh_token_family_lifetime=2 * HOUR)
    await until_current(changed)
    assert (await changed.refresh(token)).status_code == 200
