"""Behind a pooler that drops prepared statements: detected, reported, and supported if the operator configures it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from idp.accounts.tables import User
from idp.infra.db import engine
from idp.infra.db.engine import execute
from idp.infra.db.pooler import UnsupportedPoolerError, check_prepared_statements
from idp.oauth.clients.registration import register_client
from tests.conftest import MASTER_KEY, MakeClient, MakeUser, until_known
from tests.support import prefork
from tests.support.browser import open_browser
from tests.support.isolated import isolated
from tests.support.mailbox import Mailbox
from tests.support.oauth import REDIRECT_URI, RelyingParty
from tests.support.pgbouncer import PgBouncer, needs_pgbouncer
from tests.support.postgres import Cluster
from tests.support.server import CHEAP_HASHING, Server, clean_environment

pytestmark = [pytest.mark.fault(26), needs_pgbouncer]

#: Users who sign in at the same time: more than the pooler has connections to PostgreSQL.
PEOPLE = 8
WITHIN_SECONDS = 30.0


@pytest.fixture
def pgbouncer(db: str, tmp_path: Path) -> Iterator[PgBouncer]:
    pooler = PgBouncer(tmp_path / "pgbouncer", db)
    yield pooler
    pooler.stop()


def _settings(pooler: PgBouncer, **settings: str) -> dict[str, str]:
    return {
        "IDP_DATABASE_URL": pooler.dsn,
        "IDP_MASTER_KEY": MASTER_KEY,
        "IDP_ADDRESS_LIMITS": "false",
        "IDP_LOG_LEVEL": "warning",
        "IDP_SMTP_URL": "smtp://127.0.0.1:9",
    } | settings


@pytest.mark.parametrize("pool_size", [1, 5])
async def test_a_pooler_without_prepared_statements_is_detected(db: str, tmp_path: Path, pool_size: int) -> None:
    pooler = PgBouncer(tmp_path / "pgbouncer", db, pool_size=pool_size)
    try:
        async with isolated(pooler.dsn, migrated=False):
            with pytest.raises(UnsupportedPoolerError, match="IDP_DATABASE_PREPARED_STATEMENTS=false"):
                await check_prepared_statements()
    finally:
        pooler.stop()


@pytest.mark.usefixtures("db")
async def test_postgresql_itself_is_fit() -> None:
    for _ in range(3):
        await check_prepared_statements()
    assert engine.engine.pool is not None


async def test_a_server_does_not_start_behind_it(pgbouncer: PgBouncer, tmp_path: Path) -> None:
    server = Server(tmp_path, wait=False, **_settings(pgbouncer))
    assert await asyncio.to_thread(server.process.wait, 30) == 1
    assert "IDP_DATABASE_PREPARED_STATEMENTS=false" in server.log
    assert "unexpected" not in server.log


@pytest.mark.fault(38)
async def test_the_core_works_behind_it(
    pgbouncer: PgBouncer, tmp_path: Path, make_client: MakeClient, make_user: MakeUser
) -> None:
    """Sign-in, token, refresh, userinfo and introspection, for several users at once and during a migration."""
    server = await asyncio.to_thread(Server, tmp_path, **_settings(pgbouncer, IDP_DATABASE_PREPARED_STATEMENTS="false"))
    try:
        client = await make_client(at=server, scope="openid profile email offline_access")
        people = [await make_user() for _ in range(PEOPLE)]

        async def sign_in(person: User) -> None:
            async with open_browser(server.issuer) as browser:
                tokens = await client.tokens(browser, person.email, scope="openid offline_access")
            for _ in range(3):
                refreshed = await client.refresh(tokens["refresh_token"])
                assert refreshed.status_code == 200, refreshed.text
                tokens = refreshed.json()
                assert (await client.userinfo(tokens["access_token"])).json()["sub"] == str(person.id)
                assert (await client.introspect(tokens["access_token"]))["active"] is True

        async def migrate() -> None:
            """A column more, and less again, while everybody is at it."""
            for _ in range(3):
                await execute("ALTER TABLE users ADD COLUMN more int DEFAULT 1")
                await asyncio.sleep(0.05)
                await execute("ALTER TABLE users DROP COLUMN more")

        await asyncio.gather(*map(sign_in, people), migrate())
        ready = (await client.http.get(f"{server.url}/health/ready")).json()
        assert (ready["status"], ready["reasons"], ready["warnings"]) == ("ok", [], [])
        assert server.stop() == 0
        assert server.log == ""
    finally:
        server.kill()


async def test_a_new_database_is_made_behind_it(cluster: Cluster, tmp_path: Path, http: httpx.AsyncClient) -> None:
    pooler = PgBouncer(tmp_path / "pgbouncer", await cluster.create_database(template=None))
    server = await asyncio.to_thread(Server, tmp_path, **_settings(pooler, IDP_DATABASE_PREPARED_STATEMENTS="false"))
    try:
        keys = (await http.get(f"{server.url}/.well-known/jwks.json")).json()["keys"]
        assert len(keys) == 1
    finally:
        server.kill()
        pooler.stop()


async def test_keys_clients_and_mail_behind_it(
    cluster: Cluster, template: str, mailbox: Mailbox, tmp_path: Path, http: httpx.AsyncClient
) -> None:
    """Commands change what the server learns by polling, and the outbox sends."""
    dsn = await cluster.create_database(template)
    pooler = PgBouncer(tmp_path / "pgbouncer", dsn)
    settings = _settings(pooler, IDP_DATABASE_PREPARED_STATEMENTS="false", IDP_SMTP_URL=mailbox.url)
    server = await asyncio.to_thread(Server, tmp_path, **settings)

    async def idp(*arguments: str) -> None:
        environment = clean_environment() | CHEAP_HASHING | settings
        ended = await asyncio.to_thread(prefork.run, arguments, tmp_path, environment)
        assert ended.code == 0, ended.err

    try:
        await idp("keys", "rotate", "--now")
        async with asyncio.timeout(WITHIN_SECONDS):
            while len((await http.get(f"{server.url}/.well-known/jwks.json")).json()["keys"]) != 2:
                await asyncio.sleep(0.05)

        async with isolated(dsn):
            registered, secret = await register_client(client_name="Behind", redirect_uris=[REDIRECT_URI])
        client = RelyingParty(server.issuer, http, registered.client_id, secret)
        await until_known(client)
        await idp("clients", "disable", client.client_id)
        async with asyncio.timeout(WITHIN_SECONDS):
            while (await client.post("/token", grant_type="none-such")).json()["error"] != "invalid_client":
                await asyncio.sleep(0.05)

        await idp("users", "invite", "behind@example.com")
        assert (await mailbox.next("behind@example.com")).path
        assert "unexpected_error" not in server.log
    finally:
        server.kill()
        pooler.stop()
