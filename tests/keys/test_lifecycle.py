"""From published to retired, with several replicas at work."""

import asyncio
from datetime import timedelta

import pytest

from idp import clock
from idp.db.engine import fetch, fetchrow
from idp.keys import jose, lifecycle
from idp.keys.lifecycle import KeyInfo, RotationPending, State
from idp.keys.ring import KeyRing, NoSigningKey
from idp.settings import settings
from tests.support.isolated import MoveClock

pytestmark = pytest.mark.usefixtures("own_database")

ALG = "ES256"


async def states(alg: str = ALG) -> list[State]:
    return [key.state for key in await lifecycle.list_keys() if key.alg == alg]


async def revision() -> int:
    row = await fetchrow("SELECT number FROM revision WHERE topic = 'keys'")
    return row["number"] if row else 0


async def keys() -> list[KeyInfo]:
    return await lifecycle.list_keys()


def activation_delay() -> float:
    return settings().jwks_max_age + lifecycle.MARGIN


def longest_token() -> int:
    return max(settings().access_token_lifetime, settings().id_token_lifetime)


async def test_the_first_key_is_made_once_and_signs_at_once() -> None:
    assert await lifecycle.ensure_signing_key(ALG)
    assert not await lifecycle.ensure_signing_key(ALG)
    assert await states() == [State.ACTIVE]
    ring = KeyRing()
    await ring.load()
    assert ring.signing(ALG).kid == (await keys())[0].kid


async def test_the_first_key_is_rs256_of_2048_bits() -> None:
    await lifecycle.ensure_signing_key()
    ring = KeyRing()
    await ring.load()
    assert len(ring.signing("RS256").public_jwk["n"]) == 342


async def test_many_replicas_make_one_first_key() -> None:
    created = await asyncio.gather(*(lifecycle.ensure_signing_key(ALG) for _ in range(20)))
    assert created.count(True) == 1
    assert await states() == [State.ACTIVE]


async def test_the_first_key_signs_on_a_replica_whose_clock_is_behind(
    move_clock: MoveClock,
) -> None:
    await lifecycle.ensure_signing_key(ALG)
    ring = KeyRing()
    await ring.load()
    move_clock(-lifecycle.MARGIN / 2)
    assert ring.signing(ALG)


async def test_the_private_key_is_sealed() -> None:
    await lifecycle.ensure_signing_key(ALG)
    ring = KeyRing()
    await ring.load()
    private = jose.to_private_jwk(ring.signing(ALG))["d"].encode()
    (row,) = await fetch("SELECT * FROM signing_key")
    assert private not in row["private_jwk"]
    assert private not in repr(dict(row)).encode()


async def test_a_new_key_is_published_before_it_signs(move_clock: MoveClock) -> None:
    await lifecycle.ensure_signing_key(ALG)
    (first,) = await keys()
    await lifecycle.rotate(ALG)
    ring = KeyRing()
    await ring.load()
    old, new = await keys()
    assert (old.state, new.state) == (State.ACTIVE, State.PENDING)
    delay = (new.activates_at - clock.now()).total_seconds()
    assert activation_delay() - 5 < delay <= activation_delay()
    assert ring.signing(ALG).kid == first.kid
    assert ring.verification().keys() == {old.kid, new.kid}

    move_clock(activation_delay() + 1)
    assert await states() == [State.RETIRING, State.ACTIVE]
    assert ring.signing(ALG).kid == new.kid
    assert ring.verification().keys() == {old.kid, new.kid}


async def test_the_predecessor_outlives_every_token_that_it_signed(move_clock: MoveClock) -> None:
    await lifecycle.ensure_signing_key(ALG)
    await lifecycle.rotate(ALG)
    ring = KeyRing()
    await ring.load()
    old, new = await keys()
    assert old.retires_at is not None
    assert old.retires_at - new.activates_at == timedelta(seconds=longest_token() + lifecycle.MARGIN)
    assert new.retires_at is None

    move_clock(activation_delay())
    last = jose.sign(ring.verification()[old.kid], "JWT", {"sub": "alice"})
    move_clock(activation_delay() + longest_token())
    assert jose.verify(last, ring.verification(), typ="JWT")
    move_clock(activation_delay() + longest_token() + lifecycle.MARGIN + 1)
    assert await states() == [State.RETIRED, State.ACTIVE]
    assert ring.verification().keys() == {new.kid}


async def test_a_rotation_waits_for_the_one_before() -> None:
    await lifecycle.ensure_signing_key(ALG)
    await lifecycle.rotate(ALG)
    before = await keys()
    for again in (
        lifecycle.rotate(ALG),
        lifecycle.generate(ALG),
        lifecycle.generate(ALG, now=True),
    ):
        with pytest.raises(RotationPending, match="published already and becomes active at 2"):
            await again
    assert await keys() == before


