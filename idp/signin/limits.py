"""How often a step of a sign-in may be tried. All the numbers are here.

Each function decides every limit that a request is subject to in one call, so a refused request spends nothing. A
browser that the person signed in with before has budgets of its own: strangers cannot spend them.
"""

from typing import Any
from uuid import UUID

from litestar import Request

from idp.accounts import email_proofs
from idp.accounts.email_proofs import Purpose
from idp.audit.events import record
from idp.http.client_address import subjects
from idp.infra.db.engine import transaction
from idp.infra.db.named_queries import NamedQuery
from idp.infra.rate_limits import DECIDE, Escalation, Event, Rate, decided, encode, forget, key, spend, text
from idp.infra.request_context import client_address
from idp.mail import outbox
from idp.settings import DAY, HOUR, MINUTE, settings
from idp.signin import devices
from idp.signin import subject as signin_subject
from idp.signin.browser import BrowserKey
from idp.signin.subject import SignInSubject

Browser = Request[Any, Any, Any]

#: Tries of any step from one host and one network. Offices and mobile networks share an address.
STEPS_OF_HOST = Rate("steps of a host", burst=60, interval=2)
STEPS_OF_NETWORK = Rate("steps of a network", burst=600, interval=0.2)
#: The same from the browsers that one person signed in with before, in place of host and network.
STEPS_OF_PERSON = Rate("steps of a person", burst=30, interval=2)
#: Sign-ins, authorization requests and trips to providers that are begun. Each is a row until its lifetime is over.
FLOWS_OF_HOST = Rate("flows of a host", burst=120, interval=1)
FLOWS_OF_NETWORK = Rate("flows of a network", burst=1200, interval=0.1)
FLOWS_OF_PERSON = Rate("flows of a person", burst=120, interval=1)
#: Mails to one address: a few at once, and not more in a day than a person needs.
MAILS_TO_ADDRESS = Rate("mails to an address", burst=3, interval=MINUTE)
MAILS_TO_ADDRESS_A_DAY = Rate("mails to an address a day", burst=15, interval=DAY / 15)
#: Mails that one host and one network cause.
MAILS_FROM_HOST = Rate("mails from a host", burst=20, interval=MINUTE)
MAILS_FROM_NETWORK = Rate("mails from a network", burst=100, interval=10)
#: Mails to a person that browsers cause which they signed in with before, in place of the four above. Both budgets of
#: a day together stay below what the outbox sends to one address in an hour.
MAILS_TO_PERSON = Rate("mails to a person", burst=3, interval=MINUTE)
MAILS_TO_PERSON_A_DAY = Rate("mails to a person a day", burst=10, interval=DAY / 10)
#: Passwords tried at one account. The lock, that is the longest wait, is mailed to the owner, who can lift it.
PASSWORDS = Escalation("passwords of an account", free=5, longest=HOUR)
LOCK_AFTER = 16
#: Codes of an authenticator app and recovery codes tried at one account, in whichever sign-in.
SECOND_STEPS = Escalation("second steps of an account", free=5, longest=HOUR)

#: At a browser that is known, its own count is the first of the events.
_EVENTS = """
    coalesce((SELECT jsonb_set(:own::jsonb, '{0,key}', to_jsonb(encode(
        sha256(:own_subject::bytea || convert_to(device_id::text, 'UTF8')), 'hex')))
        FROM person WHERE device_id IS NOT NULL), :others::jsonb)
"""
_TRY_PASSWORD = NamedQuery(f"""
    WITH person AS MATERIALIZED ({signin_subject.BY_EMAIL})
    SELECT person.*, over, counted
    FROM {DECIDE.format(_EVENTS)}
    LEFT JOIN person ON true
""")  # noqa: S608


async def count_step(browser: Browser | None) -> None:
    """Count a step for which nothing else is counted.

    Args:
        browser: None where an app asks.

    Raises:
        TooManyRequestsError: there were too many from this host or network, or from the person's own browsers.
    """
    known = await devices.find_known(browser)
    await spend(*_steps(known and known.email))


