"""Password strength: refused passwords, the advice for them, and bounded time."""

import threading
import time
from contextlib import nullcontext

import pytest
import zxcvbn_rs_py
from hypothesis import given, settings
from hypothesis import strategies as st

from idp.accounts import passwords, strength
from idp.accounts.passwords import InvalidPasswordError, check_new_password
from idp.accounts.strength import Strength, estimate, explain_weakness
from idp.settings import settings as idp_settings


@pytest.mark.parametrize("password", ["password", "12345678", "qwertyuiop", "aaaaaaaaaaaa", "Passw0rd1", "x" * 1024])
async def test_weak_passwords_are_refused_with_advice(password: str) -> None:
    with pytest.raises(InvalidPasswordError, match=r"^The password is too easy to guess\. [A-Z].*\.$"):
        await check_new_password(password)


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery staple",
        "a good long password",
        "7hK-2mQx-pL",
        "пароль из четырёх слов",
        "😀🎉🚲🌍🍎🎸🐙🧊" * 2,
    ],
)
async def test_strong_passwords_need_no_composition(password: str) -> None:
    await check_new_password(password, user_inputs=["alice@example.com", "Alice Example"])


@pytest.mark.parametrize(
    "password",
    ["quorlimbo.xanthipe@example.com", "quorlimbo", "Quorlimbo", "obmilrouq", "Xanthipe", "xanthipe1", "Zorgbank"],
)
async def test_known_data_of_the_user_is_refused(password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "product_name", lambda: "Zorgbank")
    assert estimate(password).score >= 2
    with pytest.raises(InvalidPasswordError, match=r"too (easy|short)"):
        await check_new_password(password, user_inputs=["quorlimbo.xanthipe@example.com", "Xanthipe Quorlimbo"])


@pytest.mark.parametrize(("least", "refused"), [(0, set()), (2, {"weak"}), (4, {"weak", "middling"})])
async def test_the_least_strength_is_a_setting(least: int, refused: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    changed = idp_settings().model_copy(update={"password_min_score": least})
    monkeypatch.setattr(passwords, "settings", lambda: changed)
    for name, password in {"weak": "password", "middling": "xanthipe1", "strong": "a good long password"}.items():
        with pytest.raises(InvalidPasswordError) if name in refused else nullcontext():
            await check_new_password(password)


async def test_the_event_loop_does_not_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = []

    def estimate(*_: object) -> Strength:
        threads.append(threading.current_thread().name)
        return Strength(4, None, ())

    monkeypatch.setattr(strength, "estimate", estimate)
    await check_new_password("correct horse battery staple")
    assert threads[0].startswith("hashing")


async def test_lengths_come_first() -> None:
    with pytest.raises(InvalidPasswordError, match="too short: at least 8 characters"):
        await check_new_password("x")
    with pytest.raises(InvalidPasswordError, match="too long: at most 1024 characters"):
        await check_new_password("correct horse battery staple" * 100)


def test_the_same_password_on_two_devices_is_as_strong() -> None:
    assert estimate("\uff30\uff41\uff53\uff53\uff57\uff4f\uff52\uff44") == estimate("Password")


def test_every_warning_and_suggestion_has_a_sentence() -> None:
    members = {
        name
        for kind in (zxcvbn_rs_py.Warning, zxcvbn_rs_py.Suggestion)
        for name in vars(kind)
        if not name.startswith("_")
    }
    assert len(members) == 27
    assert strength._sentences().keys() == members
    assert "ten most common" in explain_weakness(estimate("password"))


def test_a_password_made_to_be_slow_is_not() -> None:
    """Each character that can replace two letters doubles the number of readings of a word."""
    hostile = "4@8({[<369&#!1/|0$5+7%2z" * 40
    began = time.process_time()
    estimate(hostile, [hostile, "@".join("abc" * 100)])
    assert time.process_time() - began < 5


@settings(max_examples=200)
@given(st.text(st.characters(), max_size=100), st.lists(st.text(st.characters(), max_size=30), max_size=3))
def test_any_text_has_a_strength(password: str, user_inputs: list[str]) -> None:
    """Halves of surrogate pairs, NUL and all."""
    found = estimate(password, user_inputs)
    assert 0 <= found.score <= 4
    assert explain_weakness(found).endswith(".")
