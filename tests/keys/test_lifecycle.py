"""The life cycle of keys, with several replicas."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from idp import clock
from idp.errors import NoSigningKeyError
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.keys import jose, lifecycle, vault
from idp.keys.key_set import KeySet
from idp.keys.lifecycle import KeyInfo, RotationPendingError, State, UnknownKeyError
from idp.keys.repository import signing_keys
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


def longest_token() -> int:
    return max(settings().access_token_lifetime, settings().id_token_lifetime)


async def test_the_first_key_is_made_once_and_signs_at_once() -> None:
    assert await lifecycle.ensure_signing_key(ALG)
    assert not await lifecycle.ensure_signing_key(ALG)
    assert await states() == [State.ACTIVE]
    ring = KeySet()
    await ring.load()
    assert ring.signing(ALG).kid == (await keys())[0].kid


async def test_the_first_key_is_rs256_of_2048_bits() -> None:
    await lifecycle.ensure_signing_key()
    ring = KeySet()
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
    ring = KeySet()
    await ring.load()
    move_clock(-signing_keys.MARGIN / 2)
    assert ring.signing(ALG)


async def test_the_private_key_is_sealed() -> None:
    await lifecycle.ensure_signing_key(ALG)
    ring = KeySet()
    await ring.load()
    private = jose.to_private_jwk(ring.signing(ALG))["d"].encode()
    (row,) = await fetch("SELECT * FROM signing_key")
    assert private not in row["private_jwk"]
    assert private not in repr(dict(row)).encode()


async def test_a_new_key_is_published_before_it_signs() -> None:
    await lifecycle.ensure_signing_key(ALG)
    (first,) = await keys()
    kid = await lifecycle.rotate(ALG, deadline=3600)
    ring = KeySet()
    await ring.load()
    old, new = await keys()
    assert (old.state, new.state, new.activates_at) == (State.ACTIVE, State.PENDING, None)
    assert new.deadline_at == new.created_at + timedelta(hours=1)
    assert ring.signing(ALG).kid == first.kid
    assert ring.verification().keys() == {old.kid, new.kid}

    await lifecycle.activate(kid)
    await ring.load()
    assert await states() == [State.RETIRING, State.ACTIVE]
    assert ring.signing(ALG).kid == new.kid
    assert ring.verification().keys() == {old.kid, new.kid}
    with pytest.raises(UnknownKeyError):
        await lifecycle.activate(kid)


async def test_a_key_on_hold_has_no_deadline() -> None:
    await lifecycle.ensure_signing_key(ALG)
    await lifecycle.rotate(ALG, deadline=None)
    assert (await keys())[1].deadline_at is None


async def test_the_predecessor_outlives_every_token_that_it_signed(move_clock: MoveClock) -> None:
    await lifecycle.ensure_signing_key(ALG)
    await lifecycle.rotate(ALG, now=True)
    ring = KeySet()
    await ring.load()
    old, new = await keys()
    assert old.retires_at is not None
    assert new.activates_at is not None
    assert old.retires_at - new.activates_at == timedelta(seconds=longest_token() + signing_keys.MARGIN)
    assert new.retires_at is None

    last = jose.sign(ring.verification()[old.kid], "JWT", {"sub": "alice"})
    move_clock(longest_token())
    assert jose.verify(last, ring.verification(), typ="JWT")
    move_clock(longest_token() + signing_keys.MARGIN + 1)
    assert await states() == [State.RETIRED, State.ACTIVE]
    assert ring.verification().keys() == {new.kid}


async def test_the_predecessor_outlives_tokens_of_longer_lifetimes() -> None:
    """Such as those that were issued before the setting was made smaller."""
    await lifecycle.ensure_signing_key(ALG)
    ring = KeySet()
    await ring.load()
    exp = clock.timestamp() + 7 * longest_token()
    ring.sign(ALG, "at+jwt", {"exp": exp})
    ring.sign(ALG, "at+jwt", {"exp": exp - 10})
    await ring.write_use()
    await lifecycle.rotate(ALG, now=True)
    old, _ = await keys()
    assert old.retires_at is not None
    assert old.signed == 2
    assert int(old.retires_at.timestamp()) == exp + signing_keys.MARGIN


async def test_a_rotation_waits_for_the_one_before() -> None:
    await lifecycle.ensure_signing_key(ALG)
    await lifecycle.rotate(ALG)
    before = await keys()
    for again in (lifecycle.rotate(ALG), lifecycle.publish(jose.generate(ALG))):
        with pytest.raises(RotationPendingError, match="published already and waits"):
            await again
    assert await keys() == before


async def test_many_rotations_at_once_make_one_key() -> None:
    await lifecycle.ensure_signing_key(ALG)
    results = await asyncio.gather(*(lifecycle.rotate(ALG) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(result, str) for result in results) == 1
    assert sum(isinstance(result, RotationPendingError) for result in results) == 9
    assert await states() == [State.ACTIVE, State.PENDING]


async def test_a_rotation_at_once() -> None:
    await lifecycle.ensure_signing_key(ALG)
    kid = await lifecycle.rotate(ALG, now=True)
    ring = KeySet()
    await ring.load()
    old, new = await keys()
    assert (old.state, new.state) == (State.RETIRING, State.ACTIVE)
    assert ring.signing(ALG).kid == new.kid == kid
    assert old.retires_at is not None
    remaining = (old.retires_at - clock.now()).total_seconds()
    assert longest_token() < remaining <= longest_token() + signing_keys.MARGIN


async def test_a_pending_key_is_brought_forward() -> None:
    await lifecycle.ensure_signing_key(ALG)
    pending = await lifecycle.rotate(ALG)
    assert await lifecycle.rotate(ALG, now=True) == pending
    old, new = await keys()
    assert (old.state, new.state, new.kid) == (State.RETIRING, State.ACTIVE, pending)


@pytest.mark.parametrize("by", [lifecycle.activate, lifecycle.revoke], ids=["activated", "revoked"])
async def test_a_pending_key_that_changes_at_the_same_time(
    monkeypatch: pytest.MonkeyPatch, by: Callable[[str], Awaitable[object]]
) -> None:
    """The rotation job activates it: that is what was asked for. It is revoked: nothing was rotated."""
    await lifecycle.ensure_signing_key(ALG)
    pending, find = await lifecycle.rotate(ALG), signing_keys.pending_key

    async def find_and_change(alg: str) -> object:
        found = await find(alg)
        await by(pending)
        return found

    monkeypatch.setattr(signing_keys, "pending_key", find_and_change)
    if by is lifecycle.activate:
        assert await lifecycle.rotate(ALG, now=True) == pending
    else:
        with pytest.raises(UnknownKeyError):
            await lifecycle.rotate(ALG, now=True)


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


async def test_rotation_requires_an_active_key() -> None:
    with pytest.raises(NoSigningKeyError, match="no active ES256 key"):
        await lifecycle.rotate(ALG)
    with pytest.raises(NoSigningKeyError):
        await lifecycle.rotate(ALG, now=True)


async def test_every_change_is_announced_and_a_refusal_is_not() -> None:
    await lifecycle.ensure_signing_key(ALG)
    assert await revision() == 1
    await lifecycle.ensure_signing_key(ALG)
    assert await revision() == 1
    await lifecycle.rotate(ALG)
    assert await revision() == 2
    with pytest.raises(RotationPendingError):
        await lifecycle.rotate(ALG)
    assert await revision() == 2
    await lifecycle.rotate(ALG, now=True)
    assert await revision() == 3


@pytest.mark.parametrize(("alg", "size"), [("none", 2048), ("RS256", 1024)])
async def test_only_our_algorithms_and_sizes(alg: str, size: int) -> None:
    with pytest.raises(jose.UnsupportedAlgorithmError):
        await lifecycle.ensure_signing_key(alg, size)
    assert await keys() == []


async def test_the_event_loop_goes_on_while_a_key_is_made() -> None:
    making = asyncio.create_task(lifecycle.ensure_signing_key("RS256", 4096))
    loop = asyncio.get_running_loop()
    longest, began = 0.0, loop.time()
    last = began
    while not making.done():
        await asyncio.sleep(0.001)
        longest, last = max(longest, loop.time() - last), loop.time()
    assert await making
    # If the key were generated in the event loop, nearly all of the time would be one pause on any machine.
    assert longest < 0.6 * (last - began)


# Emergencies


async def test_revoking_the_active_key_makes_another_sign_at_once() -> None:
    await lifecycle.ensure_signing_key(ALG)
    ring = KeySet()
    await ring.load()
    kid = ring.signing(ALG).kid
    token = ring.sign(ALG, "at+jwt", {"exp": clock.timestamp() + 600})
    await ring.write_use()
    report = await lifecycle.revoke(kid)
    await ring.load()
    assert (report.kid, report.was, report.signed) == (kid, State.ACTIVE, 1)
    assert ring.signing(ALG).kid == report.successor != kid
    assert ring.verification().keys() == {report.successor}
    with pytest.raises(jose.InvalidJWTError):
        jose.verify(token, ring.verification(), typ="at+jwt")
    assert await states() == [State.REVOKED, State.ACTIVE]
    with pytest.raises(UnknownKeyError):
        await lifecycle.revoke(kid)


async def test_a_key_that_waits_takes_over_from_a_revoked_one() -> None:
    """Some servers have fetched it already; none has fetched a newer one."""
    await lifecycle.ensure_signing_key(ALG)
    pending = await lifecycle.rotate(ALG)
    report = await lifecycle.revoke((await keys())[0].kid)
    assert report.successor == pending
    assert await states() == [State.REVOKED, State.ACTIVE]


@pytest.mark.parametrize("now", [False, True])
async def test_revoking_a_key_that_does_not_sign_leaves_the_one_that_does(now: bool) -> None:
    await lifecycle.ensure_signing_key(ALG)
    first = (await keys())[0].kid
    second = await lifecycle.rotate(ALG, now=now)
    revoked = first if now else second
    report = await lifecycle.revoke(revoked)
    assert report.successor is None
    ring = KeySet()
    await ring.load()
    assert ring.verification().keys() == {first, second} - {revoked}
    assert ring.signing(ALG).kid == (second if now else first)


async def test_many_revocations_at_once_make_one_successor() -> None:
    await lifecycle.ensure_signing_key(ALG)
    kid = (await keys())[0].kid
    results = await asyncio.gather(*(lifecycle.revoke(kid) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(result, lifecycle.Revocation) for result in results) == 1
    assert await states() == [State.REVOKED, State.ACTIVE]


# The end


async def test_only_a_retired_key_is_destroyed() -> None:
    await lifecycle.ensure_signing_key(ALG)
    kid = (await keys())[0].kid
    with pytest.raises(UnknownKeyError):
        await lifecycle.destroy(kid)
    await lifecycle.revoke(kid)
    await lifecycle.destroy(kid)
    (row,) = await fetch("SELECT private_jwk, destroyed_at FROM signing_key WHERE kid = $1", kid)
    assert row["private_jwk"] is None
    assert await states() == [State.DESTROYED, State.ACTIVE]
    with pytest.raises(UnknownKeyError):
        await lifecycle.destroy(kid)
    with pytest.raises(UnknownKeyError, match="has a private part"):
        await lifecycle.export(kid, private=True)
    assert (await lifecycle.export(kid)).kid == kid


async def test_an_export_that_fails_is_not_recorded() -> None:
    await lifecycle.ensure_signing_key(ALG)
    await execute("UPDATE signing_key SET kid = 'another'")
    with pytest.raises(vault.SecretsError):
        await lifecycle.export("another", private=True)
    assert not await fetch("SELECT FROM audit_event WHERE event = 'key_exported'")


async def test_a_key_from_elsewhere_becomes_the_next_one() -> None:
    await lifecycle.ensure_signing_key(ALG)
    theirs = jose.generate(ALG)
    pem = jose.to_pem(theirs, private=True)
    kid = await lifecycle.publish(jose.from_file(pem, ALG), deadline=60)
    assert kid == theirs.kid
    await lifecycle.activate(kid)
    with pytest.raises(RotationPendingError, match="published before"):
        await lifecycle.publish(theirs)
    exported = await lifecycle.export(kid, private=True)
    assert jose.to_private_jwk(exported) == jose.to_private_jwk(theirs)


async def test_changes_of_keys_are_recorded() -> None:
    await lifecycle.ensure_signing_key(ALG)
    first = (await keys())[0].kid
    second = await lifecycle.rotate(ALG, deadline=60)
    await lifecycle.activate(second, unseen=("https://api.example",))
    await lifecycle.export(second, private=True)
    await lifecycle.revoke(first)
    await lifecycle.destroy(first)
    rows = await fetch("SELECT event, detail ->> 'kid' AS kid, detail FROM audit_event ORDER BY at")
    assert [(row["event"], row["kid"]) for row in rows] == [
        ("key_activated", first),
        ("key_published", second),
        ("key_activated", second),
        ("key_exported", second),
        ("key_revoked", first),
        ("key_destroyed", first),
    ]
    assert '"unseen": ["https://api.example"]' in rows[2]["detail"]
    assert all(private not in repr(rows) for private in ("private_jwk", '"d"'))


async def test_an_old_schedule_is_still_kept(move_clock: MoveClock) -> None:
    """A key that an earlier release published to sign from a time on does so."""
    await lifecycle.ensure_signing_key(ALG)
    kid = await lifecycle.rotate(ALG)
    await execute("UPDATE signing_key SET activates_at = now() + interval '100 s' WHERE kid = $1", kid)
    ring = KeySet()
    await ring.load()
    assert await states() == [State.ACTIVE, State.PENDING]
    move_clock(101)
    assert ring.signing(ALG).kid == kid
    assert await states() == [State.RETIRING, State.ACTIVE]