async def test_many_rotations_at_once_make_one_key() -> None:
    await lifecycle.ensure_signing_key(ALG)
    results = await asyncio.gather(*(lifecycle.rotate(ALG) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(result, str) for result in results) == 1
    assert sum(isinstance(result, RotationPending) for result in results) == 9
    assert await states() == [State.ACTIVE, State.PENDING]


async def test_a_rotation_at_once() -> None:
    await lifecycle.ensure_signing_key(ALG)
    kid = await lifecycle.rotate(ALG, now=True)
    ring = KeyRing()
    await ring.load()
    old, new = await keys()
    assert (old.state, new.state) == (State.RETIRING, State.ACTIVE)
    assert ring.signing(ALG).kid == new.kid == kid
    assert old.retires_at is not None
    remaining = (old.retires_at - clock.now()).total_seconds()
    assert longest_token() < remaining <= longest_token() + lifecycle.MARGIN


async def test_a_pending_key_is_brought_forward() -> None:
    await lifecycle.ensure_signing_key(ALG)
    pending = await lifecycle.rotate(ALG)
    assert await lifecycle.rotate(ALG, now=True) == pending
    old, new = await keys()
    assert (old.state, new.state, new.kid) == (State.RETIRING, State.ACTIVE, pending)
    assert old.retires_at is not None
    assert old.retires_at - new.activates_at == timedelta(seconds=longest_token() + lifecycle.MARGIN)


async def test_a_third_key_leaves_the_time_of_the_first_alone() -> None:
    await lifecycle.ensure_signing_key(ALG)
    await lifecycle.rotate(ALG, now=True)
    first = (await keys())[0]
    await lifecycle.rotate(ALG)
    await lifecycle.rotate(ALG, now=True)
    assert (await keys())[0] == first
    assert await states() == [State.RETIRING, State.RETIRING, State.ACTIVE]


async def test_algorithms_rotate_alone() -> None:
    await lifecycle.ensure_signing_key(ALG)
    await lifecycle.ensure_signing_key("EdDSA")
    await lifecycle.rotate("EdDSA", now=True)
    assert await states(ALG) == [State.ACTIVE]
    assert (await keys())[0].retires_at is None


async def test_there_must_be_something_to_rotate() -> None:
    with pytest.raises(NoSigningKey, match="no active ES256 key"):
        await lifecycle.rotate(ALG)
    with pytest.raises(NoSigningKey):
        await lifecycle.rotate(ALG, now=True)


async def test_a_generated_key_waits_unless_told_otherwise() -> None:
    await lifecycle.generate(ALG)
    await lifecycle.generate("EdDSA", now=True)
    assert await states(ALG) == [State.PENDING]
    assert await states("EdDSA") == [State.ACTIVE]


async def test_a_start_does_not_wait_for_a_generated_key(move_clock: MoveClock) -> None:
    """One generated by hand before the first start leaves nothing to sign with meanwhile."""
    await lifecycle.generate(ALG)
    assert await lifecycle.ensure_signing_key(ALG)
    assert await states() == [State.ACTIVE, State.PENDING]
    move_clock(activation_delay() + 1)
    assert await states() == [State.RETIRING, State.ACTIVE]
    move_clock(activation_delay() + longest_token() + lifecycle.MARGIN + 1)
    assert await states() == [State.RETIRED, State.ACTIVE]


async def test_every_change_is_announced_and_a_refusal_is_not() -> None:
    await lifecycle.ensure_signing_key(ALG)
    assert await revision() == 1
    await lifecycle.ensure_signing_key(ALG)
    assert await revision() == 1
    await lifecycle.rotate(ALG)
    assert await revision() == 2
    with pytest.raises(RotationPending):
        await lifecycle.generate(ALG)
    assert await revision() == 2
    await lifecycle.rotate(ALG, now=True)
    assert await revision() == 3


@pytest.mark.parametrize(("alg", "size"), [("none", 2048), ("RS256", 1024)])
async def test_only_our_algorithms_and_sizes(alg: str, size: int) -> None:
    with pytest.raises(jose.UnsupportedAlgorithm):
        await lifecycle.generate(alg, size)
    assert await keys() == []


async def test_the_event_loop_goes_on_while_a_key_is_made() -> None:
    making = asyncio.create_task(lifecycle.generate("RS256", 4096))
    loop = asyncio.get_running_loop()
    longest, began = 0.0, loop.time()
    last = began
    while not making.done():
        await asyncio.sleep(0.001)
        longest, last = max(longest, loop.time() - last), loop.time()
    assert await making
    # Were it made in the loop, nearly all of the time would be one pause, however fast the machine is.
    assert longest < 0.6 * (last - began)
