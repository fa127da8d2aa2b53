"""PgBouncer in transaction mode before PostgreSQL: paused, led to another server, and restarted under load."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.outage.conftest import RECOVERED_WITHIN, SignIn, StartPrimary, StartServer, StartStandby
from tests.support.load import load
from tests.support.pgbouncer import KEEPS_PREPARED, PgBouncer, needs_pgbouncer
from tests.support.replication import Node, revoked, stored

pytestmark = needs_pgbouncer

#: With prepared statements, if this PgBouncer can keep them, and without.
MODES = ["false", "true"] if KEEPS_PREPARED else ["false"]
#: Seconds for which a request may wait for a pooler that is paused, on a machine with other work.
PAUSED_WITHIN = 30


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def primary(start_primary: StartPrimary) -> Node:
    return start_primary()


@pytest.fixture
def pgbouncer(primary: Node, tmp_path: Path, mode: str) -> Iterator[PgBouncer]:
    pooler = PgBouncer(tmp_path / "pgbouncer", primary.dsn, prepared=mode == "true")
    yield pooler
    pooler.stop()


async def test_a_pooler_is_paused_for_a_switchover_and_restarts(
    pgbouncer: PgBouncer,
    primary: Node,
    mode: str,
    start_standby: StartStandby,
    start: StartServer,
    sign_in: SignIn,
) -> None:
    standby = start_standby(primary)
    server = await asyncio.to_thread(start, pgbouncer.dsn, IDP_DATABASE_PREPARED_STATEMENTS=mode)
    async with sign_in(server) as sessions, load(server, sessions) as running:
        # Requests wait meanwhile. Those that wait for too long get 503.
        await pgbouncer.command("PAUSE")
        await asyncio.to_thread(primary.stop)
        await asyncio.to_thread(standby.promote)
        await pgbouncer.lead_to(standby.dsn)
        await pgbouncer.command("RESUME")
        await running.until_rotated(RECOVERED_WITHIN)

        # Its connections to PostgreSQL are replaced without an error.
        refused = len(running.refused)
        await pgbouncer.command("RECONNECT")
        await running.until_rotated(RECOVERED_WITHIN)
        assert len(running.refused) == refused

        await asyncio.to_thread(pgbouncer.stop)
        await running.until_refused()
        await asyncio.to_thread(pgbouncer.start)
        await running.until_rotated(RECOVERED_WITHIN)
    running.check(PAUSED_WITHIN)
    assert running.received <= await stored(standby)
    assert await revoked(standby) == 0
    assert "unexpected_error" not in server.log
