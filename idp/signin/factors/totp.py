"""One-time codes from an authenticator app (TOTP, RFC 6238): six digits by HMAC-SHA-1, a new code every 30 seconds."""

import hmac
import re
from base64 import b32decode
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

import pyotp
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP

from idp import clock, ids
from idp.accounts import typed_codes
from idp.accounts.repository import users
from idp.branding.registry import product_name
from idp.errors import ConflictError
from idp.infra.i18n import gettext as _
from idp.infra.lazy import lazy
from idp.keys import vault
from idp.signin.factors import repository
from idp.signin.factors.repository import SealedSecret

if TYPE_CHECKING:
    import segno
else:
    segno = lazy("segno")

STEP = 30
#: Time steps that a clock may be off in either direction (RFC 6238 section 5.2).
WINDOW = 1


class AlreadyEnabledError(ConflictError):
    """The user has an authenticator app, which must be removed before another one is set up."""


class Setup(NamedTuple):
    """A secret to enter in an app: to type, as a URI, and as a QR code of the URI."""

    secret: str
    uri: str
    qr_svg: str


def _context(row_id: UUID) -> str:
    return f"totp.secret:{row_id}"


async def start_setup(user_id: UUID, holder: str, account_name: str) -> Setup:
    """Generate a secret for an app, or return the pending one of the last hour. A code must confirm it.

    Args:
        holder: id of the sign-in flow or session that shows the secret. No other one can confirm it: otherwise an app
            could be enabled whose secret another person has seen.
        account_name: the name of the account in the app, such as the email address.

    Raises:
        AlreadyEnabledError: there is a confirmed app.
    """
    row_id = ids.uuid7()
    generated = vault.encrypt(pyotp.random_base32().encode(), _context(row_id))
    stored = await repository.start_totp(row_id, user_id, holder, generated)
    if stored is None:
        raise AlreadyEnabledError
    secret = _open(stored)
    uri = pyotp.TOTP(secret).provisioning_uri(name=account_name, issuer_name=product_name())
    return Setup(secret, uri, _qr_svg(uri))


def _open(stored: SealedSecret) -> str:
    return vault.decrypt(stored.secret, _context(stored.id)).decode()


def _qr_svg(text: str) -> str:
    # Black on white with a quiet zone, in dark mode too. The style sheet sets its size.
    code = segno.make(text, error="m", micro=False)
    return code.svg_inline(dark="#000", light="#fff", border=4, omitsize=True, title=_("QR code for your app"))


async def confirm(user_id: UUID, holder: str, code: str) -> bool:
    """Enable the app whose secret the holder was shown, with a current code, which is consumed."""
    return await _accept(repository.confirm_totp, user_id, await repository.find_pending_totp(user_id, holder), code)


async def import_secret(user_id: UUID, secret: str) -> bool:
    """Enable an app whose secret comes from another system, in the caller's transaction.

    Returns False if the user has one.
    """
    row_id = ids.uuid7()
    return await repository.insert_totp(row_id, user_id, vault.encrypt(secret.encode(), _context(row_id)))


async def verify(user_id: UUID, code: str) -> bool:
    """Use a code, once. A code of the same or an earlier time step is refused after that (RFC 6238 section 5.2)."""
    return await _accept(repository.use_totp, user_id, await repository.find_totp(user_id), code)


async def _accept(
    use: Callable[[UUID, UUID, int], Awaitable[bool]], user_id: UUID, stored: SealedSecret | None, code: str
) -> bool:
    if stored is None:
        return False
    step = _step_of(_open(stored), code)
    return step is not None and await use(user_id, stored.id, step)


def _step_of(secret: str, code: str) -> int | None:
    """Return the time step of a code, among those that are accepted now."""
    digits = typed_codes.normalise_code(code)
    if not re.fullmatch("[0-9]{6}", digits):
        return None
    now = clock.timestamp() // STEP
    # Unlike pyotp, it accepts secrets of 80 bits, which other systems have made and an import brings.
    key = b32decode(secret + "=" * (-len(secret) % 8))
    hotp = HOTP(key, 6, SHA1(), enforce_key_length=False)  # noqa: S303 -- the algorithm of all apps
    steps = range(now - WINDOW, now + WINDOW + 1)
    return max((step for step in steps if hmac.compare_digest(hotp.generate(step), digits.encode())), default=None)


async def delete_pending(user_id: UUID) -> int:
    """Delete a secret that no code has confirmed. Returns how many there were."""
    return await repository.delete_pending_totp(user_id)


async def disable(user_id: UUID) -> bool:
    """Remove the app, confirmed or pending. Returns whether there was a confirmed one."""
    removed = await repository.delete_totp(user_id)
    if removed:
        await users.mark_changed([user_id])
    return removed
