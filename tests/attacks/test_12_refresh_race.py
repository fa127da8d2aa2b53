"""Row 12: concurrent refreshes of one token create one successor and do not sign the user out."""

import asyncio
from collections.abc import Callable

import httpx

from idp.accounts.tables import User
from idp.infra.db.engine import fetchrow
from tests.conftest import MakeClient
from tests.support.browser import open_browser
from tests.support.server import Server
from tests.support.tokens import jti_of

CALLS = 200


async def test_12_two_hundred_parallel_refreshes(
    start_server: Callable[..., Server], make_client: MakeClient, alice: User
) -> None:
    party = await make_client()
    server = await asyncio.to_thread(start_server, IDP_WORKERS="2")
    party.issuer = server.issuer
    async with open_browser(server.issuer) as browser:
        first = (await party.tokens(browser, alice.email))["refresh_token"]
        async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=CALLS)) as client:
            party.http = client
            answers = await asyncio.gather(*(party.refresh(first) for _ in range(CALLS)))
            assert [answer.status_code for answer in answers] == [200] * CALLS
            successors = {answer.json()["refresh_token"] for answer in answers}
            assert len(successors) == 1

            row = await fetchrow(
                "SELECT count(*) AS tokens, count(f.revoked_at) AS revoked FROM refresh_token AS r"
                " JOIN token_family AS f ON f.id = r.family_id"
                " WHERE r.family_id = (SELECT family_id FROM refresh_token WHERE jti = $1)",
                jti_of(first),
            )
            assert row is not None
            assert dict(row) == {"tokens": 2, "revoked": 0}

            (successor,) = successors
            assert (await party.refresh(successor)).status_code == 200
            for answer in (answers[0], answers[-1]):
                assert (await party.userinfo(answer.json()["access_token"])).status_code == 200
        assert "code" in (await party.authorize(browser, prompt="none")).parameters
