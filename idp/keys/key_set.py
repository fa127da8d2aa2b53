"""The signing keys in memory, which every request uses."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from idp import clock
from idp.errors import NoSigningKeyError
from idp.infra.prepared_json import PreparedJSON, prepare
from idp.keys import jose, vault
from idp.keys.algorithms import SIGNING_ALGORITHMS
from idp.keys.jose import SigningKey
from idp.keys.repository import signing_keys
from idp.settings import settings


class Entry(msgspec.Struct, frozen=True):
    """A key and its times, with the rule of :class:`idp.keys.tables.SigningKeyRow`."""

    key: SigningKey
    activates_at: datetime | None
    retires_at: datetime | None

    def signs(self, now: datetime) -> bool:
        """Return whether it may sign. If several keys may, the one activated last does."""
        return self.activates_at is not None and self.activates_at <= now and self.published(now)

    def published(self, now: datetime) -> bool:
        return self.retires_at is None or now < self.retires_at


class _Use(msgspec.Struct):
    """Tokens that a key has signed since the last write."""

    tokens: int = 0
    expires_at: int = 0


class _Published:
    """Values calculated from a set of published keys."""

    def __init__(self, keys: tuple[SigningKey, ...]) -> None:
        self.keys = keys
        self.by_kid = {key.kid: key for key in keys}
        self.jwks = prepare({"keys": [key.public_jwk for key in keys]})
        self.kids = " ".join(self.by_kid)


def _context(kid: str) -> str:
    return f"signing_key.private_jwk:{kid}"


def encrypt_private_key(key: SigningKey) -> bytes:
    """Encrypt a key for the database."""
    return vault.encrypt(msgspec.json.encode(jose.to_private_jwk(key)), _context(key.kid))


def decrypt_private_key(kid: str, sealed: bytes) -> SigningKey:
    """Decrypt a key from the database.

    Raises:
        SecretsError: it was encrypted under another master key, or the row is damaged.
    """
    jwk = msgspec.json.decode(vault.decrypt(sealed, _context(kid)), type=dict[str, str])
    return jose.from_own_jwk(jwk)


class KeySet:
    """The keys that are not retired. Their states follow from the clock, without a reload.

    The clock is the database's: on a machine whose clock is behind, a key just activated would not sign yet.
    """

    def __init__(self) -> None:
        self._entries: tuple[Entry, ...] = ()
        self._current = _Published(())
        self._used: dict[str, _Use] = {}
        self._retired: dict[str, SigningKey] = {}
        #: Time by which this machine's clock is ahead of the database's.
        self._skew = timedelta()

    async def load(self) -> None:
        """Load the keys. On failure the set is unchanged.

        Raises:
            SecretsError: they were encrypted under another master key.
        """
        asked = clock.system()
        rows = await signing_keys.published_keys()
        if rows:
            # The duration of the query is ignored, so that a key that is active in the database is active here.
            self._skew = asked - rows[0].now
        opened = {entry.key.kid: entry.key for entry in self._entries if entry.key.key.is_private}
        longest = max(settings().session_lifetime, settings().refresh_token_family_lifetime)
        retired = [jose.from_public_jwk(msgspec.json.decode(jwk)) for jwk in await signing_keys.retired_jwks(longest)]
        # Replaced as a whole, so that no request sees a partial change.
        self._entries = tuple(
            Entry(
                opened.get(row.kid) or decrypt_private_key(row.kid, row.private_jwk), row.activates_at, row.retires_at
            )
            for row in rows
        )
        self._retired = {key.kid: key for key in retired}

    def _now(self) -> datetime:
        return clock.now() - self._skew

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The keys with their times, in order of activation."""
        return self._entries

    def show(self, entries: Sequence[Entry]) -> None:
        """Publish keys of which only the public part is known, until the next :meth:`load`."""
        self._entries = tuple(entries)

    def signing(self, alg: str) -> SigningKey:
        """Return the active key of the algorithm: of those that may sign, the one activated last.

        Raises:
            NoSigningKeyError: there is no active key.
        """
        now = self._now()
        for entry in reversed(self._entries):
            if entry.key.alg == alg and entry.signs(now):
                return entry.key
        raise NoSigningKeyError(alg)

    def sign(self, alg: str, typ: str, claims: Mapping[str, Any]) -> str:
        """Sign a token with the active key of the algorithm.

        The key stays published at least until the token's ``exp``, if it has one.

        Raises:
            NoSigningKeyError: there is no active key.
        """
        key = self.signing(alg)
        use = self._used.get(key.kid) or self._used.setdefault(key.kid, _Use())
        use.tokens += 1
        use.expires_at = max(use.expires_at, claims.get("exp", 0))
        return jose.sign(key, typ, claims)

    async def write_use(self) -> None:
        """Write how many tokens the keys have signed. On failure the counts are kept for the next write."""
        taken, self._used = self._used, {}
        try:
            while taken:
                kid, use = next(iter(taken.items()))
                await signing_keys.add_use(kid, use.tokens, datetime.fromtimestamp(use.expires_at, UTC))
                del taken[kid]
        finally:
            for kid, use in taken.items():
                newer = self._used.setdefault(kid, _Use())
                newer.tokens += use.tokens
                newer.expires_at = max(newer.expires_at, use.expires_at)

    def verification(self) -> Mapping[str, SigningKey]:
        """Return every published key by its ``kid``, pending ones included."""
        return self._published().by_kid

    def hinting(self) -> Mapping[str, SigningKey]:
        """Return every key that may have signed an ID token of a live session, including retired but not revoked ones.

        Only for ``id_token_hint``, which names a user and proves nothing. Retired keys verify nothing else.
        """
        return self._retired | {entry.key.kid: entry.key for entry in self._entries}

    def algorithms(self) -> tuple[str, ...]:
        """Return the algorithms that :meth:`signing` has a key for, RS256 first."""
        now = self._now()
        active = {entry.key.alg for entry in self._entries if entry.signs(now)}
        return tuple(alg for alg in SIGNING_ALGORITHMS if alg in active)

    def jwks(self) -> PreparedJSON:
        """Return the JWK Set (RFC 7517 section 5) of the published keys."""
        return self._published().jwks

    def kids(self) -> str:
        """Return the ``kid`` of each key in :meth:`jwks`, separated by spaces."""
        return self._published().kids

    def _published(self) -> _Published:
        now = self._now()
        keys = tuple([entry.key for entry in self._entries if entry.published(now)])
        if keys != self._current.keys:
            self._current = _Published(keys)
        return self._current


key_set = KeySet()
