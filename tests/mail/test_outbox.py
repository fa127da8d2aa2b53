"""The outbox: nothing is lost or sent twice, and failures have a reason."""

import asyncio
import mailbox as maildir
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from idp.infra.db import retries
from idp.infra.db.engine import execute, fetch, fetchrow, transaction
from idp.infra.db.outages import DatabaseUnavailableError
from idp.mail import outbox, repository
from idp.mail.deliver import captured_mail
from tests.mail.conftest import Moody, UseSettings, newest, queue
from tests.support.postgres import Cluster

StartSender = Callable[[], asyncio.Task[None]]


async def _due() -> None:
    await execute("UPDATE mail SET next_attempt_at = now() WHERE next_attempt_at IS NOT NULL")


async def test_a_message_is_sent_and_erased(smtp: Moody) -> None:
    await queue()
    row = await newest()
    assert b"Alice" not in row["content"]
    assert await outbox.deliver_due() == 1
    (envelope,) = smtp.envelopes
    assert envelope.rcpt_tos == ["alice@example.com"]
    assert f"Message-ID: <{row['id']}@id.example.com>".encode() in envelope.content
    row = await newest()
    assert (row["state"], row["content"], row["response"]) == ("sent", None, "Kept as 42")
    assert await outbox.deliver_due() == 0


async def test_a_rolled_back_message_is_not_sent(smtp: Moody) -> None:
    async def change() -> None:
        async with transaction():
            await outbox.queue("alice@example.com", "welcome", name="Alice")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await change()
    assert await outbox.deliver_due() == 0


@pytest.mark.parametrize(
    "answer", ["451 Greylisted, come again", "RCPT 450 Mailbox busy", "drop", "421 Closing"], ids=str.split
)
async def test_temporary_failures_are_retried(smtp: Moody, answer: str) -> None:
    smtp.answers = [answer, answer]
    await queue()
    waits = []
    for attempt in (1, 2):
        await outbox.deliver_due()
        row = await fetchrow(
            "SELECT state, attempts, response, extract(epoch FROM next_attempt_at - now()) AS wait FROM mail"
        )
        assert row is not None
        assert (row["state"], row["attempts"]) == ("deferred", attempt)
        assert answer.removeprefix("RCPT ").split()[-1] in row["response"] or answer in ("drop", "421 Closing")
        waits.append(float(row["wait"]))
        assert await outbox.deliver_due() == 0
        await _due()
    assert 3 < waits[0] < 7 < waits[1] < 13
    await outbox.deliver_due()
    assert (await newest())["state"] == "sent"
    assert len(smtp.envelopes) == 1


async def test_waits_grow_to_a_bound(smtp: Moody) -> None:
    smtp.answers = ["451 No"]
    await queue(lifetime=10_000_000)
    await execute("UPDATE mail SET attempts = 200")
    await outbox.deliver_due()
    row = await fetchrow("SELECT extract(epoch FROM next_attempt_at - now())::float8 AS wait FROM mail")
    assert row is not None
    assert outbox.LONGEST_WAIT * 0.7 < row["wait"] < outbox.LONGEST_WAIT * 1.3


@pytest.mark.parametrize("answer", ["RCPT 550 No such user", "554 Looks like spam"])
async def test_permanent_failures_are_given_up(smtp: Moody, answer: str) -> None:
    smtp.answers = [answer]
    await queue()
    await outbox.deliver_due()
    row = await newest()
    assert (row["state"], row["content"]) == ("dead", None)
    assert row["response"] == answer.removeprefix("RCPT ")


