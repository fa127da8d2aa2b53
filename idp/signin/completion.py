"""The end of a sign-in: the flow finishes with a session, in the caller's transaction.

The caller holds the lock of the user (:func:`idp.accounts.repository.users.lock_user`), so that the data of the
decision does not change before the commit. A change of credentials locks the user too: it waits for the commit and then
ends the session.
"""

from typing import NamedTuple

from idp.audit.events import record
from idp.errors import FlowFinishedError
from idp.federation.models import UpstreamSession
from idp.settings import settings
from idp.signin import devices, limits, new_browser, sessions
from idp.signin import flow as flows
from idp.signin.browser import Browser
from idp.signin.flow import Flow
from idp.signin.repository import upstream_sessions
from idp.signin.repository.sessions import end_other_session_of_token, end_other_sessions
from idp.signin.sessions import SignedIn, StartedSession
from idp.signin.subject import SignInSubject
from idp.signin.transitions import FIRST, NOT_KEPT, SECOND, CompletedStep, Step, proves


class CompletedSignIn(NamedTuple):
    """The session that a flow finished with, the tokens for its cookies, and the flow as it was then."""

    flow: Flow
    session: SignedIn
    session_token: str
    device_token: str | None


async def complete(
    browser: Browser,
    flow: Flow,
    person: SignInSubject,
    step: CompletedStep,
    *,
    trust: bool,
    upstream: UpstreamSession | None = None,
) -> CompletedSignIn:
    """Finish a flow with a session.

    Args:
        browser: an app gets a separate session, and ends no other one.
        trust: skip the second factor in this browser for a while.
        upstream: the session at an upstream provider that the step was proved with.

    Raises:
        FlowFinishedError: the flow changed or ended since it was read, or the session that it renews ended.
    """
    finished = await flows.note_step(flow, person.id, step, finish=True, upstream=upstream)
    # A factor that was skipped in this flow is offered again in the next one.
    steps = tuple(done for done in finished.done if done.step not in NOT_KEPT)
    # A step-up counts first steps of before.
    first = proves(steps, (Step.PASSKEY,) if flow.session_id is not None else FIRST)
    started = await _start_session(browser, person, steps, proved=first)
    if finished.upstream is not None:
        await upstream_sessions.insert(person.id, started.session.id, finished.upstream)
    await new_browser.tell_owner(browser, person, started.session, steps)
    # Devices before sessions, as in a sign-out: rows of other users of this browser are among both.
    device_token = await devices.remember(browser, person.id, trust=trust, second_step=proves(steps, SECOND))
    await _end_other_sessions(browser, started.session)
    # Attempts are reset only after a proof, in this flow, of the factor that their limit protects.
    await limits.forget_attempts(person, passwords=first, second_steps=proves(steps, SECOND))
    detail = {"amr": list(started.session.amr), "user_agent": browser.user_agent}
    await record("sign_in", user_id=person.id, session_id=started.session.id, detail=detail)
    return CompletedSignIn(finished, started.session, started.token, device_token)


async def _start_session(
    browser: Browser, person: SignInSubject, steps: tuple[CompletedStep, ...], *, proved: bool
) -> StartedSession:
    if person.session_id is None:
        return await sessions.start(browser, person.id, steps)
    renewed = await sessions.renew(browser, person.session_id, person.id, steps, proved=proved)
    if renewed is None:
        raise FlowFinishedError
    return renewed


async def _end_other_sessions(browser: Browser, session: SignedIn) -> None:
    """End the session of another user in this browser and, in single-session mode, the user's other sessions."""
    if browser.session is not None:
        await end_other_session_of_token(browser.session, session.id, "replaced")
    if settings().single_session:
        await end_other_sessions(session.user_id, session.id, "single_session")
