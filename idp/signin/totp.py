"""One-time codes from an authenticator app (TOTP, RFC 6238): six digits by HMAC-SHA-1, a new code every 30 seconds."""

import hmac
import re
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import asyncpg
import pyotp

from idp import clock, ids
from idp.accounts import typed_codes
from idp.errors import ConflictError
from idp.infra.db.engine import execute, fetchrow
from idp.infra.i18n import gettext as _
from idp.infra.lazy import lazy
from idp.keys import vault
from idp.settings import settings

if TYPE_CHECKING:
    import segno
else:
    segno = lazy("segno")

STEP = 30
#: How many steps a clock may be off, either way (RFC 6238 section 5.2).
WINDOW = 1

# A pending secret stays the same for its holder, so that a page may be loaded again after the code was scanned; but not
# for so long that somebody who once saw it can wait for the day when it counts.
_SAME = "t.holder = EXCLUDED.holder AND t.created_at > now() - interval '1 hour'"
_START = f"""
    INSERT INTO totp AS t (id, user_id, holder, secret, last_step, created_at) VALUES ($1, $2, $3, $4, 0, now())
    ON CONFLICT (user_id) DO UPDATE SET
        id = CASE WHEN {_SAME} THEN t.id ELSE EXCLUDED.id END,
        holder = EXCLUDED.holder,
        secret = CASE WHEN {_SAME} THEN t.secret ELSE EXCLUDED.secret END,
        created_at = CASE WHEN {_SAME} THEN t.created_at ELSE EXCLUDED.created_at END
    WHERE t.confirmed_at IS NULL
    RETURNING id, secret
"""  # noqa: S608
_KEEP = """
    INSERT INTO totp (id, user_id, secret, last_step, created_at, confirmed_at) VALUES ($1, $2, $3, 0, now(), now())
"""
_FIND_PENDING = "SELECT id, secret FROM totp WHERE user_id = $1 AND holder = $2 AND confirmed_at IS NULL"
_CONFIRM = """
    UPDATE totp SET confirmed_at = now(), holder = NULL, last_step = $2 WHERE id = $1 AND confirmed_at IS NULL
"""
_FIND = "SELECT id, secret FROM totp WHERE user_id = $1 AND confirmed_at IS NOT NULL"
_USE = """
    UPDATE totp SET last_step = $2, last_used_at = now()
    WHERE id = $1 AND confirmed_at IS NOT NULL AND last_step < $2
"""
_ENABLED = "SELECT 1 FROM totp WHERE user_id = $1 AND confirmed_at IS NOT NULL"
_FORGET_PENDING = "DELETE FROM totp WHERE user_id = $1 AND confirmed_at IS NULL"
_DISABLE = "DELETE FROM totp WHERE user_id = $1 RETURNING confirmed_at"


class AlreadyEnabledError(ConflictError):
    """The user has an authenticator app. It is taken off before there can be another one."""


class Setup(NamedTuple):
    """A secret on its way into an app: to type, as a URI, and as a picture of the URI."""

    secret: str
    uri: str
    qr_svg: str


def _context(row_id: UUID) -> str:
    return f"totp.secret:{row_id}"


async def start_setup(user_id: UUID, holder: str, account_name: str) -> Setup:
    """Draw a secret for an app; for an hour, the same one again. It counts once a code has confirmed it.

    Args:
        holder: the id of the sign-in flow or session that shows it. No other one may confirm it: else an app could be
            enabled whose secret somebody else has seen.
        account_name: what the app shows of the account, such as the email address.

    Raises:
        AlreadyEnabledError: there is a confirmed one.
    """
    row_id = ids.uuid7()
    drawn = vault.seal(pyotp.random_base32().encode(), _context(row_id))
    row = await fetchrow(_START, row_id, user_id, holder, drawn)
    if row is None:
        raise AlreadyEnabledError
    secret = vault.open(row["secret"], _context(row["id"])).decode()
    uri = pyotp.TOTP(secret).provisioning_uri(name=account_name, issuer_name=settings().product_name)
    return Setup(secret, uri, _qr_svg(uri))


def _qr_svg(text: str) -> str:
    # Black on white with its quiet zone, whatever the page looks like. It is as large as its style sheet says.
    code = segno.make(text, error="m", micro=False)
    return code.svg_inline(dark="#000", light="#fff", border=4, omitsize=True, title=_("QR code for your app"))


async def confirm(user_id: UUID, holder: str, code: str) -> bool:
    """Enable the app if this is the code of the moment of the secret that the holder was shown. It is used up."""
    return await _accept(_CONFIRM, await fetchrow(_FIND_PENDING, user_id, holder), code)


async def import_secret(user_id: UUID, secret: str) -> None:
    """Enable an app whose secret another system drew, of a user who was just made. In the caller's transaction."""
    row_id = ids.uuid7()
    await execute(_KEEP, row_id, user_id, vault.seal(secret.encode(), _context(row_id)))


async def verify(user_id: UUID, code: str) -> bool:
    """Use a code, once: none is accepted of the same time step or an earlier one again (RFC 6238 section 5.2)."""
    return await _accept(_USE, await fetchrow(_FIND, user_id), code)


async def _accept(statement: str, row: asyncpg.Record | None, code: str) -> bool:
    if row is None:
        return False
    step = _step_of(vault.open(row["secret"], _context(row["id"])).decode(), code)
    return step is not None and bool(await execute(statement, row["id"], step))


def _step_of(secret: str, code: str) -> int | None:
    """The time step that a code belongs to, of those that are accepted now."""
    digits = typed_codes.normalise_code(code)
    if not re.fullmatch("[0-9]{6}", digits):
        return None
    now = clock.timestamp() // STEP
    hotp = pyotp.HOTP(secret)
    steps = range(now - WINDOW, now + WINDOW + 1)
    return max((step for step in steps if hmac.compare_digest(hotp.at(step), digits)), default=None)


async def delete_pending(user_id: UUID) -> int:
    """Forget a secret that no code has confirmed. Returns how many there were."""
    return await execute(_FORGET_PENDING, user_id)


async def enabled(user_id: UUID) -> bool:
    return await fetchrow(_ENABLED, user_id) is not None


async def disable(user_id: UUID) -> bool:
    """Take the app off, and whatever was only begun. Returns whether there was one."""
    row = await fetchrow(_DISABLE, user_id)
    return row is not None and row["confirmed_at"] is not None
