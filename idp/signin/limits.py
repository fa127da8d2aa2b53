"""How often somebody may try, at each place of a sign-in. All the numbers are here."""

from typing import Any
from uuid import UUID

from litestar import Request

from idp.accounts import proofs
from idp.accounts.tables import User
from idp.audit.events import record
from idp.db.engine import transaction
from idp.errors import TooManyTries
from idp.mail import outbox
from idp.settings import DAY, HOUR, MINUTE, settings
from idp.signin import devices
from idp.web.address import subjects
from idp.web.context import client_address
from idp.web.throttle import Escalation, Rate, attempt, forget, spend

Browser = Request[Any, Any, Any]

#: Tries of any step from one host and one network. Offices and mobile networks share an address.
STEPS_OF_HOST = Rate("steps of a host", burst=60, interval=2)
STEPS_OF_NETWORK = Rate("steps of a network", burst=600, interval=0.2)
#: Mails to one address: a few at once, and not more in a day than somebody could need.
MAILS_TO_ADDRESS = Rate("mails to an address", burst=3, interval=MINUTE)
MAILS_TO_ADDRESS_A_DAY = Rate("mails to an address a day", burst=15, interval=DAY / 15)
#: Mails that one host and one network cause.
MAILS_FROM_HOST = Rate("mails from a host", burst=20, interval=MINUTE)
MAILS_FROM_NETWORK = Rate("mails from a network", burst=100, interval=10)
#: Passwords tried at one account. The lock, that is the longest wait, is mailed to the owner, who can lift it.
PASSWORDS = Escalation("passwords of an account", free=5, longest=HOUR)
LOCK_AFTER = 16
#: Codes of an authenticator app and recovery codes tried at one account, in whichever sign-in.
SECOND_STEPS = Escalation("second steps of an account", free=5, longest=HOUR)

UNLOCK = "unlock"


async def step() -> None:
    """Count a try from this address.

    Raises:
        TooManyTries: there were too many.
    """
    if settings().address_limits:
        host, network = subjects(client_address.get())
        await spend((STEPS_OF_HOST, host), (STEPS_OF_NETWORK, network))


async def mail_to(email: str) -> None:
    """Count a mail to an address, which this address causes. Unknown addresses count too: nothing must tell.

    Raises:
        TooManyTries: there were too many.
    """
    events = [(MAILS_TO_ADDRESS, email), (MAILS_TO_ADDRESS_A_DAY, email)]
    if settings().address_limits:
        host, network = subjects(client_address.get())
        events += [(MAILS_FROM_HOST, host), (MAILS_FROM_NETWORK, network)]
    await spend(*events)


async def password(email: str, user: User | None, browser: Browser | None) -> None:
    """Count a try of a password at an account, before it is verified.

    A browser that its user signed in with before is counted by itself: whoever tries elsewhere cannot lock it out.

    Raises:
        TooManyTries: the next one is not allowed yet.
    """
    device = await _device(browser, user.id) if user is not None else None
    number, wait = await attempt(PASSWORDS, _password_subject(email, device))
    if wait > 0:
        raise TooManyTries(int(wait) + 1)
    if number == LOCK_AFTER and device is None:
        await _tell_owner(email, user)


async def _device(browser: Browser | None, user_id: UUID) -> UUID | None:
    return await devices.known(browser, user_id) if browser is not None else None


def _password_subject(email: str, device: UUID | None) -> str:
    return f"{email} {device}" if device is not None else email


def _second_subject(user_id: UUID, device: UUID | None) -> str:
    return f"{user_id} {device}" if device is not None else str(user_id)


async def _tell_owner(email: str, user: User | None) -> None:
    """Mail the owner that somebody tries, with a link that lifts the lock. Of nobody, do the same work in vain."""
    lifetime, void = DAY, user is None or user.disabled_at is not None
    async with transaction():
        sent = await proofs.prepare(UNLOCK, email, lifetime=lifetime, user_id=user.id if user else None, void=void)
        await outbox.queue(
            email,
            "account_locked",
            lifetime=lifetime,
            void=void,
            name=user.name if user else None,
            link=f"{settings().issuer}/unlock?token={sent.token}",
        )
        await record("account_locked", outcome="denied", user_id=user.id if user else None, stranger=email)


async def second_step(user_id: UUID, browser: Browser | None) -> None:
    """Count a try of a code at an account, in whichever flow; a known browser by itself, as with passwords.

    Raises:
        TooManyTries: the next one is not allowed yet.
    """
    wait = (await attempt(SECOND_STEPS, _second_subject(user_id, await _device(browser, user_id)))).wait
    if wait > 0:
        raise TooManyTries(int(wait) + 1)


async def passed(user_id: UUID, email: str, browser: Browser | None) -> None:
    """Whoever signed in has not tried in vain: start counting anew. Runs in the transaction of the sign-in."""
    devices = {None, await _device(browser, user_id)}
    second_steps = [(SECOND_STEPS, _second_subject(user_id, device)) for device in devices]
    await forget(*second_steps, *((PASSWORDS, _password_subject(email, device)) for device in devices))


async def unlock(email: str) -> None:
    """Lift what wrong passwords brought on an account."""
    await forget((PASSWORDS, email))
