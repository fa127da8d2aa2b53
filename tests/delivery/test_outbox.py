"""The outbox of deliveries: nothing is lost, nothing acknowledged is repeated, receivers delay no others."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from idp import clock, ids
from idp.delivery import outbox, repository, stream
from idp.delivery.handlers import POLLED
from idp.infra.db.engine import execute, fetch, fetchrow, transaction
from tests.delivery.conftest import HANDLERS, make_due, queue, row_of, send, states
from tests.support.receivers import Receivers


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[None]:
    task = asyncio.create_task(outbox.run(HANDLERS))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _wait_until(statement: str, count: int, seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while len(await fetch(statement)) < count:
            await asyncio.sleep(0.02)


DELIVERED = "SELECT FROM delivery WHERE state = 'delivered'"


async def _wait_of(id: UUID) -> float:
    row = await fetchrow(
        "SELECT extract(epoch FROM next_attempt_at - now())::float8 AS wait FROM delivery WHERE id = $1", id
    )
    assert row is not None
    return float(row["wait"])


async def _pause() -> float | None:
    row = await fetchrow("SELECT extract(epoch FROM free_at - now())::float8 AS wait FROM delivery_stream")
    return row and float(row["wait"])


async def test_a_delivery_is_made_and_its_content_erased(receivers: Receivers) -> None:
    delivery = await queue(receivers.url("a"), secret="only for the receiver")
    assert b"only for" not in (await row_of(delivery))["content"]
    await send()
    (request,) = receivers.received
    assert request.headers["id"] == str(delivery)
    assert msgspec.json.decode(request.body)["secret"] == "only for the receiver"
    row = await row_of(delivery)
    assert (row["state"], row["attempts"], row["content"], row["response"]) == ("delivered", 1, None, "204")
    assert row["next_attempt_at"] is None
    assert await fetch("SELECT FROM delivery_stream") == []
    assert await send() == 0


async def test_a_rolled_back_delivery_is_not_made(receivers: Receivers) -> None:
    async def change() -> None:
        async with transaction():
            await outbox.queue("loose", "client:a", {"url": receivers.url("a")})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await change()
    assert await send() == 0


async def test_many_are_queued_by_few_statements(receivers: Receivers) -> None:
    user = ids.uuid7()
    many = [
        outbox.Queued(kind="loose", stream=f"client:{n % 7}", content={"url": receivers.url(str(n % 7))}, user_id=user)
        for n in range(600)
    ]
    async with transaction():
        await outbox.queue_many(many)
        await outbox.queue_many([])
    async with running():
        await _wait_until(DELIVERED, 600, 30)
    assert sorted(request.headers["id"] for request in receivers.received) == sorted(str(one.id) for one in many)


@pytest.mark.parametrize("kind", ["loose", "strict"])
@pytest.mark.parametrize(
    ("behaviour", "response"),
    [
        ("500 |Out of order", "500 Out of order"),
        ("404", "404"),
        ("410", "410"),
        ("redirect", "302"),
        ("drop", "Server disconnected without sending a response."),
    ],
    ids=["500", "404", "410", "redirect", "drop"],
)
async def test_failures_are_retried_with_growing_waits(
    receivers: Receivers, kind: str, behaviour: str, response: str
) -> None:
    receivers.behaviours["a"] = behaviour
    delivery = await queue(receivers.url("a"), kind)
    waits = []
    for attempt in (1, 2, 3):
        await send()
        row = await row_of(delivery)
        assert (row["state"], row["attempts"], row["response"]) == ("deferred", attempt, response)
        waits.append(await _wait_of(delivery) if kind == "loose" else await _pause())
        assert await send() == 0
        await make_due()
    assert 1 < waits[0] < 2.5 < waits[1] < 5 < waits[2] < 10
    receivers.behaviours.clear()
    await send()
    assert await states() == ["delivered"]
    assert {request.headers["id"] for request in receivers.received} == {str(delivery)}
    assert [request.headers["attempt"] for request in receivers.received] == ["1", "2", "3", "4"]
    assert [request.path for request in receivers.received] == ["a"] * 4
    assert await fetch("SELECT FROM delivery_stream") == []


async def test_waits_grow_to_a_bound(receivers: Receivers) -> None:
    receivers.behaviours["a"] = "500"
    delivery = await queue(receivers.url("a"))
    await execute("UPDATE delivery SET attempts = 1000")
    await send()
    assert stream.LONGEST_WAIT * 0.7 < await _wait_of(delivery) < stream.LONGEST_WAIT * 1.3


@pytest.mark.parametrize("kind", ["loose", "strict"])
@pytest.mark.parametrize(
    ("asked", "low", "high"),
    [
        ("7", 6, 8),
        ("999999", 590, 601),
        ("date", 90, 101),
        ("-5", 0, 3),
        ("0", 0, 3),
        ("soon", 0, 3),
        ("1" * 400, 590, 601),
    ],
    ids=["seconds", "too-long", "date", "negative", "zero", "malformed", "endless"],
)
async def test_retry_after_is_honoured_within_bounds(
    receivers: Receivers, kind: str, asked: str, low: float, high: float
) -> None:
    """The whole receiver wants to be left alone, not only this delivery."""
    date = format_datetime(clock.now() + timedelta(seconds=100), usegmt=True)
    receivers.behaviours["a"] = f"429 Retry-After: {date if asked == 'date' else asked}"
    delivery = await queue(receivers.url("a"), kind)
    await send()
    wait = await _wait_of(delivery) if kind == "loose" else await _pause()
    assert wait is not None
    assert low <= wait <= high
    if low:
        pause = await _pause()
        assert pause is not None
        assert low <= pause <= high


async def test_a_huge_or_endless_answer_is_an_acknowledgement(
    receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough for the first bytes on a busy machine.
    monkeypatch.setattr(stream, "SEND_SECONDS", 2.0)
    for behaviour in ("huge", "drip"):
        receivers.behaviours[behaviour] = behaviour
        await queue(receivers.url(behaviour), stream=f"client:{behaviour}")
    await send()
    assert await states() == ["delivered", "delivered"]
    assert len(receivers.received) == 2


async def test_a_long_error_is_cut(receivers: Receivers) -> None:
    receivers.behaviours["a"] = "500 |" + "x\0y  " * 5000
    delivery = await queue(receivers.url("a"))
    await send()
    response = (await row_of(delivery))["response"]
    assert response.startswith("500 xy xy")
    assert len(response) == stream.MAX_RESPONSE_LENGTH


@pytest.mark.parametrize(
    ("kind", "content", "behaviour", "response"),
    [
        ("loose", {"gone": True}, "204", "The receiver is gone."),
        ("judged", {}, "400 |no such session", "400 no such session"),
    ],
    ids=["receiver-gone", "final-answer"],
)
async def test_what_can_never_be_delivered_is_dead(
    receivers: Receivers, kind: str, content: dict[str, bool], behaviour: str, response: str
) -> None:
    receivers.behaviours["a"] = behaviour
    delivery = await queue(receivers.url("a"), kind, **content)
    await send()
    row = await row_of(delivery)
    assert (row["state"], row["response"]) == ("dead", response)
    assert row["content"] is not None
    await make_due()
    assert await send() == 0


async def test_a_bug_in_a_handler_defers_only_its_delivery(receivers: Receivers) -> None:
    delivery = await queue(receivers.url("a"), bug=True)
    await queue(receivers.url("a"))
    await send()
    assert await states() == ["deferred", "delivered"]
    assert (await row_of(delivery))["response"] == "RuntimeError"


async def test_a_late_delivery_is_not_made(receivers: Receivers) -> None:
    delivery = await queue(receivers.url("a"), lifetime=60)
    await execute("UPDATE delivery SET expires_at = now()")
    await send()
    row = await row_of(delivery)
    assert (row["state"], row["response"], row["attempts"]) == ("dead", "It was too late to send it.", 0)
    assert receivers.received == []


@pytest.mark.parametrize("how", ["one", "stream"])
async def test_dead_letters_are_replayed(receivers: Receivers, how: str) -> None:
    ids_ = [await queue(receivers.url("a"), "strict") for _ in range(3)]
    await execute("UPDATE delivery SET expires_at = now(), response = '500'")
    await send()
    assert await states() == ["dead"] * 3
    if how == "one":
        for delivery in ids_:
            assert await repository.replay(delivery, 60)
            assert not await repository.replay(ids.uuid7(), 60)
    else:
        assert await repository.replay_stream("client:a", 60, 2) == 2
        assert await repository.replay_stream("client:a", 60, 2) == 1
    await send()
    assert [request.headers["id"] for request in receivers.received] == list(map(str, ids_))
    assert not await repository.replay(ids_[0], 60)
    assert await send() == 0


async def test_a_replay_ends_the_pause_of_its_stream_but_not_a_lease(receivers: Receivers) -> None:
    receivers.behaviours["a"] = "500"
    delivery = await queue(receivers.url("a"), "strict")
    await send()
    assert await send() == 0
    assert await repository.replay(delivery, 60)
    assert await send() == 1
    await make_due()
    holder = ids.uuid7()
    assert await repository.lease(["client:a"], holder, 20)
    assert await repository.replay(delivery, 60)
    assert await send() == 0
    assert await repository.renew("client:a", holder, 20)


async def test_an_ordered_stream_waits_for_its_first(receivers: Receivers) -> None:
    receivers.behaviours["a"] = "500"
    ids_ = [await queue(receivers.url("a"), "strict") for _ in range(60)]
    await send()
    assert [request.headers["id"] for request in receivers.received] == [str(ids_[0])]
    receivers.behaviours.clear()
    await make_due()
    async with running():
        await _wait_until(DELIVERED, 60)
    assert [request.headers["id"] for request in receivers.accepted["a"]] == list(map(str, ids_))
    assert receivers.most_concurrent == 1


async def test_a_dead_letter_lets_the_next_pass(receivers: Receivers) -> None:
    await queue(receivers.url("a"), "strict", gone=True)
    await queue(receivers.url("a"), "strict")
    await send()
    assert await states() == ["dead", "delivered"]


async def test_an_unordered_stream_passes_a_failure(receivers: Receivers) -> None:
    receivers.behaviours["bad"] = "500"
    await queue(receivers.url("bad"))
    for _ in range(10):
        await queue(receivers.url("a"))
    await send()
    assert await states() == ["deferred"] + ["delivered"] * 10


async def test_a_failing_stream_is_paused_and_probed_once(receivers: Receivers) -> None:
    receivers.behaviours["a"] = "500"
    for _ in range(100):
        await queue(receivers.url("a"))
    await send()
    # Those that began at the same time as the last one that was allowed to fail.
    assert stream.PAUSE_AFTER <= len(receivers.received) <= stream.PAUSE_AFTER + stream.CONCURRENT - 1
    before = len(receivers.received)
    for probe in (1, 2):
        assert await send() == 0
        await make_due()
        assert await send() == 1
        assert len(receivers.received) == before + probe
    pause = await _pause()
    assert pause is not None
    assert pause > 10
    receivers.behaviours.clear()
    await make_due()
    async with running():
        await _wait_until(DELIVERED, 100)


async def test_one_receiver_has_few_requests_at_a_time(receivers: Receivers) -> None:
    receivers.behaviours["a"] = "slow"
    for _ in range(20):
        await queue(receivers.url("a"))
    await asyncio.gather(*(send() for _ in range(3)))
    assert await states() == ["delivered"] * 20
    assert 1 < receivers.most_concurrent <= stream.CONCURRENT


async def test_connections_are_used_again(receivers: Receivers) -> None:
    for _ in range(20):
        await queue(receivers.url("a"), "strict")
    await send()
    assert (len(receivers.received), receivers.connections) == (20, 1)


async def test_a_guarded_address_is_not_called(receivers: Receivers) -> None:
    delivery = await queue(receivers.url("a").replace("127.0.0.1", "127.0.0.2"))
    await send()
    row = await row_of(delivery)
    assert (row["state"], row["response"]) == ("deferred", "The server has no public address.")
    assert receivers.received == []


@pytest.mark.parametrize("url", ["", "a", "https://", "https://[", "ftp://127.0.0.1/"])
async def test_a_malformed_url_is_a_failure(receivers: Receivers, url: str) -> None:
    delivery = await queue(url)
    await send()
    assert (await row_of(delivery))["state"] == "deferred"


async def test_a_kind_without_a_handler_waits(receivers: Receivers) -> None:
    """For a newer version of the server."""
    await queue(receivers.url("a"), "future")
    await queue(receivers.url("a"))
    assert await send() == 1
    assert await states() == ["queued", "delivered"]
    assert await send() == 0


async def test_a_lost_lease_ends_the_turn(receivers: Receivers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "RENEW_SECONDS", 0.02)
    renew, renewed = stream.repository.renew, asyncio.Queue[bool]()

    async def noted(*arguments: Any) -> bool:
        found = await renew(*arguments)
        renewed.put_nowait(found)
        return found

    monkeypatch.setattr(stream.repository, "renew", noted)
    receivers.behaviours["a"] = "hang"
    for _ in range(30):
        await queue(receivers.url("a"), "strict")
    sending = asyncio.create_task(send())
    await receivers.entered.wait()
    # Another process has it, as after a long pause of this one.
    await execute("UPDATE delivery_stream SET holder = gen_random_uuid(), free_at = now() + interval '1 hour'")
    async with asyncio.timeout(30):
        while await renewed.get():
            pass
    later = time.monotonic() + stream.LEASE_SECONDS
    monkeypatch.setattr(stream, "time", SimpleNamespace(monotonic=lambda: later))
    receivers.behaviours.clear()
    receivers.go_on.set()
    await sending
    assert len(receivers.received) == 1
    assert len(await fetch("SELECT FROM delivery_stream WHERE free_at > now() + interval '50 minutes'")) == 1


async def test_a_slow_request_keeps_the_lease(receivers: Receivers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "RENEW_SECONDS", 0.01)
    receivers.behaviours["a"] = "hang"
    await queue(receivers.url("a"))
    sending = asyncio.create_task(send())
    await receivers.entered.wait()
    await execute("UPDATE delivery_stream SET free_at = now() + interval '1 second'")
    await _wait_until("SELECT FROM delivery_stream WHERE free_at > now() + interval '15 seconds'", 1)
    assert await send() == 0
    receivers.go_on.set()
    await sending


async def test_a_cancelled_outbox_ends_its_requests(receivers: Receivers) -> None:
    receivers.behaviours["a"] = "slow"
    for _ in range(200):
        await queue(receivers.url("a"), "strict")
    async with running():
        await receivers.entered.wait()
    assert len(receivers.accepted["a"]) == (await states()).count("delivered") < 200
    assert await fetch("SELECT FROM delivery_stream") == []


async def test_states_of_a_session(receivers: Receivers) -> None:
    user, session = ids.uuid7(), ids.uuid7()
    receivers.behaviours["b"] = "503 |Down"
    about = {"user_id": user, "session_id": session}
    await queue(receivers.url("a"), stream="client:a", **about)
    await queue(receivers.url("b"), stream="client:b", **about)
    await queue(receivers.url("c"), stream="client:c", gone=True, **about)
    await queue(receivers.url("a"), user_id=user, session_id=ids.uuid7())
    await send()
    found = await repository.states_of_session(user, session)
    assert [(one.stream, one.state, one.response) for one in found] == [
        ("client:a", "delivered", "204"),
        ("client:b", "deferred", "503 Down"),
        ("client:c", "dead", "The receiver is gone."),
    ]
    counts = await repository.count_deliveries()
    assert (counts.waiting, counts.dead, counts.failing) == (1, 1, 0)


async def test_the_next_attempt_of_a_paused_receiver_is_after_the_pause(receivers: Receivers) -> None:
    """Also of those that wait behind the one that failed, and keep their place. Nothing is overdue then."""
    about = {"user_id": ids.uuid7(), "session_id": ids.uuid7()}
    receivers.behaviours["a"] = "503 |Down"
    for _ in range(2):
        await queue(receivers.url("a"), "strict", stream="client:a", **about)
    await execute("UPDATE delivery SET next_attempt_at = next_attempt_at - interval '1 hour'")
    await send()
    found = await repository.states_of_session(about["user_id"], about["session_id"])
    assert [one.state for one in found] == ["deferred", "queued"]
    listed = await fetch(f"SELECT {repository.DELIVERIES.columns} FROM {repository.DELIVERIES.source}")
    ((free_at,),) = await fetch("SELECT free_at FROM delivery_stream WHERE free_at > now()")
    assert {one.next_attempt_at for one in found} == {row["next_attempt_at"] for row in listed} == {free_at}
    assert (await repository.count_deliveries()).overdue == 0
    await execute("UPDATE delivery_stream SET failures = 5, free_at = now() - interval '1 minute'")
    counts = await repository.count_deliveries()
    assert (counts.failing, round(counts.overdue)) == (1, 60)
    # Nothing waits for it any more.
    await repository.give_up_stream("client:a", "It was deleted.", 3600)
    counts = await repository.count_deliveries()
    assert (counts.waiting, counts.failing, counts.overdue) == (0, 0, 0)


async def test_what_the_receiver_fetches_has_no_next_attempt(receivers: Receivers) -> None:
    about = {"user_id": ids.uuid7(), "session_id": ids.uuid7()}
    await queue(receivers.url("a"), **about)
    await repository.change_kind("client:a", POLLED)
    await execute("UPDATE delivery SET next_attempt_at = next_attempt_at - interval '1 hour'")
    (found,) = await repository.states_of_session(about["user_id"], about["session_id"])
    assert (found.state, found.next_attempt_at) == ("queued", None)
    counts = await repository.count_deliveries()
    assert (counts.waiting, counts.overdue) == (1, 0)


async def test_a_receiver_that_is_gone_is_given_up(receivers: Receivers) -> None:
    for _ in range(3):
        await queue(receivers.url("a"))
    assert await repository.give_up_stream("client:a", "It was deleted.", 3600) == 3
    rows = await fetch("SELECT state, content FROM delivery")
    assert {tuple(row) for row in rows} == {("dead", None)}
    assert await repository.replay_stream("client:a", 60, 10) == 0
    assert await send() == 0


async def test_acknowledgements_share_transactions(receivers: Receivers) -> None:
    ids_ = [await queue(receivers.url("a"), stream=f"client:{n}") for n in range(100)]
    await asyncio.gather(*(repository.finish(delivery, "delivered", "204", 60) for delivery in ids_))
    rows = await fetch("SELECT xmin::text AS transaction, state, attempts, content FROM delivery")
    assert {tuple(row)[1:] for row in rows} == {("delivered", 1, None)}
    # The first ones do not wait for others.
    assert len({row["transaction"] for row in rows}) <= 5


@pytest.mark.parametrize("change", ["given up", "held"])
async def test_acknowledgements_do_not_deadlock_with_changes_of_a_stream(
    receivers: Receivers, database: str, change: str
) -> None:
    """The delivery that is due first is the one that was stored last. Both statements wait for the other delivery."""
    first, second = sorted([await queue(receivers.url("a")) for _ in range(2)])
    await execute("UPDATE delivery SET next_attempt_at = next_attempt_at - interval '1 hour' WHERE id = $1", second)

    async def acknowledge() -> None:
        async with transaction():
            await fetch(repository._FINISH.text, [first, second], ["delivered"] * 2, ["204"] * 2, [60.0] * 2)

    async def change_stream() -> None:
        async with transaction():
            if change == "given up":
                await repository.give_up_stream("client:a", "It was deleted.", 60)
            else:
                await repository.change_kind("client:a", "held")

    other = await asyncpg.connect(database)
    try:
        async with other.transaction():
            await other.execute("SELECT FROM delivery WHERE id = $1 FOR UPDATE", first)
            tasks = []
            for statement in (acknowledge, change_stream):
                tasks.append(asyncio.create_task(statement()))
                await _wait_until(WAITING_FOR_A_LOCK, len(tasks))
        await asyncio.gather(*tasks)
    finally:
        await other.close()
    assert await states() == ["delivered", "delivered"]


WAITING_FOR_A_LOCK = """
SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
