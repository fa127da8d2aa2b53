"""Just-in-time provisioning: what the claims of an upstream give at each sign-in, and what they take."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idp.accounts.attributes import service as attributes
from idp.accounts.tables import User
from idp.directory import groups, roles
from idp.directory.models import Group
from idp.federation import provisioning, registry, rules
from idp.federation.errors import InvalidUpstreamError
from idp.federation.linking import ExternalIdentity
from idp.federation.models import Rule, Upstream
from idp.federation.registry import upstreams
from idp.infra.db.engine import execute, fetch, fetchrow, transaction
from tests.federation.conftest import Add, sign_in, until_offered
from tests.support.attributes import Declare, declare
from tests.support.browser import Browser, as_page
from tests.support.directory import a_group, a_role
from tests.support.mailbox import Mailbox
from tests.support.oauth import PASSWORD
from tests.support.server import Server
from tests.support.stand_ins import GitHub, OpenIDProvider

__all__ = ["declare"]

Apply = Callable[..., Awaitable[None]]


async def memberships(user_id: UUID) -> set[tuple[UUID, str]]:
    """The groups and roles that a user was given, with the origins. Rows of deleted groups are deleted later."""
    rows = await fetch(
        "SELECT m.group_id AS id, m.origin FROM group_member AS m JOIN groups AS g ON g.id = m.group_id"
        " WHERE m.user_id = $1"
        " UNION ALL SELECT role_id, origin FROM user_role WHERE user_id = $1",
        user_id,
    )
    return {(row["id"], row["origin"]) for row in rows}


async def events_of(user_id: UUID) -> list[str]:
    rows = await fetch("SELECT event FROM audit_event WHERE user_id = $1 ORDER BY id", user_id)
    return [row["event"] for row in rows if row["event"].startswith(("group_", "user_role", "provisioning", "attrib"))]


async def user_of(sub: str) -> UUID:
    row = await fetchrow("SELECT user_id FROM identity WHERE subject = $1", sub)
    assert row is not None
    return UUID(str(row["user_id"]))


async def again(browser: Browser, upstream: Upstream) -> None:
    browser.cookies.clear()
    await sign_in(browser, upstream)
    assert browser.signed_in


def rule(**values: Any) -> dict[str, Any]:
    return {"claim": "groups"} | {name: str(value) for name, value in values.items()}


@pytest.fixture
async def apply(add: Add, alice: User) -> AsyncIterator[Apply]:
    """Provision Alice by an upstream that this process knows, with the claims of a sign-in."""

    async def make(upstream: Upstream, *, complete: bool = True, **claims: Any) -> None:
        await upstreams.load()
        proved = dict(rules.read(upstreams.get(upstream.id).rules, claims, complete=complete))  # type: ignore[union-attr]
        async with transaction():
            await provisioning.apply(
                alice.id, ExternalIdentity(upstream.id, upstream.issuer, "x", None, False, {}, proved=proved)
            )

    yield make
    upstreams._by_id.clear()


# Sign-ins


async def test_each_sign_in_gives_and_takes(
    browser: Browser, provider: OpenIDProvider, add: Add, declare: Declare, server: Server
) -> None:
    """Groups, roles and an attribute, at the first sign-in and at later ones."""
    staff, admins, editor = await a_group(), await a_group(), await a_role()
    department = await declare()
    upstream = await add(
        issuer=provider.issuer,
        trust_email=True,
        rules=[
            rule(equals="staff-id", group=staff.name),
            {"claim": "realm_access.roles", "prefix": "edit", "role": editor.name},
            {"claim": "groups", "each": True, "prefix": "idp-"},
            {"claim": "department", "attribute": department.name},
        ],
    )
    provider.person.more = {
        "groups": ["staff-id", f"idp-{admins.name}", "idp-nothing", 7, {}],
        "realm_access": {"roles": ["editor"]},
        "department": "Optics",
    }
    await sign_in(browser, upstream)
    assert browser.signed_in
    user_id = await user_of(provider.person.sub)
    origin = f"upstream:{upstream.id}"
    assert await memberships(user_id) == {(staff.id, origin), (admins.id, origin), (editor.id, origin)}
    assert await attributes.values(user_id) == {department.name: "Optics"}
    given = ["group_member_added", "group_member_added", "user_role_granted", "attributes_changed"]
    assert await events_of(user_id) == given

    version = await fetchrow("SELECT directory_version FROM users WHERE id = $1", user_id)
    await again(browser, upstream)
    assert await fetchrow("SELECT directory_version FROM users WHERE id = $1", user_id) == version
    assert await events_of(user_id) == given

    provider.person.more = {"groups": ["staff-id"], "realm_access": {"roles": []}, "department": []}
    await again(browser, upstream)
    assert await memberships(user_id) == {(staff.id, origin)}
    assert await attributes.values(user_id) == {}
    provider.person.more = {}
    await again(browser, upstream)
    assert await memberships(user_id) == set()


async def test_without_the_rule_what_it_gave_goes(
    browser: Browser, provider: OpenIDProvider, add: Add, server: Server
) -> None:
    group = await a_group()
    upstream = await add(issuer=provider.issuer, trust_email=True, rules=[rule(equals="x", group=group.id)])
    provider.person.more = {"groups": "x"}
    await sign_in(browser, upstream)
    user_id = await user_of(provider.person.sub)
    assert await memberships(user_id) == {(group.id, upstream.origin)}
    await registry.update(upstream.id, rules=())
    # The name tells that the server knows the change.
    other = await add(issuer=provider.issuer)
    await until_offered(server.issuer, other.id)
    await again(browser, upstream)
    assert await memberships(user_id) == set()


async def test_claims_that_are_in_userinfo_only(browser: Browser, provider: OpenIDProvider, add: Add) -> None:
    """Also if the ID token has the address."""
    group = await a_group()
    upstream = await add(issuer=provider.issuer, trust_email=True, rules=[rule(equals="x", group=group.id)])
    provider.claims = {"groups": None}
    provider.person.more = {"groups": ["x"]}
    await sign_in(browser, upstream)
    user_id = await user_of(provider.person.sub)
    assert await memberships(user_id) == {(group.id, upstream.origin)}
    for status, body in ((403, "{}"), (500, "{}"), (200, "nonsense")):
        provider.userinfo = (status, "application/json", body)
        await again(browser, upstream)
        assert await memberships(user_id) == {(group.id, upstream.origin)}
        assert (await events_of(user_id))[-1] == "provisioning_incomplete"


async def test_an_identity_that_is_linked_by_the_sign_in(
    browser: Browser, provider: OpenIDProvider, add: Add, alice: User, mailbox: Mailbox
) -> None:
    """The claims wait in the flow until the account is proved."""
    await execute("UPDATE users SET email_verified = true WHERE id = $1", alice.id)
    group = await a_group()
    upstream = await add(issuer=provider.issuer, trust_email=True, rules=[rule(equals="x", group=group.id)])
    provider.person.email, provider.person.more = alice.email, {"groups": ["x", "y\u0000", "\ud800"]}
    page = as_page(await sign_in(browser, upstream))
    assert await memberships(alice.id) == set()
    await browser.sign_in(page, alice.email, PASSWORD)
    assert browser.signed_in
    assert await memberships(alice.id) == {(group.id, upstream.origin)}


async def test_unlinking_takes_what_the_upstream_gave(
    browser: Browser, provider: OpenIDProvider, add: Add, mailbox: Mailbox
) -> None:
    """Otherwise it would stay for ever: no later sign-in takes it."""
    group, other = await a_group(), await a_group()
    upstream = await add(issuer=provider.issuer, trust_email=True, rules=[rule(equals="x", group=group.id)])
    provider.person.more = {"groups": ["x"]}
    await sign_in(browser, upstream)
    user_id = await user_of(provider.person.sub)
    await groups.add_members(other.id, [user_id])
    page = as_page(await browser.get("/account/security"))
    found = re.search(r'href="(/account/upstreams/[^"]+/unlink)"', page.text)
    assert found is not None
    await browser.submit(as_page(await browser.get(found[1])), "ask-confirm")
    assert await memberships(user_id) == {(other.id, "admin")}


async def test_github(browser: Browser, github: GitHub, add: Add) -> None:
    """Organizations and teams, which are read from its API."""
    one, two = await a_group(), await a_group()
    upstream = await add(
        kind="github",
        issuer=github.url,
        rules=[
            {"claim": "organizations", "equals": "ours", "group": str(one.id)},
            {"claim": "teams", "equals": "ours/core", "group": str(two.id)},
        ],
    )
    github.person.organizations, github.person.teams = {"ours": "active", "theirs": "pending"}, ["ours/core"]
    await sign_in(browser, upstream)
    (row,) = await fetch("SELECT user_id FROM identity WHERE issuer = $1", github.url)
    assert await memberships(row["user_id"]) == {(one.id, upstream.origin), (two.id, upstream.origin)}
    github.person.organizations = {"ours": "pending"}
    github.person.teams = None
    await again(browser, upstream)
    assert await memberships(row["user_id"]) == {(two.id, upstream.origin)}
    github.person.teams = []
    await again(browser, upstream)
    assert await memberships(row["user_id"]) == set()
    with pytest.raises(InvalidUpstreamError):
        await add(kind="github", issuer=github.url, rules=[rule(equals="x", group=one.id)])


# What is given


async def test_what_others_gave_stays(add: Add, apply: Apply, alice: User) -> None:
    both, mine = await a_group(alice), await a_role()
    one = await add(
        issuer="https://one.example", rules=[rule(equals="x", group=both.id), rule(equals="x", role=mine.id)]
    )
    two = await add(issuer="https://two.example", rules=[rule(equals="x", role=mine.id)])
    await apply(one, groups=["x"])
    await apply(two, groups=["x"])
    assert await memberships(alice.id) == {(both.id, "admin"), (mine.id, one.origin)}
    await apply(two, groups=[])
    assert await memberships(alice.id) == {(both.id, "admin"), (mine.id, one.origin)}
    await apply(one, groups=[])
    assert await memberships(alice.id) == {(both.id, "admin")}


async def test_what_is_deleted_is_skipped(add: Add, apply: Apply, alice: User) -> None:
    """And does not stop a change of the upstream that leaves its rules as they are."""
    group, role, left = await a_group(), await a_role(), await a_group()
    targets = [rule(equals="x", group=group.id), rule(equals="x", role=role.id), rule(equals="x", group=left.id)]
    upstream = await add(issuer="https://one.example", rules=targets)
    await groups.delete(group.id)
    await roles.delete(role.id)
    await apply(upstream, groups=["x"])
    assert await memberships(alice.id) == {(left.id, upstream.origin)}
    await registry.update(upstream.id, name="Renamed")
    with pytest.raises(InvalidUpstreamError):
        await registry.update(upstream.id, rules=[rule(equals="y", group=group.id)])


async def test_groups_elsewhere_change_nothing(add: Add, apply: Apply, alice: User) -> None:
    """Entra ID names the claim, and sends no values, for users of too many groups."""
    one, two = await a_group(), await a_group()
    each = {"claim": "groups", "each": True}
    upstream = await add(issuer="https://one.example", rules=[rule(equals="x", group=one.id), each])
    await apply(upstream, groups=["x", two.name])
    for claims in ({"_claim_names": {"groups": "src1"}}, {"hasgroups": True}):
        await apply(upstream, **claims)
        assert len(await memberships(alice.id)) == 2
    await apply(upstream, complete=False)
    assert len(await memberships(alice.id)) == 2
    await apply(upstream, groups=[str(number) for number in range(rules.MAX_VALUES + 1)])
    assert len(await memberships(alice.id)) == 2
    assert (await events_of(alice.id)).count("provisioning_incomplete") == 4
    await apply(upstream)
    assert await memberships(alice.id) == set()


async def test_too_many_groups_change_nothing(
    add: Add, apply: Apply, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [await a_group() for _ in range(3)]
    upstream = await add(issuer="https://one.example", rules=[{"claim": "groups", "each": True}])
    await apply(upstream, groups=[found[0].name])
    monkeypatch.setattr(provisioning, "MAX_GROUPS", 2)
    await apply(upstream, groups=[group.name for group in found])
    assert await memberships(alice.id) == {(found[0].id, upstream.origin)}
    await apply(upstream, groups=[group.name for group in found[1:]])
    assert await memberships(alice.id) == {(group.id, upstream.origin) for group in found[1:]}


async def test_a_name_is_exact(add: Add, apply: Apply, alice: User) -> None:
    """Names that are one here may be two there. A value is no longer than a name."""
    group = await groups.create(f"Ädmins {secrets.token_hex(6)}")
    upstream = await add(
        issuer="https://one.example", rules=[{"claim": "groups", "each": True, "group_prefix": group.name[:3]}]
    )
    rest = group.name[3:]
    wide = "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in rest)
    await apply(upstream, groups=[rest.upper(), wide, f"{rest} ", f"\u200b{rest}", group.name, rest * 50])
    assert await memberships(alice.id) == set()
    await apply(upstream, groups=[rest])
    assert await memberships(alice.id) == {(group.id, upstream.origin)}


async def test_attributes(add: Add, apply: Apply, alice: User, declare: Declare) -> None:
    """A value that an attribute refuses leaves it."""
    number, several, flag = await declare("integer"), await declare(multivalued=True), await declare("boolean")
    upstream = await add(
        issuer="https://one.example",
        rules=[
            {"claim": "number", "attribute": number.name},
            {"claim": "groups", "prefix": "cost-", "attribute": several.name},
            {"claim": "https://one.example/flag", "attribute": flag.name},
        ],
    )
    true = {"https://one.example/flag": True}
    await apply(upstream, **{"number": "12", "groups": ["cost-1", "x", "cost-2"], **true})
    values = {number.name: 12, several.name: ["cost-1", "cost-2"], flag.name: True}
    assert await attributes.values(alice.id) == values
    await apply(upstream, **{"number": ["1", "2"], "groups": [f"cost-{n}" for n in range(51)], **true})
    assert await attributes.values(alice.id) == values
    assert (await events_of(alice.id))[-1] == "provisioning_incomplete"
    await apply(upstream, number="12", _claim_names={"groups": "src1"})
    assert await attributes.values(alice.id) == {number.name: 12, several.name: ["cost-1", "cost-2"]}
    await registry.update(upstream.id, rules=())
    await apply(upstream)
    assert await attributes.values(alice.id) == {}


async def test_values_that_others_set_stay(add: Add, apply: Apply, alice: User, declare: Declare) -> None:
    one, two = await declare(), await declare()
    upstream = await add(
        issuer="https://one.example",
        rules=[{"claim": "one", "attribute": one.name}, {"claim": "two", "attribute": two.name}],
    )
    await attributes.change(alice.id, {one.name: "mine"})
    await apply(upstream, one="theirs", two="theirs")
    assert await attributes.values(alice.id) == {one.name: "mine", two.name: "theirs"}
    await attributes.change(alice.id, {two.name: "mine"})
    await apply(upstream)
    assert await attributes.values(alice.id) == {one.name: "mine", two.name: "mine"}
    await attributes.change(alice.id, {one.name: None})
    await apply(upstream, one="theirs")
    assert await attributes.values(alice.id) == {one.name: "theirs", two.name: "mine"}


async def test_groups_are_given_while_they_are_deleted(add: Add, apply: Apply, alice: User) -> None:
    """A sign-in does not fail."""
    made = [await a_group() for _ in range(6)]
    upstream = await add(issuer="https://one.example", rules=[{"claim": "groups", "each": True}])
    await apply(upstream)
    names = [group.name for group in made]
    await asyncio.gather(
        *(apply(upstream, groups=names[: number % 7]) for number in range(12)),
        *(groups.delete(group.id) for group in made),
    )
    await apply(upstream, groups=names)
    assert await memberships(alice.id) == set()


# Which rules are valid


@pytest.mark.parametrize(
    "rule",
    [
        {"equals": "x", "group": "none of this name"},
        {"equals": "x", "role": "none of this name"},
        {"attribute": "none"},
        {"equals": "x"},
        {"group": "g"},
        {"each": True, "group": "g"},
        {"each": True, "equals": "x"},
        {"equals": "x", "prefix": "x", "group": "g"},
        {"equals": "x", "group": "g", "role": "r"},
        {"equals": "", "group": "g"},
        {"equals": "x" * 201, "group": "g"},
        {"equals": "x\n", "group": "g"},
        {"equals": "x", "group": "g", "group_prefix": "y"},
        {"equals": "x", "group": "g", "client_id": "y"},
        {"equals": "x", "group": "g", "other": 1},
        {"equals": "x", "group": "g", "claim": "a b"},
        {"equals": "x", "group": "g", "claim": ""},
    ],
    ids=str,
)
async def test_invalid_rules(db: str, rule: dict[str, Any]) -> None:
    values = {"id": "never", "name": "Never", "issuer": "https://one.example", "client_id": "x"}

    async def add() -> None:
        await registry.add(registry.configure(**values, rules=[{"claim": "groups"} | rule]))

    with pytest.raises(InvalidUpstreamError):
        await add()


async def test_a_role_of_an_organization_is_refused(db: str, add: Add) -> None:
    from idp.directory import organizations

    organization = await organizations.create(f"o-{secrets.token_hex(6)}", "O")
    role = await roles.create("editor", organization_id=organization.id)
    with pytest.raises(InvalidUpstreamError):
        await add(issuer="https://one.example", rules=[rule(equals="x", role=role.id)])


# Any rules and claims

_VALUES = st.sampled_from(["a", "b", "ab", "p-a", "p-b", "p-", "", "1", 1, True, None])
_CLAIM = st.one_of(st.just("absent"), _VALUES, st.lists(_VALUES, max_size=6))
_MATCH = st.one_of(
    st.fixed_dictionaries({"equals": st.sampled_from(["a", "p-a", "1", "true"])}),
    st.fixed_dictionaries({"prefix": st.sampled_from(["a", "p-"])}),
)
_RULE = st.one_of(
    st.tuples(st.sampled_from(["one", "two"]), _MATCH, st.integers(0, 3)),
    st.tuples(
        st.sampled_from(["one", "two"]), st.sampled_from([{"each": True}, {"each": True, "prefix": "p-"}]), st.none()
    ),
)


def _expected(
    made: dict[str, Group], chosen: list[tuple[str, dict[str, Any], int | None]], claims: dict[str, Any]
) -> set[UUID]:
    """What the rules say, as the documentation does."""
    found = set()
    for claim, match, target in chosen:
        value = claims.get(claim)
        for text in (
            str(one).lower() for one in (value if isinstance(value, list) else [value]) if one not in (None, "")
        ):
            if text != match.get("equals", text) or not text.startswith(match.get("prefix", "")):
                continue
            if target is not None:
                found.add(list(made.values())[target].id)
            elif (name := text[len(match.get("prefix", "")) :]) in made:
                found.add(made[name].id)
    return found


@settings(max_examples=40)
@given(
    chosen=st.lists(_RULE, max_size=4),
    claims=st.lists(st.fixed_dictionaries({"one": _CLAIM, "two": _CLAIM}), min_size=1, max_size=3),
    by_admin=st.integers(0, 3),
)
async def test_the_memberships_are_those_of_the_last_sign_in(
    db: str, alice: User, chosen: list[Any], claims: list[dict[str, Any]], by_admin: int
) -> None:
    """And those of an administrator, whatever the claims were before."""
    tag = secrets.token_hex(6)
    names = ["a", "b", "1", "p-a"]
    made = {name: await groups.create(f"{tag}{name}") for name in names}
    admins = made[names[by_admin]]
    await groups.add_members(admins.id, [alice.id])
    upstream = Upstream(
        id="up", kind="oidc", name="Up", issuer="https://one.example", client_id="x",
        rules=tuple(
            Rule(claim=claim, **match, group_prefix=tag)
            if target is None
            else Rule(claim=claim, **match, group=str(made[names[target]].id))
            for claim, match, target in chosen
        ),
    )  # fmt: skip
    upstreams._by_id["up"] = upstream
    try:
        for each in claims:
            sent = {name: value for name, value in each.items() if value != "absent"}
            identity = ExternalIdentity("up", "i", "s", None, False, {}, proved=dict(rules.read(upstream.rules, sent)))
            async with transaction():
                await provisioning.apply(alice.id, identity)
            expected = {(group, upstream.origin) for group in _expected(made, chosen, sent) - {admins.id}}
            assert await memberships(alice.id) == expected | {(admins.id, "admin")}
    finally:
        upstreams._by_id.clear()
        await execute("DELETE FROM groups WHERE id = ANY ($1)", [group.id for group in made.values()])
