"""The ping (CIBA Core section 10.2)."""

import secrets
from typing import Any

import msgspec
import pytest

from idp import ids
from idp.accounts.tables import User
from idp.accounts.users import create_user
from idp.app import DELIVERIES
from idp.delivery import outbox
from idp.delivery.handlers import DeliveryRejectedError, DueDelivery
from idp.infra.db.engine import execute, fetch, transaction
from idp.infra.outbound import Answer
from idp.keys import root_key
from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.ciba import hints, ping, service
from idp.oauth.ciba.request import BackchannelAuthentication
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.registry import registry
from idp.signin import sessions
from idp.signin.browser import Browser
from idp.signin.sessions import SignedIn
from idp.signin.transitions import CompletedStep, Step
from tests.delivery.conftest import database, empty, receivers
from tests.support.ciba import CIBA
from tests.support.receivers import Receivers

__all__ = ["database", "empty", "receivers"]

TOKEN = secrets.token_urlsafe(32)
PING = CIBA | {
    "backchannel_token_delivery_mode": "ping",
    "backchannel_client_notification_endpoint": "https://bank.example/ping",
}


@pytest.fixture
async def user(empty: str) -> User:
    await root_key.unlock()
    return await create_user(f"{secrets.token_hex(6)}@example.com", None)


async def pinged(url: str) -> Client:
    """Register a client that is called at a URL on loopback."""
    client, _ = await register_client(**PING)
    await execute(
        "UPDATE client SET metadata = metadata"
        " || jsonb_build_object('backchannel_client_notification_endpoint', $2::text) WHERE client_id = $1",
        client.client_id,
        url,
    )
    await registry.load()
    found = registry.client(client.client_id)
    assert found is not None
    return found


async def asked(client: Client, user: User, token: str | None = TOKEN) -> tuple[str, SignedIn]:
    """Ask a user who is signed in. Returns the ``auth_req_id`` and the session."""
    request = AuthorizationRequest(client.client_id, "", "code", scope=("openid",))
    wanted = BackchannelAuthentication(request, None, 300, token)
    answer = await service.ask(client, wanted, hints.Person(user.id, user.email, user))
    async with transaction():
        started = await sessions.start(Browser(), user.id, (CompletedStep(Step.PASSWORD, ("pwd",)),))
    return answer.auth_req_id, started.session


async def _id_of(user: User) -> Any:
    (row,) = await fetch("SELECT id, request FROM backchannel_request WHERE user_id = $1", user.id)
    return row["id"]


@pytest.mark.parametrize("decision", ["allow", "deny"])
async def test_the_client_is_called(user: User, receivers: Receivers, decision: str) -> None:
    """Once, with its token, when the user has decided and not before."""
    client = await pinged(receivers.url("bank"))
    auth_req_id, session = await asked(client, user)
    assert await outbox.deliver_due(DELIVERIES) == 0
    if decision == "allow":
        async with transaction():
            await service.allow(await _id_of(user), AuthorizationRequest(client.client_id, "", "code"), client, session)
    else:
        await service.deny(await _id_of(user), session, report=False)
    await outbox.deliver_due(DELIVERIES)
    (received,) = receivers.received
    assert received.headers["authorization"] == f"Bearer {TOKEN}"
    assert received.headers["content-type"] == "application/json"
    assert msgspec.json.decode(received.body) == {"auth_req_id": auth_req_id}


async def test_a_client_that_polls_is_not_called(user: User, receivers: Receivers) -> None:
    client = await pinged(receivers.url("bank"))
    _, session = await asked(client, user, token=None)
    await service.deny(await _id_of(user), session, report=False)
    assert await fetch("SELECT 1 FROM delivery") == []


async def test_a_client_that_is_gone(empty: str) -> None:
    content = {"client_id": "none-such", "token": TOKEN, "auth_req_id": "x"}
    with pytest.raises(DeliveryRejectedError):
        await ping.compose(DueDelivery(ids.uuid7(), ping.KIND, "client:none-such", content, None, None, 1))


@pytest.mark.parametrize(("status", "final"), [(302, True), (401, True), (404, True), (429, False), (503, False)])
def test_which_responses_are_final(status: int, final: bool) -> None:
    """Section 10.2: the client polls if it missed the call; a redirect is not followed."""
    assert ping.is_final(Answer(status, {}, b"")) is final
