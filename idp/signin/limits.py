"""Rate limits of sign-in steps, flows and mails. All the numbers are here.

Each function decides every limit of a request in one call, so a refused request spends nothing. A browser that the user
signed in with before has budgets of its own, which others cannot spend.
"""

from uuid import UUID

from idp.accounts import email_proofs
from idp.accounts.email_proofs import Purpose
from idp.audit.events import record
from idp.errors import TooManyRequestsError
from idp.infra import rate_limits
from idp.infra.db.engine import transaction
from idp.infra.networks import subjects
from idp.infra.rate_limits import Escalation, Event, Rate, spend
from idp.infra.request_context import client_address
from idp.mail import outbox
from idp.settings import DAY, HOUR, MINUTE, settings
from idp.signin import devices
from idp.signin.browser import Browser
from idp.signin.repository.subjects import subject_by_email
from idp.signin.subject import SignInSubject

#: Attempts at any step from one host and one network. Offices and mobile networks share an address.
STEPS_OF_HOST = Rate("steps of a host", burst=60, interval=2)
STEPS_OF_NETWORK = Rate("steps of a network", burst=600, interval=0.2)
#: The same from known devices of one user, instead of host and network.
STEPS_OF_PERSON = Rate("steps of a person", burst=30, interval=2)
#: Sign-in flows, authorization requests and upstream sign-ins that are started. Each is a row until it expires.
FLOWS_OF_HOST = Rate("flows of a host", burst=120, interval=1)
FLOWS_OF_NETWORK = Rate("flows of a network", burst=1200, interval=0.1)
FLOWS_OF_PERSON = Rate("flows of a person", burst=120, interval=1)
#: Authorization requests that clients which registered themselves push with a key or a secret: of one client, and from
#: one host, which may serve many users. Each is a row until it expires.
PUSHED_OF_CLIENT = Rate("pushed requests of a client", burst=600, interval=0.1)
PUSHED_OF_HOST = Rate("pushed requests of a host", burst=1200, interval=0.1)
#: Logout tokens of upstream providers from one host. Each is verified, perhaps with keys that must be fetched.
LOGOUT_TOKENS_OF_HOST = Rate("logout tokens of a host", burst=1200, interval=0.1)
#: Estimates of a new password while it is typed, from one host and one network. Each keeps a CPU busy for milliseconds.
STRENGTHS_OF_HOST = Rate("password strengths of a host", burst=30, interval=2)
STRENGTHS_OF_NETWORK = Rate("password strengths of a network", burst=60, interval=1)
#: Mails to one address: a small burst, and no more per day than a user needs.
MAILS_TO_ADDRESS = Rate("mails to an address", burst=3, interval=MINUTE)
MAILS_TO_ADDRESS_A_DAY = Rate("mails to an address a day", burst=15, interval=DAY / 15)
#: Mails that one host and one network cause.
MAILS_FROM_HOST = Rate("mails from a host", burst=20, interval=MINUTE)
MAILS_FROM_NETWORK = Rate("mails from a network", burst=100, interval=10)
#: Mails that known devices of a user cause, instead of the four above. Both daily budgets together stay below what the
#: outbox sends to one address in an hour.
MAILS_TO_PERSON = Rate("mails to a person", burst=3, interval=MINUTE)
MAILS_TO_PERSON_A_DAY = Rate("mails to a person a day", burst=10, interval=DAY / 10)
#: Mails about sign-ins in new browsers. Some people sign in with a private window each time.
NEW_BROWSERS_OF_PERSON = Rate("new browsers of a person", burst=3, interval=HOUR)
#: Password attempts at one account. The longest wait is a lock: it is mailed to the owner, who can lift it.
PASSWORDS = Escalation("passwords of an account", free=5, longest=HOUR)
LOCK_AFTER = 16
#: Attempts with codes of an authenticator app and recovery codes at one account, over all flows.
SECOND_STEPS = Escalation("second steps of an account", free=5, longest=HOUR)


async def count_step(browser: Browser) -> None:
    """Count a step that has no other limit.

    Raises:
        TooManyRequestsError: there were too many from this host or network, or from the user's own browsers.
    """
    known = await devices.find_known(browser)
    await spend(*_steps(known.email if known is not None else None))


def _steps(email: str | None) -> list[Event]:
    """Return the limits of a step, at a known device of the user with this address, or in another browser."""
    if not settings().address_limits:
        return []
    if email is not None:
        return [(STEPS_OF_PERSON, email)]
    host, network = subjects(client_address.get())
    return [(STEPS_OF_HOST, host), (STEPS_OF_NETWORK, network)]


async def count_flow(browser: Browser) -> None:
    """Count a sign-in flow, an authorization request or an upstream sign-in that is about to be stored.

    Raises:
        TooManyRequestsError: too many were started from this host or network, or from the user's own browsers.
    """
    if not settings().address_limits:
        return
    known = await devices.find_known(browser)
    if known is not None:
        await spend((FLOWS_OF_PERSON, known.email))
        return
    host, network = subjects(client_address.get())
    await spend((FLOWS_OF_HOST, host), (FLOWS_OF_NETWORK, network))


