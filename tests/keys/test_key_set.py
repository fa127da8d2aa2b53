"""The keys in memory."""

import json
from datetime import timedelta
from typing import Any

import pytest
from jwt import PyJWKSet

from idp import clock
from idp.errors import NoSigningKeyError
from idp.infra.db.engine import close_pool, engine, execute
from idp.infra.db.outages import DatabaseUnavailableError
from idp.keys import jose, lifecycle, vault
from idp.keys.algorithms import SIGNING_ALGORITHMS
from idp.keys.key_set import KeySet
from idp.keys.repository import signing_keys
from tests.support.isolated import MoveClock

pytestmark = pytest.mark.usefixtures("own_database")

ALG = "ES256"
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "k", "oth"}


async def loaded() -> KeySet:
    ring = KeySet()
    await ring.load()
    return ring


def test_an_empty_ring_says_so() -> None:
    with pytest.raises(NoSigningKeyError):
        KeySet().signing("RS256")
    assert KeySet().algorithms() == ()
    assert json.loads(KeySet().jwks().body) == {"keys": []}


async def test_the_jwks_holds_what_clients_need_and_no_secret() -> None:
    for alg in SIGNING_ALGORITHMS:
        await lifecycle.ensure_signing_key(alg)
    ring = await loaded()
    document = json.loads(ring.jwks().body)
    assert document.keys() == {"keys"}
    assert {key["kid"] for key in document["keys"]} == ring.verification().keys()
    assert {key["alg"] for key in document["keys"]} == set(SIGNING_ALGORITHMS)
    for key in document["keys"]:
        assert key["use"] == "sig"
        assert not key.keys() & PRIVATE_MEMBERS
    kid = ring.signing("RS256").kid
    assert PyJWKSet.from_json(ring.jwks().body.decode())[kid].key_id == kid


async def test_the_youngest_active_key_signs() -> None:
    await lifecycle.ensure_signing_key(ALG)
    second = await lifecycle.rotate(ALG, now=True)
    await lifecycle.rotate(ALG)
    assert (await loaded()).signing(ALG).kid == second


@pytest.mark.fault(45)
@pytest.mark.parametrize("seconds", [-90, 90])
async def test_a_clock_that_differs_from_the_database(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """A key signs from the moment at which the database activates it, and leaves the JWKS by the same clock."""
    await lifecycle.ensure_signing_key(ALG)
    kid = await lifecycle.rotate(ALG, now=True)
    await execute("DELETE FROM signing_key WHERE kid <> $1", kid)
    real = clock.system
    monkeypatch.setattr(clock, "system", lambda: real() + timedelta(seconds=seconds))
    ring = await loaded()
    assert ring.signing(ALG).kid == kid
    assert ring.algorithms() == (ALG,)
    await execute("UPDATE signing_key SET retires_at = now() + interval '60 s'")
    ring = await loaded()
    assert kid in ring.verification()
    assert ring.algorithms() == (ALG,)


async def test_rs256_comes_first() -> None:
    for alg in ("EdDSA", "ES256", "RS256"):
        await lifecycle.ensure_signing_key(alg)
    assert (await loaded()).algorithms() == ("RS256", "ES256", "EdDSA")


async def test_an_algorithm_is_offered_once_its_key_signs() -> None:
    kid = await lifecycle.publish(jose.generate(ALG))
    ring = await loaded()
    assert ring.algorithms() == ()
    with pytest.raises(NoSigningKeyError):
        ring.signing(ALG)
    await lifecycle.activate(kid)
    await ring.load()
    assert ring.algorithms() == (ALG,)
    assert ring.signing(ALG)


async def test_signed_tokens_are_counted_without_loss() -> None:
    await lifecycle.ensure_signing_key(ALG)
    ring = await loaded()
    for exp in (100, 300, 200):
        ring.sign(ALG, "at+jwt", {"exp": exp})
    line = engine.lines
    engine.lines = None
    with pytest.raises(DatabaseUnavailableError):
        await ring.write_use()
    engine.lines = line
    ring.sign(ALG, "at+jwt", {"exp": 250})
    await ring.write_use()
    await ring.write_use()
    (key,) = await lifecycle.list_keys()
    assert key.signed == 4
    assert key.last_token_expires_at is not None
    assert key.last_token_expires_at.timestamp() == 300


async def test_a_failure_keeps_the_counts_of_all_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    algs = ("ES256", "EdDSA", "Ed25519")
    for alg in algs:
        await lifecycle.ensure_signing_key(alg)
    ring = await loaded()
    for alg in algs:
        ring.sign(alg, "at+jwt", {"exp": 100})
    second, add_use = ring.signing(algs[1]).kid, signing_keys.add_use

    async def failing(kid: str, *about: Any) -> None:
        if kid == second:
            raise ConnectionError
        await add_use(kid, *about)

    with monkeypatch.context() as broken:
        broken.setattr(signing_keys, "add_use", failing)
        with pytest.raises(ConnectionError):
            await ring.write_use()
    await ring.write_use()
    assert [key.signed for key in await lifecycle.list_keys()] == [1, 1, 1]


async def test_the_jwks_changes_only_with_the_published_keys(
    move_clock: MoveClock,
) -> None:
    await lifecycle.ensure_signing_key(ALG)
    ring = await loaded()
    first = ring.jwks()
    await ring.load()
    assert ring.jwks() is first

    kid = await lifecycle.rotate(ALG)
    await ring.load()
    second = ring.jwks()
    assert second.etag != first.etag
    await lifecycle.activate(kid)
    await ring.load()
    assert ring.jwks() is second

    move_clock(10**6)
    third = ring.jwks()
    assert third.etag not in (first.etag, second.etag)
    assert len(json.loads(third.body)["keys"]) == 1


async def test_a_key_is_opened_only_once() -> None:
    await lifecycle.ensure_signing_key(ALG)
    ring = await loaded()
    first = ring.signing(ALG)
    await execute("UPDATE signing_key SET private_jwk = ''")
    await lifecycle.rotate(ALG)
    await ring.load()
    assert ring.signing(ALG) is first
    assert len(ring.verification()) == 2


async def test_a_wrong_root_key_is_a_clear_error_and_changes_nothing() -> None:
    await lifecycle.ensure_signing_key(ALG)
    ring = await loaded()
    before = ring.verification()
    await lifecycle.rotate(ALG)
    vault.unlock(b"another".ljust(32))
    with pytest.raises(vault.SecretsError, match="encrypted in another database"):
        await ring.load()
    assert ring.verification() is before
    assert ring.signing(ALG).kid in before


async def test_a_private_key_in_the_wrong_row_is_refused() -> None:
    await lifecycle.ensure_signing_key(ALG)
    await execute("UPDATE signing_key SET kid = 'another'")
    with pytest.raises(vault.SecretsError, match="damaged or misplaced"):
        await KeySet().load()


async def test_the_ring_works_on_without_a_database() -> None:
    await lifecycle.ensure_signing_key(ALG)
    ring = await loaded()
    await close_pool()
    with pytest.raises(Exception, match="database is not open"):
        await ring.load()
    token = jose.sign(ring.signing(ALG), "JWT", {"sub": "alice"})
    assert jose.verify(token, ring.verification(), typ="JWT") == {"sub": "alice"}
    assert ring.jwks().body
