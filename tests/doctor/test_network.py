"""Time servers, upstreams, receivers and metrics that do not answer as they should, each found and named."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from idp.doctor.clocks import SECONDS_1900_TO_1970
from idp.doctor.models import Finding, Level, Needs
from idp.events import webhooks
from idp.federation import registry
from idp.settings import settings
from tests.support.authority import Authority
from tests.support.examinations import named, one, run
from tests.support.receivers import Receivers
from tests.support.reverse_proxy import reverse_proxy
from tests.support.server import Server, free_port
from tests.support.stand_ins import CLIENT_ID, OpenIDProvider

# The time


class TimeServer(asyncio.DatagramProtocol):
    """An NTP server whose clock is so many seconds ahead.

    Attributes:
        stratum: 0 refuses (kiss of death).
        lies: whether it answers another question.
    """

    def __init__(self) -> None:
        self.ahead, self.stratum, self.lies = 0.0, 2, False
        self.port = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        now = int((time.time() + self.ahead + SECONDS_1900_TO_1970) * (1 << 32)).to_bytes(8, "big")
        cookie = bytes(8) if self.lies else data[40:48]
        self.transport.sendto(bytes([0x24, self.stratum, 0, 0]) + bytes(12) + now + cookie + now + now, addr)


@pytest.fixture
async def time_server() -> AsyncIterator[TimeServer]:
    server = TimeServer()
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: server, local_addr=("127.0.0.1", 0)
    )
    yield server
    transport.close()


async def ask(server: TimeServer) -> list[Finding]:
    return await run("time_server", provides=Needs.SETTINGS, time_server=f"127.0.0.1:{server.port}")


async def test_a_clock_that_is_right(time_server: TimeServer) -> None:
    assert [finding.level for finding in await ask(time_server)] == [Level.OK]
    assert await run("time_server", provides=Needs.SETTINGS) == []


@pytest.mark.parametrize(("ahead", "level"), [(10, Level.WARNING), (-10, Level.WARNING), (-90, Level.ERROR)])
async def test_a_clock_that_is_wrong(time_server: TimeServer, ahead: float, level: Level) -> None:
    time_server.ahead = ahead
    findings = await ask(time_server)
    assert named(findings) == {("clock_wrong", level)}
    assert ("behind" if ahead > 0 else "ahead of") in one(findings, "clock_wrong").text
    assert "chrony" in one(findings, "clock_wrong").mend


async def test_answers_that_are_none(time_server: TimeServer) -> None:
    time_server.ahead, time_server.stratum = 90, 0
    assert named(await ask(time_server)) == {("time_server_unanswered", Level.NOTE)}
    time_server.stratum, time_server.lies = 2, True
    assert named(await ask(time_server)) == {("time_server_unanswered", Level.NOTE)}


async def test_a_private_time_server_is_not_asked(time_server: TimeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard applies to datagrams too."""
    monkeypatch.setenv("IDP_OUTBOUND_ALLOWED_HOSTS", "")
    settings.cache_clear()
    assert named(await ask(time_server)) == {("time_server_unanswered", Level.NOTE)}
    monkeypatch.undo()
    settings.cache_clear()


# Upstreams


@pytest.fixture
def provider() -> Iterator[OpenIDProvider]:
    provider = OpenIDProvider()
    yield provider
    provider.stop()


async def add(provider: OpenIDProvider, secret: str = "a-client-secret") -> None:
    provider.client_secret = secret
    upstream = registry.configure(
        id="staff", name="Staff", issuer=provider.issuer, client_id=CLIENT_ID, client_secret=secret
    )
    assert await registry.add(upstream)


@pytest.mark.usefixtures("own_database")
async def test_upstreams(provider: OpenIDProvider) -> None:
    await add(provider)
    assert [finding.level for finding in await run("upstreams")] == [Level.OK]


@pytest.mark.usefixtures("own_database")
async def test_an_upstream_with_the_metadata_of_another_issuer(provider: OpenIDProvider) -> None:
    provider.faults.add("other_metadata")
    await add(provider)
    findings = await run("upstreams")
    assert named(findings) == {("upstream_fails", Level.ERROR)}
    assert "another issuer" in one(findings, "upstream_fails").text
    assert "idp upstreams test staff" in one(findings, "upstream_fails").mend


