"""The outbox of the real server, and messages that are interrupted by its end."""

import asyncio
import secrets
from collections.abc import Callable

import pytest

from idp.infra.db.engine import execute, fetch
from tests.mail.conftest import Moody, newest, queue
from tests.support.mailbox import Mailbox
from tests.support.server import Server

Serve = Callable[..., Server]


@pytest.fixture
def to() -> str:
    return f"{secrets.token_hex(6)}@example.com"


async def _until_sent(count: int) -> None:
    async with asyncio.timeout(20):
        while len(await fetch("SELECT 1 FROM mail WHERE state = 'sent'")) < count:
            await asyncio.sleep(0.05)


async def _until_sending(moody: Moody) -> None:
    async with asyncio.timeout(20):
        await moody.entered.wait()


async def _end_of_lease() -> None:
    await execute("UPDATE mail SET next_attempt_at = now() WHERE state = 'sending'")


async def test_the_server_sends(served: Serve, mailbox: Mailbox, to: str) -> None:
    await asyncio.to_thread(served, IDP_SMTP_URL=mailbox.url)
    await queue(to)
    await mailbox.next(to)
    await _until_sent(1)


@pytest.mark.parametrize("moment", ["before the answer", "before the goodbye", "after the mark"])
async def test_a_killed_server(served: Serve, mailbox: Mailbox, moody: Moody, to: str, moment: str) -> None:
    """Killed while it sends, the message is sent by the next one; killed afterwards, it is not sent again."""
    moody.answers = ["hang"] if moment == "before the answer" else []
    moody.goodbye = moment != "before the goodbye"
    first = await asyncio.to_thread(served, IDP_SMTP_URL=moody.url)
    await queue(to)
    await _until_sending(moody)
    if moment != "before the answer":
        await _until_sent(1)
    await asyncio.to_thread(first.kill)
    await _end_of_lease()
    await asyncio.to_thread(served, IDP_SMTP_URL=mailbox.url)
    if moment == "before the answer":
        await mailbox.next(to)
    await _until_sent(1)
    marker = f"marker-{to}"
    await queue(marker)
    await mailbox.next(marker)
    assert len(mailbox.to(to)) + len(moody.envelopes) == 1


async def test_a_stopped_server_ends_its_conversations(served: Serve, moody: Moody, to: str) -> None:
    moody.answers = ["hang"]
    server = await asyncio.to_thread(served, IDP_SMTP_URL=moody.url)
    await queue(to)
    await _until_sending(moody)
    stopping = asyncio.create_task(asyncio.to_thread(server.stop))
    ended, _ = await asyncio.wait({stopping}, timeout=1.5)
    assert not ended
    moody.go_on.set()
    assert await stopping == 0
    assert (await newest())["state"] == "sent"
    assert len(moody.envelopes) == 1


async def test_a_stopped_server_does_not_wait_for_ever(served: Serve, mailbox: Mailbox, moody: Moody, to: str) -> None:
    moody.answers = ["hang"]
    server = await asyncio.to_thread(served, IDP_SMTP_URL=moody.url)
    await queue(to)
    await _until_sending(moody)
    async with asyncio.timeout(30):
        assert await asyncio.to_thread(server.stop) == 0
    assert (await newest())["state"] == "sending"
    await _end_of_lease()
    await asyncio.to_thread(served, IDP_SMTP_URL=mailbox.url)
    await mailbox.next(to)
    await _until_sent(1)
