"""Files with wrong permissions, and files that do not exist, each found and named."""

from pathlib import Path
from typing import Any

import pytest

from idp.doctor import files
from idp.doctor.models import Level, Needs
from idp.keys.vault import create_master_key
from tests.support.authority import Authority
from tests.support.examinations import named, one, run
from tests.support.isolated import MoveClock


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a master key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IDP_MASTER_KEY")
    create_master_key(tmp_path / "keys" / "master.key")
    return tmp_path / "keys"


async def check(keys: Path, **settings: Any) -> list[Any]:
    return await run("files", provides=Needs.SETTINGS, keys_dir=keys, **settings)


async def test_closed_files_have_no_finding(keys: Path) -> None:
    assert [finding.level for finding in await check(keys)] == [Level.OK]


async def test_a_master_key_that_others_can_read(keys: Path) -> None:
    (keys / "master.key").chmod(0o644)
    found = await check(keys)
    assert named(found) == {("secret_file_readable", Level.ERROR)}
    assert f"chmod 600 {keys / 'master.key'}" in one(found, "secret_file_readable").mend


async def test_a_secret_in_a_file_that_others_can_read(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "smtp"
    secret.write_text("smtp://idp:a-password@mail.example.com")
    secret.chmod(0o640)
    monkeypatch.setenv("IDP_SMTP_URL_FILE", str(secret))
    found = await check(keys)
    assert str(secret) in one(found, "secret_file_readable").text
    assert "a-password" not in str(found)


async def test_a_folder_that_others_can_write(keys: Path) -> None:
    keys.chmod(0o777)
    assert named(await check(keys)) == {("folder_writable", Level.ERROR)}


async def test_a_missing_master_key(keys: Path) -> None:
    (keys / "master.key").unlink()
    found = await check(keys)
    assert named(found) == {("master_key_unreadable", Level.ERROR)}
    assert "Restore" in one(found, "master_key_unreadable").mend


async def test_a_damaged_master_key(keys: Path) -> None:
    (keys / "master.key").write_text("hunter2-hunter2")
    found = await check(keys)
    assert named(found) == {("master_key_unreadable", Level.ERROR)}
    assert "hunter2" not in str(found)


async def test_what_settings_name_and_does_not_exist(keys: Path, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    found = await check(keys, templates_dir=gone, geoip_database=gone, audit_checkpoint_file=gone / "checkpoints")
    assert named(found) == {
        ("templates_missing", Level.ERROR),
        ("geoip_missing", Level.WARNING),
        ("checkpoint_file_not_writable", Level.ERROR),
    }


async def test_an_authority_that_expires(
    keys: Path, tmp_path: Path, move_clock: MoveClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Authority(tmp_path).path
    assert named(await check(keys, outbound_ca_file=path)) == set()
    for days, level in ((310, Level.WARNING), (366, Level.ERROR)):
        move_clock(days * 86400)
        found = await check(keys, outbound_ca_file=path)
        assert named(found) == {("authority_expires", level)}
        assert "Authority of the tests" in one(found, "authority_expires").text


async def test_a_disk_that_is_nearly_full(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MIN_FREE", 1 << 62)
    monkeypatch.setattr(files, "MIN_FREE_SHARE", 1.1)
    assert named(await check(keys)) == {("disk_nearly_full", Level.WARNING)}
