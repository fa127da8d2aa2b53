"""Row 31: the time of an answer to a backchannel request does not reveal whether a user exists."""

import random
import secrets
import statistics
import time

import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import execute, transaction
from idp.oauth.ciba import hints, service
from idp.oauth.ciba.request import validate
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.registry import registry
from tests.support.ciba import CIBA

ROUNDS, ATTEMPTS = 4, 100
#: The largest accepted difference of the medians.
ALLOWED_RATIO = 1.25


async def test_31_the_time_is_the_same(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured inside the server, where nothing blurs it."""
    client, _ = await register_client(**CIBA)
    await registry.load()
    found = registry.client(client.client_id)
    assert found is not None
    monkeypatch.setattr(service.limits, "MAX_WAITING", 10**6)

    async def no_limit(client_id: str, email: str) -> None: ...

    monkeypatch.setattr(service.limits, "count", no_limit)

    async def seconds(email: str) -> float:
        parameters = {"scope": "openid", "login_hint": email}
        start = time.perf_counter()
        person = await hints.find(parameters, found)
        await service.ask(found, validate(parameters, found), person)
        return time.perf_counter() - start

    unknown = f"{secrets.token_hex(6)}@example.com"
    ratios = []
    for _ in range(ROUNDS):
        times: dict[str, list[float]] = {alice.email: [], unknown: []}
        kinds = list(times) * ATTEMPTS
        random.shuffle(kinds)
        for email in kinds:
            times[email].append(await seconds(email))
        # Equal numbers of rows for both, so that the tables do not differ.
        await execute("DELETE FROM backchannel_request WHERE client_id = $1", client.client_id)
        known, other = (statistics.median(values) for values in times.values())
        ratios.append(known / other)
        if 1 / ALLOWED_RATIO < ratios[-1] < ALLOWED_RATIO:
            break
    else:
        raise AssertionError(ratios)
    async with transaction():
        await execute("DELETE FROM mail WHERE recipient = ANY($1)", [alice.email, unknown])