async def count_pushed(client_id: str) -> None:
    """Count a request that a client which registered itself pushes: anybody can have such a client.

    Raises:
        TooManyRequestsError: it pushed too many, or its host did.
    """
    events: list[Event] = [(PUSHED_OF_CLIENT, client_id)]
    if settings().address_limits:
        events.append((PUSHED_OF_HOST, subjects(client_address.get())[0]))
    await spend(*events)


async def count_logout_token() -> None:
    """Count a logout token that a provider, or somebody else, sends.

    Raises:
        TooManyRequestsError: there were too many from this host.
    """
    if settings().address_limits:
        await spend((LOGOUT_TOKENS_OF_HOST, subjects(client_address.get())[0]))


async def count_strength() -> None:
    """Count an estimate of a password that is being typed.

    Raises:
        TooManyRequestsError: there were too many from this host or network.
    """
    if settings().address_limits:
        host, network = subjects(client_address.get())
        await spend((STRENGTHS_OF_HOST, host), (STRENGTHS_OF_NETWORK, network))


async def count_mail(email: str, browser: Browser) -> None:
    """Count a mail to an address, and the step that causes it. Unknown addresses are counted like known ones.

    Raises:
        TooManyRequestsError: there were too many.
    """
    if await devices.find_known(browser, email=email) is not None:
        await spend((MAILS_TO_PERSON, email), (MAILS_TO_PERSON_A_DAY, email), *_steps(email))
        return
    events: list[Event] = [(MAILS_TO_ADDRESS, email), (MAILS_TO_ADDRESS_A_DAY, email), *_steps(None)]
    if settings().address_limits:
        host, network = subjects(client_address.get())
        events += [(MAILS_FROM_HOST, host), (MAILS_FROM_NETWORK, network)]
    await spend(*events)


async def count_new_browser(user_id: UUID) -> None:
    """Count a mail about a sign-in in a new browser.

    Raises:
        TooManyRequestsError: there were too many.
    """
    await spend((NEW_BROWSERS_OF_PERSON, str(user_id)))


async def count_password(email: str | None, entered: str, browser: Browser) -> SignInSubject | None:
    """Count a password attempt at an account, before the password is verified, and the step.

    A browser that the user signed in with before is counted separately: attempts in other browsers do not lock it out.

    Args:
        email: the account; None if ``entered`` is no address.

    Returns:
        the user of the account, if there is one.

    Raises:
        TooManyRequestsError: the next attempt is not allowed yet.
    """
    person = await subject_by_email(email, browser)
    known = person is not None and person.known
    device_id = person.device_id if person is not None else None
    try:
        attempts = await spend((PASSWORDS, _subject(entered, device_id)), *_steps(entered if known else None))
    except TooManyRequestsError as error:
        error.user_id = person.id if person is not None else None
        raise
    if attempts == LOCK_AFTER and not known:
        await _tell_owner(entered, person)
    return person


def _subject(account: object, device_id: UUID | None = None) -> str:
    return f"{account} {device_id}" if device_id is not None else str(account)


async def _tell_owner(email: str, person: SignInSubject | None) -> None:
    """Mail the owner about the attempts, with a link that lifts the lock. For an unknown address do the same work."""
    lifetime, void = DAY, person is None or person.disabled
    user_id = person.id if person else None
    async with transaction():
        sent = await email_proofs.create(Purpose.UNLOCK, email, lifetime=lifetime, user_id=user_id, decoy=void)
        await outbox.queue(
            email,
            "account_locked",
            language=person.locale if person else None,
            lifetime=lifetime,
            void=void,
            name=person.name if person else None,
            link=f"{settings().issuer}/unlock?token={sent.token}",
        )
        await record("account_locked", outcome="denied", user_id=user_id, limit_key=email)


async def count_second_step(user_id: UUID, browser: Browser) -> None:
    """Count an attempt with a code at an account, over all flows, and the step.

    A browser is counted separately if the user used a second factor there before. A password alone would make any
    number of browsers known.

    Raises:
        TooManyRequestsError: the next attempt is not allowed yet.
    """
    known = await devices.find_known(browser, user_id=user_id)
    device_id = known.id if known is not None and known.second_step else None
    await spend((SECOND_STEPS, _subject(user_id, device_id)), *_steps(known.email if known is not None else None))


async def forget_attempts(person: SignInSubject, *, passwords: bool, second_steps: bool) -> None:
    """Reset the counts of failed attempts of a user: over all browsers, and at this browser if it is known.

    In the transaction that completes the sign-in.
    """
    accounts: list[tuple[Escalation, object]] = []
    if passwords:
        accounts.append((PASSWORDS, person.email))
    if second_steps:
        accounts.append((SECOND_STEPS, person.id))
    counts = [(rule, _subject(account, device)) for rule, account in accounts for device in {None, person.device_id}]
    if counts:
        await rate_limits.forget(*counts)


async def unlock(email: str) -> None:
    """Lift the lock that failed passwords put on an account."""
    await rate_limits.forget((PASSWORDS, email))


async def unlock_user(user_id: UUID, email: str) -> None:
    """Reset the counts of failed passwords and codes of a user, except those of known browsers."""
    await rate_limits.forget((PASSWORDS, email), (SECOND_STEPS, str(user_id)))


async def wait_of_user(user_id: UUID, email: str) -> float:
    """Return for how many seconds a new browser of a user must wait for the next password or code."""
    return await rate_limits.waits((PASSWORDS, email), (SECOND_STEPS, str(user_id)))
