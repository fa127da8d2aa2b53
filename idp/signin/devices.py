"""Known devices: browsers in which a user has signed in before, each recognised by its cookie."""

from uuid import UUID

from idp import ids
from idp.accounts.repository.users import id_of_email
from idp.settings import DAY, settings
from idp.signin.browser import Browser
from idp.signin.repository import devices
from idp.signin.repository.devices import DeviceUse, KnownDevice

#: Seconds for which a browser stays known without a sign-in.
LIFETIME = 365 * DAY


async def find_known(browser: Browser, *, user_id: UUID | None = None, email: str | None = None) -> KnownDevice | None:
    """Return the device, if a user signed in at this browser before.

    Args:
        user_id, email: the user. Without them, the first one who signed in there.
    """
    token_hash = browser.device_hash
    if token_hash is None:
        return None
    if email is not None:
        user_id = await id_of_email(email)
    users = [user_id] if user_id is not None else await devices.users_of_device(token_hash)
    return await devices.find_device(token_hash, users)


async def remember(browser: Browser, user_id: UUID, *, trust: bool, second_step: bool) -> str | None:
    """Store that a user signed in at a browser, in the caller's transaction.

    A browser has one cookie for all its users, and a new one at every sign-in: an earlier user may have copied the old
    one, which is useless after this.

    Args:
        trust: skip the second factor here for a while, if the settings allow it.
        second_step: a second factor was used.

    Returns:
        the token for the cookie; None for an app.
    """
    if not browser.keeps_cookies:
        return None
    token = ids.random_token()
    trusted_for = settings().trusted_device_lifetime if trust else 0
    use = DeviceUse(user_id, ids.digest(token), float(trusted_for) if trusted_for > 0 else None, second_step, LIFETIME)
    old = browser.device_hash
    if old is None or not await devices.move_device(old, use):
        await devices.insert_device(ids.uuid7(), use)
    return token


async def has_any(user_id: UUID) -> bool:
    """Return whether there is a browser in which the user signed in before."""
    return await devices.has_devices(user_id)


async def forget_all(user_id: UUID) -> None:
    """Make all browsers of a user unknown, in the caller's transaction."""
    await devices.forget_devices(user_id)


async def distrust_all(user_id: UUID) -> None:
    """End the trust in all browsers of a user, which stay known devices. In the caller's transaction."""
    await devices.distrust_devices(user_id)
