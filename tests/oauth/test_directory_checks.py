"""Users who are gone from their directory are disabled here, and only they."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from idp.accounts.tables import User
from idp.accounts.users import disable_user
from idp.admin.roles import Role, grant
from idp.federation import linking, registry
from idp.federation.errors import UpstreamUnavailableError
from idp.federation.ldap import repository
from idp.federation.ldap.authentication import Wanted, verify
from idp.federation.models import Upstream
from idp.infra.db.engine import execute, fetch, fetchrow, transaction
from idp.oauth import directory_checks
from idp.oauth.credentials import credentials_changed
from idp.oauth.directory_checks import Outcome, check
from idp.settings import settings
from tests.conftest import MakeUser
from tests.federation.ldap.conftest import Configure, Make, Person, configuration, configure, make_person
from tests.support.isolated import own_database
from tests.support.slapd import GROUPS, Slapd, group, group_dn, needs_slapd

__all__ = ["configure", "make_person", "own_database"]

pytestmark = needs_slapd

FILTER = {"user_filter": "(&(objectClass=inetOrgPerson)(!(employeeType=former)))"}
#: Creates a user of the directory who is linked to an account here.
Linked = Callable[..., Awaitable[tuple[User, Person]]]


@pytest.fixture
def slapd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slapd]:
    """A directory for one test, whose users are counted."""
    slapd = Slapd(tmp_path_factory.mktemp("slapd"))
    yield slapd
    slapd.stop()


@pytest.fixture
def upstream(own_database: str, configure: Configure) -> Upstream:
    return configure(options=FILTER)


@pytest.fixture
def linked(upstream: Upstream, make_person: Make, make_user: MakeUser) -> Linked:
    async def make(*, password: str | None = None, ago: int = 3600) -> tuple[User, Person]:
        person, user = make_person(), await make_user(password)
        found = await verify([upstream], Wanted(person.uid), person.password)
        assert found is not None
        async with transaction():
            await linking.import_identity(user.id, upstream.issuer, found.person.subject, upstream.id)
        await execute(
            "UPDATE identity SET created_at = now() - $2::interval WHERE user_id = $1", user.id, timedelta(seconds=ago)
        )
        return user, person

    return make


def leave(slapd: Slapd, *people: Person) -> None:
    for person in people:
        slapd.modify(f"dn: {person.dn}\nchangetype: modify\nreplace: employeeType\nemployeeType: former\n")


def come_back(slapd: Slapd, person: Person) -> None:
    slapd.modify(f"dn: {person.dn}\nchangetype: modify\ndelete: employeeType\n")


async def disabled_by(user: User) -> str | None:
    row = await fetchrow("SELECT disabled_at, disabled_by FROM users WHERE id = $1", user.id)
    assert row is not None
    return str(row["disabled_by"]) if row["disabled_at"] is not None else None


async def reasons(event: str, user: User) -> list[str]:
    rows = await fetch(
        "SELECT detail ->> 'reason' AS reason FROM audit_event WHERE event = $1 AND user_id = $2", event, user.id
    )
    return [row["reason"] for row in rows]


async def test_gone_and_back(slapd: Slapd, upstream: Upstream, linked: Linked) -> None:
    (stays, _), (goes, person) = await linked(), await linked()
    assert await check(upstream) == Outcome(2, 0, 0, 0, False)
    leave(slapd, person)
    assert await check(upstream, look_only=True) == Outcome(2, 1, 0, 0, False)
    assert await disabled_by(goes) is None
    assert await check(upstream) == Outcome(2, 1, 1, 0, False)
    assert (await disabled_by(goes), await disabled_by(stays)) == (upstream.origin, None)
    assert await reasons("user_disabled", goes) == ["directory"]
    assert await check(upstream) == Outcome(1, 0, 0, 0, False)
    come_back(slapd, person)
    assert await check(upstream) == Outcome(1, 0, 0, 1, False)
    assert await disabled_by(goes) is None


async def test_an_entry_that_was_deleted(slapd: Slapd, upstream: Upstream, linked: Linked) -> None:
    (stays, _), (goes, person) = await linked(), await linked()
    slapd.modify(f"dn: {person.dn}\nchangetype: delete\n")
    assert (await check(upstream)).disabled == 1
    assert (await disabled_by(goes), await disabled_by(stays)) == (upstream.origin, None)


async def test_who_is_left_alone(slapd: Slapd, upstream: Upstream, linked: Linked, make_user: MakeUser) -> None:
    """Users with a password here, who just signed in, of another directory, and whom an administrator disabled."""
    await linked()
    (own, first), (new, second), (barred, third) = await linked(password="x" * 12), await linked(ago=0), await linked()
    other = await make_user(None)
    async with transaction():
        await linking.import_identity(other.id, f"{upstream.issuer}x", "1", "another")
    await disable_user(barred.id, credentials_changed, keep_owner=False)
    leave(slapd, first, second, third)
    assert (await check(upstream, all_of_them=True)).disabled == 0
    assert [await disabled_by(one) for one in (own, new, other)] == [None] * 3
    come_back(slapd, third)
    await check(upstream)
    assert await disabled_by(barred) == "admin"


async def test_too_many_at_once(slapd: Slapd, upstream: Upstream, linked: Linked) -> None:
    """One user always may be gone. Of more the operator decides."""
    (first, one), (second, two), _ = await linked(), await linked(), await linked()
    leave(slapd, one, two)
    assert await check(upstream) == Outcome(3, 2, 0, 0, True)
    row = await fetchrow(
        "SELECT outcome FROM audit_event WHERE event = 'directory_check_stopped' AND detail ->> 'upstream' = $1",
        upstream.id,
    )
    assert row is not None
    assert row["outcome"] == "failure"
    assert await disabled_by(first) is None
    assert await check(upstream, all_of_them=True) == Outcome(3, 2, 2, 0, False)
    assert await disabled_by(second) == upstream.origin


async def test_nobody_is_disabled_by_an_outage(slapd: Slapd, upstream: Upstream, linked: Linked) -> None:
    user, person = await linked()
    leave(slapd, person)
    with pytest.raises(UpstreamUnavailableError, match="no users"):
        await check(upstream, all_of_them=True)
    slapd.stop()
    with pytest.raises(UpstreamUnavailableError):
        await check(upstream, all_of_them=True)
    assert await disabled_by(user) is None


async def test_the_last_owner_stays(slapd: Slapd, upstream: Upstream, linked: Linked) -> None:
    await linked()
    owner, person = await linked()
    async with transaction():
        await grant(owner.id, Role.OWNER)
    leave(slapd, person)
    assert await check(upstream) == Outcome(2, 1, 0, 0, False)
    assert await disabled_by(owner) is None


@pytest.fixture
async def other(own_database: str, slapd: Slapd) -> Upstream:
    """A second directory, which the server has stored. It is the first one, with a filter of its own."""
    options = {"user_filter": "(&(objectClass=inetOrgPerson)(!(title=left)))"}
    other = registry.configure(**configuration(slapd, options=options))
    assert await registry.add(other)
    return other


async def link(user: User, person: Person, upstream: Upstream) -> None:
    found = await verify([upstream], Wanted(person.uid), person.password)
    assert found is not None
    async with transaction():
        await linking.import_identity(user.id, upstream.issuer, found.person.subject, upstream.id)
    await execute("UPDATE identity SET created_at = now() - interval '1 hour' WHERE user_id = $1", user.id)


async def test_another_directory_has_the_user(
    slapd: Slapd, upstream: Upstream, other: Upstream, linked: Linked
) -> None:
    """Of two directories both must miss a user, and either of them lets the user in again."""
    assert await registry.add(upstream)
    (user, person), _ = await linked(), await linked()
    await link(user, person, other)
    leave(slapd, person)
    assert await check(upstream) == Outcome(2, 0, 0, 0, False)
    slapd.modify(f"dn: {person.dn}\nchangetype: modify\nadd: title\ntitle: left\n")
    assert (await check(other)).gone == 1
    assert await disabled_by(user) == other.origin
    come_back(slapd, person)
    assert (await check(other)).enabled == 0
    assert (await check(upstream)).enabled == 1
    assert await disabled_by(user) is None
    assert (await check(other)).disabled == 0


async def test_another_directory_that_does_not_count(
    slapd: Slapd, upstream: Upstream, other: Upstream, linked: Linked, tmp_path: Path
) -> None:
    """One that is down may have the user; one that is disabled lets nobody in."""
    (user, person), _ = await linked(), await linked()
    own = Slapd(tmp_path / "own")
    down = registry.configure(**configuration(own))
    assert await registry.add(down)
    own.stop()
    async with transaction():
        await linking.import_identity(user.id, down.issuer, "1", down.id)
    await link(user, person, other)
    await registry.disable(other.id)
    leave(slapd, person)
    assert await check(upstream) == Outcome(2, 0, 0, 0, False)
    await registry.disable(down.id)
    assert await check(upstream) == Outcome(2, 1, 1, 0, False)


async def test_who_does_not_meet_the_requirements(slapd: Slapd, upstream: Upstream, linked: Linked) -> None:
    """As at a sign-in: of attributes, and of groups, which are searched for."""
    people = [await linked() for _ in range(3)]
    strict = msgspec.structs.replace(
        upstream,
        required_claims={"employeeType": ("active",), "groups": ("staff",)},
        options=upstream.options | {"groups": "member", "group_base_dn": GROUPS, "group_name": "cn"},
    )
    for _, person in people[:2]:
        slapd.modify(f"dn: {person.dn}\nchangetype: modify\nadd: employeeType\nemployeeType: active\n")
    slapd.modify(group("staff", *(person.uid for _, person in people)))
    assert await check(strict) == Outcome(3, 1, 1, 0, False)
    assert [await disabled_by(user) for user, _ in people] == [None, None, upstream.origin]
    out, person = people[1]
    slapd.modify(f"dn: {group_dn('staff')}\nchangetype: modify\ndelete: member\nmember: {person.dn}\n")
    assert await check(strict) == Outcome(2, 1, 1, 0, False)
    assert await disabled_by(out) == upstream.origin
    slapd.modify(f"dn: {group_dn('staff')}\nchangetype: modify\nadd: member\nmember: {person.dn}\n")
    assert (await check(strict)).enabled == 1
    # Requirements that nobody meets are rather a mistake.
    nobody = msgspec.structs.replace(strict, required_claims={"employeeType": ("none",)})
    with pytest.raises(UpstreamUnavailableError, match="no users"):
        await check(nobody)


async def test_each_is_due_once(own_database: str, slapd: Slapd, monkeypatch: pytest.MonkeyPatch) -> None:
    """For one worker. One that did not answer is due again soon, and one that is disabled is not."""
    upstream = registry.configure(**configuration(slapd))
    assert await registry.add(upstream)
    with_it = registry.Upstreams()
    await with_it.load()
    monkeypatch.setattr(directory_checks, "upstreams", with_it)
    assert await repository.take_due(3600) == [upstream.id]
    assert await repository.take_due(3600) == []
    await repository.set_due(upstream.id, 0)
    # It has no users.
    assert await directory_checks.check_due() == 1
    row = await fetchrow("SELECT check_due_at - now() AS left FROM upstream WHERE id = $1", upstream.id)
    assert row is not None
    assert row["left"] <= timedelta(seconds=directory_checks.RETRY_SECONDS)
    await repository.set_due(upstream.id, 0)
    never = settings().model_copy(update={"directory_check_interval": 0})
    with monkeypatch.context() as patch:
        patch.setattr(directory_checks, "settings", lambda: never)
        assert await directory_checks.check_due() == 0
    await registry.disable(upstream.id)
    assert await repository.take_due(3600) == []
