"""The state machine of the sign-in, visited completely, without a server."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations, product

import pytest

from idp.signin.transitions import (
    ACR_VALUES,
    FIRST,
    MULTI_FACTOR,
    PHISHING_RESISTANT,
    SECOND,
    SINGLE_FACTOR,
    CompletedStep,
    State,
    Step,
    allowed,
    amr,
    auth_age,
    complete,
    falls_short,
    inherited,
    reached,
)

AMR = {
    Step.PASSWORD: ("pwd",),
    Step.EMAIL_CODE: ("otp",),
    Step.PASSKEY: ("swk", "user"),
    Step.UPSTREAM: ("fed",),
    Step.REGISTRATION: ("otp",),
    Step.TOTP: ("otp",),
    Step.RECOVERY_CODE: ("otp",),
    Step.ENROL: (),
    Step.ATTRIBUTES: (),
}


def taken(*steps: Step) -> tuple[CompletedStep, ...]:
    return tuple(CompletedStep(step, AMR[step]) for step in steps)


def starts() -> Iterator[State]:
    """Every state in which a sign-in can begin."""
    for count in range(len(SECOND) + 1):
        for has in combinations(SECOND, count):
            for two_step, missing, acr, required in product((False, True), (False, True), ACR_VALUES, ACR_VALUES):
                if not falls_short(acr, required):
                    yield State(has=frozenset(has), two_step=two_step, acr=acr, required=required, missing=missing)


def walk(state: State) -> Iterator[State]:
    """Every state that can be reached from one, the end states too."""
    yield state
    for step in allowed(state):
        # The enrolment ends when the user adds a factor or skips it.
        outcomes = [step]
        if step is Step.ENROL:
            outcomes = [Step.PASSKEY] + ([Step.TOTP] if state.target == MULTI_FACTOR else [])
            outcomes += [Step.ENROL] if falls_short(state.required, state.target) else []
        for outcome in outcomes:
            yield from walk(State(
                (*state.done, *taken(outcome)), state.offered,
                state.has | ({outcome} & set(SECOND) if step is Step.ENROL else set()),
                state.two_step, state.acr, state.required, state.missing and step is not Step.ATTRIBUTES,
            ))  # fmt: skip


STATES = [state for start in starts() for state in walk(start)]
ENDS = [state for state in STATES if complete(state)]


def test_every_path_ends() -> None:
    """No dead end, and no cycle."""
    assert all(complete(state) or allowed(state) for state in STATES)
    # The longest path skips a passkey, then adds the required app, and enters attributes.
    assert max(len(state.done) for state in ENDS) <= 5


def test_nothing_ends_without_a_first_step() -> None:
    assert not complete(State())
    assert all({done.step for done in state.done} & set(FIRST) for state in ENDS)


@pytest.mark.fault(7)
def test_every_end_has_the_required_level() -> None:
    """Even if a higher level was requested and postponed."""
    assert any(state.required == MULTI_FACTOR and state.acr == PHISHING_RESISTANT for state in ENDS)
    for state in ENDS:
        level = reached(state.done)
        assert level is not None
        assert not falls_short(level, state.required), state


def test_attributes_come_last() -> None:
    """They are asked for once, of a user whose identity is proved as it must be, and are part of no session."""
    assert any(Step.ATTRIBUTES in allowed(state) for state in STATES)
    for state in STATES:
        if Step.ATTRIBUTES in allowed(state):
            assert allowed(state) == (Step.ATTRIBUTES,)
            level = reached(state.done)
            assert level is not None
            assert not falls_short(level, state.required)
            assert not (state.two_step and state.has and level == SINGLE_FACTOR)
    for state in ENDS:
        assert not state.missing
        assert [taken.step for taken in state.done].count(Step.ATTRIBUTES) <= 1
        assert Step.ATTRIBUTES not in {taken.step for taken in inherited(state.done, AT)}
    assert allowed(State(offered=frozenset(), missing=True)) == ()


def test_two_step_users_always_take_a_second_step() -> None:
    for state in ENDS:
        if state.two_step and state.has:
            assert reached(state.done) != SINGLE_FACTOR, state


def test_a_factor_is_added_only_by_who_has_shown_those_there_are() -> None:
    """Else a stolen password would be enough to add a key of the thief's own."""
    for state in STATES:
        if Step.ENROL in allowed(state) and state.has:
            assert reached(state.done) in (MULTI_FACTOR, PHISHING_RESISTANT), state


