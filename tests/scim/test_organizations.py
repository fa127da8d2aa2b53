"""Tokens of an organization: its members are the users, its roles the groups, and there is nothing else."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from idp import clock, ids
from idp.accounts import users
from idp.accounts.repository.users import user_by_id
from idp.accounts.tables import Origin, User
from idp.admin.roles import Role, grant
from idp.directory import effective, groups, member_states, organizations, roles
from idp.directory.errors import NotMemberError
from idp.directory.models import Organization
from idp.infra.db.engine import execute, fetch, fetchrow, transaction
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.registry import registry
from idp.oauth.credentials import credentials_changed
from idp.oauth.token.families import start_offline_family
from idp.oauth.token.grant import Grant
from idp.scim import tokens
from tests.conftest import until_known
from tests.scim.conftest import GROUP, PATCH, ScimClient
from tests.support.directory import all_deleted, an_organization
from tests.support.oauth import RelyingParty
from tests.support.server import Server

OFF = {"op": "replace", "path": "active", "value": False}
ON = OFF | {"value": True}


class Customer(ScimClient):
    """An organization with a verified domain, and its SCIM client."""

    organization: Organization
    domain: str

    def email(self) -> str:
        return f"{uuid4()}@{self.domain}"

    async def user(self, **values: Any) -> dict[str, Any]:
        return await super().user(**({"userName": self.email()} | values))

    async def outsider(self, email: str | None = None) -> User:
        """Create a user who is no member."""
        return await users.create_user(email or f"{uuid4()}@elsewhere.example", None)

    async def member(self, email: str | None = None) -> User:
        """Create a user elsewhere, and add them."""
        user = await self.outsider(email)
        await organizations.add_members(self.organization.id, [user.id])
        return user


async def customer(provider: Server, http: httpx.AsyncClient, **options: Any) -> Customer:
    organization = await an_organization()
    domain = f"{uuid4()}.example"
    await execute(
        "INSERT INTO organization_domain (id, organization_id, domain, token, verified_at, next_check_at)"
        " VALUES ($1, $2, $3, 'x', now(), now() + interval '1 day')",
        uuid4(), organization.id, domain,
    )  # fmt: skip
    made = await tokens.create("Test", organization_id=organization.id, **options)
    found = Customer(provider, http, *made)
    found.organization, found.domain = organization, domain
    return found


@pytest.fixture
async def acme(provider: Server, scim_http: httpx.AsyncClient) -> Customer:
    return await customer(provider, scim_http)


@pytest.fixture
async def other(provider: Server, scim_http: httpx.AsyncClient) -> Customer:
    return await customer(provider, scim_http)


async def _user(id: str | UUID) -> User:
    found = await user_by_id(UUID(str(id)))
    assert found is not None
    return found


async def _listed(scim: ScimClient, filter: str = "", path: str = "/Users") -> set[str]:
    found = await scim.ok("GET", f"{path}?count=200" + (f"&filter={filter}" if filter else ""))
    assert found["totalResults"] == len(found["Resources"])
    return {each["id"] for each in found["Resources"]}


async def _organizations(user_id: str) -> set[UUID]:
    return set((await effective.memberships(UUID(user_id))).organizations)


async def test_the_life_of_an_account(acme: Customer) -> None:
    user = await acme.user(displayName="Ann", externalId="e1", phoneNumbers=[{"value": "+442079460000"}])
    path = f"/Users/{user['id']}"
    assert (user["active"], user["externalId"], user["phoneNumbers"][0]["value"]) == (True, "e1", "+442079460000")
    assert await _organizations(user["id"]) == {acme.organization.id}
    changed = await acme.patch(path, {"op": "replace", "path": "userName", "value": (new := acme.email())})
    assert changed.json()["userName"] == new
    assert await acme.refused("PUT", path, {"userName": "ann@elsewhere.example"}) == (400, "invalidValue")
    # A stranger who began with the address that the user gets has no say in it.
    stranger = await acme.outsider(new := acme.email())
    await execute("UPDATE users SET origin = 'registration', email_verified = false WHERE id = $1", stranger.id)
    renamed = await acme.ok("PUT", path, {"userName": new, "displayName": "Ann Lee"})
    assert (renamed["displayName"], renamed["externalId"], renamed["active"]) == ("Ann Lee", "e1", True)
    assert (await acme.patch(path, OFF)).json()["active"] is False
    assert (await _user(user["id"])).disabled_by == f"scim:organization:{acme.organization.id}"
    assert await _organizations(user["id"]) == set()
    assert (await acme.patch(path, ON)).json()["active"] is True
    assert (await _user(user["id"])).disabled_at is None
    assert await _organizations(user["id"]) == {acme.organization.id}
    assert (await acme("DELETE", path)).status_code == 204
    assert await acme.refused("GET", path) == (404, None)
    assert (await _user(user["id"])).disabled_by == f"scim:organization:{acme.organization.id}"
    again = await acme.user(userName=new)
    assert (again["id"], again["active"], again.get("externalId")) == (user["id"], True, None)
    assert (await acme.patch(path, OFF)).json()["active"] is False
    assert (await _user(user["id"])).disabled_at is not None


async def test_an_account_of_a_person(acme: Customer) -> None:
    """It is adopted by its address. Only the membership is the organization's."""
    person = await acme.outsider(acme.email())
    await execute("UPDATE users SET name = 'Bo', phone_number = '+49123', nickname = 'B' WHERE id = $1", person.id)
    user = await acme.user(userName=person.email, displayName="Other", externalId="e2")
    assert (user["id"], user["displayName"], user["externalId"]) == (str(person.id), "Bo", "e2")
    assert not user.keys() & {"phoneNumbers", "nickName", "addresses"}
    path = f"/Users/{person.id}"
    changed = await acme.patch(
        path,
        {"op": "replace", "path": "displayName", "value": "New"},
        {"op": "replace", "path": "externalId", "value": "e3"},
    )
    assert (changed.json()["displayName"], changed.json()["externalId"]) == ("Bo", "e3")
    assert await acme.refused("PUT", path, {"userName": acme.email()}) == (400, "mutability")
    assert (await acme.patch(path, OFF)).json()["active"] is False
    assert (await acme.ok("GET", path))["active"] is False
    assert ((await _user(person.id)).disabled_at, await _organizations(str(person.id))) == (None, set())
    assert (await acme.patch(path, ON)).json()["active"] is True
    assert await _organizations(str(person.id)) == {acme.organization.id}
    assert (await acme("DELETE", path)).status_code == 204
    assert ((await _user(person.id)).disabled_at, await _organizations(str(person.id))) == (None, set())
    events = await fetch("SELECT event FROM audit_event WHERE user_id = $1 AND event LIKE 'organization%'", person.id)
    assert {row["event"].removeprefix("organization_member_") for row in events} == {
        "added", "disabled", "enabled", "removed",
    }  # fmt: skip


