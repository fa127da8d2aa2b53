"""Secrets at rest, under the root key of the database, which is encrypted under the master key.

Each purpose has its own key, derived from the root key by HKDF. An encrypted secret is bound to its table, column and
row (associated data). The master key can be changed without touching the encrypted secrets (:mod:`idp.keys.root_key`,
docs/decisions/0022-a-root-key-under-the-master-key.md).
"""

import base64
import os
import re
import secrets
import stat
from functools import cache, lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from idp.audit import row_hmac
from idp.errors import OperatorError
from idp.settings import Settings, settings

KEY_BYTES = 32

# An encrypted secret: version, id of the root key, nonce, ciphertext with its tag.
_VERSION = b"\x01"
_KEY_ID_BYTES = 8
_NONCE_BYTES = 12
_HEADER_BYTES = len(_VERSION) + _KEY_ID_BYTES + _NONCE_BYTES


class SecretsError(OperatorError):
    """The master key is missing or wrong, or an encrypted secret is damaged. The message is for the operator."""


# The master key


def _parse(text: str, source: str) -> bytes:
    text = text.strip().rstrip("=")
    # 32 bytes are 43 characters of base64url; the last one has two unused bits.
    if not re.fullmatch(r"[A-Za-z0-9_-]{43}", text):
        raise SecretsError(f"{source} does not hold a master key: 32 bytes in base64url.")
    return base64.urlsafe_b64decode(text + "=")


def load_master_key(settings: Settings) -> bytes:
    """Return the 32 bytes of the master key, from the settings or from its file.

    Raises:
        SecretsError: there is no master key, or it cannot be read.
    """
    if settings.master_key is not None:
        return _parse(settings.master_key.get_secret_value(), "IDP_MASTER_KEY")
    return read_master_key(settings.master_key_path)


def read_master_key(path: Path) -> bytes:
    """Return the master key in a file.

    Raises:
        SecretsError: there is none, or it cannot be read.
    """
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError as error:
        raise SecretsError(
            f"There is no master key: {path} does not exist. Create it with `idp keys init`, or set IDP_MASTER_KEY."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise SecretsError(f"The master key {path} cannot be read: {reason}.") from error
    return _parse(text, str(path))


def readable_by_others(path: Path) -> bool:
    """Return whether others may read a file, or the group if this account does not need that.

    A secret that Kubernetes mounts belongs to root, and only its group lets the server read it.
    """
    try:
        found = path.stat()
    except OSError:
        return False
    others = stat.S_IROTH | (stat.S_IRGRP if found.st_uid == os.geteuid() else 0)
    return bool(found.st_mode & others)


def create_master_key(path: Path) -> None:
    """Write a new master key to a file that only its owner can read.

    Raises:
        SecretsError: the file exists already, or cannot be written.
    """
    if path.exists():
        raise SecretsError(f"{path} exists already. It is not replaced: what is encrypted under it would be lost.")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(KEY_BYTES) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            path.unlink()
            raise
    except OSError as error:
        raise SecretsError(f"The master key {path} cannot be written: {error.strerror}.") from error


@cache
def master_key() -> bytes:
    """Return the master key of this process, read once.

    Raises:
        SecretsError: there is none, or it cannot be read.
    """
    return load_master_key(settings())


def master_key_id(key: bytes) -> bytes:
    """Return an identifier of a master key, which reveals nothing about it."""
    return _derive(key, "key-id")[:_KEY_ID_BYTES]


# The root key

_root_key: bytes | None = None


def unlock(root_key: bytes | None) -> None:
    """Set the root key of this process; see :func:`idp.keys.root_key.unlock`. None removes it."""
    global _root_key  # noqa: PLW0603 -- one server a process (docs/decisions/0008-one-server-a-process.md)
    _root_key = root_key
    row_hmac.set_key(_derive(root_key, "audit") if root_key is not None else None)


def root_key() -> bytes:
    """Return the root key of this process.

    Raises:
        SecretsError: no master key has opened it.
    """
    if _root_key is None:
        # Raises the better message if there is no master key.
        master_key()
        raise SecretsError("The root key of the database has not been opened.")
    return _root_key


def wrap(root_key: bytes, master_key: bytes) -> bytes:
    """Encrypt a root key under a master key."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(_derive(master_key, "root-key")).encrypt(nonce, root_key, b"root_key.sealed")


def unwrap(sealed: bytes, master_key: bytes) -> bytes:
    """Decrypt a root key.

    Raises:
        SecretsError: it was encrypted under another master key, or it is damaged.
    """
    nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    try:
        return AESGCM(_derive(master_key, "root-key")).decrypt(nonce, ciphertext, b"root_key.sealed")
    except InvalidTag as error:
        raise SecretsError("The root key in the database is damaged.") from error


@lru_cache(maxsize=64)
def _derive(key: bytes, purpose: str) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=f"idp:{purpose}".encode()).derive(key)


def derive(purpose: str) -> bytes:
    """Return a key of 32 bytes for one purpose, such as ``refresh-token``, ``csrf`` or ``one-time-code``.

    Raises:
        SecretsError: no master key has opened the root key.
    """
    return _derive(root_key(), purpose)


def derive_outside(purpose: str) -> bytes:
    """Return a key of 32 bytes for data outside the database, derived from the master key itself.

    Raises:
        SecretsError: there is no master key, or it cannot be read.
    """
    return _derive(master_key(), f"outside:{purpose}")


# Encryption


def _key_id() -> bytes:
    return derive("key-id")[:_KEY_ID_BYTES]


def encrypt(plaintext: bytes, context: str) -> bytes:
    """Encrypt a secret (AES-256-GCM). Decrypting needs the same context.

    Args:
        context: names table, column and row, such as ``signing_key.private_jwk:<kid>``.
    """
    nonce = secrets.token_bytes(_NONCE_BYTES)
    header = _VERSION + _key_id() + nonce
    return header + AESGCM(derive("seal")).encrypt(nonce, plaintext, header + context.encode())


def decrypt(blob: bytes, context: str) -> bytes:
    """Decrypt a secret that was encrypted for this context.

    Raises:
        SecretsError: it belongs to another database or another context, or is damaged.
    """
    header, ciphertext = blob[:_HEADER_BYTES], blob[_HEADER_BYTES:]
    if len(header) < _HEADER_BYTES or not header.startswith(_VERSION):
        raise SecretsError("An encrypted secret in the database is damaged.")
    if header[1 : 1 + _KEY_ID_BYTES] != _key_id():
        raise SecretsError("A secret in the database was encrypted in another database.")
    try:
        return AESGCM(derive("seal")).decrypt(header[-_NONCE_BYTES:], ciphertext, header + context.encode())
    except InvalidTag as error:
        raise SecretsError("An encrypted secret in the database is damaged or misplaced.") from error
