"""The claims of a checkpoint, which has a signature for others and a MAC for this server.

The signature can be verified by anyone with the public keys. The MAC proves a checkpoint to this server without trust
in the public keys in the database.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from hmac import compare_digest
from typing import Any

import msgspec

from idp.audit import row_hmac

#: The ``typ`` of the JWS.
TYPE = "audit-checkpoint+jwt"

#: Signs claims as a JWS of a ``typ`` (:func:`idp.keys.checkpoint_signer.sign`).
Sign = Callable[[str, Mapping[str, Any]], str]
#: Returns the claims of a JWS of a ``typ``; None unless one of our keys signed it, a current or a retired one.
Read = Callable[[str, str], Mapping[str, Any] | None]


class CheckpointClaims(msgspec.Struct, frozen=True, kw_only=True):
    """The claims of a checkpoint.

    Attributes:
        number: counts checkpoints, from 1, without gaps.
        first_seq: the first row that it covers: the one after the last row of the previous checkpoint.
        last_seq: the last row that it covers; ``first_seq - 1`` if it covers none.
        root: the root of the Merkle tree over the hashes of the rows, base64url.
        previous: SHA-256 of the JWS of the previous checkpoint, base64url; empty in the first one.
        unsealed: number of rows that had no hash; they are the first ones. No row is written without a hash, so a
            person with access to the database removed it.
        deleted_to: rows up to this one are deleted by retention, or will be.
        mac: HMAC of all other claims, base64url.
    """

    iss: str
    iat: int
    number: int
    first_seq: int
    last_seq: int
    root: str
    previous: str
    unsealed: int
    deleted_to: int
    mac: str = ""

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(self.iat, UTC)

    @property
    def rows(self) -> int:
        return self.last_seq - self.first_seq + 1

    def issue(self, sign: Sign) -> str:
        """Return the checkpoint as a JWS."""
        return sign(TYPE, msgspec.to_builtins(msgspec.structs.replace(self, mac=self._mac())))

    def is_ours(self) -> bool:
        """Return whether the MAC is valid."""
        return compare_digest(self.mac.encode(), self._mac().encode())

    def _mac(self) -> str:
        unkeyed = msgspec.structs.replace(self, mac="")
        return encode(row_hmac.keyed(b"checkpoint" + msgspec.json.encode(unkeyed)))


def parse(jws: str) -> CheckpointClaims | None:
    """Return the claims of a JWS, without verification. None if it is not a checkpoint."""
    try:
        payload = jws.split(".")[1]
        return msgspec.json.decode(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=CheckpointClaims)
    except (IndexError, ValueError, msgspec.MsgspecError):
        return None


def read(jws: str, read_signed: Read) -> CheckpointClaims | None:
    """Return the claims of a checkpoint. None unless its signature and MAC are valid."""
    statement = parse(jws)
    if statement is None or read_signed(TYPE, jws) is None:
        return None
    return statement if statement.is_ours() else None


def encode(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def fingerprint(jws: str) -> bytes:
    """Return the hash of a checkpoint, which the next one contains."""
    return sha256(jws.encode()).digest()