async def test_what_others_disabled_stays_so_and_is_not_told(acme: Customer, scim: ScimClient) -> None:
    """The client sees what it did itself. So a request that is sent again has the answer of the first one."""
    user = await acme.user()
    path = f"/Users/{user['id']}"
    before = await acme.ok("GET", path)
    assert (await scim.patch(path, OFF)).status_code == 200
    shown = await acme.ok("GET", path)
    assert shown["active"] is True
    assert shown["meta"]["version"] == before["meta"]["version"]
    assert await _listed(acme, "active eq true") == {user["id"]}
    for _ in range(2):
        answer = await acme.patch(path, ON)
        assert (answer.status_code, answer.json()["active"]) == (200, True)
    assert (await _user(user["id"])).disabled_at is not None
    assert (await scim.patch(path, ON)).status_code == 200
    await users.disable_user(UUID(user["id"]), credentials_changed)
    assert (await acme.patch(path, OFF)).json()["active"] is False
    assert await _listed(acme, "active eq true") == set()
    assert await _organizations(user["id"]) == set()
    assert (await acme.patch(path, ON)).json()["active"] is True
    assert (await acme("DELETE", path)).status_code == 204
    assert (await acme.user(userName=user["userName"]))["active"] is True
    assert (await _user(user["id"])).disabled_by == users.ADMIN


async def test_an_account_that_another_organization_disabled(acme: Customer, other: Customer) -> None:
    """It made the account, and this one does not learn that it was disabled there."""
    user = await other.user()
    await organizations.add_members(acme.organization.id, [UUID(user["id"])])
    path = f"/Users/{user['id']}"
    assert (await other.patch(path, OFF)).json()["active"] is False
    assert (await acme.ok("GET", path))["active"] is True
    assert (await acme.patch(path, OFF)).json()["active"] is False
    assert (await other.patch(path, ON)).json()["active"] is True
    assert (await acme.ok("GET", path))["active"] is False