async def test_a_dead_server_loses_nothing(smtp: Moody, use_settings: UseSettings) -> None:
    from idp.settings import settings

    url = settings().smtp_url
    assert url is not None
    use_settings(smtp_url="smtp://127.0.0.1:1")
    for number in range(10):
        await queue(f"user-{number}@example.com")
    while await outbox.deliver_due():
        pass
    assert {row["state"] for row in await fetch("SELECT state FROM mail")} == {"deferred"}
    use_settings(smtp_url=url.get_secret_value())
    await _due()
    while await outbox.deliver_due():
        pass
    assert sorted(envelope.rcpt_tos[0] for envelope in smtp.envelopes) == [f"user-{n}@example.com" for n in range(10)]


async def test_a_code_is_not_sent_after_it_died(smtp: Moody) -> None:
    await queue(lifetime=60)
    await execute("UPDATE mail SET expires_at = now()")
    await outbox.deliver_due()
    row = await newest()
    assert (row["state"], row["content"], smtp.envelopes) == ("dead", None, [])


async def test_two_senders_never_take_the_same_one(smtp: Moody) -> None:
    for number in range(40):
        await queue(f"user-{number}@example.com")

    async def send() -> None:
        while await outbox.deliver_due():
            pass

    await asyncio.gather(*(send() for _ in range(5)))
    assert len(smtp.envelopes) == 40
    assert len({envelope.rcpt_tos[0] for envelope in smtp.envelopes}) == 40


async def test_a_slow_process_keeps_its_lease(smtp: Moody) -> None:
    """No other process takes it until the lease has expired, as after a kill."""
    smtp.answers = ["hang"]
    await queue()
    sending = asyncio.create_task(outbox.deliver_due())
    await smtp.entered.wait()
    assert await outbox.deliver_due() == 0
    await execute("UPDATE mail SET next_attempt_at = now() - interval '1 second'")
    assert await outbox.deliver_due() == 1
    smtp.go_on.set()
    await sending
    assert (await newest())["state"] == "sent"
    first, second = (envelope.content.partition(b"Message-ID: ")[2][:36] for envelope in smtp.envelopes)
    assert first == second


