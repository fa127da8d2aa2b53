"""Row 70: state lost by a lagging replica or an older backup signs nobody out and revives nothing."""

import asyncio
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
import pytest

from idp.accounts.tables import User
from idp.accounts.users import create_user
from idp.infra.db.engine import execute, fetchrow
from idp.keys import lifecycle
from idp.oauth.clients.registration import register_client
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, open_browser
from tests.support.isolated import isolated
from tests.support.oauth import PASSWORD, REDIRECT_URI, RelyingParty
from tests.support.postgres import Cluster
from tests.support.server import Server, free_port
from tests.support.tokens import jti_of

# A replica without the last rotations takes over


async def _lose(*tokens: str) -> None:
    """Undo the rotations that gave these tokens, as a database does that never had their commits."""
    for token in tokens:
        jti = jti_of(token)
        await execute("UPDATE refresh_token SET rotated_at = NULL, successor = NULL WHERE successor = $1", jti)
        assert await execute("DELETE FROM refresh_token WHERE jti = $1", jti) == 1


async def _chain(client: RelyingParty, browser: Browser, email: str, length: int) -> list[str]:
    tokens = [(await client.tokens(browser, email))["refresh_token"]]
    while len(tokens) < length:
        tokens.append((await client.refresh(tokens[-1])).json()["refresh_token"])
    return tokens


async def _is_revoked(token: str) -> bool:
    row = await fetchrow(
        "SELECT f.revoked_at FROM token_family AS f JOIN refresh_token AS r ON r.family_id = f.id WHERE r.jti = $1",
        jti_of(token),
    )
    assert row is not None
    return row["revoked_at"] is not None


@pytest.mark.fault(44)
@pytest.mark.parametrize("lost", [1, 3])
async def test_70_a_token_whose_commit_was_lost_still_refreshes(
    client: RelyingParty, browser: Browser, alice: User, lost: int
) -> None:
    """Any number of missing rotations. Concurrent requests get the same successor."""
    chain = await _chain(client, browser, alice.email, 5)
    await _lose(*chain[-lost:][::-1])
    answers = await asyncio.gather(*(client.refresh(chain[-1]) for _ in range(16)))
    assert [answer.status_code for answer in answers] == [200] * 16
    (successor,) = {answer.json()["refresh_token"] for answer in answers}
    assert (await client.userinfo(answers[0].json()["access_token"])).status_code == 200
    assert (await client.refresh(successor)).status_code == 200


@pytest.mark.fault(44)
async def test_70_its_predecessor_is_no_sign_of_theft(client: RelyingParty, browser: Browser, alice: User) -> None:
    """A client that repeats the previous token and another process with the newest one share a successor."""
    first, second = await _chain(client, browser, alice.email, 2)
    await _lose(second)
    successor = (await client.refresh(first)).json()["refresh_token"]
    assert (await client.refresh(second)).json()["refresh_token"] == successor
    assert (await client.refresh(successor)).status_code == 200


@pytest.mark.fault(44)
async def test_70_a_lost_token_that_comes_too_late_is_refused_and_revokes_nothing(
    client: RelyingParty, browser: Browser, alice: User
) -> None:
    first, second = await _chain(client, browser, alice.email, 2)
    await _lose(second)
    newest = (await client.refresh((await client.refresh(first)).json()["refresh_token"])).json()["refresh_token"]
    await execute("UPDATE refresh_token SET rotated_at = rotated_at - interval '1 hour' WHERE jti = $1", jti_of(first))
    answer = await client.refresh(second)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert not await _is_revoked(newest)
    assert (await client.refresh(newest)).status_code == 200


@pytest.mark.fault(44)
async def test_70_a_lost_token_is_worth_nothing_to_others_nor_after_the_end(
    client: RelyingParty, make_client: MakeClient, browser: Browser, alice: User
) -> None:
    first, second = await _chain(client, browser, alice.email, 2)
    await _lose(second)
    other = await make_client()
    assert (await other.refresh(second)).status_code == 400
    assert (await other.post("/revoke", token=second)).status_code == 400
    assert not await _is_revoked(first)
    # Its client sends it again, and the family ends although its row is missing.
    assert (await client.post("/revoke", token=second)).status_code == 200
    assert await _is_revoked(first)
    for token in (second, first):
        assert (await client.refresh(token)).status_code == 400