async def test_a_member_is_reactivated_by_others(acme: Customer) -> None:
    """Membership and account, but only what this organization disabled; with an event, and once."""
    user = await acme.user()
    path, user_id, here = f"/Users/{user['id']}", UUID(user["id"]), acme.organization.id
    await acme.patch(path, OFF)
    assert await member_states.reactivate(here, user_id)
    assert not await member_states.reactivate(here, user_id)
    assert (await acme.ok("GET", path))["active"] is True
    assert ((await _user(user_id)).disabled_at, await _organizations(user["id"])) == (None, {here})
    # The account stays disabled if it is another's matter.
    await acme.patch(path, OFF)
    await users.disable_user(user_id, credentials_changed)
    assert await member_states.reactivate(here, user_id)
    assert (await _user(user_id)).disabled_by == users.ADMIN
    # The membership is gone, and begins again elsewhere: the account is still the organization's to enable.
    await users.enable_user(user_id)
    assert (await acme("DELETE", path)).status_code == 204
    with pytest.raises(NotMemberError):
        await member_states.reactivate(here, user_id)
    await organizations.add_members(here, [user_id])
    assert (await acme.ok("GET", path))["active"] is False
    assert await member_states.reactivate(here, user_id)
    assert (await acme.ok("GET", path))["active"] is True
    events = await fetch(
        "SELECT event FROM audit_event WHERE user_id = $1 AND event LIKE 'organization_member_enabled'", user_id
    )
    assert len(events) == 2


async def test_an_account_outside_of_the_domains_is_not_managed(acme: Customer) -> None:
    """The domain is lost, or the person has changed the address."""
    lost, moved = await acme.user(), await acme.user()
    await execute("UPDATE users SET email = email WHERE id = $1", UUID(moved["id"]))
    assert await users.assign_email(
        UUID(moved["id"]), f"{uuid4()}@elsewhere.example", Origin.OPERATOR, credentials_changed
    )
    assert (await acme.patch(f"/Users/{moved['id']}", OFF)).json()["active"] is False
    assert (await _user(moved["id"])).disabled_at is None
    await execute(
        "UPDATE organization_domain SET verified_at = NULL, next_check_at = NULL WHERE domain = $1", acme.domain
    )
    assert (await acme.patch(f"/Users/{lost['id']}", OFF)).json()["active"] is False
    assert (await _user(lost["id"])).disabled_at is None
    assert await acme.refused("POST", "/Users", {"userName": acme.email()}) == (400, "invalidValue")


async def test_addresses_elsewhere_have_one_answer(acme: Customer, other: Customer) -> None:
    """Whether somebody has one is not told. Nor is anything changed."""
    taken = [await acme.outsider(), await acme.outsider(other.email())]
    unproved = User(email=f"{uuid4()}@elsewhere.example", origin=Origin.REGISTRATION)
    async with transaction():
        assert await users.insert_user(unproved)
    free = [f"{uuid4()}@elsewhere.example", other.email()]
    answers = []
    for email in [*(user.email for user in taken), unproved.email, *free]:
        answer = await acme("POST", "/Users", {"userName": email})
        answers.append((answer.status_code, answer.content))
    assert len(set(answers)) == 1
    assert answers[0][0] == 400
    assert (await _user(unproved.id)).email == unproved.email
    for user in taken:
        assert not await _organizations(str(user.id))


async def test_the_server_s_administrators_are_out_of_reach(acme: Customer) -> None:
    outside, inside = await acme.outsider(acme.email()), await acme.member(acme.email())
    for user in (outside, inside):
        await grant(user.id, Role.AUDITOR)
    taken = await acme("POST", "/Users", {"userName": outside.email})
    member = await acme("POST", "/Users", {"userName": (await acme.user())["userName"]})
    assert (taken.status_code, taken.content) == (member.status_code, member.content)
    assert taken.status_code == 409
    assert not await _organizations(str(outside.id))
    path = f"/Users/{inside.id}"
    assert (await acme.ok("GET", path))["userName"] == inside.email
    assert await acme.refused("DELETE", path) == (403, None)
    assert (await acme.patch(path, OFF)).status_code == 403
    group = await acme.group()
    add = {"op": "add", "path": "members", "value": [{"value": str(inside.id)}]}
    assert (await acme.patch(f"/Groups/{group['id']}", add)).status_code == 403