def _steps(person: str | None) -> list[Event]:
    """The limits of a step: at a browser that the person with this address signed in with before, or elsewhere."""
    if not settings().address_limits:
        return []
    if person is not None:
        return [(STEPS_OF_PERSON, person)]
    host, network = subjects(client_address.get())
    return [(STEPS_OF_HOST, host), (STEPS_OF_NETWORK, network)]


async def count_flow(browser: Browser | None) -> BrowserKey:
    """Count a sign-in, an authorization request or a trip to a provider that is about to be stored.

    Args:
        browser: None where an app asks, which gets a key of its own.

    Returns:
        the key that binds it to the browser. Send its cookies along.

    Raises:
        TooManyRequestsError: too many were begun from this host or network, or from the person's own browsers.
    """
    if settings().address_limits:
        known = await devices.find_known(browser)
        host, network = subjects(client_address.get())
        by_address: tuple[Event, ...] = ((FLOWS_OF_HOST, host), (FLOWS_OF_NETWORK, network))
        await spend(*(((FLOWS_OF_PERSON, known.email),) if known else by_address))
    return BrowserKey.of(browser) if browser is not None else BrowserKey.new()


async def count_mail(email: str, browser: Browser | None) -> None:
    """Count a mail to an address and the step that causes it. Unknown addresses are counted as known ones.

    Args:
        browser: None where an app asks.

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


async def count_password(email: str | None, entered: str, browser: Browser | None) -> SignInSubject | None:
    """Count a try of a password at an account, before it is verified, and the step.

    A browser that its user signed in with before is counted by itself: tries elsewhere do not lock it out.

    Args:
        email: whose account; None where what was ``entered`` is no address.

    Returns:
        whose account it is, if anyone's.

    Raises:
        TooManyRequestsError: the next one is not allowed yet.
    """
    brought = signin_subject.tokens(browser)
    row = await _TRY_PASSWORD.fetchrow(
        email=email,
        own=encode((PASSWORDS, entered), *_steps(entered)),
        own_subject=text(PASSWORDS, f"{entered} "),
        others=encode((PASSWORDS, _subject(entered)), *_steps(None)),
        **brought._asdict(),
    )
    assert row is not None  # noqa: S101 -- there is always one
    number, person = decided(row), signin_subject.read(row, brought)
    if number == LOCK_AFTER and (person is None or not person.known):
        await _tell_owner(entered, person)
    return person


def _subject(whose: object, device_id: UUID | None = None) -> str:
    return f"{whose} {device_id}" if device_id is not None else str(whose)


async def _tell_owner(email: str, person: SignInSubject | None) -> None:
    """Mail the owner that somebody tries, with a link that lifts the lock. Of nobody, do the same work in vain."""
    lifetime, void = DAY, person is None or person.disabled
    user_id = person.user_id if person else None
    async with transaction():
        sent = await email_proofs.create(Purpose.UNLOCK, email, lifetime=lifetime, user_id=user_id, decoy=void)
        await outbox.queue(
            email,
            "account_locked",
            lifetime=lifetime,
            void=void,
            name=person.name if person else None,
            link=f"{settings().issuer}/unlock?token={sent.token}",
        )
        await record("account_locked", outcome="denied", user_id=user_id, limit_key=email)


async def count_second_step(user_id: UUID, browser: Browser | None) -> None:
    """Count a try of a code at an account, in whichever flow, and the step.

    A browser is counted by itself if the person used a second factor there before. A password alone would make any
    number of browsers known.

    Raises:
        TooManyRequestsError: the next one is not allowed yet.
    """
    known = await devices.find_known(browser, user_id=user_id)
    subject = _subject(user_id, known.id if known is not None and known.second_step else None)
    await spend((SECOND_STEPS, subject), *_steps(known and known.email))


def keys_of(person: SignInSubject, *, first: bool, second: bool) -> list[bytes]:
    """What is counted of a person: at all browsers together, and at this one if it is known.

    Args:
        first, second: whether tries of first and of second steps are meant.
    """
    subjects = [(PASSWORDS, person.email)] * first + [(SECOND_STEPS, person.user_id)] * second
    return [key(rule, _subject(whose, device)) for rule, whose in subjects for device in (None, person.device_id)]


async def unlock(email: str) -> None:
    """Lift what wrong passwords brought on an account."""
    await forget((PASSWORDS, email))
