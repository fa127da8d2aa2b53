"""Row 31: how long a refusal takes does not tell whether there is such a user."""

import random
import statistics
import time

import pytest

from idp.accounts import passwords
from idp.accounts.tables import User
from idp.accounts.users import create_user
from idp.ids import random_token
from idp.settings import settings
from idp.signin.steps import password

ATTEMPTS = 1000
#: A hash takes about 3 ms of a refusal's time here, so a missing one would show as a ratio of about 3.
ALLOWED_RATIO = 1.25


@pytest.fixture
def costly_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashing that takes longer than all the rest of a refusal together."""
    dear = settings().model_copy(update={"argon2_memory_cost": 4096})
    monkeypatch.setattr(passwords, "settings", lambda: dear)


async def _seconds(email: str) -> float:
    started = time.perf_counter()
    assert await password.check(email, "not the password") is None
    return time.perf_counter() - started


async def _ratio(known: str) -> float:
    """The median time for a known address over that for unknown ones, both measured at the same moments."""
    times: dict[str, list[float]] = {"known": [], "unknown": []}
    for _ in range(ATTEMPTS):
        pair = ["known", "unknown"]
        random.shuffle(pair)
        for kind in pair:
            email = known if kind == "known" else f"{random_token()[:20].lower()}@example.com"
            times[kind].append(await _seconds(email))
    return statistics.median(times["known"]) / statistics.median(times["unknown"])


@pytest.fixture
async def known(db: str, costly_hashing: None) -> User:
    return await create_user(f"{random_token()[:20].lower()}@example.com", "correct horse battery staple")


async def test_31_an_unknown_user_costs_as_much_as_a_known_one(known: User) -> None:
    assert 1 / ALLOWED_RATIO < await _ratio(known.email) < ALLOWED_RATIO


async def test_31_the_measurement_would_notice(known: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the hash that is verified in vain, the same measurement finds the difference."""
    verify = passwords.verify_password

    async def only_if_known(hash: str | None, text: str) -> bool:
        return hash is not None and await verify(hash, text)

    monkeypatch.setattr(password, "verify_password", only_if_known)
    monkeypatch.setattr("tests.attacks.test_31_enumeration_by_timing.ATTEMPTS", 100, raising=False)
    assert await _ratio(known.email) > ALLOWED_RATIO
