"""The decision about a user, compared with a specification in plain words of Python."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp.directory.models import Memberships, OrganizationMembership
from idp.oauth.access_policies.decision import CONDITIONS, Situation, failing, is_for
from idp.oauth.access_policies.models import DAYS, AccessPolicy, Conditions, Window
from idp.reasons import Reason
from idp.signin.transitions import ACR_VALUES

IDS = [UUID(int=number) for number in range(1, 5)]
START = datetime(2026, 1, 5, tzinfo=UTC)  # A Monday.

some_ids = st.lists(st.sampled_from(IDS), max_size=3, unique=True).map(tuple)
quarters = st.integers(0, 95)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    start = draw(quarters)
    end = draw(st.integers(start + 1, 96))
    days = draw(st.lists(st.sampled_from(DAYS), min_size=1, max_size=4, unique=True))
    return Window(days=tuple(days), start=_clock(start), end=_clock(end))


def _clock(quarter: int) -> str:
    return f"{quarter // 4:02}:{quarter % 4 * 15:02}"


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


networks = st.tuples(st.integers(0, 255), st.integers(8, 16)).map(
    lambda drawn: (IPv4Address(int(IPv4Address(f"10.{drawn[0]}.0.0")) >> (32 - drawn[1]) << (32 - drawn[1])), drawn[1])
)
policies = st.builds(
    AccessPolicy,
    client_id=st.just("app"),
    updated_at=st.just(START),
    groups=some_ids,
    organizations=some_ids,
    roles=some_ids,
    attributes=st.dictionaries(
        st.sampled_from(["department", "level"]),
        st.lists(st.sampled_from(["sales", 1, 2.5, True]), min_size=1, max_size=2).map(tuple),
        max_size=2,
    ),
    acr=st.none() | st.sampled_from(ACR_VALUES),
    networks=st.lists(networks.map(lambda network: f"{network[0]}/{network[1]}"), max_size=2).map(tuple),
    times=st.lists(windows(), max_size=3).map(tuple),
    time_zone=st.sampled_from(["UTC", "Etc/GMT-5", "Etc/GMT+9"]),
)
#: Hours by which the clock of a zone is ahead. Those of Etc have the other sign.
AHEAD = {"UTC": 0, "Etc/GMT-5": 5, "Etc/GMT+9": -9}
situations = st.builds(
    Situation,
    st.builds(
        Memberships,
        groups=some_ids.map(lambda found: dict.fromkeys(found, "name")),
        organizations=some_ids.map(
            lambda found: {id_: OrganizationMembership(id=id_, slug="slug", name="name") for id_ in found}
        ),
        role_ids=some_ids.map(frozenset),
    ),
    st.integers(0, 14 * 24 * 60).map(lambda minutes: START + timedelta(minutes=minutes)),
    st.frozensets(
        st.tuples(st.sampled_from(["department", "level"]), st.sampled_from(["sales", "hr", 1.0, 2.5])), max_size=3
    ),
    st.none() | st.just("") | st.integers(0, 2**16 - 1).map(lambda host: f"10.{host % 256}.{host // 256}.7"),
    st.none() | st.sampled_from(["0", *ACR_VALUES]),
    st.none() | st.sampled_from(IDS),
)


def specified(policy: AccessPolicy, situation: Situation) -> list[Reason]:
    """Return the reasons against a user, by definition."""
    user, moment, has, address, acr, signed_in_for = situation
    found = []
    if policy.groups and not [group for group in policy.groups if group in user.groups]:
        found.append(Reason.NOT_IN_GROUP)
    named = [each for each in policy.organizations if signed_in_for in (None, each)]
    if policy.organizations and not [each for each in named if each in user.organizations]:
        found.append(Reason.NOT_IN_ORGANIZATION)
    if policy.roles and not [role for role in policy.roles if role in user.role_ids]:
        found.append(Reason.WITHOUT_ROLE)
    if [name for name, values in policy.attributes.items() if not [value for value in values if (name, value) in has]]:
        found.append(Reason.WITHOUT_ATTRIBUTE)
    if policy.networks and address is not None:
        inside = False
        for network in policy.networks if address else ():
            base, _, length = network.partition("/")
            size = 2 ** (32 - int(length))
            inside |= 0 <= int(IPv4Address(address)) - int(IPv4Address(base)) < size
        if not inside:
            found.append(Reason.OUTSIDE_OF_NETWORK)
    if policy.times:
        minute = (int((moment - START).total_seconds()) // 60 + AHEAD[policy.time_zone] * 60) % (7 * 24 * 60)
        open_minutes = {
            DAYS.index(day) * 24 * 60 + at
            for window in policy.times
            for day in window.days
            for at in range(_minutes(window.start), _minutes(window.end))
        }
        if minute not in open_minutes:
            found.append(Reason.OUTSIDE_OF_TIME)
    if (
        policy.acr is not None
        and acr is not None
        and (acr == "0" or ACR_VALUES.index(acr) < ACR_VALUES.index(policy.acr))
    ):
        found.append(Reason.ACR_TOO_LOW)
    return found


@given(policies, situations)
def test_the_decision_is_the_specified_one(policy: AccessPolicy, situation: Situation) -> None:
    assert [condition.reason for condition in failing(policy, situation)] == specified(policy, situation)


@given(policies, situations)
def test_a_policy_is_for_whoever_has_the_groups_and_roles(policy: AccessPolicy, situation: Situation) -> None:
    """Wherever they are, at any time."""
    personal = {Reason.NOT_IN_GROUP, Reason.NOT_IN_ORGANIZATION, Reason.WITHOUT_ROLE, Reason.WITHOUT_ATTRIBUTE}
    assert is_for(policy, situation) is not bool(personal & set(specified(policy, situation)))


def test_every_condition_is_compared() -> None:
    """A field of the policy that is no condition must be named here."""
    fields = set(AccessPolicy.__struct_fields__)
    assert {condition.name for condition in CONDITIONS} == fields - {"client_id", "time_zone", "updated_at"}
    assert set(Conditions.__struct_fields__) < fields


@pytest.mark.parametrize(
    ("address", "network", "inside"),
    [
        ("2001:db8::1", "2001:db8::/32", True),
        ("2001:db9::1", "2001:db8::/32", False),
        ("192.0.2.1", "2001:db8::/32", False),
        # As the operating system writes it where one socket serves both.
        ("::ffff:192.0.2.1", "192.0.2.0/24", True),
        ("unknown", "0.0.0.0/0", False),
    ],
)
def test_addresses(address: str, network: str, inside: bool) -> None:
    policy = AccessPolicy(client_id="app", networks=(network,), updated_at=START)
    assert (failing(policy, Situation(Memberships(), START, address=address)) == []) is inside


@pytest.mark.parametrize(
    ("moment", "inside"),
    [
        # Central European summer time begins on the last Sunday of March.
        ("2026-03-27T07:30:00+00:00", True),
        ("2026-03-27T06:59:00+00:00", False),
        ("2026-03-30T06:30:00+00:00", True),
        ("2026-03-30T05:59:00+00:00", False),
        ("2026-03-30T15:59:59+00:00", True),
        ("2026-03-30T16:00:00+00:00", False),
        ("2026-03-28T10:00:00+00:00", False),
    ],
)
def test_hours_follow_the_clock_of_the_zone(moment: str, inside: bool) -> None:
    hours = Window(days=("mon", "tue", "wed", "thu", "fri"), start="08:00", end="18:00")
    policy = AccessPolicy(client_id="app", times=(hours,), time_zone="Europe/Berlin", updated_at=START)
    assert (failing(policy, Situation(Memberships(), datetime.fromisoformat(moment))) == []) is inside
