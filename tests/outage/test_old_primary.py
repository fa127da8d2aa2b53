"""An old primary that is still there after a promotion, because nothing fenced it."""

import asyncio
import logging
import time

import asyncpg
import pytest
from structlog.testing import capture_logs

from idp.infra.db import hosts
from idp.infra.db.dsn import connect_options
from idp.infra.db.outages import READ_ONLY, STALE, StalePrimaryError, outage
from tests.outage.conftest import RECOVERED_WITHIN, REFUSED_WITHIN, SignIn, StartPrimary, StartServer, StartStandby
from tests.support.load import load
from tests.support.replication import revoked, stored, url

log = logging.getLogger(__name__)

#: Seconds for which a request may wait for a PostgreSQL that hangs: the poll finds it out in 12, on a machine with
#: other work in more. Before that was so, it was 32.
SILENCE_WITHIN = 30


@pytest.mark.fault(47)
@pytest.mark.fault(48)
async def test_a_primary_hangs_and_another_takes_over(
    start_primary: StartPrimary, start_standby: StartStandby, start: StartServer, sign_in: SignIn
) -> None:
    """As when a machine or a network stops without a word: nothing is refused, and nothing is answered.

    Afterwards the old primary is alive, accepts writes, and is the first host in the URL. No server goes back to it.
    """
    primary = start_primary()
    standby = start_standby(primary)
    server = await asyncio.to_thread(start, url(primary, standby))
    async with sign_in(server) as sessions:
        async with load(server, sessions) as running:
            await asyncio.to_thread(primary.pause)
            log.warning("Requests failed %.1f s after PostgreSQL hung.", await running.until_refused())
            # The others fail at once.
            known = time.monotonic()
            await running.until_refused()
            assert max(answer.seconds for answer in running.refused if answer.sent > known) < REFUSED_WITHIN
            await asyncio.to_thread(standby.promote)
            log.warning("Served again %.1f s after the promotion.", await running.until_rotated(RECOVERED_WITHIN))
            assert "database_silent" in server.log

            # The old primary is not fenced. New connections do not lead there, nor does a poll that was interrupted.
            before_resumed = running.received
            await asyncio.to_thread(primary.resume)
            await standby.cut()
            await running.until_rotated(RECOVERED_WITHIN)
        running.check(SILENCE_WITHIN)
        received = running.received - before_resumed
        assert received <= await stored(standby)
        assert received.isdisjoint(await stored(primary))
        assert await revoked(standby) == 0


@pytest.fixture
def no_hosts_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process. All hosts answer, however busy the machine is."""
    monkeypatch.setattr(hosts, "LEARN_SECONDS", 30.0)
    for name in ("_failed", "_newest"):
        monkeypatch.setattr(hosts, name, {})
    monkeypatch.setattr(hosts, "_learned", set())


@pytest.mark.fault(48)
@pytest.mark.usefixtures("no_hosts_known")
async def test_of_two_primaries_the_promoted_one_is_used(
    start_primary: StartPrimary, start_standby: StartStandby
) -> None:
    """A process that starts finds both, and the one on the older timeline is the first host in the URL."""
    primary = start_primary()
    standby = start_standby(primary)
    await asyncio.to_thread(primary.kill)
    await asyncio.to_thread(standby.promote)
    await asyncio.to_thread(primary.start)
    options = connect_options(url(primary, standby))
    for _ in range(2):
        with capture_logs() as logs:
            connection = await hosts.connect(**options)
        assert await connection.fetchval("SELECT inet_server_port()") == standby.port
        await connection.close()
    # It was tried last the second time.
    assert logs == []

    await asyncio.to_thread(standby.stop)
    with capture_logs() as logs, pytest.raises(StalePrimaryError) as refused:
        await hosts.connect(**options)
    assert outage(refused.value) is STALE
    assert [entry["event"] for entry in logs] == ["stale_primary_refused"]

    await asyncio.to_thread(primary.stop)
    await asyncio.to_thread(standby.start)
    connection = await hosts.connect(**options)
    await connection.close()


@pytest.mark.usefixtures("no_hosts_known")
async def test_only_a_standby_is_left(start_primary: StartPrimary, start_standby: StartStandby) -> None:
    """The reason that operators get says so, whichever host is the last one."""
    primary = start_primary()
    standby = start_standby(primary)
    await asyncio.to_thread(primary.kill)
    for order in ((primary, standby), (standby, primary)):
        with pytest.raises(asyncpg.TargetServerAttributeNotMatched) as refused:
            await hosts.connect(**connect_options(url(*order)))
        assert outage(refused.value) is READ_ONLY
