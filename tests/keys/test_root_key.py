"""The root key: one for all replicas, opened by every added master key and by no other."""

import asyncio
import os

import pytest

from idp.infra.db.engine import execute, fetch
from idp.keys import lifecycle, root_key, vault
from idp.keys.key_set import KeySet
from tests.support.isolated import UseMasterKey

pytestmark = pytest.mark.usefixtures("own_database")


async def audited() -> list[str]:
    return [row["event"] for row in await fetch("SELECT event FROM audit_event ORDER BY at")]


async def test_the_root_key_is_random_and_stays_the_same() -> None:
    first = vault.root_key()
    assert first != vault.master_key()
    await root_key.unlock()
    assert vault.root_key() == first


async def test_replicas_that_start_together_have_one() -> None:
    await execute("DELETE FROM root_key")
    await asyncio.gather(*(root_key.unlock() for _ in range(8)))
    (row,) = await fetch("SELECT sealed FROM root_key")
    assert vault.unwrap(bytes(row["sealed"]), vault.master_key()) == vault.root_key()


async def test_a_wrong_master_key_is_a_clear_error_and_makes_nothing(use_master_key: UseMasterKey) -> None:
    use_master_key(os.urandom(32))
    with pytest.raises(vault.SecretsError, match="does not open the secrets"):
        await root_key.unlock()
    assert len(await fetch("SELECT FROM root_key")) == 1


async def test_another_master_key_takes_over_and_nothing_is_lost(use_master_key: UseMasterKey) -> None:
    await lifecycle.ensure_signing_key()
    sealed, new, old = vault.encrypt(b"secret", "place"), os.urandom(32), vault.master_key()
    refresh_tokens = vault.derive("refresh-token")
    await root_key.rewrap(new)
    for key in (old, new):
        use_master_key(key)
        vault.unlock(None)
        await root_key.unlock()
        assert vault.decrypt(sealed, "place") == b"secret"
        await KeySet().load()
    assert await root_key.forget_others() == 1
    assert await root_key.forget_others() == 0
    assert vault.derive("refresh-token") == refresh_tokens
    use_master_key(old)
    with pytest.raises(vault.SecretsError, match="does not open the secrets"):
        await root_key.unlock()
    with pytest.raises(vault.SecretsError, match="does not open the secrets"):
        await root_key.forget_others()
    assert await audited() == ["key_activated", "master_key_added", "master_key_removed"]


async def test_a_stranger_cannot_take_over(use_master_key: UseMasterKey) -> None:
    """A person with access to the database but without the master key gains nothing by inserting a row."""
    sealed = vault.encrypt(b"secret", "place")
    theirs = os.urandom(32)
    await execute(
        "INSERT INTO root_key (master_key_id, sealed, created_at) VALUES ($1, $2, now())",
        vault.master_key_id(theirs),
        vault.wrap(os.urandom(32), theirs),
    )
    await root_key.unlock()
    assert vault.decrypt(sealed, "place") == b"secret"


async def test_secrets_older_than_the_root_key_can_be_decrypted() -> None:
    vault.unlock(vault.master_key())
    await lifecycle.ensure_signing_key()
    await execute("DELETE FROM root_key")
    await root_key.unlock()
    ring = KeySet()
    await ring.load()
    assert ring.algorithms() == ("RS256",)
