"""Targets that are slow, broken or malicious: nothing is lost, nothing is made twice, and nothing is believed."""

from collections.abc import Callable

import msgspec
import pytest

from idp.accounts import users
from idp.delivery import outbox, stream
from idp.delivery.handlers import DeliveryFailedError
from idp.infra.db.engine import execute, fetch, fetchrow, transaction
from idp.oauth.credentials import credentials_changed
from idp.provisioning import connection, protocol, queueing, targets
from idp.provisioning.repository import subjects
from tests.provisioning.conftest import deliver, known, make_due, responses, target, user
from tests.provisioning.fake import Answer, Asked, FakeScim


def _always(status: int, body: bytes = b"", **headers: str) -> Callable[[Asked], Answer]:
    return lambda _: (status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


BAD: dict[str, Callable[[Asked], Answer]] = {
    "500": _always(500),
    "503": _always(503),
    "not JSON": _always(200, b"<html>"),
    "half of JSON": _always(200, b'{"id": "1"'),
    "a list": _always(200, b"[]"),
    "deep": _always(200, b"[" * 100_000),
    "not UTF-8": _always(200, b'{"id": "\xff"}'),
    "huge": _always(200, b'{"id": "' + b"x" * 2_000_000 + b'"}'),
    "compressed": _always(200, b"\x1f\x8b", Content_Encoding="gzip"),
    "redirect": _always(302, Location="http://127.0.0.1:1/"),
    "elsewhere": _always(404),
}


@pytest.mark.parametrize("bad", BAD)
async def test_a_broken_target_loses_nothing(scim: FakeScim, bad: str) -> None:
    scim.behave = BAD[bad]
    person = await user()
    await target(scim)
    await deliver()
    assert scim.users == {}
    (row,) = await fetch("SELECT state, response FROM delivery")
    assert row["state"] == "deferred"
    scim.behave = lambda _: None
    await make_due()
    await deliver()
    assert [each["externalId"] for each in scim.users.values()] == [str(person.id)]


async def test_a_broken_response_to_a_creation_makes_no_second_account(scim: FakeScim) -> None:
    scim.unique = False
    await user()

    def lose(asked: Asked) -> Answer | None:
        if asked.method == "POST":
            scim.behave = lambda _: None
            scim._answer(asked)
            return 201, {}, b"{}"
        return None

    scim.behave = lose
    await target(scim)
    await deliver()
    await make_due()
    await deliver()
    assert len(scim.users) == 1


async def test_a_target_that_hangs(scim: FakeScim, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "SEND_SECONDS", 0.2)
    scim.hangs = True
    await user()
    await target(scim)
    await deliver()
    assert await responses() == ["There was no response in time."]
    monkeypatch.setattr(stream, "SEND_SECONDS", 10.0)
    monkeypatch.setattr(stream, "PERFORM_SECONDS", 0.2)
    await make_due()
    await deliver()
    assert await responses() == ["It took too long."]


async def test_a_delivery_under_way_does_not_send_the_new_token_to_the_old_url(scim: FakeScim) -> None:
    target_id = await target(scim)
    found = await connection.enabled(target_id)
    await targets.update(target_id, {"base_url": "https://moved.example/scim/v2"}, "another")
    scim.asked.clear()
    async with protocol.client() as http:
        with pytest.raises(DeliveryFailedError, match="has changed"):
            await connection.connect(http, found, fresh=True)
    assert scim.asked == []
    assert await targets.has_token(target_id, "another")


async def test_retry_after_is_honoured_for_the_whole_target(scim: FakeScim) -> None:
    for _ in range(8):
        await user()
    scim.behave = _always(429, Retry_After="120")
    await target(scim)
    await deliver()
    assert len(scim.asked) <= 4
    row = await fetchrow("SELECT free_at > now() + interval '100 seconds' AS paused FROM delivery_stream")
    assert row is not None
    assert row["paused"]
    scim.behave = lambda _: None
    await make_due()
    await deliver()
    await make_due()
    await deliver()
    assert len(scim.users) == 8


async def test_a_refused_token_marks_the_target_until_there_is_another(scim: FakeScim) -> None:
    scim.token = "another"
    await user()
    target_id = await target(scim)
    await deliver()
    row = await fetchrow("SELECT failing_since, failing_reason FROM provisioning_target")
    assert row is not None
    assert row["failing_since"] is not None
    assert "does not accept the token" in row["failing_reason"]
    events = await fetch("SELECT event FROM audit_event WHERE event LIKE 'provisioning_target_%' ORDER BY id")
    assert [each["event"] for each in events][-1] == "provisioning_target_failing"
    await targets.set_token(target_id, "another")
    await make_due()
    await deliver()
    assert len(scim.users) == 1
    row = await fetchrow("SELECT failing_since FROM provisioning_target")
    assert row is not None
    assert row["failing_since"] is None


@pytest.mark.parametrize("again", ["token", "day"])
async def test_a_deactivation_that_was_given_up_is_made_later(scim: FakeScim, again: str) -> None:
    """A target may refuse its token for longer than deliveries are retried."""
    target_id = await target(scim)
    person = await user()
    await deliver()
    scim.token = "another"
    async with transaction():
        await users.disable_user(person.id, credentials_changed)
    await deliver()
    await execute("UPDATE delivery SET expires_at = now() WHERE next_attempt_at IS NOT NULL")
    await execute("UPDATE provisioned_user SET queued_until = now()")
    await make_due()
    await deliver()
    (account,) = scim.users.values()
    assert account["active"] is True
    if again == "token":
        await targets.set_token(target_id, "another")
    else:
        scim.token = "the-token"
        await make_due()
        await deliver()
        assert account["active"] is True
        await execute("UPDATE provisioning_job SET finished_at = finished_at - interval '25 hours'")
    await make_due()
    await deliver()
    (account,) = scim.users.values()
    assert account["active"] is False


async def test_a_target_that_was_not_asked_does_not_work_again(scim: FakeScim) -> None:
    """Neither by a push, which asks nothing, nor by a delivery of what has not changed."""
    target_id, person = await target(scim), await user()
    await deliver()
    found = await connection.enabled(target_id)
    await connection.failing(found, "It does not accept the token: Expired.")
    scim.asked.clear()
    await targets.update(target_id, {"name": "Renamed"})
    async with transaction():
        await outbox.queue_many(await queueing.deliveries(subjects.users, target_id, [person.id]))
    await deliver()
    assert scim.asked == []
    row = await fetchrow("SELECT failing_since FROM provisioning_target")
    assert row is not None
    assert row["failing_since"] is not None
    async with transaction():
        await users.disable_user(person.id, credentials_changed)
    await deliver()
    await users.enable_user(person.id)
    await deliver()
    assert (await connection.enabled(target_id)).failing_since is None


async def test_one_user_that_is_refused_does_not_hold_up_the_others(scim: FakeScim) -> None:
    bad, good = await user("bad@example.com"), await user("good@example.com")

    def refuse(asked: Asked) -> Answer | None:
        if asked.method == "POST" and asked.body["userName"] == "bad@example.com":
            return 400, {}, b'{"detail": "No such domain."}'
        return None

    scim.behave = refuse
    await target(scim)
    await deliver()
    refused, sent = await known(bad.id), await known(good.id)
    assert refused is not None
    assert sent is not None
    assert "No such domain." in refused["error"]
    assert (sent["state"], sent["error"]) == ("active", "")


async def test_a_filter_that_is_ignored_adopts_nobody_else(scim: FakeScim) -> None:
    scim.add(userName="stranger@example.com", active=True)

    def ignore(asked: Asked) -> Answer | None:
        if "filter" in asked.query:
            found = {"totalResults": 999, "Resources": list(scim.users.values())}
            return 200, {}, msgspec.json.encode(found)
        return None

    scim.behave = ignore
    await user("alice@example.com")
    await target(scim)
    await deliver()
    names = {each["userName"]: "externalId" in each for each in scim.users.values()}
    assert names == {"stranger@example.com": False, "alice@example.com": True}


@pytest.mark.parametrize("id", ["..", ".", "", "a\\u0000b", "x" * 1000, 7, None])
async def test_an_id_that_cannot_be_asked_for(scim: FakeScim, id: object) -> None:
    text = msgspec.json.encode(id).replace(b"\\\\u0000", b"\\u0000")
    scim.behave = lambda asked: (201, {}, b'{"id": ' + text + b"}") if asked.method == "POST" else None
    person = await user()
    await target(scim)
    await deliver()
    row = await known(person.id)
    assert row is not None
    assert row["remote_id"] is None
    assert not [asked for asked in scim.asked if asked.path.startswith("/Users/")]


async def test_ids_are_quoted(scim: FakeScim) -> None:
    scim.add()["id"] = "x"
    scim.users.clear()
    evil = {"id": "a/../b?c#d%", "userName": "alice@example.com"}
    scim.users[evil["id"]] = evil
    scim._touch(evil)
    await user("alice@example.com")
    await target(scim)
    await deliver()
    assert scim.users[evil["id"]]["active"] is True


async def test_conflicts_that_no_search_explains(scim: FakeScim) -> None:
    scim.behave = lambda asked: (409, {}, b'{"detail": "Taken."}') if asked.method == "POST" else None
    person = await user()
    await target(scim)
    await deliver()
    row = await known(person.id)
    assert row is not None
    assert "Taken." in row["error"]
    (row,) = await fetch("SELECT state FROM delivery")
    assert row["state"] == "dead"


@pytest.mark.parametrize("active", ["true", '"true"', '"True"', "1", "0"])
async def test_a_deactivation_that_was_accepted_and_not_made_is_a_failure(scim: FakeScim, active: str) -> None:
    person = await user()
    await target(scim)
    await deliver()
    scim.behave = lambda asked: (200, {}, f'{{"active": {active}}}'.encode()) if asked.method == "PATCH" else None
    from tests.provisioning.test_users import _disable

    await _disable(person)
    await deliver()
    row = await known(person.id)
    assert row is not None
    assert row["state"] == "active"
    assert "still active" in row["error"]


async def test_the_network_inside_is_refused(scim: FakeScim, monkeypatch: pytest.MonkeyPatch) -> None:
    from idp.settings import settings

    monkeypatch.setenv("IDP_OUTBOUND_ALLOWED_HOSTS", "192.0.2.1/32")
    settings.cache_clear()
    await user()
    await target(scim)
    await deliver()
    assert scim.asked == []
    assert await responses() == ["The server has no public address."]


async def test_few_requests_at_a_time(scim: FakeScim) -> None:
    for _ in range(40):
        await user()
    await target(scim)
    await deliver()
    assert len(scim.users) == 40
    assert scim.most_concurrent <= 4
