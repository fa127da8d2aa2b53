"""The sign-in policy of an organization: what is valid, and that Python and SQL decide alike."""

import itertools
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idp.accounts.tables import User
from idp.directory import effective, organizations
from idp.directory.errors import UnknownOrganizationError
from idp.directory.repository.sign_in_policies import SignInColumns, conditions, failing
from idp.directory.sign_in_policy import NO_POLICY, WAYS, SignInPolicy, ways_of
from idp.directory.sign_in_policy_changes import MAX_AGE, InvalidSignInPolicyError, policy_of, set_policy
from idp.errors import VersionConflictError
from idp.infra.db.engine import fetch, fetchrow
from tests.support.directory import an_organization

_COLUMNS = SignInColumns("$2", "$3::text[]", "(now() - make_interval(secs => $4))", "$5::int", "now()")
_MEETS = f"""
SELECT {" AND ".join(conditions(_COLUMNS).values())} AS meets, {failing("$1", _COLUMNS)} AS reason
FROM organization AS o WHERE o.id = $1
"""


async def test_it_is_set_read_and_recorded(db: str, alice: User) -> None:
    acme = await an_organization(alice)
    assert await policy_of(acme.id) == NO_POLICY
    policy = await set_policy(acme.id, second_factor=True, session_max_age=28_800, ways=["passkey", "password"])
    assert policy == SignInPolicy(second_factor=True, session_max_age=28_800, ways=("password", "passkey"))
    assert await policy_of(acme.id) == policy
    assert (await effective.memberships(alice.id)).organizations[acme.id].policy == policy
    after = await organizations.found(acme.id)
    assert after.updated_at > acme.updated_at
    # The same again changes nothing.
    await set_policy(acme.id, second_factor=True, session_max_age=28_800, ways=["password", "passkey", "passkey"])
    assert (await organizations.found(acme.id)).updated_at == after.updated_at
    with pytest.raises(VersionConflictError):
        await set_policy(acme.id, acme.updated_at)
    assert await set_policy(acme.id, after.updated_at, ways=list(WAYS)) == NO_POLICY
    query = """
    SELECT detail FROM audit_event WHERE event = 'organization_policy_set' AND detail ->> 'slug' = $1 ORDER BY id
    """
    first, second = (row["detail"] for row in await fetch(query, acme.slug))
    assert '"after"' in first
    assert '"before"' in second


@pytest.mark.parametrize(
    "values",
    [
        {"second_factor": "yes"},
        {"session_max_age": 899},
        {"session_max_age": MAX_AGE + 1},
        {"session_max_age": 2**40},
        {"session_idle": 299},
        {"session_idle": 1.5},
        {"ways": ["totp"]},
        {"ways": "password"},
        {"ways": ["pass\x00word"]},
        {"ways": ["p\u0430ssword"]},
        {"other": 1, "ways": [None]},
    ],
)
async def test_what_is_refused(values: dict[str, Any], db: str) -> None:
    acme = await an_organization()
    with pytest.raises(InvalidSignInPolicyError):
        await set_policy(acme.id, **values)
    assert await policy_of(acme.id) == NO_POLICY


async def test_an_unknown_organization(db: str) -> None:
    for call in (policy_of, set_policy):
        with pytest.raises(UnknownOrganizationError):
            await call(uuid4())


@pytest.mark.parametrize(
    ("amr", "ways"),
    [
        (["pwd"], {"password"}),
        (["pwd", "otp", "mfa"], {"password"}),
        (["otp"], {"email_code"}),
        (["fed", "mfa"], {"upstream"}),
        (["pwd", "fed"], {"password"}),
        (["fed", "otp", "mfa"], {"upstream"}),
        (["hwk", "user", "mfa"], {"passkey"}),
        (["pwd", "swk", "user", "mfa"], {"password", "passkey"}),
        ([], set()),
    ],
)
def test_the_ways_of_a_sign_in(amr: list[str], ways: set[str]) -> None:
    assert ways_of(amr) == ways


@pytest.fixture(scope="module")
async def organization_id(db: str) -> UUID:
    return (await an_organization()).id


@settings(max_examples=60)
@given(
    policy=st.fixed_dictionaries(
        {
            "second_factor": st.booleans(),
            "session_max_age": st.sampled_from([None, 900, 7200]),
            "ways": st.lists(st.sampled_from(sorted(WAYS)), unique=True, max_size=3),
        }
    ),
    acr=st.sampled_from(["0", "1", "2", "phr"]),
    amr=st.lists(st.sampled_from(["pwd", "otp", "hwk", "swk", "fed", "mfa", "user"]), unique=True, max_size=4),
    age=st.sampled_from([0, 600, 3600, 10_000]),
    older=st.sampled_from([None, 0, 600, 3600]),
)
async def test_python_and_sql_decide_alike(
    policy: dict[str, Any], acr: str, amr: list[str], age: int, older: int | None, organization_id: UUID
) -> None:
    wanted = await set_policy(organization_id, **policy)
    row = await fetchrow(_MEETS, organization_id, acr, amr, age, older)
    assert row is not None
    reason = wanted.unmet(acr=acr, amr=amr, age=age + older if older is not None else float("inf"))
    assert (bool(row["meets"]), row["reason"]) == (reason is None, reason)


def test_every_way_is_told_from_the_others() -> None:
    for one, other in itertools.permutations(WAYS.values(), 2):
        assert not set(one.methods) & set(other.methods)