async def test_groups_are_the_roles_of_the_organization(acme: Customer) -> None:
    one, two = await acme.user(), await acme.member()
    group = await acme.group(one["id"], externalId="g1")
    path = f"/Groups/{group['id']}"
    assert (group["externalId"], [each["value"] for each in group["members"]]) == ("g1", [one["id"]])
    role = await roles.repository.role_by_id(UUID(group["id"]))
    assert role is not None
    assert (role.organization_id, role.name) == (acme.organization.id, group["displayName"])
    shown = (await acme.ok("GET", f"/Users/{one['id']}"))["groups"]
    assert shown == [
        {"value": group["id"], "$ref": group["meta"]["location"], "display": group["displayName"], "type": "direct"}
    ]  # fmt: skip
    assert await _listed(acme, f'groups eq "{group["id"]}"') == {one["id"]}
    assert await _listed(acme, f'members eq "{one["id"]}"', "/Groups") == {group["id"]}
    name = f"Renamed {uuid4()}"
    body = {"schemas": [GROUP], "displayName": name, "members": [{"value": str(two.id)}]}
    replaced = await acme.ok("PUT", path, body, headers={"If-Match": group["meta"]["version"]})
    assert (replaced["displayName"], replaced["externalId"]) == (name, "g1")
    assert [each["value"] for each in replaced["members"]] == [str(two.id)]
    assert await acme.refused("PUT", path, body, headers={"If-Match": group["meta"]["version"]}) == (412, None)
    operations = [
        {"op": "remove", "path": f'members[value eq "{two.id}"]'},
        {"op": "add", "path": "members", "value": [{"value": one["id"]}]},
    ]
    assert (await acme.patch(path, *operations)).status_code == 204
    assert {row["user_id"] for row in await fetch("SELECT user_id FROM user_role WHERE role_id = $1", role.id)} == {
        UUID(one["id"])
    }
    assert await acme.refused("POST", "/Groups", {"displayName": name.upper()}) == (409, "uniqueness")
    assert (await acme.patch(f"/Users/{one['id']}", OFF)).status_code == 200
    assert (await effective.memberships(UUID(one["id"]))).role_ids == frozenset()
    assert (await acme.patch(f"/Users/{one['id']}", ON)).status_code == 200
    assert (await effective.memberships(UUID(one["id"]))).role_ids == {role.id}
    assert (await acme("DELETE", path)).status_code == 204
    assert await acme.refused("GET", path) == (404, None)


async def test_nothing_of_others_is_seen_or_changed(acme: Customer, other: Customer, scim: ScimClient) -> None:
    mine, theirs = await acme.user(externalId="same"), await other.user(externalId="same", displayName="Theirs")
    my_role, their_role = await acme.group(), await other.group(theirs["id"])
    server_role = await roles.create(f"Server {uuid4()}")
    stranger = await acme.outsider()
    group = await scim.group(mine["id"], displayName=f"Server {uuid4()}")
    assert await _listed(acme) == {mine["id"]}
    assert await _listed(acme, path="/Groups") == {my_role["id"]}
    assert "groups" not in await acme.ok("GET", f"/Users/{mine['id']}")
    for text in (
        f'userName eq "{theirs["userName"]}"', f'id eq "{stranger.id}"', 'externalId eq "same" and displayName pr',
        'displayName eq "Theirs"', f'groups eq "{their_role["id"]}"', f'groups eq "{group["id"]}"',
        f'groups.display eq "{group["displayName"]}"', f'not (userName ne "{stranger.email}")',
    ):  # fmt: skip
        assert await _listed(acme, text) == set(), text
    for text in (
        f'displayName eq "{their_role["displayName"]}"',
        f'members eq "{theirs["id"]}"',
        f'id eq "{group["id"]}"',
    ):
        assert await _listed(acme, text, "/Groups") == set(), text
    found = await acme.ok("POST", "/.search", {"count": 200})
    assert {each["id"] for each in found["Resources"]} == {mine["id"], my_role["id"]}
    for path in (
        f"/Users/{theirs['id']}", f"/Users/{stranger.id}", f"/Groups/{their_role['id']}", f"/Groups/{group['id']}",
        f"/Groups/{server_role.id}", f"/Groups/{uuid4()}", f"/Users/{uuid4()}",
    ):  # fmt: skip
        change = {
            "schemas": [PATCH],
            "Operations": [OFF if "Users" in path else {"op": "remove", "path": "externalId"}],
        }
        whole = {"userName": acme.email()} if "Users" in path else {"displayName": "Mine"}
        for method, body in (("GET", None), ("PUT", whole), ("PATCH", change), ("DELETE", None)):
            answer = await acme(method, path, body)
            assert (answer.status_code, answer.json()["detail"]) == (404, "There is no such resource."), (method, path)
    for member in (theirs["id"], str(stranger.id), group["id"], their_role["id"], str(uuid4())):
        for known in (my_role["id"], None):
            body = {
                "displayName": my_role["displayName"] if known else f"New {uuid4()}",
                "members": [{"value": member}],
            }
            answer = await acme("PUT" if known else "POST", f"/Groups/{known}" if known else "/Groups", body)
            assert (answer.status_code, answer.json()["detail"]) == (400, "A member does not exist.")
    assert (await other.ok("GET", f"/Users/{theirs['id']}"))["active"] is True
    assert (await _user(stranger.id)).disabled_at is None
    assert await groups.repository.group_by_id(UUID(group["id"])) is not None


