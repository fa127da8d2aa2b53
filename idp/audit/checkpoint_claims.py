"""What a checkpoint states, signed for others and keyed for ourselves.

The signature lets anybody check a statement who has our public keys. The MAC inside lets us check it without believing
what the database says our keys were.
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
#: The claims of a JWS of a ``typ``, or None if no key of ours, of today or before, has signed it.
Read = Callable[[str, str], Mapping[str, Any] | None]


class CheckpointClaims(msgspec.Struct, frozen=True, kw_only=True):
    """The claims of a checkpoint.

    Attributes:
        number: its own; from 1, without gaps.
        first_seq: the first row that it covers; one more than the last of the checkpoint before.
        last_seq: the last row that it covers; less than the first if there was none.
        root: the root of the Merkle tree over the hashes of the rows, base64url.
        previous: SHA-256 of the JWS of the checkpoint before, base64url; empty in the first one.
        unsealed: number of rows, the first ones, that had no hash. No row is written without one, so a person with
            access to the database removed it.
        deleted_to: rows up to this one were deleted, or are being deleted, because they are old enough.
        mac: of all the rest, base64url.
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
        """The statement as a JWS."""
        return sign(TYPE, msgspec.to_builtins(msgspec.structs.replace(self, mac=self._mac())))

    def is_ours(self) -> bool:
        """Whether the MAC holds."""
        return compare_digest(self.mac.encode(), self._mac().encode())

    def _mac(self) -> str:
        unkeyed = msgspec.structs.replace(self, mac="")
        return encode(row_hmac.keyed(b"checkpoint" + msgspec.json.encode(unkeyed)))


def parse(jws: str) -> CheckpointClaims | None:
    """What a JWS states, whoever signed it."""
    try:
        payload = jws.split(".")[1]
        return msgspec.json.decode(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=CheckpointClaims)
    except (IndexError, ValueError, msgspec.MsgspecError):
        return None


def read(jws: str, read_signed: Read) -> CheckpointClaims | None:
    """What a checkpoint of ours states; None if it is none, or was changed."""
    statement = parse(jws)
    if statement is None or read_signed(TYPE, jws) is None:
        return None
    return statement if statement.is_ours() else None


def encode(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def fingerprint(jws: str) -> bytes:
    """What the next checkpoint says of this one."""
    return sha256(jws.encode()).digest()
