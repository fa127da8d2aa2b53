"""The database URL: libpq's parameters, and several hosts."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from structlog.testing import capture_logs

from idp.infra.db.dsn import CONNECT_SECONDS, connect_options
from idp.infra.db.embedded import EmbeddedPostgres
from idp.infra.db.engine import fetchrow
from idp.infra.db.hosts import connect
from idp.infra.db.outages import DatabaseUnavailableError
from idp.settings import SettingsError
from tests.support.isolated import isolated
from tests.support.proxy import proxy_to
from tests.support.server import free_port

URL = "postgresql://idp:secret@db.internal:5432/idp"
HOSTED = (
    "channel_binding=require&connect_timeout=5&keepalives=1&keepalives_idle=30&keepalives_interval=10&keepalives_count=3"
    "&tcp_user_timeout=9&gssencmode=disable&client_encoding=UTF8&load_balance_hosts=disable&sslsni=1"
    "&min_protocol_version=3.0&pgbouncer=true&fallback_application_name=x&sslcertmode=allow"
)

pytestmark = [pytest.mark.fault(27), pytest.mark.fault(18)]


async def test_a_url_of_a_hosted_database(dsn: str) -> None:
    """PostgreSQL is sent none of its parameters that are no settings, and those that are take effect."""
    url = (
        f"{dsn}{'&' if '?' in dsn else '?'}{HOSTED}&application_name=sign-in&options=-c%20geqo%3Doff&search_path=public"
    )
    with capture_logs() as logs:
        async with isolated(url, migrated=False):
            row = await fetchrow(
                "SELECT current_setting('application_name') AS name, current_setting('geqo') AS geqo,"
                " current_setting('search_path') AS path"
            )
    assert row is not None
    assert tuple(row) == ("sign-in", "off", "public")
    (line,) = [line for line in logs if line["event"] == "database_parameters_ignored"]
    assert line["log_level"] == "debug"
    assert "channel_binding" in line["reason"]
    assert "geqo" not in line["reason"]


def test_parameters_that_are_kept() -> None:
    found = connect_options(f"{URL}?sslmode=verify-full&sslnegotiation=direct&{HOSTED}")
    assert found["dsn"] == f"{URL}?sslmode=verify-full&sslnegotiation=direct"
    assert found["timeout"] == 5
    assert connect_options(f"{URL}?connect_timeout=1")["timeout"] == 2
    assert connect_options(f"{URL}?connect_timeout=0")["timeout"] == CONNECT_SECONDS


@pytest.mark.parametrize("parameter", ["require_auth=scram-sha-256", "requirepeer=postgres", "gssencmode=require"])
def test_a_demand_that_cannot_be_met_is_refused(parameter: str) -> None:
    with pytest.raises(SettingsError, match="IDP_DATABASE_URL"):
        connect_options(f"{URL}?{parameter}")


async def test_an_unknown_setting_is_explained(dsn: str) -> None:
    with pytest.raises(DatabaseUnavailableError, match="no_such_setting"):
        async with isolated(f"{dsn}&no_such_setting=1", migrated=False):
            """It never gets here."""


@pytest.mark.parametrize("url", ["", "postgresql://[", "postgresql://h/idp?connect_timeout=soon", "mysql://h/idp"])
async def test_a_malformed_url_is_said_plainly(url: str) -> None:
    with pytest.raises(DatabaseUnavailableError, match="PostgreSQL cannot be reached"):
        async with isolated(url or "nothing", migrated=False):
            """It never gets here."""


def test_of_several_hosts_a_writable_one_is_chosen() -> None:
    several = "postgresql://idp:secret@a.internal:5432,b.internal:5433/idp"
    assert connect_options(several)["dsn"] == f"{several}?target_session_attrs=read-write"
    assert connect_options(f"{several}?target_session_attrs=any")["dsn"] == f"{several}?target_session_attrs=any"
    assert connect_options(URL)["dsn"] == URL


async def test_a_host_that_does_not_answer_costs_its_own_time_only(dsn: str) -> None:
    """One host that is down, one that drops packets, and one that is up, each with a separate timeout."""
    async with proxy_to(dsn) as silent, proxy_to(dsn) as alive:
        silent.withhold = True
        hosts = ",".join(
            [f"127.0.0.1:{free_port()}", *(urlsplit(proxy.dsn).netloc.partition("@")[2] for proxy in (silent, alive))]
        )
        account = urlsplit(alive.dsn).netloc.rpartition("@")[0]
        options = connect_options(f"postgresql://{account}@{hosts}{alive.database}?connect_timeout=5")
        connection = await connect(**options)
        assert await connection.fetchval("SELECT 1") == 1
        await connection.close()


async def test_the_old_primary_is_passed_over(dsn: str, tmp_path: Path) -> None:
    """It is alive after a fail-over, and read-only."""
    old = await asyncio.to_thread(EmbeddedPostgres.start, tmp_path / "old", options={"fsync": "off"})
    try:
        name = urlsplit(dsn).path.strip("/")
        connection = await asyncpg.connect(old.dsn)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        await connection.close()
        async with proxy_to(old.dsn) as first, proxy_to(dsn) as second:
            hosts = ",".join(urlsplit(proxy.dsn).netloc.partition("@")[2] for proxy in (first, second))
            account = urlsplit(second.dsn).netloc.rpartition("@")[0]
            connection = await connect(**connect_options(f"postgresql://{account}@{hosts}/{name}"))
            assert await connection.fetchval("SELECT current_setting('transaction_read_only')") == "off"
            assert await connection.fetchval("SELECT count(*) FROM migration") > 0
            await connection.close()
    finally:
        await asyncio.to_thread(old.stop)


async def test_when_no_host_answers_the_last_error_is_told() -> None:
    options = connect_options(f"postgresql://postgres@127.0.0.1:{free_port()},127.0.0.1:{free_port()}/idp")
    with pytest.raises((OSError, asyncpg.PostgresError)):
        await connect(**options)
