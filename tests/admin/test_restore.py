"""A restored backup is detected by the mark, and everything that may have changed since is revoked."""

import asyncio
import hmac
import random
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from idp import clock
from idp.accounts.users import create_user
from idp.admin import restore
from idp.admin.bulk import service
from idp.admin.bulk.kinds import NoParameters, kind_of
from idp.admin.bulk.models import Selection
from idp.admin.bulk.models import State as JobState
from idp.audit import checkpoint_export, checkpoints
from idp.http import health
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.keys import checkpoint_signer, lifecycle, restore_detection, root_key, vault
from idp.keys.key_set import key_set
from idp.keys.lifecycle import State
from idp.keys.restore_detection import TOLERATED, Mark
from idp.settings import settings
from tests.support.isolated import isolated
from tests.support.postgres import Cluster
from tests.support.routes import application

pytestmark = pytest.mark.fault(43)


@pytest.fixture
def keys_dir(tmp_path: Path) -> Iterator[Path]:
    """A folder for the mark of this process."""
    folder = tmp_path / "keys"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IDP_KEYS_DIR", str(folder))
        patch.setattr(restore_detection, "keeper", restore_detection.Keeper())
        settings.cache_clear()
        yield folder
    settings.cache_clear()


@pytest.fixture(autouse=True)
async def own_keys(own_database: str, keys_dir: Path) -> None:
    await lifecycle.ensure_signing_key()
    await key_set.load()


async def _set_back(numbers: int) -> None:
    """Set the number back, as a restore does."""
    await execute("UPDATE database_mark SET number = number - $1, at = now() - interval '1 hour'", numbers)


async def _in_use(numbers: int = 100) -> None:
    """A mark of a database that has been in use for a while."""
    await restore.check()
    await execute("UPDATE database_mark SET number = number + $1", numbers)
    assert await restore.check() is None


async def _sessions() -> int:
    rows = await fetch("SELECT FROM session WHERE ended_at IS NULL")
    return len(rows)


async def _session() -> None:
    user = await create_user(f"{random.random()}@example.com", None)
    await execute(
        "INSERT INTO session (id, token_hash, user_id, auth_time, steps, amr, acr, user_agent, ip_address,"
        " last_seen_at, expires_at)"
        " VALUES (gen_random_uuid(), $1, $2, now(), '{}', '{}', '1', '', '', now(), now() + interval '1 day')",
        random.randbytes(8),
        user.id,
    )


async def test_a_backup_is_recognised_and_everything_ends_once() -> None:
    await _in_use()
    await _session()
    (key,) = await lifecycle.list_keys()
    await _set_back(50)
    report = await restore.check()
    assert report is not None
    assert report.since is not None
    assert report.until is not None
    assert report.until > report.since
    assert report.ended["sessions"] == 1
    assert report.keys == [key.kid]
    states = {key.kid: key.state for key in await lifecycle.list_keys()}
    assert states.pop(key.kid) == State.REVOKED
    assert set(states.values()) == {State.ACTIVE}
    row = await fetchrow("SELECT detail->'keys' AS keys FROM audit_event WHERE event = 'database_restored'")
    assert row is not None
    assert msgspec.json.decode(row["keys"]) == [key.kid]
    # Once, here and at a host whose mark is from before.
    await _session()
    assert await restore.check() is None
    assert await _sessions() == 1


async def test_jobs_of_administrators_are_cancelled() -> None:
    """One that was cancelled after the backup does not go on."""
    user = await create_user(f"{random.random()}@example.com", None)
    job = await service.create(None, kind_of("disable"), NoParameters(), Selection(names=(user.email,)))
    assert (await restore.revoke_after_restore()).ended["bulk_jobs"] == 1
    assert (await service.found(job.id)).state is JobState.CANCELLED
    (event,) = await fetch("SELECT detail->>'job_id' AS job FROM audit_event WHERE event = 'bulk_job_cancelled'")
    assert event["job"] == str(job.id)


async def test_every_published_key_is_replaced() -> None:
    """One that waits does not take the place of one that signs: it may have been revoked since, too."""
    await lifecycle.ensure_signing_key("ES256")
    await lifecycle.rotate("RS256", now=True)
    await lifecycle.rotate("RS256")
    before = {key.kid for key in await lifecycle.list_keys()}
    assert len(before) == 4
    assert set((await restore.revoke_after_restore()).keys) == before
    alive = {(key.alg, key.state) for key in await lifecycle.list_keys() if key.kid not in before}
    assert alive == {("RS256", State.ACTIVE), ("ES256", State.ACTIVE)}


