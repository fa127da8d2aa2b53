"""Passwords: verification, and the limits of concurrent hashing."""

import asyncio
import threading

import pytest
from argon2 import extract_parameters
from hypothesis import given, settings
from hypothesis import strategies as st

from idp.accounts import passwords
from idp.accounts.passwords import (
    MAX_LENGTH,
    InvalidPasswordError,
    hash_password,
    needs_rehash,
    rehash_password,
    verify_password,
)
from idp.errors import OverloadedError

PASSWORD = "correct horse battery staple"


async def test_only_the_password_itself_verifies() -> None:
    stored = await hash_password(PASSWORD)
    assert stored.startswith("$argon2id$")
    assert await verify_password(stored, PASSWORD)
    for other in ("", PASSWORD[:-1], PASSWORD + " ", PASSWORD.upper(), PASSWORD + "\0"):
        assert not await verify_password(stored, other)


async def test_two_hashes_of_one_password_differ() -> None:
    assert await hash_password(PASSWORD) != await hash_password(PASSWORD)


@pytest.mark.parametrize(
    ("chosen", "typed"),
    [
        ("\u00c5ngstr\u00f6m unit", "A\u030angstro\u0308m unit"),
        ("\ufb01ve wizards", "five wizards"),
        ("\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18", "12345678"),
    ],
)
async def test_one_password_typed_on_two_devices(chosen: str, typed: str) -> None:
    """NIST SP 800-63B: what looks the same is the same (NFKC)."""
    assert chosen != typed
    assert await verify_password(await hash_password(chosen), typed)


async def test_a_nul_does_not_end_a_password() -> None:
    stored = await hash_password("password\0one")
    assert await verify_password(stored, "password\0one")
    assert not await verify_password(stored, "password\0two")
    assert not await verify_password(stored, "password")


async def test_half_a_surrogate_pair_is_a_wrong_password() -> None:
    assert not await verify_password(await hash_password(PASSWORD), PASSWORD + "\ud800")


@pytest.mark.parametrize("password", ["", "short 7", "\ufb01" * 3, "x" * (MAX_LENGTH + 1)])
async def test_lengths_that_are_refused(password: str) -> None:
    with pytest.raises(InvalidPasswordError):
        await hash_password(password)


@pytest.mark.parametrize("password", ["12345678", "x" * MAX_LENGTH, "\U0001f600" * 8])
async def test_lengths_that_are_accepted(password: str) -> None:
    assert await verify_password(await hash_password(password), password)


async def test_an_old_short_password_still_verifies() -> None:
    """The minimum length applies to new passwords, so that a later rule does not lock users out."""
    stored = passwords._hasher().hash("old")
    assert await verify_password(stored, "old")


async def test_an_old_short_password_can_be_rehashed() -> None:
    """The user does not choose a new password at a sign-in."""
    assert await verify_password(await rehash_password("old"), "old")


async def test_an_endless_password_is_wrong_without_being_hashed_whole() -> None:
    assert not await verify_password(await hash_password(PASSWORD), PASSWORD * 100_000)


@pytest.mark.parametrize(
    "stored", ["", "x", "$argon2id$", "$argon2id$v=19$m=8,t=1,p=1$AAAA$", "$2b$12$abc", "\u00e9", "\0"], ids=repr
)
async def test_a_malformed_hash_matches_no_password(stored: str) -> None:
    assert not await verify_password(stored, PASSWORD)
    assert not await verify_password(stored, "")


async def test_unknown_users_cost_the_same_work() -> None:
    """Without a hash, one is verified that has today's parameters and no password."""
    assert not await verify_password(None, PASSWORD)
    decoy, real = extract_parameters(passwords._decoy()), extract_parameters(await hash_password(PASSWORD))
    assert decoy == real


async def test_other_parameters_need_a_rehash() -> None:
    stored = await hash_password(PASSWORD)
    assert not needs_rehash(stored)
    assert needs_rehash(stored.replace("t=1", "t=3"))
    assert needs_rehash("nonsense")


