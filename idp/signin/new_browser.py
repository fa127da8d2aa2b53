"""A mail after a sign-in from a browser that is not known for the account, with a link to sign out everywhere.

There is none for the first sign-in of a user, or for one at an upstream provider, which tells its users itself. An app
is never known. The token is not the proof for a new password: it lives for days, so it only ends and removes, and never
the last second factor (:mod:`idp.selfservice.not_me`).
"""

from collections.abc import Iterable
from contextlib import suppress

from idp import ids
from idp.accounts import email_proofs
from idp.accounts.email_proofs import Purpose
from idp.errors import TooManyRequestsError
from idp.infra import geoip, i18n
from idp.infra.request_context import client_address
from idp.mail import outbox
from idp.settings import DAY, settings
from idp.signin import devices, limits
from idp.signin.browser import Browser
from idp.signin.sessions import SignedIn
from idp.signin.subject import SignInSubject
from idp.signin.transitions import CompletedStep, Step

#: Seconds for which the link is valid.
LIFETIME = 7 * DAY
PATH = "/not-me"


async def tell_owner(
    browser: Browser, person: SignInSubject, session: SignedIn, steps: Iterable[CompletedStep]
) -> None:
    """Mail the user if the browser is new, in the transaction of the sign-in, before the browser is remembered."""
    if not settings().new_browser_mail or not settings().sends_mail or person.known:
        return
    if any(step.step is Step.UPSTREAM for step in steps):
        return
    if await devices.has_any(person.id):
        with suppress(TooManyRequestsError):
            await limits.count_new_browser(person.id)
            await _mail(browser, person, session)


async def _mail(browser: Browser, person: SignInSubject, session: SignedIn) -> None:
    # Further sign-ins in the session leave the links of the first ones as they are.
    flow_id = f"{session.id} {ids.uuid7()}"
    sent = await email_proofs.create(
        Purpose.NEW_BROWSER, person.email, lifetime=LIFETIME, flow_id=flow_id, user_id=person.id
    )
    # In the language of the mail.
    before = i18n.locale.set(i18n.choose([person.locale or ""]) or i18n.locale.get())
    try:
        await outbox.queue(
            person.email,
            "new_browser",
            language=person.locale,
            name=person.name,
            browser=geoip.common_device(browser.user_agent),
            place=geoip.place(client_address.get()),
            link=f"{settings().issuer}{PATH}?token={sent.token}",
        )
    finally:
        i18n.locale.reset(before)
