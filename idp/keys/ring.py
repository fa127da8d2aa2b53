"""The signing keys in memory, as every request uses them."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from idp import clock
from idp.db.engine import fetch
from idp.keys import jose, vault
from idp.keys.jose import SigningKey

_NOT_RETIRED = """
SELECT kid, private_jwk, activates_at, retires_at FROM signing_key
WHERE retires_at IS NULL OR retires_at > now()
ORDER BY activates_at, kid
"""


class NoSigningKey(LookupError):
    """There is no active key of this algorithm."""

    def __init__(self, alg: str) -> None:
        super().__init__(f"There is no active {alg} key. Create one with `idp keys generate`.")


class Document(msgspec.Struct, frozen=True):
    """A JSON document ready to be sent, with its strong entity tag (RFC 9110 section 8.8.3)."""

    body: bytes
    etag: str


def prepare(value: Any) -> Document:
    """Encode a document."""
    body = msgspec.json.encode(value)
    return Document(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


class _Entry(msgspec.Struct, frozen=True):
    """A key and its times; the same rule as in :class:`idp.keys.tables.SigningKeyRow`."""

    key: SigningKey
    activates_at: datetime
    retires_at: datetime | None

    def published(self, now: datetime) -> bool:
        return self.retires_at is None or now < self.retires_at


class _Published:
    """What follows from the set of keys that are published together."""

    def __init__(self, keys: tuple[SigningKey, ...]) -> None:
        self.keys = keys
        self.by_kid = {key.kid: key for key in keys}
        self.jwks = prepare({"keys": [key.public_jwk for key in keys]})


def _context(kid: str) -> str:
    return f"signing_key.private_jwk:{kid}"


def seal_private_key(key: SigningKey) -> bytes:
    """What is stored of a key."""
    return vault.seal(msgspec.json.encode(jose.to_private_jwk(key)), _context(key.kid))


def open_private_key(kid: str, sealed: bytes) -> SigningKey:
    """Read what is stored of a key.

    Raises:
        VaultError: the master key is not the one that sealed it, or the row is damaged.
    """
    jwk = msgspec.json.decode(vault.open(sealed, _context(kid)), type=dict[str, str])
    return jose.from_private_jwk(jwk)


class KeyRing:
    """The keys that are not retired. Their states follow from the clock, without a reload."""

    def __init__(self) -> None:
        self._entries: tuple[_Entry, ...] = ()
        self._current = _Published(())

    async def load(self) -> None:
        """Read the keys again. On failure the ring stays as it was.

        Raises:
            VaultError: the master key is not the one that sealed them.
        """
        opened = {entry.key.kid: entry.key for entry in self._entries}
        # Replaced as a whole, so that no request sees half of a change.
        self._entries = tuple(
            _Entry(
                opened.get(row["kid"]) or open_private_key(row["kid"], row["private_jwk"]),
                row["activates_at"],
                row["retires_at"],
            )
            for row in await fetch(_NOT_RETIRED)
        )

    def signing(self, alg: str) -> SigningKey:
        """The key to sign with: the youngest active one of the algorithm.

        Raises:
            NoSigningKey: there is none.
        """
        now = clock.now()
        for entry in reversed(self._entries):
            if entry.key.alg == alg and entry.activates_at <= now and entry.published(now):
                return entry.key
        raise NoSigningKey(alg)

    def verification(self) -> Mapping[str, SigningKey]:
        """Every published key by its ``kid``, those that are not active yet too."""
        return self._published().by_kid

    def algorithms(self) -> tuple[str, ...]:
        """The algorithms that :meth:`signing` has a key for, RS256 first."""
        now = clock.now()
        active = {entry.key.alg for entry in self._entries if entry.activates_at <= now and entry.published(now)}
        return tuple(alg for alg in jose.ALGORITHMS if alg in active)

    def jwks(self) -> Document:
        """The JWK Set (RFC 7517 section 5) of the published keys."""
        return self._published().jwks

    def _published(self) -> _Published:
        now = clock.now()
        keys = tuple(entry.key for entry in self._entries if entry.published(now))
        if keys != self._current.keys:
            self._current = _Published(keys)
        return self._current


keyring = KeyRing()