async def test_a_key_that_was_retired_verifies_no_hint_either() -> None:
    """It may have been revoked since, too."""
    await lifecycle.rotate("RS256", now=True)
    (old,) = [key for key in await lifecycle.list_keys() if key.state is State.RETIRING]
    await execute(
        "UPDATE signing_key SET retires_at = now() - interval '1 minute', last_token_expires_at = now() WHERE kid = $1",
        old.kid,
    )
    await key_set.load()
    assert old.kid in key_set.hinting()
    assert old.kid in (await restore.revoke_after_restore()).keys
    await key_set.load()
    assert old.kid not in key_set.hinting()


async def test_two_databases_that_share_a_mark_do_not_revoke_each_other(
    keys_dir: Path, cluster: Cluster, template: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A copy of a backup was started with the folder of the original, which is in use."""
    keepers = {name: restore_detection.Keeper() for name in ("original", "copy")}
    dsns = {"original": await cluster.create_database(template)}

    @asynccontextmanager
    async def at(name: str) -> AsyncIterator[None]:
        restore_detection.keeper = keepers[name]
        async with isolated(dsns[name]):
            yield

    async with at("original"):
        await lifecycle.ensure_signing_key()
        await _in_use()
        row = await fetchrow("SELECT current_database() AS name")
        assert row is not None
    dsns["copy"] = await cluster.create_database(row["name"])
    async with at("original"):
        await _in_use()
        await _session()
        keys = [key.kid for key in await lifecycle.list_keys()]
    ended = []
    for _ in range(4):
        for name in ("copy", "original"):
            async with at(name):
                await execute("UPDATE database_mark SET number = number + 20, at = now() - interval '1 hour'")
                ended += [name] if await restore.check(thoroughly=True) is not None else []
    assert ended == ["copy"]
    assert capsys.readouterr().out.count("database_mark_shared") == 1
    application()
    told = []
    for name in keepers:
        async with at(name):
            told.append("database_mark" in (await health.ready.fn(None)).content["warnings"])
    assert told == [True, False]
    async with at("original"):
        assert [key.kid for key in await lifecycle.list_keys()] == keys
        assert await _sessions() == 1
        # The copy now has a folder of its own: this one is as before, and a restore is detected again.
        (keys_dir / "database.mark").unlink()
        await _in_use()
        assert not restore_detection.keeper.foreign
        await _set_back(50)
        assert await restore.check() is not None


async def test_keys_can_be_kept() -> None:
    before = await lifecycle.list_keys()
    assert (await restore.revoke_after_restore(keep_keys=True)).keys == []
    assert [key.kid for key in await lifecycle.list_keys()] == [key.kid for key in before]


async def test_a_replica_that_lagged_is_no_backup() -> None:
    await _in_use()
    await _session()
    await _set_back(TOLERATED - 2)
    assert await restore.check() is None
    assert await _sessions() == 1


async def test_one_of_several_workers_revokes() -> None:
    await _in_use()
    await _set_back(50)
    reports = await asyncio.gather(*(restore.check() for _ in range(5)))
    assert len([report for report in reports if report is not None]) == 1
    row = await fetchrow("SELECT epoch FROM database_mark")
    assert row is not None
    assert row["epoch"] == 1


async def test_a_mark_that_was_written_before_the_restore_does_not_count_again(keys_dir: Path) -> None:
    """Another host was down while the restore was dealt with here."""
    await _in_use()
    elsewhere = (keys_dir / "database.mark").read_bytes()
    await _set_back(50)
    assert await restore.check() is not None
    (keys_dir / "database.mark").write_bytes(elsewhere)
    restore_detection.keeper = restore_detection.Keeper()
    assert await restore.check() is None
    # A second restore, from a backup older than the first one, is detected too.
    await execute("UPDATE database_mark SET epoch = 0, number = number - 50")
    assert await restore.check() is not None


async def test_a_mark_of_another_database_or_without_a_valid_mac_is_ignored(
    keys_dir: Path, cluster: Cluster, template: str
) -> None:
    await _in_use(1000)
    async with isolated(await cluster.create_database(template)):
        assert await restore.check() is None
    path = keys_dir / "database.mark"
    path.write_bytes(path.read_bytes().replace(b'"number":', b'"number":9'))
    restore_detection.keeper = restore_detection.Keeper()
    assert await restore_detection.keeper.known() is None
    assert await restore.check() is None


async def test_a_folder_that_cannot_be_written(keys_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is logged once, and the running server still detects a restore."""
    keys_dir.write_text("in the way")
    await _in_use()
    assert capsys.readouterr().out.count("database_mark_not_written") == 1
    await _set_back(50)
    assert await restore.check() is not None


async def test_checkpoints_outside_tell_it_too(keys_dir: Path, tmp_path: Path) -> None:
    """Without a mark: on a new machine, or with a backup from before marks existed."""
    path = tmp_path / "checkpoints"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IDP_AUDIT_CHECKPOINT_FILE", str(path))
        settings.cache_clear()
        assert await restore.check(thoroughly=True) is None
        await checkpoints.create(checkpoint_signer.sign)
        await checkpoint_export.write_file(path)
        assert await restore.check(thoroughly=True) is None
        await execute("DELETE FROM audit_checkpoint")
        await _set_back(0)
        (keys_dir / "database.mark").unlink()
        restore_detection.keeper = restore_detection.Keeper()
        report = await restore.check(thoroughly=True)
        assert report is not None
        assert report.until is not None
        assert clock.now() - report.until < timedelta(minutes=5)
        assert await restore.check(thoroughly=True) is None
    settings.cache_clear()


def test_processes_that_write_together_keep_the_highest(keys_dir: Path) -> None:
    marks = [
        Mark(restore_detection.lineage(), epoch, number, clock.now()) for epoch in range(3) for number in range(20)
    ]
    random.shuffle(marks)
    path = settings().database_mark_path
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: restore_detection._write(path, one), marks))
    written = restore_detection._read(path)
    assert written is not None
    assert written.order == (2, 19)
    assert [entry.name for entry in keys_dir.iterdir()] == [path.name]


