"""The master key and encryption at rest."""

import base64
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import SecretStr

from idp.keys import vault
from idp.keys.vault import SecretsError
from idp.settings import Settings
from tests.support.isolated import UseMasterKey

KEY = bytes(range(32))
TEXT = base64.urlsafe_b64encode(KEY).decode()
CONTEXT = "signing_key.private_jwk:abc"


@pytest.fixture(autouse=True)
def known_keys(use_master_key: UseMasterKey) -> Iterator[None]:
    use_master_key(KEY)
    before = vault._root_key
    vault.unlock(KEY)
    yield
    vault.unlock(before)


# The master key


@pytest.mark.parametrize("text", [TEXT, TEXT.rstrip("="), f" {TEXT}\n"])
def test_the_master_key_comes_from_the_settings(text: str) -> None:
    assert vault.load_master_key(Settings(master_key=SecretStr(text))) == KEY


def test_the_settings_come_before_the_file(tmp_path: Path) -> None:
    vault.create_master_key(tmp_path / "master.key")
    assert vault.load_master_key(Settings(master_key=SecretStr(TEXT), keys_dir=tmp_path)) == KEY


def test_a_new_master_key_is_read_back_and_only_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "master.key"
    previous = os.umask(0)
    try:
        vault.create_master_key(path)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    key = vault.load_master_key(Settings(master_key=None, keys_dir=path.parent))
    assert len(key) == 32
    assert path.read_text().strip() == base64.urlsafe_b64encode(key).decode().rstrip("=")


def test_a_master_key_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    path.write_text(TEXT)
    with pytest.raises(SecretsError, match="exists already"):
        vault.create_master_key(path)
    assert path.read_text() == TEXT


def test_a_master_key_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SecretsError, match="cannot be written"):
        vault.create_master_key(tmp_path / "file" / "master.key")


def test_a_missing_master_key_names_the_mend(tmp_path: Path) -> None:
    with pytest.raises(SecretsError, match=r"master\.key does not exist.*`idp keys init`"):
        vault.load_master_key(Settings(master_key=None, keys_dir=tmp_path))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "short",
        TEXT[:-2],
        TEXT + "AAAA",
        "é" * 43,
        "+" * 43,
        base64.urlsafe_b64encode(bytes(31)).decode(),
    ],
)
def test_a_text_that_is_no_master_key(text: str, tmp_path: Path) -> None:
    (tmp_path / "master.key").write_text(text)
    for settings in (
        Settings(master_key=SecretStr(text)),
        Settings(master_key=None, keys_dir=tmp_path),
    ):
        with pytest.raises(SecretsError) as raised:
            vault.load_master_key(settings)
        assert not text or text not in str(raised.value)


def test_an_unreadable_master_key(tmp_path: Path) -> None:
    (tmp_path / "master.key").mkdir()
    with pytest.raises(SecretsError, match="cannot be read"):
        vault.load_master_key(Settings(master_key=None, keys_dir=tmp_path))


# Sealing


@pytest.mark.parametrize("plaintext", [b"", b"x", b"secret" * 1000])
def test_a_secret_round_trips(plaintext: bytes) -> None:
    blob = vault.encrypt(plaintext, CONTEXT)
    assert vault.decrypt(blob, CONTEXT) == plaintext
    assert len(plaintext) < 10 or plaintext not in blob


def test_the_same_secret_is_sealed_differently_each_time() -> None:
    assert vault.encrypt(b"secret", CONTEXT) != vault.encrypt(b"secret", CONTEXT)


@pytest.mark.parametrize("context", ["", "signing_key.private_jwk:abd", "other.private_jwk:abc"])
def test_a_secret_opens_only_in_its_place(context: str) -> None:
    with pytest.raises(SecretsError, match="damaged or misplaced"):
        vault.decrypt(vault.encrypt(b"secret", CONTEXT), context)


def test_another_root_key_is_named_as_the_reason() -> None:
    blob = vault.encrypt(b"secret", CONTEXT)
    vault.unlock(bytes(32))
    with pytest.raises(SecretsError, match="encrypted in another database"):
        vault.decrypt(blob, CONTEXT)


def test_nothing_opens_before_the_root_key_does() -> None:
    blob = vault.encrypt(b"secret", CONTEXT)
    vault.unlock(None)
    with pytest.raises(SecretsError, match="has not been opened"):
        vault.decrypt(blob, CONTEXT)


# The root key


def test_a_root_key_opens_with_its_master_key_alone() -> None:
    sealed = vault.wrap(b"r" * 32, KEY)
    assert vault.unwrap(sealed, KEY) == b"r" * 32
    assert b"r" * 32 not in sealed
    for other in (bytes(32), KEY[::-1]):
        with pytest.raises(SecretsError, match="damaged"):
            vault.unwrap(sealed, other)


def test_every_changed_or_missing_byte_is_detected() -> None:
    blob = vault.encrypt(b"secret", CONTEXT)
    damaged = [blob[:end] for end in range(len(blob))]
    damaged += [blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :] for at in range(len(blob))]
    damaged.append(blob + b"\0")
    for other in damaged:
        with pytest.raises(SecretsError):
            vault.decrypt(other, CONTEXT)


# Derived keys


def test_every_purpose_has_a_different_key() -> None:
    purposes = ["refresh-token", "csrf", "one-time-code", "seal", "key-id"]
    keys = {vault.derive(purpose) for purpose in purposes}
    assert len(keys) == len(purposes)
    assert all(len(key) == 32 for key in keys)
    assert KEY not in keys
    vault.unlock(bytes(32))
    assert vault.derive("csrf") not in keys


def test_a_derived_key_stays_the_same_for_ever() -> None:
    """Refresh tokens live for months: this must not change with a release."""
    expected = HKDF(SHA256(), length=32, salt=None, info=b"idp:refresh-token").derive(KEY)
    assert vault.derive("refresh-token") == expected


@pytest.mark.parametrize(
    ("mode", "of_this_account", "readable"),
    [(0o600, True, False), (0o640, True, True), (0o440, False, False), (0o444, False, True)],
)
def test_who_may_read_a_file(
    mode: int, of_this_account: bool, readable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kubernetes mounts a secret of root with mode 0440 and the group of the pod."""
    (path := tmp_path / "master.key").write_text("secret")
    path.chmod(mode)
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner if of_this_account else owner + 1)
    assert vault.readable_by_others(path) is readable
