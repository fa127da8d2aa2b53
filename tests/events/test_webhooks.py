"""Webhooks: who gets which event, in which order, and how a receiver verifies it."""

import asyncio
import base64
import hmac
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from idp import ids
from idp.audit import buffer
from idp.audit.events import note, record
from idp.delivery import outbox
from idp.delivery.repository import replay
from idp.errors import ValidationError
from idp.events import publish, webhooks
from idp.events.kinds import KINDS
from idp.events.webhooks import UnknownWebhookError
from idp.infra.db.engine import execute, fetch, transaction
from idp.infra.request_context import client_address
from tests.events.conftest import deliver
from tests.support.receivers import Received, Receivers


async def _record(*events: str, **about: Any) -> None:
    for event in events:
        async with transaction():
            await record(event, **about)


def _bodies(receivers: Receivers) -> list[dict[str, Any]]:
    return [msgspec.json.decode(received.body) for received in receivers.received]


def verify(secret: str, headers: Mapping[str, str], body: bytes) -> Any:
    """Verify a request as a receiver does."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
    if not any(hmac.compare_digest(expected, given) for given in headers["webhook-signature"].split()):
        raise BadSignatureError
    if abs(time.time() - int(headers["webhook-timestamp"])) > 300:
        raise BadSignatureError
    return msgspec.json.decode(body)


class BadSignatureError(Exception):
    """The request is not from the server."""


def _verify(secret: str, received: Received) -> Any:
    return verify(secret, received.headers, received.body)


async def test_a_receiver_gets_what_it_subscribed_to_in_order(receivers: Receivers) -> None:
    await webhooks.add(receivers.url("a"), ["user_disabled", "user_enabled"])
    user = ids.uuid7()
    await _record("user_created", "user_disabled", "password_changed", "user_enabled", "user_disabled", user_id=user)
    await deliver()
    bodies = _bodies(receivers)
    assert [body["type"] for body in bodies] == ["user_disabled", "user_enabled", "user_disabled"]
    assert {body["data"]["user_id"] for body in bodies} == {str(user)}
    assert all(body["timestamp"].endswith("Z") for body in bodies)


async def test_the_receiver_of_the_documentation(receivers: Receivers) -> None:
    """Verifies a request, and refuses one that was changed, is old, or is signed with another secret."""
    text = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
    documented: dict[str, Any] = {}
    exec(text.partition("```python\n")[2].partition("```")[0], documented)
    _, secret = await webhooks.add(receivers.url("a"), ["user_disabled"])
    await _record("user_disabled", user_id=ids.uuid7())
    await deliver()
    (received,) = receivers.received
    assert documented["verify"](secret, received.headers, received.body)["type"] == "user_disabled"
    old = dict(received.headers) | {"webhook-timestamp": str(int(received.headers["webhook-timestamp"]) - 400)}
    for key, headers, body in (
        (secret, received.headers, received.body + b" "),
        (secret, old, received.body),
        ("whsec_" + "A" * 43 + "=", received.headers, received.body),
    ):
        with pytest.raises(ValueError, match="not signed"):
            documented["verify"](key, headers, body)


async def test_two_secrets_sign_during_a_change(receivers: Receivers) -> None:
    webhook_id, old = await webhooks.add(receivers.url("a"), ["user_disabled"])
    new = await webhooks.rotate_secret(webhook_id)
    await _record("user_disabled")
    await deliver()
    assert _verify(old, receivers.received[0]) == _verify(new, receivers.received[0])
    await execute("UPDATE webhook SET old_secret_until = now()")
    await _record("user_disabled")
    await deliver()
    assert _verify(new, receivers.received[1])
    with pytest.raises(BadSignatureError):
        _verify(old, receivers.received[1])


async def test_only_ids_leave_unless_whole_rows_are_asked_for(receivers: Receivers) -> None:
    await webhooks.add(receivers.url("ids"), ["profile_changed"])
    await webhooks.add(receivers.url("audit"), ["*"], whole=True)
    client_address.set("192.0.2.7")
    await _record("profile_changed", user_id=ids.uuid7(), detail={"note": "a detail"})
    client_address.set("")
    await deliver()
    by_path = {received.path: received.body for received in receivers.received if b"profile_changed" in received.body}
    assert b"192.0.2.7" not in by_path["ids"]
    assert set(msgspec.json.decode(by_path["ids"])["data"]) == {"event_id", "outcome", "user_id"}
    whole = msgspec.json.decode(by_path["audit"])["data"]
    assert (whole["ip_address"], whole["detail"]) == ("192.0.2.7", {"note": "a detail"})


async def test_an_audit_webhook_gets_every_event(receivers: Receivers) -> None:
    """Also those that are written later, without a transaction."""
    await webhooks.add(receivers.url("a"), ["*"], whole=True)
    note("client_authentication", outcome="failure", client_id="c")
    await buffer.write()
    await _record("anything_at_all")
    await deliver()
    # Other tests may leave events of their own in the buffer.
    assert {"client_authentication", "anything_at_all", "webhook_added"} <= {
        body["type"] for body in _bodies(receivers)
    }


async def test_nothing_is_fed_without_a_subscriber(receivers: Receivers) -> None:
    await _record("user_disabled")
    assert await fetch("SELECT FROM event_feed") == []
    webhook_id, _ = await webhooks.add(receivers.url("a"), ["user_disabled"])
    await _record("user_enabled")
    assert await fetch("SELECT FROM event_feed") == []
    await webhooks.set_enabled(webhook_id, False)
    await _record("user_disabled")
    assert await fetch("SELECT FROM event_feed") == []
    await webhooks.set_enabled(webhook_id, True)
    await _record("user_disabled")
    assert len(await fetch("SELECT FROM event_feed")) == 1
    await webhooks.remove(webhook_id)
    await deliver()
    assert receivers.received == []


async def test_a_rolled_back_change_is_not_published(receivers: Receivers) -> None:
    await webhooks.add(receivers.url("a"), ["user_disabled"])

    async def change() -> None:
        async with transaction():
            await record("user_disabled")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await change()
    assert not await publish.publish()


async def test_two_publishers_publish_each_event_once_and_in_order(
    receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish, "BATCH", 5)
    await webhooks.add(receivers.url("a"), ["user_disabled"])
    users = [ids.uuid7() for _ in range(60)]
    for user in users:
        await _record("user_disabled", user_id=user)

    async def publish_all() -> None:
        while await publish.publish():
            pass

    await asyncio.gather(*(publish_all() for _ in range(3)))
    rows = await fetch("SELECT user_id FROM delivery ORDER BY next_attempt_at, id")
    assert [row["user_id"] for row in rows] == users


async def test_a_change_of_the_url_moves_what_waits(receivers: Receivers) -> None:
    receivers.behaviours["old"] = "500"
    webhook_id, _ = await webhooks.add(receivers.url("old"), ["user_disabled"])
    await _record("user_disabled")
    await deliver()
    await webhooks.update(webhook_id, url=receivers.url("new"))
    await execute("UPDATE delivery_stream SET free_at = now()")
    await deliver()
    assert [received.path for received in receivers.received] == ["old", "new"]
    assert len({received.headers["webhook-id"] for received in receivers.received}) == 1


async def test_a_disabled_or_deleted_webhook_gets_nothing_more(receivers: Receivers) -> None:
    for end in (lambda one: webhooks.set_enabled(one, False), webhooks.remove):
        webhook_id, _ = await webhooks.add(receivers.url("a"), ["user_disabled"])
        await _record("user_disabled")
        assert await publish.publish()
        await end(webhook_id)
        await deliver()
    assert receivers.received == []
    (row, *_) = await fetch("SELECT id FROM delivery WHERE state = 'dead'")
    assert not await replay(row["id"], 60)
    # A delivery that was queued at the same moment is rejected when it is composed.
    await outbox.queue(webhooks.KIND, webhooks.stream_of(webhook_id), {"type": "x"})
    await deliver()
    assert receivers.received == []


async def test_a_test_event(receivers: Receivers) -> None:
    webhook_id, secret = await webhooks.add(receivers.url("a"), ["user_disabled"])
    delivery = await webhooks.send_test(webhook_id)
    await deliver()
    assert _verify(secret, receivers.received[0])["type"] == "webhook_test"
    assert receivers.received[0].headers["webhook-id"] == str(delivery)
    await webhooks.set_enabled(webhook_id, False)
    with pytest.raises(UnknownWebhookError):
        await webhooks.send_test(webhook_id)


@pytest.mark.parametrize(
    ("url", "kinds"),
    [
        ("ftp://receiver.example/", ["user_disabled"]),
        ("https://user:password@receiver.example/", ["user_disabled"]),
        ("https://receiver.example/#a", ["user_disabled"]),
        ("/relative", ["user_disabled"]),
        ("https://receiver.example/", []),
        ("https://receiver.example/", ["no_such_event"]),
        ("https://receiver.example/", ["*", "user_disabled"]),
    ],
)
async def test_what_may_not_be_added(receivers: Receivers, url: str, kinds: list[str]) -> None:
    with pytest.raises(ValidationError):
        await webhooks.add(url, kinds)


async def test_unknown_webhooks(receivers: Receivers) -> None:
    unknown = uuid.uuid4()
    for call in (
        webhooks.update(unknown, url="https://receiver.example"), webhooks.rotate_secret(unknown),
        webhooks.remove(unknown), webhooks.set_enabled(unknown, True), webhooks.send_test(unknown),
    ):  # fmt: skip
        with pytest.raises(UnknownWebhookError):
            await call


def test_every_kind_is_documented_as_an_event() -> None:
    """The list names events that this server records."""
    from pathlib import Path

    import idp

    source = "".join(path.read_text() for path in Path(idp.__file__).parent.rglob("*.py") if path.name != "kinds.py")
    assert [kind for kind in KINDS if f'"{kind}"' not in source] == []