async def test_filters_tell_nothing_of_an_account_that_is_not_managed(acme: Customer) -> None:
    person, own = await acme.member(), await acme.user(phoneNumbers=[{"value": "+4912345678"}], nickName="Annie")
    await execute(
        "UPDATE users SET phone_number = '+4912345678', nickname = 'Annie', locale = 'de',"
        " address = jsonb_build_object('locality', 'X') WHERE id = $1",
        person.id,
    )
    assert await _listed(acme) == {str(person.id), own["id"]}
    for text in ('phoneNumbers.value eq "%2B4912345678"', 'nickName sw "An"', "phoneNumbers pr", "nickName pr"):
        assert await _listed(acme, text) == {own["id"]}, text
    for text in ('locale eq "de"', "addresses pr", 'addresses[locality eq "X"]'):
        assert await _listed(acme, text) == set(), text
    hidden = await acme.ok("GET", f'/Users?sortBy=nickName&filter=id eq "{person.id}"')
    assert "nickName" not in hidden["Resources"][0]
    for name in ("phoneNumbers.value", "addresses.locality"):
        assert await acme.refused("GET", f"/Users?sortBy={name}") == (400, "invalidValue")


async def test_pages(acme: Customer) -> None:
    made = {(await acme.user(displayName=f"P {number}"))["id"] for number in range(5)}
    found, cursor = set[str](), ""
    while True:
        page = await acme.ok("GET", f"/Users?count=2&cursor={cursor}&sortBy=displayName&sortOrder=descending")
        found |= {each["id"] for each in page["Resources"]}
        if not (cursor := page.get("nextCursor", "")):
            break
    assert found == made
    assert (await acme.ok("GET", "/Users?count=2&startIndex=5"))["totalResults"] == 5


async def test_tokens_of_the_organization_end_at_once(acme: Customer, scim_http: httpx.AsyncClient) -> None:
    """Also those that a later enabling could bring back. Tokens for others stay, and the session."""
    app, secret = await register_client(
        client_name="App", redirect_uris=["https://app.example/cb"], scope="openid offline_access",
        grant_types=["authorization_code", "refresh_token"],
    )  # fmt: skip
    party = RelyingParty(acme.url.removesuffix("/scim/v2"), scim_http, app.client_id, secret, scope=app.scope)
    await until_known(party)
    await registry.load()
    stored = registry.client(app.client_id)
    assert stored is not None
    people = [await acme.member() for _ in range(2)]

    async def token(user: User, organization_id: UUID | None) -> str:
        grant_of = Grant(
            family_id=ids.uuid7(), user_id=user.id, session_id=None, scope="openid offline_access", resource=[],
            claims=None, authorization_details=None, nonce=None, auth_time=clock.now(), auth_age=5, amr=["pwd"],
            acr="1", organization_id=organization_id,
        )  # fmt: skip
        async with transaction():
            made = (await start_offline_family(stored, grant_of, None, "authorization_code")).refresh_token
        assert isinstance(made, str)
        return made

    ends = (acme.patch(f"/Users/{people[0].id}", OFF), acme("DELETE", f"/Users/{people[1].id}"))
    for user, end in zip(people, ends, strict=True):
        of_it, elsewhere = await token(user, acme.organization.id), await token(user, None)
        assert (await party.refresh(of_it)).status_code == 200
        of_it = await token(user, acme.organization.id)
        assert (await end).is_success
        assert (await party.refresh(of_it)).status_code == 400
        assert (await party.refresh(elsewhere)).status_code == 200
        families = "SELECT FROM token_family WHERE user_id = $1 AND organization_id IS NOT NULL AND revoked_at IS NULL"
        assert not await fetch(families, user.id)
    assert (await acme.patch(f"/Users/{people[0].id}", ON)).status_code == 200
    assert (await party.refresh(of_it)).status_code == 400


