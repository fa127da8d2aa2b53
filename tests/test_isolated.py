"""`IDP_ISOLATED`: a server on a copy connects to nothing but PostgreSQL."""

import asyncio
from collections.abc import Callable, Iterator
from email.message import EmailMessage

import pytest

from idp import app
from idp.infra import dns, outbound
from idp.infra.outbound import CallFailed, ForbiddenAddressError
from idp.infra.outbound_streams import Stream, ask_datagram
from idp.mail import deliver, smtp
from idp.settings import settings


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """With settings that would allow all of it."""
    monkeypatch.setenv("IDP_ISOLATED", "true")
    monkeypatch.setenv("IDP_SMTP_URL", "smtp://127.0.0.1:1")
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
async def listening() -> Callable[[], tuple[int, int]]:
    """A server that counts its connections: returns its port and their number."""
    count = 0

    def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    return lambda: (port, count)


async def test_no_connection_is_made(listening: Callable[[], tuple[int, int]]) -> None:
    port, _ = listening()
    url = f"http://127.0.0.1:{port}"
    with pytest.raises(ForbiddenAddressError, match="IDP_ISOLATED"):
        await outbound.get(url, {}, max_bytes=1)
    with pytest.raises(CallFailed):
        await Stream.open("127.0.0.1", port, timeout_seconds=5)
    with pytest.raises(CallFailed):
        await ask_datagram("127.0.0.1", port, b"")
    with pytest.raises(smtp.MailNotSentError, match="IDP_ISOLATED"):
        await smtp.send(EmailMessage(), f"smtp://127.0.0.1:{port}", greeting="localhost")
    with pytest.raises(smtp.TestFailedError, match="IDP_ISOLATED"):
        await smtp.test(f"smtp://127.0.0.1:{port}", greeting="localhost")
    with pytest.raises(smtp.MailNotSentError, match="IDP_ISOLATED"):
        await deliver.hand_over(EmailMessage())
    with pytest.raises(dns.ResolverError, match="IDP_ISOLATED"):
        await dns.txt("example.com")
    assert listening() == (port, 0)
    # Its own address is not outside.
    with pytest.raises(CallFailed):
        await outbound.observe("GET", url, {}, b"", own={url}, timeout_seconds=5)
    assert listening() == (port, 1)


def test_it_says_that_it_sends_no_mail_and_no_traces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDP_TRACING", "true")
    settings.cache_clear()
    assert not settings().sends_mail
    assert not settings().sends_traces


async def test_outward_tasks_do_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    async def noted(name: str, _run: object) -> None:
        names.append(name)

    monkeypatch.setattr(app, "kept_running", noted)
    for value, missing in (("true", set(app.OUTWARD)), ("false", set())):
        monkeypatch.setenv("IDP_ISOLATED", value)
        settings.cache_clear()
        names.clear()
        await asyncio.gather(*app._background())
        assert app.OUTWARD - set(names) == missing
