"""The sign-in as a state machine: which steps were taken, which may follow, what they prove.

Nothing here asks the database or the browser. What follows is decided from :class:`State` alone, for the pages and for
the JSON interface alike, so that a test can walk through all of it.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Self

import msgspec


class Step(StrEnum):
    """A step of a sign-in. Its value stands in the URL of its page."""

    PASSWORD = "password"
    EMAIL_CODE = "email_code"
    PASSKEY = "passkey"
    #: An account elsewhere.
    UPSTREAM = "upstream"
    REGISTRATION = "registration"
    TOTP = "totp"
    RECOVERY_CODE = "recovery_code"
    #: Get a second factor, or put it off.
    ENROL = "enrol"


#: Steps that tell who somebody is, in the order in which they are offered.
FIRST = (Step.PASSWORD, Step.EMAIL_CODE, Step.PASSKEY, Step.UPSTREAM, Step.REGISTRATION)
#: Steps that prove it once more.
SECOND = (Step.PASSKEY, Step.TOTP, Step.RECOVERY_CODE)

#: Authentication context class references, each including those before it: one factor; two; a key that cannot be
#: phished (OpenID Connect Extended Authentication Profile ACR Values).
ACR_VALUES = ("1", "2", "phr")
SINGLE_FACTOR, MULTI_FACTOR, PHISHING_RESISTANT = ACR_VALUES


class CompletedStep(msgspec.Struct, frozen=True):
    """A step that was taken, with the authentication methods that it was (RFC 8176).

    ``auth_time`` is the time of the proof, in seconds since the epoch, where the step proves nothing in this sign-in:
    when the person signed in elsewhere, if the provider says so; when they took the step, if a step-up counts it from
    an earlier sign-in; when they made the factor, if it is new. A step of our own without a time is proved when it is
    taken.
    """

    step: Step
    amr: tuple[str, ...] = ()
    auth_time: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str()`` wrote."""
        step, *amr = text.split()
        at = int(amr.pop()[1:]) if amr and amr[-1][0] == "@" else None
        return cls(Step(step), tuple(amr), at)

    def __str__(self) -> str:
        return " ".join([self.step, *self.amr, *([] if self.auth_time is None else [f"@{self.auth_time}"])])


class State(msgspec.Struct, frozen=True):
    """All that decides how a sign-in goes on.

    Attributes:
        done: the steps that were taken.
        offered: the first steps that the settings allow.
        has: the second steps that the user is able to take; empty until it is known who it is.
        two_step: the user is asked for a second factor, whatever the application asks for.
        acr: the level that the application asks for.
        required: the level without which the sign-in does not end. Up to :attr:`acr`, whoever cannot reach more may go
            on without it.
    """

    done: tuple[CompletedStep, ...] = ()
    offered: frozenset[Step] = frozenset(FIRST)
    has: frozenset[Step] = frozenset()
    two_step: bool = False
    acr: str = SINGLE_FACTOR
    required: str = SINGLE_FACTOR

    @property
    def target(self) -> str:
        """The level that is asked for by now: what can be put off and was put off is not."""
        return self.required if any(taken.step is Step.ENROL for taken in self.done) else self.acr


def reached(done: Iterable[CompletedStep]) -> str | None:
    """The ``acr`` that these steps amount to; None before the first."""
    done = tuple(done)
    steps = {taken.step for taken in done}
    if Step.PASSKEY in steps:
        # We accept none without user verification: the device and what unlocks it are two factors.
        return PHISHING_RESISTANT
    if not steps & set(FIRST):
        return None
    # Elsewhere there may have been two: the step says so where the operator trusts that.
    two = steps & set(SECOND) or any("mfa" in taken.amr for taken in done)
    return MULTI_FACTOR if two else SINGLE_FACTOR


def amr(done: Iterable[CompletedStep]) -> list[str]:
    """The ``amr`` of these steps (RFC 8176)."""
    done = tuple(done)
    methods = [method for taken in done for method in taken.amr]
    if reached(done) in (MULTI_FACTOR, PHISHING_RESISTANT):
        methods.append("mfa")
    return list(dict.fromkeys(methods))


def auth_age(done: Iterable[CompletedStep], at: datetime) -> int | None:
    """Seconds by which the proof of these steps was older than the sign-in that ended ``at``. None: nobody knows.

    The oldest first step counts: an account elsewhere proves that the person signed in there, some time ago, and a
    step-up goes on with steps of an earlier sign-in. A second step does not make that any fresher. A passkey that is
    used now proves all of it itself.
    """
    first = [taken for taken in done if taken.step in FIRST]
    if any(taken.step is Step.PASSKEY and taken.auth_time is None for taken in first):
        return 0
    if any(taken.step is Step.UPSTREAM and taken.auth_time is None for taken in first):
        return None
    times = [taken.auth_time for taken in first if taken.auth_time is not None]
    # The provider's clock may be ahead.
    return max(0, int((at - datetime.fromtimestamp(min(times), UTC)).total_seconds())) if times else 0


def inherited(done: Iterable[CompletedStep], at: datetime) -> tuple[CompletedStep, ...]:
    """The steps of a sign-in that ended ``at``, for a step-up to count: with their times, without what was put off."""
    done = tuple(done)
    age = auth_age(done, at)
    proved = int(at.timestamp()) - (age or 0)
    return tuple(
        taken
        if taken.auth_time is not None or (age is None and taken.step is Step.UPSTREAM)
        else CompletedStep(taken.step, taken.amr, proved)
        for taken in done
        if taken.step is not Step.ENROL
    )


def proves(done: Iterable[CompletedStep], steps: Collection[Step]) -> bool:
    """Whether one of certain steps was proved in this very sign-in: not in an earlier one, nor by a new factor."""
    return any(taken.step in steps and (taken.auth_time is None or taken.step is Step.UPSTREAM) for taken in done)


def falls_short(level: str, of: str) -> bool:
    """Whether a sign-in of one level is not good enough for another."""
    return ACR_VALUES.index(level) < ACR_VALUES.index(of)


def allowed(state: State) -> tuple[Step, ...]:
    """The steps that may follow, the usual one first. Empty when the sign-in is complete."""
    level = reached(state.done)
    if level is None:
        return tuple(step for step in FIRST if step in state.offered)
    usable = tuple(step for step in SECOND if step in state.has)
    if state.two_step and usable and level == SINGLE_FACTOR:
        return usable
    if not falls_short(level, state.target):
        return ()
    # A new factor is given only to whoever has shown those that there are: a password alone must not be enough to
    # add a key of one's own.
    if level != SINGLE_FACTOR:
        usable = tuple(step for step in usable if step is Step.PASSKEY)
    elif state.target == PHISHING_RESISTANT and Step.PASSKEY in usable:
        usable = (Step.PASSKEY, *(step for step in usable if step is not Step.PASSKEY))
    return usable or (Step.ENROL,)


def needs_new_factor(state: State) -> bool:
    """Whether the level that is asked for cannot be reached with the factors that the user has."""
    best = reached((*state.done, *map(CompletedStep, state.has)))
    return best is not None and falls_short(best, state.target)


def complete(state: State) -> bool:
    """Whether the sign-in may end with a session."""
    return bool(state.done) and not allowed(state)