@pytest.mark.usefixtures("own_database")
async def test_an_upstream_that_refuses_our_secret(provider: OpenIDProvider) -> None:
    await add(provider)
    provider.client_secret = "another"
    found = one(await run("upstreams"), "upstream_fails")
    assert "refuses the client id or the client secret" in found.text


@pytest.mark.usefixtures("own_database")
async def test_an_upstream_whose_metadata_are_gone(provider: OpenIDProvider) -> None:
    provider.metadata_path = "/moved"
    await add(provider)
    assert named(await run("upstreams")) == {("upstream_fails", Level.ERROR)}


@pytest.mark.usefixtures("own_database")
async def test_a_secret_at_an_upstream_that_expires(
    provider: OpenIDProvider, move_clock: Callable[[float], None]
) -> None:
    claims = base64.urlsafe_b64encode(msgspec.json.encode({"exp": time.time() + 20 * 86400})).decode().rstrip("=")
    secret = f"e30.{claims}.signature"
    await add(provider, secret)
    assert named(await run("upstreams")) == set()
    for days, level in ((10, Level.WARNING), (21, Level.ERROR)):
        move_clock(days * 86400)
        findings = await run("upstreams")
        assert named(findings) == {("upstream_secret_expires", level)}
        assert secret not in str(findings)


# Receivers


@pytest.mark.usefixtures("own_database")
async def test_receivers(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Receivers() as receivers:
        await webhooks.add(receivers.url("hook?token=a-secret-token"), ["sign_in"])
        findings = await run("receivers")
        assert named(findings) == {("receiver_without_https", Level.WARNING)}
        assert "a-secret-token" not in str(findings)
        assert receivers.received == []
        monkeypatch.setenv("IDP_OUTBOUND_ALLOWED_HOSTS", "")
        settings.cache_clear()
        findings = await run("receivers")
        monkeypatch.undo()
        settings.cache_clear()
        assert named(findings) == {("receiver_forbidden", Level.ERROR)}
        assert "IDP_OUTBOUND_ALLOWED_HOSTS" in one(findings, "receiver_forbidden").mend
    assert named(await run("receivers")) == {("receiver_unreachable", Level.ERROR)}


@pytest.mark.usefixtures("own_database")
async def test_a_receiver_with_a_bad_certificate(tmp_path: Path) -> None:
    port = free_port()
    async with reverse_proxy(port, Authority(tmp_path).context()):
        findings = await run("receivers", audit_checkpoint_url=f"https://localhost:{port}/?key=a-secret-key")
        assert named(findings) == {("receiver_unreachable", Level.ERROR)}
        assert "IDP_AUDIT_CHECKPOINT_URL at localhost" in one(findings, "receiver_unreachable").text
        assert "a-secret-key" not in str(findings)


# Metrics


async def test_metrics(start_server: Callable[..., Server]) -> None:
    port = free_port()
    start_server(IDP_METRICS_ADDRESS=f"127.0.0.1:{port}")
    async with asyncio.timeout(30):
        # The listener starts after the server answers.
        while named(await run("metrics", provides=Needs.SETTINGS, metrics_address=f"127.0.0.1:{port}")):
            await asyncio.sleep(0.05)
    findings = await run("metrics", provides=Needs.SETTINGS, metrics_address=f"127.0.0.1:{port}")
    assert [finding.level for finding in findings] == [Level.OK]
    findings = await run("metrics", provides=Needs.SETTINGS, metrics_address=f"0.0.0.0:{port}")
    assert named(findings) == {("metrics_exposed", Level.WARNING)}
    assert await run("metrics", provides=Needs.SETTINGS) == []


async def test_metrics_that_are_not_served() -> None:
    findings = await run("metrics", provides=Needs.SETTINGS, metrics_address=f"127.0.0.1:{free_port()}")
    assert named(findings) == {("metrics_missing", Level.WARNING)}