@settings(max_examples=60)
@given(st.text(min_size=8, max_size=60))
def test_any_text_can_be_a_password(password: str) -> None:
    stored = passwords._hasher().hash(passwords._encoded(passwords._normalised(password)))
    assert passwords._matches(stored, password)
    assert not passwords._matches(stored, password + "!")


class TestPool:
    """The threads that hash, and the queue before them."""

    async def test_hashing_happens_outside_the_event_loop(self) -> None:
        name = await passwords._pool().run(lambda: threading.current_thread().name)
        assert name.startswith("hashing")

    async def test_a_full_queue_refuses_at_once(self) -> None:
        pool, go_on = passwords._Pool(threads=1, queue=1), threading.Event()
        under_way = [asyncio.create_task(pool.run(go_on.wait, 10)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            await pool.run(go_on.wait, 10)
        go_on.set()
        assert await asyncio.gather(*under_way) == [True, True]
        assert await pool.run(go_on.wait, 10)

    async def test_a_cancelled_call_frees_its_place_in_the_queue(self) -> None:
        pool, go_on = passwords._Pool(threads=1, queue=1), threading.Event()
        running = asyncio.create_task(pool.run(go_on.wait, 10))
        waiting = asyncio.create_task(pool.run(go_on.wait, 10))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        another = asyncio.create_task(pool.run(go_on.wait, 10))
        await asyncio.sleep(0)
        go_on.set()
        assert await asyncio.gather(running, another) == [True, True]

    async def test_a_hashing_keeps_its_place_until_it_is_done(self) -> None:
        """A thread cannot be interrupted: a caller who left must not let another one in too early."""
        pool, started, go_on = passwords._Pool(threads=1, queue=0), threading.Event(), threading.Event()

        def work() -> bool:
            started.set()
            return go_on.wait(10)

        running = asyncio.create_task(pool.run(work))
        await asyncio.to_thread(started.wait, 10)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        with pytest.raises(OverloadedError):
            await pool.run(work)
        go_on.set()

    async def test_a_failure_gives_the_place_back(self) -> None:
        pool = passwords._Pool(threads=1, queue=0)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await pool.run(lambda: 1 // 0)

    @pytest.mark.fault(45)
    async def test_the_queue_is_as_long_as_its_time(self) -> None:
        """The hashing itself moves the clock: one takes 0.2 s, and 0.5 s are allowed."""
        clock = _Clock()
        pool = passwords._Pool(threads=1, queue=100, longest_wait=0.5, now=clock)
        for _ in range(60):
            await pool.run(clock.advance, 0.2)
        go_on = threading.Event()
        admitted = [asyncio.create_task(pool.run(go_on.wait, 30)) for _ in range(3)]
        await asyncio.sleep(0)
        # The first is under way, so the third waits for two: 0.4 s. A fourth would wait 0.6 s.
        with pytest.raises(OverloadedError):
            pool.check()
        with pytest.raises(OverloadedError):
            await pool.run(go_on.wait, 30)
        go_on.set()
        assert await asyncio.gather(*admitted) == [True] * 3

    @pytest.mark.fault(45)
    async def test_a_call_that_waited_too_long_is_not_run(self) -> None:
        """Those before may take longer than was foreseen."""
        clock, started, go_on = _Clock(), threading.Event(), threading.Event()
        pool = passwords._Pool(threads=1, queue=100, longest_wait=0.5, now=clock)
        hashed: list[str] = []

        def work() -> bool:
            started.set()
            return go_on.wait(30)

        running = asyncio.create_task(pool.run(work))
        await asyncio.to_thread(started.wait, 30)
        waiting = asyncio.create_task(pool.run(hashed.append, "late"))
        await asyncio.sleep(0)
        clock.advance(0.6)
        go_on.set()
        assert await running
        with pytest.raises(OverloadedError):
            await waiting
        assert hashed == []


class _Clock:
    """A clock that moves only when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds
