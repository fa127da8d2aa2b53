"""Whatever ends a session is a security event and a webhook, once."""

from collections.abc import Iterator
from typing import Any

import jwt
import msgspec
import pytest

from idp import app
from idp.delivery import outbox
from idp.events import publish, webhooks
from idp.events.ssf import streams
from idp.events.ssf.types import ACCOUNT_DISABLED, SESSION_REVOKED
from idp.infra.db.engine import execute, fetch, transaction
from idp.infra.request_context import actor
from idp.oauth import sign_out
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.registry import registry
from idp.settings import settings
from idp.signin.repository import sessions
from tests.oauth.logout.conftest import Participate, send
from tests.oauth.logout.test_announce import WAYS
from tests.support.receivers import Received, Receivers

#: Those that end all sessions of the user, and say so by one event.
OF_THE_USER = {"sign-out everywhere", "change of credentials", "disabling", "containment", "deletion"}


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("IDP_SHARED_SIGNALS", "true")
    monkeypatch.setenv("IDP_SHARED_SIGNALS_SUBJECTS", "all")
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
async def subscribed(receivers: Receivers, signals: None) -> Receivers:
    """Receivers of webhooks and of security events."""
    await execute("TRUNCATE webhook, event_stream, event_feed, event_feed_kind CASCADE")
    await webhooks.add(receivers.url("webhook"), ["session_ended"])
    client, _ = await register_client(
        client_name="Receiver", grant_types=["client_credentials"], scope="ssf.read ssf.manage"
    )
    await registry.load()
    delivery = {"method": streams.PUSH, "endpoint_url": receivers.url("signals")}
    await streams.create(client, {"delivery": delivery, "events_requested": [SESSION_REVOKED, ACCOUNT_DISABLED]})
    return receivers


async def _publish() -> None:
    """Announce what has ended, and deliver everything."""
    await send()
    while await publish.publish():
        pass
    while await outbox.deliver_due(app.DELIVERIES):
        pass


def _at(receivers: Receivers, name: str) -> list[Received]:
    return [request for request in receivers.received if request.path == name]


def _signals(receivers: Receivers) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Return type, claims and subject of each security event."""
    found = []
    for request in _at(receivers, "signals"):
        claims = jwt.decode(request.body.decode(), options={"verify_signature": False})
        ((kind, content),) = claims["events"].items()
        found.append((kind, content, claims["sub_id"]))
    return found


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_of_ending_is_an_event(subscribed: Receivers, participate: Participate, way: str) -> None:
    """Of the session, or of all sessions of the user."""
    given = await participate()
    await WAYS[way](given)
    await _publish()
    await _publish()
    (request,) = _at(subscribed, "webhook")
    body = msgspec.json.decode(request.body)
    user = {"format": "iss_sub", "iss": settings().issuer, "sub": str(given.user.id)}
    session = {"format": "opaque", "id": str(given.session_id)}
    ((_, claims, subject),) = [each for each in _signals(subscribed) if each[0] == SESSION_REVOKED]
    assert body["type"] == "session_ended"
    assert body["data"]["user_id"] == str(given.user.id)
    if way in OF_THE_USER:
        assert "session_id" not in body["data"]
        assert subject == user
    else:
        assert body["data"]["session_id"] == str(given.session_id)
        assert subject == {"format": "complex", "user": user, "session": session}
    assert claims["initiating_entity"] == ("system" if way == "restored backup" else "user")


async def test_the_event_of_each_session_has_who_and_why(subscribed: Receivers, participate: Participate) -> None:
    """Though another process records it."""
    given = await participate()
    token = actor.set("user:0199d1c2-7d5e-7c31-9a44-2b1f0c6f8a10")
    await sign_out.end_session(given.user.id, given.session_id, "signed_out_by_admin")
    actor.reset(token)
    other = await participate()
    await sessions.end_other_sessions(other.user.id, given.session_id, "single_session")
    await _publish()
    rows = await fetch(
        "SELECT session_id, actor, detail ->> 'reason' AS reason FROM audit_event WHERE event = 'session_ended'"
        " AND session_id = ANY ($1) ORDER BY id",
        [given.session_id, other.session_id],
    )
    assert [tuple(row) for row in rows] == [
        (given.session_id, "user:0199d1c2-7d5e-7c31-9a44-2b1f0c6f8a10", "signed_out_by_admin"),
        (other.session_id, "", "single_session"),
    ]
    assert [claims["initiating_entity"] for _, claims, _ in _signals(subscribed)] == ["admin", "policy"]


async def test_all_sessions_of_a_user_are_one_event(subscribed: Receivers, participate: Participate) -> None:
    """Whatever their number; also none, because an application may still have a session of its own."""
    given = await participate()
    await participate(user=given.user)
    await sign_out.sign_out_everywhere(given.user.id, "signed_out_by_user")
    await _publish()
    assert len(_at(subscribed, "shop")) == 2
    await sign_out.sign_out_everywhere(given.user.id, "signed_out_by_user")
    await _publish()
    assert len(_at(subscribed, "webhook")) == len(_signals(subscribed)) == 2


async def test_a_sign_out_that_is_rolled_back_is_no_event(subscribed: Receivers, participate: Participate) -> None:
    given = await participate()

    async def sign_out_and_fail() -> None:
        async with transaction():
            await sign_out.sign_out_everywhere(given.user.id, "signed_out_by_user")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await sign_out_and_fail()
    await _publish()
    assert subscribed.received == []


async def test_a_contained_user_is_disabled_once(subscribed: Receivers, participate: Participate) -> None:
    given = await participate()
    await WAYS["containment"](given)
    await _publish()
    found = [(kind, claims.get("reason")) for kind, claims, _ in _signals(subscribed)]
    assert sorted(found) == sorted([(SESSION_REVOKED, None), (ACCOUNT_DISABLED, "hijacking")])