@pytest.mark.fault(45)
async def test_a_message_is_kept_as_long_as_it_is_sent(smtp: Moody, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease is short, so that a killed process blocks a message briefly, and is renewed while the process lives."""
    monkeypatch.setattr(outbox, "RENEW_SECONDS", 0.01)
    smtp.answers = ["hang"]
    await queue()
    sending = asyncio.create_task(outbox.deliver_due())
    await smtp.entered.wait()
    (taken,) = await fetch("SELECT next_attempt_at - now() <= interval '30 seconds' AS soon FROM mail")
    assert taken["soon"]
    for _ in range(3):
        await execute("UPDATE mail SET next_attempt_at = now() + interval '1 second'")
        async with asyncio.timeout(30):
            while not await fetchrow("SELECT 1 FROM mail WHERE next_attempt_at > now() + interval '10 seconds'"):
                await asyncio.sleep(0.01)
    smtp.go_on.set()
    await sending
    assert (await newest())["state"] == "sent"
    assert await fetchrow("SELECT 1 FROM mail WHERE next_attempt_at IS NOT NULL") is None


@pytest.mark.fault(45)
async def test_after_an_outage_results_are_recorded_before_messages_are_taken(
    smtp: Moody, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message was sent, recording it failed, and the lease expired: the result is recorded before another process
    takes it.
    """
    monkeypatch.setattr(outbox, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(outbox, "SETTLE_SECONDS", 2.0)
    monkeypatch.setattr(retries, "WAITS", (0.01,) * 10_000)
    away = False

    def while_it_is_there(function: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        async def call(*arguments: object) -> object:
            if away:
                raise DatabaseUnavailableError
            return await function(*arguments)

        return call

    for module, name in ((repository, "execute"), (repository, "fetch"), (outbox, "ping")):
        monkeypatch.setattr(module, name, while_it_is_there(getattr(module, name)))
    smtp.answers = ["hang"]
    await queue()
    sending = asyncio.create_task(outbox.deliver_due())
    await smtp.entered.wait()
    away = True
    with capture_logs() as lines:
        other = asyncio.create_task(outbox.run())
        try:
            smtp.go_on.set()
            async with asyncio.timeout(20):
                # One of the server that cannot record the result, and one of the server that cannot claim.
                while len(lines) < 2 or not smtp.envelopes:
                    await asyncio.sleep(0.01)
            await execute("UPDATE mail SET next_attempt_at = now() - interval '1 minute'")
            away = False
            await sending
            await queue("marker@example.com")
            async with asyncio.timeout(20):
                while len(smtp.envelopes) < 2:
                    await asyncio.sleep(0.01)
        finally:
            other.cancel()
            await asyncio.gather(other, return_exceptions=True)
    assert [envelope.rcpt_tos[0] for envelope in smtp.envelopes][1] == "marker@example.com"


@pytest.mark.parametrize(
    ("first", "second"), [("451 Not now", "250 Kept"), ("250 Kept", "451 Not now"), ("554 Spam", "250 Kept")]
)
async def test_a_late_failure_does_not_replace_a_success(smtp: Moody, first: str, second: str) -> None:
    """Once one of two processes has sent it, it stays sent."""
    smtp.answers = [f"hang {first}", second]
    await queue()
    sending = asyncio.create_task(outbox.deliver_due())
    await smtp.entered.wait()
    await _due()
    assert await outbox.deliver_due() == 1
    smtp.go_on.set()
    await sending
    assert (await newest())["state"] == "sent"
    assert await outbox.deliver_due() == 0
    assert len(smtp.envelopes) == 1


async def test_a_result_is_recorded_before_quit(smtp: Moody) -> None:
    smtp.goodbye = False
    await queue()
    async with asyncio.timeout(30):
        await outbox.deliver_due()
    assert (await newest())["state"] == "sent"


async def test_a_result_is_recorded_after_an_outage(smtp: Moody, own_database: str, cluster: Cluster) -> None:
    name = urlsplit(own_database).path[1:]
    smtp.answers = ["hang"]
    await queue()
    with capture_logs() as lines:
        sending = asyncio.create_task(outbox.deliver_due())
        await smtp.entered.wait()
        await cluster.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await cluster.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        smtp.go_on.set()
        async with asyncio.timeout(30):
            while not lines:
                await asyncio.sleep(0.01)
        await cluster.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await sending
    assert {line["event"] for line in lines} == {"outbox_failed"}
    assert (await newest())["state"] == "sent"
    assert len(smtp.envelopes) == 1


async def test_a_result_that_cannot_be_recorded_is_logged(smtp: Moody) -> None:
    """An error that is no outage is not tried again, and the message does not hold a connection until it is."""
    smtp.answers = ["hang"]
    await queue()
    with capture_logs() as lines:
        sending = asyncio.create_task(outbox.deliver_due())
        await smtp.entered.wait()
        await execute("ALTER TABLE mail RENAME TO away")
        smtp.go_on.set()
        async with asyncio.timeout(30):
            await sending
    assert [(line["event"], line["log_level"], line["error"]) for line in lines] == [
        ("mail_not_recorded", "error", "UndefinedTableError")
    ]


@pytest.fixture
async def start_sender(smtp: Moody) -> AsyncIterator[StartSender]:
    """Starts what runs in a server."""
    started: list[asyncio.Task[None]] = []

    def start() -> asyncio.Task[None]:
        started.append(asyncio.create_task(outbox.run()))
        return started[-1]

    yield start
    smtp.go_on.set()
    for sender in started:
        sender.cancel()
    await asyncio.gather(*started, return_exceptions=True)


async def test_one_that_hangs_holds_up_no_other(smtp: Moody, start_sender: StartSender) -> None:
    """And a sender waits for the end of its conversation."""
    smtp.answers = ["hang"]
    sender = start_sender()
    for number in range(12):
        await queue(f"user-{number}@example.com")
    async with asyncio.timeout(30):
        while len(smtp.envelopes) < 11:
            await asyncio.sleep(0.01)
    sender.cancel()
    ended, _ = await asyncio.wait({sender}, timeout=0.3)
    assert not ended
    smtp.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await sender
    assert len(smtp.envelopes) == 12
    assert {row["state"] for row in await fetch("SELECT state FROM mail")} == {"sent"}


async def test_a_sender_outlives_its_database(smtp: Moody, start_sender: StartSender) -> None:
    await queue()
    await execute("ALTER TABLE mail RENAME TO away")
    with capture_logs() as lines:
        start_sender()
        async with asyncio.timeout(30):
            while not lines:
                await asyncio.sleep(0.01)
    await execute("ALTER TABLE away RENAME TO mail")
    async with asyncio.timeout(30):
        while not smtp.envelopes:
            await asyncio.sleep(0.01)


async def test_refused_messages_are_not_counted(smtp: Moody, monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeated requests do not block mail to a user forever."""
    monkeypatch.setattr(outbox, "HOURLY_BUDGET", 2)
    for _ in range(6):
        await queue()
    await execute("UPDATE mail SET created_at = created_at - interval '1 hour' WHERE state = 'queued'")
    await queue()
    assert (await newest())["state"] == "queued"


async def test_an_address_has_an_hourly_budget(smtp: Moody) -> None:
    with capture_logs() as lines:
        for _ in range(outbox.HOURLY_BUDGET + 3):
            await queue()
    assert [line["event"] for line in lines] == ["mail_budget_spent"] * 3
    while await outbox.deliver_due():
        pass
    assert len(smtp.envelopes) == outbox.HOURLY_BUDGET


async def test_a_void_message_is_stored_and_not_sent(smtp: Moody) -> None:
    """A message to an address without a user is stored like any other, and not sent."""
    await queue("nobody@example.com", void=True)
    row = await newest()
    assert (row["state"], row["content"]) == ("dead", None)
    assert await outbox.deliver_due() == 0


async def test_a_message_that_cannot_be_made(smtp: Moody) -> None:
    async with transaction():
        await outbox.queue("alice@example.com", "sign_in_code")
    await outbox.deliver_due()
    row = await newest()
    assert row["state"] == "dead"
    assert "UndefinedError" in row["response"]


async def test_in_development_it_is_captured(own_database: str, use_settings: UseSettings) -> None:
    use_settings(dev="true")
    await queue()
    await outbox.deliver_due()
    (message,) = maildir.Maildir(captured_mail())
    assert message["To"] == "alice@example.com"


@pytest.mark.fault(14)
async def test_captured_mail_is_for_its_owner_alone(own_database: str, use_settings: UseSettings) -> None:
    """It contains codes and links for signing in."""
    use_settings(dev="true")
    captured_mail().mkdir(parents=True, exist_ok=True)
    captured_mail().chmod(0o755)
    await queue()
    await outbox.deliver_due()
    assert captured_mail().stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in (captured_mail() / "new").iterdir())


async def test_without_a_server_it_waits_for_one(own_database: str, use_settings: UseSettings) -> None:
    use_settings()
    await queue()
    await outbox.deliver_due()
    row = await newest()
    assert (row["state"], row["response"]) == ("deferred", "IDP_SMTP_URL is not set.")


async def test_a_message_has_the_language_of_the_request(smtp: Moody) -> None:
    from idp.infra import i18n

    token = i18n.locale.set("de")
    await queue()
    i18n.locale.reset(token)
    await outbox.deliver_due()
    assert b'lang="de"' in smtp.envelopes[0].content.replace(b"=\r\n", b"").replace(b"=3D", b"=")


async def test_words_of_a_server_are_kept_short_and_storable(smtp: Moody) -> None:
    smtp.answers = ["550 " + "x" * 400]
    await queue()
    await outbox.deliver_due()
    assert len((await newest())["response"]) <= outbox.MAX_RESPONSE_LENGTH
