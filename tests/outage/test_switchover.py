"""Planned work on PostgreSQL under load: a switchover, and the return of the old primary as a standby."""

import asyncio
import logging

from tests.outage.conftest import RECOVERED_WITHIN, REFUSED_WITHIN, SignIn, StartPrimary, StartServer, StartStandby
from tests.support.load import load
from tests.support.processes import descendants
from tests.support.replication import revoked, stored, url

log = logging.getLogger(__name__)


async def test_a_switchover_and_a_rolling_restart(
    start_primary: StartPrimary, start_standby: StartStandby, start: StartServer, sign_in: SignIn
) -> None:
    """A shutdown sends everything to the standby first, so nothing is lost without synchronous replication either."""
    first = start_primary()
    second = start_standby(first)
    server = await asyncio.to_thread(start, url(first, second))
    async with sign_in(server) as sessions, load(server, sessions) as running:
        workers = descendants(server.process.pid)

        await asyncio.to_thread(first.stop)
        await asyncio.to_thread(second.promote)
        log.warning("Served again %.1f s after a switchover.", await running.until_rotated(RECOVERED_WITHIN))
        assert running.received <= await stored(second)

        # The old primary becomes a standby. Connections are not led to it, although it is the first host of the URL.
        await asyncio.to_thread(first.rewind, second)
        await asyncio.to_thread(first.start)
        await second.until("SELECT state = 'streaming' FROM pg_stat_replication")
        refused = len(running.refused)
        await second.cut()
        await running.until_rotated(RECOVERED_WITHIN)
        assert len(running.refused) - refused <= 2 * len(sessions)

        # The standby restarts, and then the primary.
        await asyncio.to_thread(first.stop)
        await asyncio.to_thread(first.start)
        await asyncio.to_thread(second.stop)
        await asyncio.to_thread(second.start)
        log.warning("Served again %.1f s after a restart.", await running.until_rotated(RECOVERED_WITHIN))
        assert descendants(server.process.pid) == workers
    running.check(REFUSED_WITHIN)
    assert running.received <= await stored(second)
    assert await revoked(second) == 0
    assert "unexpected_error" not in server.log