@pytest.mark.fault(44)
async def test_70_reuse_is_still_theft_after_a_lost_commit(client: RelyingParty, browser: Browser, alice: User) -> None:
    stolen, _, _, fourth = await _chain(client, browser, alice.email, 4)
    await _lose(fourth)
    newest = (await client.refresh(fourth)).json()["refresh_token"]
    await execute("UPDATE refresh_token SET rotated_at = rotated_at - interval '1 hour' WHERE jti = $1", jti_of(stolen))
    assert (await client.refresh(stolen)).status_code == 400
    assert await _is_revoked(newest)
    assert (await client.refresh(newest)).status_code == 400


# An older backup is restored


async def _copy(cluster: Cluster, source: str) -> str:
    """Return a backup of a database without connections."""
    name = urlsplit(source).path.strip("/")
    return await cluster.create_database(name)


async def _kids(server: Server) -> set[str]:
    return {key["kid"] for key in httpx.get(f"{server.url}/.well-known/jwks.json").json()["keys"]}


@pytest.mark.fault(43)
async def test_70_revocations_since_a_backup_stay(
    cluster: Cluster, template: str, db: str, start_server: Callable[..., Server], http: httpx.AsyncClient
) -> None:
    """The signing key, the refresh token, the session, the code: by the start, which notices the older database."""
    port = free_port()

    async def serve(dsn: str) -> Server:
        return await asyncio.to_thread(start_server, port=port, IDP_DATABASE_URL=dsn)

    original = await cluster.create_database(template)
    async with isolated(original):
        user = await create_user("alice@example.com", PASSWORD)
        registered, secret = await register_client(
            client_name="Test client",
            redirect_uris=[REDIRECT_URI],
            grant_types=["authorization_code", "refresh_token"],
            scope="openid profile email",
        )
    server = await serve(original)
    client = RelyingParty(server.issuer, http, registered.client_id, secret)
    async with open_browser(server.issuer) as browser:
        tokens = await client.tokens(browser, user.email)
        code = await client.sign_in(browser, user.email)
        compromised = await _kids(server)
        assert await asyncio.to_thread(server.stop) == 0
        backup = await _copy(cluster, original)

        async with isolated(original):
            for kid in compromised:
                await lifecycle.revoke(kid)
            # An hour passes.
            await execute("UPDATE database_mark SET number = number + 720")
        server = await serve(original)
        assert not await _kids(server) & compromised
        assert (await client.redeem(code)).status_code == 200
        rotated = (await client.refresh(tokens["refresh_token"])).json()
        await client.post("/revoke", token=rotated["refresh_token"])
        assert await asyncio.to_thread(server.stop) == 0

        server = await serve(backup)
        assert "database_restored" in server.log
        assert not await _kids(server) & compromised
        for token in (tokens["refresh_token"], rotated["refresh_token"]):
            answer = await client.refresh(token)
            assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
        answer = await client.redeem(code)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
        assert (await client.userinfo(tokens["access_token"])).status_code == 401
        page = await client.authorize(browser)
        assert isinstance(page, Page)
        assert "login-submit" in page.ids
        # Users sign in again.
        assert "refresh_token" in await client.tokens(browser, user.email)


@pytest.mark.fault(43)
async def test_70_a_server_that_runs_notices_too(
    cluster: Cluster, template: str, db: str, start_server: Callable[..., Server]
) -> None:
    """A backup is restored while the server runs."""
    dsn = await cluster.create_database(template)
    async with isolated(dsn):
        await execute("INSERT INTO database_mark (id, epoch, begun, number, at) VALUES (1, 0, 0, 1000, now())")
    server = await asyncio.to_thread(start_server, IDP_DATABASE_URL=dsn)
    published = await _kids(server)
    async with isolated(dsn):
        await execute("UPDATE database_mark SET number = 1")
        async with asyncio.timeout(60):
            while await _kids(server) & published:
                await asyncio.sleep(0.1)
    assert "database_restored" in server.log
    assert await asyncio.to_thread(server.stop) == 0
