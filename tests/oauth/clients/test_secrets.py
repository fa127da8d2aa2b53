"""Two live secrets during a change, and secrets that expire."""

import asyncio
from datetime import timedelta

import pytest

from idp import clock
from idp.errors import InvalidClientError
from idp.oauth.clients import repository
from idp.oauth.clients.authentication import authenticate
from idp.oauth.clients.models import StoredClient
from idp.oauth.clients.registration import end_previous_secret, register_client, rotate_secret
from idp.oauth.clients.registry import registry
from idp.oauth.clients.service import update_client
from idp.oauth.clients.shared_secrets import shared_secrets
from idp.reasons import Reason
from idp.settings import settings

pytestmark = pytest.mark.usefixtures("db")

NAME = {"client_name": "Shop", "redirect_uris": ["https://shop.example/cb"]}
HOUR = 3600


async def stored(client_id: str) -> StoredClient:
    client = await repository.find_client(client_id)
    assert client is not None
    return client


async def outcome(client_id: str, secret: str) -> Reason | None:
    """Why the secret is refused; None if it is accepted."""
    await registry.load()
    try:
        await authenticate(None, {"client_id": client_id, "client_secret": secret})
    except InvalidClientError as error:
        reason: Reason | None = error.refused.reason if error.refused is not None else Reason.MALFORMED
        return reason
    return None


async def test_the_old_secret_is_valid_for_the_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    client, old = await register_client(**NAME)
    assert old is not None
    new = await rotate_secret(client.client_id, HOUR)
    assert [await outcome(client.client_id, secret) for secret in (old, new)] == [None, None]
    assert await outcome(client.client_id, "x") is Reason.WRONG_SECRET
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(seconds=HOUR + 5))
    assert [await outcome(client.client_id, secret) for secret in (old, new)] == [Reason.SECRET_EXPIRED, None]


async def test_without_an_overlap_the_old_secret_ends_at_once() -> None:
    client, old = await register_client(**NAME)
    assert old is not None
    new = await rotate_secret(client.client_id)
    assert [await outcome(client.client_id, secret) for secret in (old, new)] == [Reason.WRONG_SECRET, None]
    assert (await stored(client.client_id)).previous_secret_hash is None


async def test_the_setting_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = settings().model_copy(update={"client_secret_overlap": HOUR})
    monkeypatch.setattr("idp.oauth.clients.registration.settings", lambda: changed)
    client, old = await register_client(**NAME)
    assert old is not None
    await rotate_secret(client.client_id)
    assert await outcome(client.client_id, old) is None


async def test_there_are_never_three() -> None:
    client, first = await register_client(**NAME)
    assert first is not None
    second, third = await rotate_secret(client.client_id, HOUR), await rotate_secret(client.client_id, HOUR)
    found = [await outcome(client.client_id, secret) for secret in (first, second, third)]
    assert found == [Reason.WRONG_SECRET, None, None]


async def test_concurrent_changes_leave_two() -> None:
    client, first = await register_client(**NAME)
    assert first is not None
    made = await asyncio.gather(*(rotate_secret(client.client_id, HOUR) for _ in range(4)))
    accepted = [secret for secret in (first, *made) if await outcome(client.client_id, secret) is None]
    assert len(accepted) == 2


async def test_the_old_secret_can_be_ended() -> None:
    client, old = await register_client(**NAME)
    assert old is not None
    new = await rotate_secret(client.client_id, HOUR)
    assert await end_previous_secret(client.client_id)
    assert not await end_previous_secret(client.client_id)
    assert [await outcome(client.client_id, secret) for secret in (old, new)] == [Reason.WRONG_SECRET, None]


@pytest.fixture
def short_lived(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = settings().model_copy(update={"client_secret_lifetime": HOUR})
    monkeypatch.setattr("idp.oauth.clients.registration.settings", lambda: changed)


@pytest.mark.usefixtures("short_lived")
async def test_a_secret_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    client, secret = await register_client(**NAME)
    assert secret is not None
    assert client.client_secret_expires_at is not None
    assert await outcome(client.client_id, secret) is None
    new = await rotate_secret(client.client_id, 2 * HOUR)
    found = await stored(client.client_id)
    assert found.previous_secret_expires_at == client.client_secret_expires_at, "an overlap makes no secret live longer"
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(seconds=HOUR + 5))
    assert [await outcome(client.client_id, each) for each in (secret, new)] == [Reason.SECRET_EXPIRED] * 2


async def test_a_client_that_signs_may_use_both(monkeypatch: pytest.MonkeyPatch) -> None:
    client, old = await register_client(**NAME, token_endpoint_auth_method="client_secret_jwt")
    new = await rotate_secret(client.client_id, HOUR)
    assert shared_secrets(await stored(client.client_id)) == [new, old]
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + timedelta(seconds=HOUR + 5))
    assert shared_secrets(await stored(client.client_id)) == [new]


@pytest.mark.parametrize("method", ["none", "client_secret_basic"])
async def test_secrets_are_dropped_when_they_are_not_needed(method: str) -> None:
    client, _ = await register_client(**NAME, token_endpoint_auth_method="client_secret_jwt")
    await rotate_secret(client.client_id, HOUR)
    changed = await update_client(client.client_id, token_endpoint_auth_method=method)
    assert changed == await stored(client.client_id)
    assert all(secret.encrypted is None for secret in changed.secrets)
    assert len(changed.secrets) == (0 if method == "none" else 2)
