"""The primary is killed under load, and a replica is promoted: the same processes go on, and nothing is lost.

`make test ARGS='-n 0 tests/outage --log-cli-level=WARNING'` prints the times in docs/operations.md.
"""

import asyncio
import logging

from idp.keys import root_key
from idp.oauth.clients.registration import disable_client
from tests.outage.conftest import RECOVERED_WITHIN, REFUSED_WITHIN, SignIn, StartPrimary, StartServer, StartStandby
from tests.support.isolated import isolated
from tests.support.load import load
from tests.support.processes import descendants
from tests.support.replication import revoked, stored, url
from tests.support.tokens import jti_of

log = logging.getLogger(__name__)

IN_SYNC = "SELECT sync_state = 'sync' FROM pg_stat_replication"


async def test_a_primary_is_killed_under_load(
    start_primary: StartPrimary, start_standby: StartStandby, start: StartServer, sign_in: SignIn
) -> None:
    """With synchronous replication. Clients get 503 meanwhile, and no rotation that was answered is lost."""
    primary = start_primary()
    standby = start_standby(primary)
    await primary.configure(synchronous_standby_names="standby")
    await primary.until(IN_SYNC)
    server = await asyncio.to_thread(start, url(primary, standby))
    async with sign_in(server) as sessions:
        workers = descendants(server.process.pid)
        async with load(server, sessions) as running:
            await asyncio.to_thread(primary.kill)
            await running.until_refused()
            await asyncio.to_thread(standby.promote)
            log.warning("Served again %.1f s after the promotion.", await running.until_rotated(RECOVERED_WITHIN))
        running.check(REFUSED_WITHIN)
        assert descendants(server.process.pid) == workers
        assert running.received <= await stored(standby)
        assert await revoked(standby) == 0
        assert "unexpected_error" not in server.log

        # Every worker learns of changes again.
        async with isolated(standby.dsn, migrated=False):
            await root_key.unlock()
            await disable_client(sessions[0].party.client_id)
        async with asyncio.timeout(RECOVERED_WITHIN):
            while {(await session.refresh()).error for session in sessions} != {"invalid_client"}:
                await asyncio.sleep(0.02)


async def test_rotations_that_a_replica_has_not_got(
    start_primary: StartPrimary, start_standby: StartStandby, start: StartServer, sign_in: SignIn
) -> None:
    """With asynchronous replication, answered rotations are lost. Their tokens still work, and count as no reuse."""
    primary = start_primary()
    standby = start_standby(primary)
    server = await asyncio.to_thread(start, url(primary, standby))
    async with sign_in(server) as sessions:
        # The replica has the sign-ins, and gets nothing more.
        await primary.until("SELECT replay_lsn >= pg_current_wal_lsn() FROM pg_stat_replication")
        await standby.configure(primary_conninfo="")
        await primary.until("SELECT count(*) = 0 FROM pg_stat_replication")
        for _ in range(2):
            await asyncio.gather(*(session.refresh() for session in sessions))
        await asyncio.to_thread(primary.kill)
        await asyncio.to_thread(standby.promote)
        lost = {str(jti_of(token)) for session in sessions for token in session.received[1:]}
        assert len(lost) == 2 * len(sessions)
        assert lost.isdisjoint(await stored(standby))

        # A client whose answer does not arrive repeats its request with the lost token, and gets the same successor.
        first, presented = sessions[0], sessions[0].received[-1]
        async with asyncio.timeout(RECOVERED_WITHIN):
            while (await first.refresh()).status != 200:
                await asyncio.sleep(0.02)
        assert (await first.party.refresh(presented)).json()["refresh_token"] == first.received[-1]
        async with load(server, sessions) as running:
            await running.until_rotated(RECOVERED_WITHIN)
    running.check(REFUSED_WITHIN)
    assert await revoked(standby) == 0
    assert server.log.count('"event":"refresh_token_unknown"') >= len(sessions)
