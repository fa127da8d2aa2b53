"""What decides how somebody's sign-in goes on, seen in one look: the person, their factors, this browser."""

from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
from litestar import Request

from idp import ids
from idp.http import cookies
from idp.infra.db.named_queries import NamedQuery
from idp.settings import settings
from idp.signin import devices
from idp.signin.factors import FACTORS, Factors, factors

Browser = Request[Any, Any, Any]

#: As a list, the factors of the user ``u`` and whether the browser is trusted. Nothing else changes what is asked for.
SEEN = f"""
    ARRAY[{FACTORS}, EXISTS (SELECT FROM device WHERE token_hash = :device_hash AND user_id = u.id
                             AND expires_at > now() AND trusted_until > now())]
"""
_LOOK = f"""
    SELECT u.id, u.email, u.name, u.password_hash, u.disabled_at IS NOT NULL AS disabled, {SEEN} AS seen,
           (SELECT id FROM device
            WHERE token_hash = :device_hash AND user_id = u.id AND expires_at > now()) AS device_id,
           (SELECT id FROM session
            WHERE token_hash = :session_hash AND user_id = u.id AND ended_at IS NULL AND expires_at > now()
           ) AS session_id
    FROM users AS u
"""  # noqa: S608
#: For :func:`read`, with the parameters of :class:`Tokens`.
BY_ID, BY_EMAIL = f"{_LOOK} WHERE u.id = :user_id", f"{_LOOK} WHERE u.email = :email"
_BY_ID = NamedQuery(BY_ID)


class Tokens(NamedTuple):
    """Hashes of the cookies that the browser sent, whosever they are. An app has none."""

    device_hash: bytes | None
    session_hash: bytes | None


class SignInSubject(NamedTuple):
    """A person, at the browser that asks.

    Attributes:
        seen: :data:`SEEN`.
        device_id: the browser, if the person signed in there before. It stays when its cookie is replaced.
        session_id: the session that they have here.
    """

    user_id: UUID
    email: str
    name: str | None
    password_hash: str | None
    disabled: bool
    seen: list[bool]
    device_id: UUID | None
    session_id: UUID | None
    tokens: Tokens

    @property
    def factors(self) -> Factors:
        return factors(self.seen[:-1])

    @property
    def known(self) -> bool:
        """Whether the person signed in at this browser before."""
        return self.device_id is not None

    @property
    def trusted(self) -> bool:
        """Whether the person wished to be asked for no second factor here."""
        return self.seen[-1] and settings().trusted_device_lifetime > 0


def tokens(browser: Browser | None) -> Tokens:
    """What a browser brought; None where an app asks."""
    return Tokens(_hash(browser, devices.COOKIE), _hash(browser, cookies.SESSION))


def _hash(browser: Browser | None, name: str) -> bytes | None:
    token = cookies.read(browser, name) if browser is not None else None
    return ids.digest(token) if token else None


async def of(user_id: UUID, browser: Browser | None) -> SignInSubject | None:
    """How a user stands at a browser."""
    brought = tokens(browser)
    row = await _BY_ID.fetchrow(user_id=user_id, **brought._asdict())
    return read(row, brought) if row is not None else None


def read(row: asyncpg.Record, brought: Tokens) -> SignInSubject | None:
    """What one of the statements found. More columns may follow."""
    columns = tuple(row)[: len(SignInSubject._fields) - 1]
    return SignInSubject._make((*columns, brought)) if row["id"] is not None else None
