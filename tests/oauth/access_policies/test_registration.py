"""Setting and removing access policies, and what they name."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextvars import copy_context
from typing import Any
from uuid import UUID

import pytest

from idp.accounts.attributes import declaration
from idp.accounts.attributes.errors import AttributeInUseError
from idp.directory import groups, organizations, roles
from idp.directory.errors import InUseError
from idp.errors import IdpError
from idp.infra.db.engine import execute, fetch, transaction
from idp.oauth.access_policies import registration, repository
from idp.oauth.access_policies.registration import InvalidAccessPolicyError, NoAccessPolicyError
from idp.oauth.clients.registration import UnknownClientError, register_client
from idp.oauth.clients.service import VersionConflictError, delete_client


async def a_client(name: str = "Payroll") -> str:
    client, _ = await register_client(client_name=name, redirect_uris=["https://payroll.example/cb"])
    return client.client_id


async def a_group() -> UUID:
    return (await groups.create(f"Staff {secrets.token_hex(6)}")).id


async def a_role(client_id: str | None = None) -> UUID:
    return (await roles.create(f"editor {secrets.token_hex(6)}", client_id)).id


async def an_organization() -> UUID:
    return (await organizations.create(f"o{secrets.token_hex(6)}", "Customer")).id


#: By field of a policy, what makes and what deletes a record that it names.
NAMED = {
    "groups": (a_group, groups.delete),
    "organizations": (an_organization, organizations.delete),
    "roles": (a_role, roles.delete),
}


async def test_set_change_and_remove(db: str) -> None:
    client_id, group, role = await a_client(), await a_group(), await a_role()
    values: dict[str, Any] = {
        "groups": [group],
        "roles": [role],
        "acr": "2",
        "networks": ["192.0.2.0/24", "2001:db8::/32"],
        "times": [{"days": ["mon", "fri"], "start": "08:00", "end": "18:00"}],
        "time_zone": "Europe/Berlin",
    }
    saved = await registration.set_policy(client_id, **values)
    assert await repository.policy_of(client_id) == saved
    assert (saved.groups, saved.roles, saved.acr) == ((group,), (role,), "2")
    other = await a_group()
    changed = await registration.set_policy(client_id, saved.updated_at, groups=[other])
    assert (changed.groups, changed.roles, changed.networks, changed.time_zone) == ((other,), (), (), "UTC")
    for outdated in (
        lambda: registration.set_policy(client_id, saved.updated_at, groups=[group]),
        lambda: registration.remove_policy(client_id, saved.updated_at),
    ):
        with pytest.raises(VersionConflictError):
            await outdated()
    await registration.remove_policy(client_id, changed.updated_at)
    assert await repository.policy_of(client_id) is None
    with pytest.raises(NoAccessPolicyError):
        await registration.remove_policy(client_id)
    await groups.delete(other)
    query = "SELECT event, detail ->> 'acr' FROM audit_event WHERE client_id = $1 AND event LIKE 'access%' ORDER BY id"
    events = [tuple(row) for row in await fetch(query, client_id)]
    assert events == [("access_policy_set", "2"), ("access_policy_set", None), ("access_policy_removed", None)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "has no condition"),
        ({"time_zone": "Europe/Berlin"}, "has no condition"),
        ({"groups": [str(UUID(int=5))]}, "no group with the id 00000000-0000-0000-0000-000000000005"),
        ({"organizations": [str(UUID(int=5))]}, "no organization with the id"),
        ({"roles": [str(UUID(int=5))]}, "no role with the id"),
        ({"groups": ["staff"]}, "wrong type"),
        ({"acr": "3"}, "acr must be one of"),
        ({"networks": ["192.0.2.1/24"]}, "networks must be such as"),
        ({"networks": ["example.com"]}, "networks must be such as"),
        ({"networks": ["::ffff:192.0.2.0/120"]}, "must be written as such"),
        ({"networks": [f"10.0.{number}.0/24" for number in range(101)]}, "up to 100"),
        ({"times": [{"days": []}]}, "days of times"),
        ({"times": [{"days": ["monday"]}]}, "days of times"),
        ({"times": [{"days": ["mon"], "start": "8:00"}]}, "must be such as 08:30"),
        ({"times": [{"days": ["mon"], "end": "24:01"}]}, "must be such as 08:30"),
        ({"times": [{"days": ["mon"], "start": "22:00", "end": "06:00"}]}, "over midnight are two"),
        ({"times": [{"days": ["mon"], "start": "08:00", "end": "08:00"}]}, "after the start"),
        ({"times": [{"days": ["mon"]}], "time_zone": "Mars/Olympus"}, "Europe/Berlin"),
        ({"times": [{"days": ["mon"]}], "time_zone": "../UTC"}, "Europe/Berlin"),
        ({"times": [{"days": ["mon"]}], "time_zone": ""}, "Europe/Berlin"),
    ],
)
async def test_what_is_refused(values: dict[str, Any], message: str, db: str) -> None:
    client_id = await a_client()
    with pytest.raises(InvalidAccessPolicyError, match=message):
        await registration.set_policy(client_id, **values)
    assert await repository.policy_of(client_id) is None


async def test_an_unknown_client(db: str) -> None:
    for change in (registration.set_policy("no-such-client", acr="2"), registration.remove_policy("no-such-client")):
        with pytest.raises(UnknownClientError):
            await change


async def test_a_policy_names_roles_of_its_client_only(db: str) -> None:
    """And of the whole server, so that the deletion of another client or of an organization cannot change it."""
    client_id, other = await a_client(), await a_client()
    there = await roles.create("editor", organization_id=await an_organization())
    for role in (await a_role(other), there.id):
        with pytest.raises(InvalidAccessPolicyError):
            await registration.set_policy(client_id, roles=[role])
    await registration.set_policy(client_id, roles=[await a_role(client_id)])
    await delete_client(client_id)
    assert await repository.policy_of(client_id) is None


@pytest.mark.parametrize("kind", NAMED)
async def test_what_a_policy_names_cannot_be_deleted(kind: str, db: str) -> None:
    """The error names the clients."""
    make, delete = NAMED[kind]
    id_ = await make()
    clients = [await a_client(name) for name in ("Payroll", "Wiki")]
    for client_id in clients:
        await registration.set_policy(client_id, acr="2", **{kind: [id_]})
    with pytest.raises(InUseError, match="access policy of Payroll and of Wiki names this"):
        await delete(id_)
    await registration.set_policy(clients[0], acr="2")
    await delete_client(clients[1])
    await delete(id_)


@pytest.mark.parametrize("kind", NAMED)
async def test_a_policy_and_a_deletion_at_the_same_time(kind: str, db: str) -> None:
    """One comes first: either the policy is refused, or the deletion."""
    make, delete = NAMED[kind]
    for _ in range(5):
        client_id, id_ = await a_client(), await make()
        results = await asyncio.gather(
            registration.set_policy(client_id, **{kind: [id_]}), delete(id_), return_exceptions=True
        )
        (error,) = [result for result in results if isinstance(result, BaseException)]
        assert isinstance(error, IdpError)
        policy = await repository.policy_of(client_id)
        assert (policy is None) is isinstance(error, InvalidAccessPolicyError)
        assert isinstance(error, InvalidAccessPolicyError | InUseError)


@pytest.fixture
async def department(db: str) -> AsyncIterator[str]:
    """An attribute that administrators edit."""
    declared = await declaration.declare(
        name=f"department_{secrets.token_hex(4)}",
        type="choice",
        choices=["hr", "sales"],
        label={"default": "Department"},
    )
    yield declared.name
    await execute("DELETE FROM access_policy_attribute WHERE attribute = $1", declared.name)
    await declaration.delete(declared.name)


async def test_attributes(department: str) -> None:
    """One that a policy names stays, and people cannot be allowed to edit it themselves."""
    client_id = await a_client()
    for values, message in (
        ({department: ["it"]}, "value of the attribute"),
        ({department: []}, "1 to 100 values"),
        ({department: [True]}, "value of the attribute"),
        ({"none_such": ["hr"]}, "not declared"),
    ):
        with pytest.raises(InvalidAccessPolicyError, match=message):
            await registration.set_policy(client_id, attributes=values)
    await declaration.update(department, editable_by=["person", "support"])
    with pytest.raises(InvalidAccessPolicyError, match="edit the attribute"):
        await registration.set_policy(client_id, attributes={department: ["hr"]})
    await declaration.update(department, editable_by=["support"])
    saved = await registration.set_policy(client_id, attributes={department: ["hr", "sales"]})
    assert saved.attributes == {department: ("hr", "sales")}
    for change in (declaration.update(department, editable_by=["person"]), declaration.delete(department)):
        with pytest.raises(AttributeInUseError, match="access policy of Payroll names"):
            await change
    await declaration.update(department, choices=["hr", "sales", "it"])
    await delete_client(client_id)
    await declaration.update(department, editable_by=["person"])


async def test_a_policy_waits_for_a_deletion(db: str) -> None:
    """It sees what the deletion left."""
    client_id, id_, outside = await a_client(), await a_group(), copy_context()
    query = """
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%FOR KEY SHARE%'
    """
    async with transaction():
        await groups.delete(id_)
        change = asyncio.create_task(registration.set_policy(client_id, groups=[id_]), context=outside.copy())
        async with asyncio.timeout(30):
            while not await asyncio.create_task(fetch(query), context=outside.copy()):
                await asyncio.sleep(0.01)
    with pytest.raises(InvalidAccessPolicyError):
        await change