async def test_the_token_ends_with_its_organization(acme: Customer) -> None:
    await acme.ok("GET", "/Users")
    await organizations.disable(acme.organization.id)
    assert (await acme("GET", "/Users")).status_code == 401
    await organizations.enable(acme.organization.id)
    user = await acme.user(externalId="x")
    assert await fetchrow("SELECT FROM scim_member WHERE user_id = $1", UUID(user["id"])) is not None
    await organizations.delete(acme.organization.id)
    assert (await acme("GET", "/Users")).status_code == 401
    assert not await fetch("SELECT FROM scim_token WHERE id = $1", acme.id)
    await all_deleted(acme.organization.id)
    assert not await fetch("SELECT FROM scim_member WHERE user_id = $1", UUID(user["id"]))
    assert (await _user(user["id"])).disabled_at is None


async def test_accounts_at_once(acme: Customer) -> None:
    """One address is one account and one membership, however many ask for it."""
    email = acme.email()
    answers = await asyncio.gather(*(acme("POST", "/Users", {"userName": email}) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 5]


async def test_a_reader(provider: Server, scim_http: httpx.AsyncClient) -> None:
    reader = await customer(provider, scim_http, writes=False)
    member = await reader.member()
    assert await _listed(reader) == {str(member.id)}
    assert await reader.refused("POST", "/Users", {"userName": reader.email()}) == (403, None)
    assert await reader.refused("DELETE", f"/Users/{member.id}") == (403, None)


async def test_bulk(acme: Customer, scim: ScimClient) -> None:
    stranger = await scim.user()
    operations = [
        {"method": "POST", "path": "/Users", "bulkId": "u", "data": {"userName": acme.email()}},
        {"method": "POST", "path": "/Groups", "bulkId": "g",
         "data": {"displayName": f"B {uuid4()}", "members": [{"value": "bulkId:u"}]}},
        {"method": "DELETE", "path": f"/Users/{stranger['id']}"},
    ]  # fmt: skip
    done = await acme.ok("POST", "/Bulk", {"Operations": operations})
    assert [each["status"] for each in done["Operations"]] == ["201", "201", "404"]
    assert (await scim.ok("GET", f"/Users/{stranger['id']}"))["active"] is True


async def test_tokens_that_are_created_at_the_same_moment_count_each_other(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MAX_OF_ORGANIZATION", 2)
    organization = await an_organization()
    runs = [tokens.create(f"Token {number}", organization_id=organization.id) for number in range(6)]
    found = await asyncio.gather(*runs, return_exceptions=True)
    assert sorted(type(each).__name__ for each in found) == ["TooManyTokensError"] * 4 + ["tuple"] * 2
    await organizations.delete(organization.id)


async def test_the_last_administrator_of_an_organization_stays(acme: Customer) -> None:
    """As on the pages of the organization: nobody could manage it any more."""
    first, second = (await acme.user())["id"], (await acme.user())["id"]
    await organizations.set_admin(acme.organization.id, UUID(first), admin=True)
    path = f"/Users/{first}"
    assert await acme.refused("DELETE", path) == (409, None)
    assert (await acme.patch(path, OFF)).status_code == 409
    assert (await _user(first)).disabled_at is None
    assert await _organizations(first) == {acme.organization.id}
    await organizations.set_admin(acme.organization.id, UUID(second), admin=True)
    assert (await acme("DELETE", path)).status_code == 204
    assert (await acme.patch(f"/Users/{second}", OFF)).status_code == 409