@pytest.mark.parametrize("step", sorted(set(Step) - set(FIRST)))
def test_no_second_step_comes_first(step: Step) -> None:
    for state in starts():
        assert step not in allowed(state)
        if step is not Step.PASSKEY:
            assert reached(taken(step)) is None


def test_a_first_step_is_taken_once() -> None:
    only_first = set(FIRST) - set(SECOND)
    for state in STATES:
        if reached(state.done) is not None:
            assert not only_first & set(allowed(state)), state


@pytest.mark.parametrize(
    ("steps", "acr", "methods"),
    [
        ([Step.PASSWORD], "1", ["pwd"]),
        ([Step.EMAIL_CODE], "1", ["otp"]),
        ([Step.REGISTRATION], "1", ["otp"]),
        ([Step.UPSTREAM], "1", ["fed"]),
        ([Step.UPSTREAM, Step.TOTP], "2", ["fed", "otp", "mfa"]),
        ([Step.PASSWORD, Step.TOTP], "2", ["pwd", "otp", "mfa"]),
        ([Step.EMAIL_CODE, Step.TOTP], "2", ["otp", "mfa"]),
        ([Step.PASSWORD, Step.RECOVERY_CODE], "2", ["pwd", "otp", "mfa"]),
        ([Step.PASSKEY], "phr", ["swk", "user", "mfa"]),
        ([Step.PASSWORD, Step.PASSKEY], "phr", ["pwd", "swk", "user", "mfa"]),
        ([Step.PASSWORD, Step.ENROL], "1", ["pwd"]),
    ],
)
def test_acr_and_amr_of_steps(steps: list[Step], acr: str, methods: list[str]) -> None:
    assert reached(taken(*steps)) == acr
    assert amr(taken(*steps)) == methods


def test_two_factors_elsewhere_are_two() -> None:
    """And not named twice, if there is a third one here."""
    done = CompletedStep(Step.UPSTREAM, ("fed", "mfa"))
    assert (reached([done]), amr([done])) == ("2", ["fed", "mfa"])
    assert amr([done, *taken(Step.TOTP)]) == ["fed", "mfa", "otp"]


def test_steps_are_kept_as_text() -> None:
    for done in taken(*Step):
        assert CompletedStep.parse(str(done)) == done


def test_steps_that_are_not_offered_are_not_allowed() -> None:
    state = State(offered=frozenset({Step.PASSWORD}))
    assert allowed(state) == (Step.PASSWORD,)


AT = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.fault(11)
def test_a_step_up_is_as_old_as_the_sign_in_unless_a_passkey_proves_all() -> None:
    """From every session, by every way, including postponed steps; an unknown age stays unknown."""
    for done in {state.done for state in ENDS}:
        counted = inherited(done, AT)
        age = None if auth_age(done, AT) is None else 20 * 3600
        for acr, has in product(ACR_VALUES, (frozenset(), frozenset({Step.TOTP}), frozenset(SECOND))):
            for state in walk(State(counted, has=has, acr=acr)):
                new = state.done[len(counted) :]
                if Step.PASSKEY not in {taken.step for taken in new}:
                    assert auth_age(state.done, AT + timedelta(hours=20)) == age, state


@pytest.mark.fault(7)
def test_a_postponed_factor_is_requested_again() -> None:
    """In the next step-up there is a step to take, whatever steps the session consists of."""
    for done in {state.done for state in ENDS}:
        counted = inherited(done, AT)
        level = reached(counted)
        assert level is not None
        for acr in ACR_VALUES:
            assert bool(allowed(State(counted, acr=acr))) == falls_short(level, acr), done