@pytest.fixture
def change_master_key(tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Go on as a process that starts with another master key."""

    def change(text: str) -> None:
        patch.setenv("IDP_MASTER_KEY", text)
        settings.cache_clear()
        vault.master_key.cache_clear()
        restore_detection.keeper = restore_detection.Keeper()

    with pytest.MonkeyPatch.context() as patch:
        yield change
    settings.cache_clear()
    vault.master_key.cache_clear()


async def test_a_backup_from_before_a_new_master_key_is_recognised(
    tmp_path: Path, change_master_key: Callable[[str], None]
) -> None:
    """It can only be opened with the old one."""
    old, new = settings().master_key, tmp_path / "new"
    assert old is not None
    vault.create_master_key(new)
    await _in_use()
    await root_key.rewrap(vault.read_master_key(new))
    change_master_key(new.read_text().strip())
    await root_key.unlock()
    await _in_use(1000)
    await execute("DELETE FROM root_key WHERE master_key_id = $1", vault.master_key_id(vault.master_key()))
    await _set_back(1000)
    change_master_key(old.get_secret_value())
    await root_key.unlock()
    assert await restore.check() is not None


async def test_a_restore_before_the_first_start_with_a_new_master_key_is_recognised(
    tmp_path: Path, change_master_key: Callable[[str], None]
) -> None:
    new = tmp_path / "new"
    vault.create_master_key(new)
    await _in_use(1000)
    await root_key.rewrap(vault.read_master_key(new))
    await _set_back(900)
    change_master_key(new.read_text().strip())
    await root_key.unlock()
    assert await restore.check() is not None


async def test_a_mark_of_an_older_version_counts(keys_dir: Path) -> None:
    """Its MAC was below the master key."""
    await _in_use(1000)
    path = keys_dir / "database.mark"
    _, _, content = path.read_bytes().partition(b"\n")
    older = hmac.digest(vault.derive_outside("database-mark"), content, sha256).hex().encode()
    path.write_bytes(older + b"\n" + content)
    restore_detection.keeper = restore_detection.Keeper()
    await _set_back(900)
    assert await restore.check() is not None
