"""No grant gives tokens of a user whom the policy of the client does not allow."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from idp import clock
from idp.accounts.attributes import declaration
from idp.accounts.attributes import service as attributes
from idp.accounts.tables import User
from idp.directory import groups, organizations, roles
from idp.directory.models import Group
from idp.infra.db.engine import execute, fetch
from idp.oauth.access_policies.models import DAYS
from idp.oauth.token.grants import GRANTS
from idp.oauth.token.token_exchange import REQUESTED
from idp.signin.transitions import ACR_VALUES
from tests.conftest import MakeClient
from tests.support.access_policies import DOORS, WITHOUT_USER, Door, set_policy
from tests.support.browser import Browser
from tests.support.oauth import RelyingParty
from tests.support.server import Server

HERE, ELSEWHERE = "127.0.0.0/8", "192.0.2.0/24"
#: Groups, each with the one above it; roles, each with those that it contains; a role of a group.
GROUPS = {"company": None, "sales": "company", "guests": None}
ROLES = {"editor": ("reader",), "reader": (), "visitor": ()}
OF_GROUP = {"guests": "visitor"}
ORGANIZATIONS = ("contoso", "fabrikam")
#: A value of an attribute.
VALUE = "director"


async def _give_value(attribute: Any, user_ids: list[Any]) -> None:
    await attributes.change(user_ids[0], {attribute: VALUE})


async def _take_value(attribute: Any, user_ids: list[Any]) -> None:
    await attributes.change(user_ids[0], {attribute: "clerk"})


#: What adds users to each of them, and takes them out.
CHANGES: dict[str, tuple[Any, Any]] = {
    VALUE: (_give_value, _take_value),
    **dict.fromkeys(GROUPS, (groups.add_members, groups.remove_members)),
    **dict.fromkeys(ORGANIZATIONS, (organizations.add_members, organizations.remove_members)),
    **dict.fromkeys(ROLES, (roles.give, roles.take)),
}


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def make_door(
    request: pytest.FixtureRequest, make_client: MakeClient, browser: Browser, alice: User, stack: AsyncExitStack
) -> Callable[[], Any]:
    _, _, make = DOORS[request.param]
    return lambda: make(make_client, browser, alice, stack)


@pytest.fixture
async def staff(alice: User) -> Group:
    """A group with Alice."""
    group = await groups.create(f"Staff {secrets.token_hex(6)}")
    await groups.add_members(group.id, [alice.id])
    return group


def test_every_grant_has_a_door() -> None:
    """A new grant must be listed, with how its tokens are asked for, and so is tested below."""
    assert {grant for grant, _, _ in DOORS.values()} | WITHOUT_USER == set(GRANTS)
    assert {requested for _, requested, _ in DOORS.values() if requested} == set(REQUESTED)


@pytest.fixture(scope="module")
async def world(db: str) -> AsyncIterator[dict[str, Any]]:
    """The key of each group, organization, role and attribute, by name."""
    made: dict[str, Any] = {}
    attribute = await declaration.declare(name=f"rank_{secrets.token_hex(4)}", type="string", label={"default": "Rank"})
    for name, above in GROUPS.items():
        made[name] = await groups.create(f"{name} {secrets.token_hex(6)}", parent_id=made[above].id if above else None)
    for name in ORGANIZATIONS:
        made[name] = await organizations.create(f"{name}-{secrets.token_hex(6)}", name)
    for name in ROLES:
        made[name] = await roles.create(f"{name} {secrets.token_hex(6)}")
    for name, contained in ROLES.items():
        for other in contained:
            await roles.contain(made[name].id, made[other].id)
    for name, role in OF_GROUP.items():
        await groups.give_role(made[name].id, made[role].id)
    yield {name: record.id for name, record in made.items()} | {VALUE: attribute.name}
    await execute("DELETE FROM access_policy_attribute WHERE attribute = $1", attribute.name)
    await declaration.delete(attribute.name)


def _windows(kind: str) -> list[dict[str, Any]]:
    today = clock.now().weekday()
    around = [DAYS[(today + day) % 7] for day in (-1, 0, 1)]
    return {
        "none": [],
        "now": [{"days": around}],
        "never": [{"days": [day for day in DAYS if day not in around]}],
    }[kind]


def allowed(user: set[str], policy: dict[str, Any], door: Door) -> bool:
    """Whether a user may get tokens, by definition."""
    has = set(user)
    for name in user & GROUPS.keys():
        while (name := GROUPS[name] or "") != "":
            has.add(name)
    has |= {OF_GROUP[name] for name in has & OF_GROUP.keys()}
    has |= {other for name in has & ROLES.keys() for other in ROLES[name]}
    levels = ("0", *ACR_VALUES)
    return all(
        (
            not policy["groups"] or has & policy["groups"],
            not policy["organizations"] or has & policy["organizations"],
            not policy["attributes"] or VALUE in user,
            not policy["roles"] or has & policy["roles"],
            not policy["networks"] or not door.networks_count or HERE in policy["networks"],
            policy["times"] != "never",
            levels.index(door.acr) >= levels.index(policy["acr"] or "0"),
        )
    )


policies = st.fixed_dictionaries(
    {
        "groups": st.sets(st.sampled_from(sorted(GROUPS)), max_size=2),
        "organizations": st.sets(st.sampled_from(ORGANIZATIONS), max_size=1),
        "roles": st.sets(st.sampled_from(sorted(ROLES)), max_size=2),
        "attributes": st.booleans(),
        "networks": st.sets(st.sampled_from([HERE, ELSEWHERE]), max_size=2),
        "times": st.sampled_from(["none", "now", "now", "never"]),
        "acr": st.sampled_from([None, None, *ACR_VALUES]),
    }
)


@pytest.mark.parametrize("make_door", DOORS, indirect=True)
@settings(max_examples=8, phases=[Phase.generate])
@given(policy=policies, user=st.sets(st.sampled_from(sorted(CHANGES)), max_size=5))
async def test_random_policies(
    policy: dict[str, Any], user: set[str], make_door: Callable[[], Any], alice: User, world: dict[str, Any]
) -> None:
    """Whatever the policy and the user, a grant decides as specified."""
    door: Door = await make_door()
    named = ("groups", "organizations", "roles")
    values: dict[str, Any] = {kind: [world[name] for name in policy[kind]] for kind in named}
    values["attributes"] = {world[VALUE]: [VALUE, "president"]} if policy["attributes"] else {}
    values |= {"networks": sorted(policy["networks"]), "times": _windows(policy["times"]), "acr": policy["acr"]}
    if any(values.values()):
        await set_policy(door.party, **values)
    for name, (add, remove) in CHANGES.items():
        await (add if name in user else remove)(world[name], [alice.id])
    await (door.opened() if allowed(user, policy, door) else door.refused())


async def test_the_application_at_the_audience_counts_too(
    make_client: MakeClient, browser: Browser, alice: User, stack: AsyncExitStack, staff: Group
) -> None:
    """An identity assertion is for users who may use both applications."""
    door = await DOORS["identity assertion"][2](make_client, browser, alice, stack)
    assert door.other is not None
    await set_policy(door.party, door.other, groups=[staff.id])
    await door.opened()
    await groups.remove_members(staff.id, [alice.id])
    await door.refused()


async def test_another_server_refuses_too(
    start_server: Callable[..., Server],
    make_client: MakeClient,
    browser: Browser,
    alice: User,
    staff: Group,
    client: RelyingParty,
) -> None:
    """Each remembers what a user is in, and none gives tokens by what it remembers."""
    party = await make_client(skip_consent=True)
    await set_policy(party, groups=[staff.id])
    token = (await party.tokens(browser, alice.email))["refresh_token"]
    other = start_server()
    there = RelyingParty(other.issuer, party.http, party.client_id, party.client_secret)
    for asked in (party, there):
        response = await asked.refresh(token)
        assert response.status_code == 200, response.text
        token = response.json()["refresh_token"]
    await groups.remove_members(staff.id, [alice.id])
    for asked in (party, there):
        assert (await asked.refresh(token)).json()["error"] == "invalid_grant"
    await groups.add_members(staff.id, [alice.id])
    assert (await there.refresh(token)).status_code == 200


async def test_a_refused_token_stays_unused_for_as_long_as_it_lives(
    make_client: MakeClient, browser: Browser, alice: User, staff: Group
) -> None:
    """Asking again and again is no reuse: the family is not revoked, and the session goes on."""
    party = await make_client(skip_consent=True)
    token = (await party.tokens(browser, alice.email))["refresh_token"]
    await set_policy(party, groups=[staff.id])
    await groups.remove_members(staff.id, [alice.id])
    answers = await asyncio.gather(*(party.refresh(token) for _ in range(8)))
    assert {answer.json()["error"] for answer in answers} == {"invalid_grant"}
    query = "SELECT revoked_at FROM token_family WHERE client_id = $1"
    assert [row["revoked_at"] for row in await fetch(query, party.client_id)] == [None]
    await set_policy(party)
    assert (await party.refresh(token)).status_code == 200
