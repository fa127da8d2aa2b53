"""The sign-in as a state machine: the completed steps, the allowed next steps, and the level that they prove.

These functions use neither database nor browser. The next steps follow from :class:`State` alone, for the pages and for
the JSON interface, so that a test can visit every state.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Self

import msgspec


class Step(StrEnum):
    """A step of a sign-in. Its value is part of the URL of its page."""

    PASSWORD = "password"
    EMAIL_CODE = "email_code"
    PASSKEY = "passkey"
    #: An identity at an upstream provider.
    UPSTREAM = "upstream"
    REGISTRATION = "registration"
    TOTP = "totp"
    RECOVERY_CODE = "recovery_code"
    #: Set up a second factor, or skip it.
    ENROL = "enrol"
    #: Enter attributes that the application requires.
    ATTRIBUTES = "attributes"


#: Steps that identify the user, in the order in which they are offered.
FIRST = (Step.PASSWORD, Step.EMAIL_CODE, Step.PASSKEY, Step.UPSTREAM, Step.REGISTRATION)
#: Steps that prove it with a second factor.
SECOND = (Step.PASSKEY, Step.TOTP, Step.RECOVERY_CODE)

#: The authentication method of :attr:`Step.UPSTREAM`, by which what came from such a sign-in is found.
FEDERATED = "fed"
#: Steps that prove nothing. A session does not keep them: each sign-in asks again.
NOT_KEPT = (Step.ENROL, Step.ATTRIBUTES)

#: Authentication context class references, each including those before it: one factor, two factors, a
#: phishing-resistant key (OpenID Connect Extended Authentication Profile ACR Values).
ACR_VALUES = ("1", "2", "phr")
SINGLE_FACTOR, MULTI_FACTOR, PHISHING_RESISTANT = ACR_VALUES


class CompletedStep(msgspec.Struct, frozen=True):
    """A completed step, with its authentication methods (RFC 8176).

    ``auth_time`` is the time of the proof in seconds since the epoch, if the step proves nothing in this sign-in: the
    time of the upstream sign-in, if the provider reports it; the time of an earlier sign-in, if a step-up counts its
    step; the time when the factor was created, if it is new. Another step without a time was proved in this sign-in.
    ``upstream`` is the id of the upstream that proved it.
    """

    step: Step
    amr: tuple[str, ...] = ()
    auth_time: int | None = None
    upstream: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the result of ``str()``."""
        step, *amr = text.split()
        at = int(amr.pop()[1:]) if amr and amr[-1][0] == "@" else None
        upstream = amr.pop()[1:] if amr and amr[-1][0] == "=" else ""
        return cls(Step(step), tuple(amr), at, upstream)

    def __str__(self) -> str:
        upstream = [f"={self.upstream}"] if self.upstream else []
        at = [] if self.auth_time is None else [f"@{self.auth_time}"]
        return " ".join([self.step, *self.amr, *upstream, *at])


class State(msgspec.Struct, frozen=True):
    """Everything that decides how a sign-in continues.

    Attributes:
        done: the completed steps.
        offered: the first steps that the settings allow.
        has: the second steps that the user can take; empty until the user is known.
        two_step: a second factor is required, whatever the application requests.
        acr: the level that the application requests.
        required: the level without which the sign-in does not finish. A user who cannot reach :attr:`acr` may finish
            with this level.
        missing: the user has no value of an attribute that the application requires.
    """

    done: tuple[CompletedStep, ...] = ()
    offered: frozenset[Step] = frozenset(FIRST)
    has: frozenset[Step] = frozenset()
    two_step: bool = False
    acr: str = SINGLE_FACTOR
    required: str = SINGLE_FACTOR
    missing: bool = False

    @property
    def target(self) -> str:
        """The level that is asked for now: :attr:`required` after the enrolment was skipped."""
        return self.required if any(taken.step is Step.ENROL for taken in self.done) else self.acr


def reached(done: Iterable[CompletedStep]) -> str | None:
    """Return the ``acr`` that these steps reach; None before the first step."""
    done = tuple(done)
    steps = {taken.step for taken in done}
    if Step.PASSKEY in steps:
        # User verification is always required: the device and what unlocks it are two factors.
        return PHISHING_RESISTANT
    if not steps & set(FIRST):
        return None
    # An upstream sign-in may have had two factors: the step says so if the operator trusts the provider in this.
    two = steps & set(SECOND) or any("mfa" in taken.amr for taken in done)
    return MULTI_FACTOR if two else SINGLE_FACTOR


def amr(done: Iterable[CompletedStep]) -> list[str]:
    """Return the ``amr`` of these steps (RFC 8176)."""
    done = tuple(done)
    methods = [method for taken in done for method in taken.amr]
    if reached(done) in (MULTI_FACTOR, PHISHING_RESISTANT):
        methods.append("mfa")
    return list(dict.fromkeys(methods))


def auth_age(done: Iterable[CompletedStep], at: datetime) -> int | None:
    """Seconds by which the proof of these steps was older than the sign-in that finished ``at``. None if unknown.

    The oldest first step counts: an upstream identity proves that the user signed in there some time ago, and a step-up
    counts steps of an earlier sign-in. A second step does not make that fresher. A passkey that is used now proves
    everything itself.
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
    """Return the steps of a sign-in that finished ``at``, for a step-up: with times, only those that prove."""
    done = tuple(done)
    age = auth_age(done, at)
    proved = int(at.timestamp()) - (age or 0)
    return tuple(
        taken
        if taken.auth_time is not None or (age is None and taken.step is Step.UPSTREAM)
        else CompletedStep(taken.step, taken.amr, proved, taken.upstream)
        for taken in done
        if taken.step not in NOT_KEPT
    )


def proves(done: Iterable[CompletedStep], steps: Collection[Step]) -> bool:
    """Return whether one of ``steps`` was proved in this sign-in, not earlier and not by creating a factor."""
    return any(taken.step in steps and (taken.auth_time is None or taken.step is Step.UPSTREAM) for taken in done)


def falls_short(level: str, of: str) -> bool:
    """Return whether a level is lower than another."""
    return ACR_VALUES.index(level) < ACR_VALUES.index(of)


def allowed(state: State) -> tuple[Step, ...]:
    """Return the steps that may follow, the usual one first. Empty if the sign-in is complete."""
    proving = _proving(state)
    # Whatever the user enters belongs to an identity that is proved completely.
    return (Step.ATTRIBUTES,) if state.missing and reached(state.done) and not proving else proving


def _proving(state: State) -> tuple[Step, ...]:
    """Return the steps that may follow to prove the identity."""
    level = reached(state.done)
    if level is None:
        return tuple(step for step in FIRST if step in state.offered)
    usable = tuple(step for step in SECOND if step in state.has)
    if state.two_step and usable and level == SINGLE_FACTOR:
        return usable
    if not falls_short(level, state.target):
        return ()
    # A new factor is offered only after the existing ones were used: a password alone must not be enough to add another
    # key.
    if level != SINGLE_FACTOR:
        usable = tuple(step for step in usable if step is Step.PASSKEY)
    elif state.target == PHISHING_RESISTANT and Step.PASSKEY in usable:
        usable = (Step.PASSKEY, *(step for step in usable if step is not Step.PASSKEY))
    return usable or (Step.ENROL,)


def needs_new_factor(state: State) -> bool:
    """Return whether the user's factors cannot reach the level that is asked for."""
    best = reached((*state.done, *map(CompletedStep, state.has)))
    return best is not None and falls_short(best, state.target)


def complete(state: State) -> bool:
    """Return whether the sign-in may finish with a session."""
    return bool(state.done) and not allowed(state)
