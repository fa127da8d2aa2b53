"""Calls within bounds: time, size, addresses, number, and the pause after failures."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import pytest
import standardwebhooks as library
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from idp import ids
from idp.delivery.standard_webhooks import new_secret
from idp.infra.db.engine import transaction
from idp.oauth.claims.models import Place
from idp.oauth.claims.user import ClaimUser
from idp.oauth.clients.registry import registry
from idp.oauth.token_hook import calls, service
from idp.oauth.token_hook.answers import DeniedError
from idp.oauth.token_hook.calls import CONCURRENT, FAILURES, MAX_BYTES, WAITING, HookFailedError, Line
from idp.oauth.token_hook.models import Failure, LoadedHook, context
from idp.oauth.token_hook.service import Question, asked
from idp.settings import settings
from tests.support.exchange import an_app
from tests.support.receivers import Receivers

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def a_hook(url: str) -> tuple[LoadedHook, str]:
    hook_id = ids.uuid7()
    secret, sealed = new_secret(context(hook_id))
    hook = LoadedHook(
        id=hook_id, client_id=None, url=url, places=(Place.ACCESS_TOKEN,), fail_open=False, old_secret_until=None,
        disabled_at=None, created_at=NOW, updated_at=NOW, secret=sealed, old_secret=None,
    )  # fmt: skip
    return hook, secret


@pytest.fixture
async def line(db: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Line]:
    monkeypatch.setenv("IDP_TOKEN_HOOK_TIMEOUT", "10")
    settings.cache_clear()
    line = Line()
    yield line
    await line.close()
    monkeypatch.undo()
    settings.cache_clear()


async def failure(line: Line, hook: LoadedHook) -> Failure:
    with pytest.raises(HookFailedError) as failed:
        await line.call(hook, b"{}")
    line.failed(failed.value.failure)
    return failed.value.failure


async def test_the_library_verifies(line: Line, receivers: Receivers) -> None:
    hook, secret = a_hook(receivers.url("hook"))
    receivers.behaviours["hook"] = "200 |{}"
    assert await line.call(hook, b'{"a": 1}') == b"{}"
    (received,) = receivers.received
    assert library.Webhook(secret).verify(received.body, dict(received.headers)) == {"a": 1}


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        ("hang", Failure.TIMED_OUT), ("drip", Failure.TIMED_OUT), ("huge", Failure.TOO_LONG),
        ("drop", Failure.UNREACHABLE), ("redirect", Failure.WRONG_STATUS), ("500", Failure.WRONG_STATUS),
        ("204", Failure.WRONG_STATUS), ("201 |{}", Failure.WRONG_STATUS),
        (f"200 |{' ' * MAX_BYTES} {{}}", Failure.TOO_LONG),
    ],
)  # fmt: skip
async def test_hostile_receivers(line: Line, receivers: Receivers, behaviour: str, expected: Failure) -> None:
    hook, _ = a_hook(receivers.url("hook"))
    receivers.behaviours["hook"] = behaviour
    if expected is Failure.TIMED_OUT:
        line.timeout = 1.0
    async with asyncio.timeout(30):
        assert await failure(line, hook) is expected
    assert not any(received.path == "elsewhere" for received in receivers.received)


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/", "http://169.254.169.254/x", "http://[::ffff:10.0.0.1]/", "http://0/"]
)
async def test_private_addresses(line: Line, url: str) -> None:
    hook, _ = a_hook(url)
    assert await failure(line, hook) is Failure.UNREACHABLE


@pytest.mark.parametrize(
    ("behaviour", "hint"),
    [("500", "The response has status 500."), ("huge", "The response is too long."), ("200 |x", None)],
)
async def test_the_log_has_the_cause(
    db: str, receivers: Receivers, monkeypatch: pytest.MonkeyPatch, behaviour: str, hint: str | None
) -> None:
    client, (hook, _) = await an_app("openid"), a_hook(receivers.url("hook"))
    question = Question(client=client, user=ClaimUser(ids.uuid7()), at="x", places=(Place.ACCESS_TOKEN,), scopes=[])
    monkeypatch.setattr(service, "hook_for", lambda *_: hook)
    receivers.behaviours["hook"] = behaviour
    with capture_logs() as logs, pytest.raises(service.TokenHookFailedError):
        await service.added(question)
    assert [line["hint"] for line in logs if line["event"] == "token_hook_failed"] == [hint]


async def test_only_a_few_at_a_time(line: Line, receivers: Receivers) -> None:
    """Others wait for their turn, and more than these fail at once."""
    hook, _ = a_hook(receivers.url("hook"))
    async with asyncio.timeout(30):
        tasks = await held(line, hook, receivers, CONCURRENT + WAITING)
        for _ in range(3):
            assert await failure(line, hook) is Failure.BUSY
        assert len(receivers.received) == CONCURRENT
        receivers.go_on.set()
        assert await asyncio.gather(*tasks) == [b"{}"] * (CONCURRENT + WAITING)
    assert receivers.most_concurrent == CONCURRENT


async def test_who_waits_too_long_for_a_turn(line: Line, receivers: Receivers) -> None:
    """That says nothing about the hook."""
    hook, _ = a_hook(receivers.url("hook"))
    async with asyncio.timeout(30):
        tasks = await held(line, hook, receivers, CONCURRENT)
        line.timeout = 0.2
        assert await failure(line, hook) is Failure.BUSY
        assert len(receivers.received) == CONCURRENT
        receivers.go_on.set()
        await asyncio.gather(*tasks)


async def held(line: Line, hook: LoadedHook, receivers: Receivers, number: int) -> list[asyncio.Task[bytes]]:
    """Start calls, which the hook answers at ``receivers.go_on``. Returns when as many as may have reached it."""
    receivers.behaviours["hook"] = "held 200 |{}"
    tasks = [asyncio.create_task(line.call(hook, b"{}")) for _ in range(number)]
    while len(receivers.received) < CONCURRENT:
        await asyncio.sleep(0.01)
    return tasks


async def test_a_pause_after_failures(line: Line, receivers: Receivers, monkeypatch: pytest.MonkeyPatch) -> None:
    """One request probes the hook after it, and the others fail at once meanwhile."""
    hook, _ = a_hook(receivers.url("hook"))
    receivers.behaviours["hook"] = "500"
    for _ in range(FAILURES):
        assert await failure(line, hook) is Failure.WRONG_STATUS
    assert await failure(line, hook) is Failure.PAUSED
    assert len(receivers.received) == FAILURES
    monkeypatch.setattr(line, "_paused_until", 0.001)
    assert await failure(line, hook) is Failure.WRONG_STATUS
    assert await failure(line, hook) is Failure.PAUSED
    monkeypatch.setattr(line, "_paused_until", 0.001)
    receivers.behaviours["hook"] = "slow"
    receivers.entered.clear()
    probe = asyncio.create_task(line.call(hook, b"{}"))
    await receivers.entered.wait()
    assert await failure(line, hook) is Failure.PAUSED
    probe.cancel()
    with pytest.raises(asyncio.CancelledError):
        await probe
    receivers.behaviours["hook"] = "200 |{}"
    assert await line.call(hook, b"{}") == b"{}"
    assert line.succeeded()
    assert not line.paused


async def test_no_connection_of_the_database_is_held(line: Line, receivers: Receivers) -> None:
    client, (hook, _) = await an_app("openid"), a_hook(receivers.url("hook"))
    question = Question(client=client, user=ClaimUser(ids.uuid7()), at="x", places=(Place.ACCESS_TOKEN,), scopes=[])
    async with transaction():
        with pytest.raises(RuntimeError, match="transaction"):
            await asked(hook, question)
    assert receivers.received == []


async def test_metrics(db: str, receivers: Receivers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every question is counted by its outcome; calls have a duration, and what is not called has none."""
    live = CollectorRegistry()
    for metric in (service.CALLS, calls.DURATION, calls.PAUSED):
        monkeypatch.setattr(metric, "_live", metric._create(live))
    client, (hook, _) = await an_app("openid"), a_hook(receivers.url("hook"))
    question = Question(client=client, user=ClaimUser(ids.uuid7()), at="x", places=(Place.ACCESS_TOKEN,), scopes=[])
    monkeypatch.setattr(type(registry), "token_hook_ids", {hook.id})
    wrong = {"200 |{}": None, '200 |{"deny": {}}': DeniedError, "200 |x": HookFailedError, "500": HookFailedError}
    for behaviour, error in [*wrong.items(), *[("500", HookFailedError)] * (FAILURES - 1)]:
        receivers.behaviours["hook"] = behaviour
        with pytest.raises(error) if error is not None else nullcontext():
            await asked(hook, question)

    def count(outcome: str) -> float | None:
        return live.get_sample_value("idp_token_hook_calls_total", {"outcome": outcome})

    found = {outcome: count(outcome) for outcome in ("answered", "denied", "invalid_answer", "wrong_status", "paused")}
    assert found == {"answered": 1, "denied": 1, "invalid_answer": 1, "wrong_status": FAILURES - 1, "paused": 1}
    assert live.get_sample_value("idp_token_hook_duration_seconds_count") == len(receivers.received) == FAILURES + 2
    assert live.get_sample_value("idp_token_hooks_paused") == 1
    await calls.close()
    assert live.get_sample_value("idp_token_hooks_paused") == 0


async def test_lines_of_hooks_that_are_gone_are_closed(db: str) -> None:
    (first, _), (second, _) = a_hook("https://a.example"), a_hook("https://b.example")
    line = await calls.line_of(first, {first.id})
    assert await calls.line_of(first, {first.id}) is line
    await calls.line_of(second, {second.id})
    known: dict[Any, Line] = calls._lines
    assert first.id not in known
    await calls.close()
    assert known == {}
