"""Passwords at a real OpenLDAP: who is let in, and what never reaches the directory."""

import base64
import secrets

import pytest

from idp.federation.errors import NotInAllowedOrganizationError, UpstreamUnavailableError
from idp.federation.ldap import entries
from idp.federation.ldap.authentication import FailedError, Verified, Wanted, verify
from idp.federation.ldap.connection import Connection
from idp.federation.ldap.logins import normalise
from idp.federation.ldap.options import read
from idp.federation.models import Upstream
from tests.federation.ldap.conftest import Configure, Make, Person
from tests.support.slapd import GROUPS, PEOPLE, Slapd, group, group_dn, needs_slapd

pytestmark = needs_slapd


async def check(upstream: Upstream, login: str, password: str) -> Verified | None:
    entered = normalise(login)
    return await verify([upstream], Wanted(entered) if entered else None, password)


@pytest.mark.parametrize("url", ["ldaps", "starttls", "plain"])
async def test_a_user_is_found_and_bound(configure: Configure, slapd: Slapd, ada: Person, url: str) -> None:
    options = {"ldaps": {}, "starttls": {"url": slapd.url}, "plain": {"url": slapd.url, "start_tls": "no"}}[url]
    upstream = configure(options=options)
    for login in (ada.uid, ada.uid.upper(), f" {ada.uid} ", ada.email.title()):
        found = await check(upstream, login, ada.password)
        assert found is not None
        assert found.person.issuer == upstream.issuer == f"ldap:{upstream.id}:entryuuid"
        assert (found.person.email, found.person.email_verified) == (ada.email, True)
        assert found.person.claims == {
            "name": "Ada Example", "family_name": "Example", "preferred_username": ada.uid
        }  # fmt: skip
    assert await check(upstream, ada.uid, ada.password + "x") is None
    assert await check(upstream, "u" + secrets.token_hex(9), ada.password) is None


async def test_by_a_linked_identity(configure: Configure, ada: Person, make_person: Make) -> None:
    """The user is found by the id, and still must match the filter of users."""
    upstream = configure()
    first = await check(upstream, ada.uid, ada.password)
    assert first is not None
    wanted = Wanted(subjects={upstream.issuer: first.person.subject})
    assert await verify([upstream], wanted, ada.password) == first._replace(
        person=first.person._replace(auth_time=pytest.approx(first.person.auth_time, abs=5))  # type: ignore[arg-type]
    )
    assert await verify([upstream], wanted, make_person().password) is None
    narrow = configure(id=upstream.id, options={"user_filter": "(&(objectClass=user)(title=Boss)(uid={login}))"})
    assert await verify([narrow], wanted, ada.password) is None


@pytest.mark.parametrize("password", ["", "\0", "x\0", "\ud800", "x" * 2000])
async def test_passwords_that_are_never_sent(configure: Configure, ada: Person, password: str) -> None:
    """An empty one would be an unauthenticated bind, which this directory lets in."""
    assert await check(configure(), ada.uid, password) is None


async def test_an_unauthenticated_bind_is_not_possible(configure: Configure, slapd: Slapd, ada: Person) -> None:
    directory = read(configure())
    connection = await Connection.open(directory.servers[0], directory.ca)
    for name, password in ((ada.dn, ""), ("", ada.password), ("", "")):
        with pytest.raises(ValueError, match="proves nothing"):
            await connection.bind(name, password)
    await connection.close()


INJECTIONS = [
    "*", "u*", "{uid}*", "{uid})(uid=*", "*)(uid=*))(|(uid=*", "{uid})(&", "{uid}\\2a", "\\2a", "{uid})(objectClass=*",
    "{uid}\0", "(uid={uid})", "uid={uid},ou=people,dc=example,dc=com", "{uid}\N{SOFT HYPHEN}", "{uid}  x", "{login}",
    "\\75\\69\\64", "{uid}\u200b", "",
]  # fmt: skip


@pytest.mark.parametrize("entered", INJECTIONS)
@pytest.mark.parametrize("options", [{}, {"user_filter": "(&(objectClass=user)(|(uid={login})(cn={login}*)))"}])
async def test_a_name_cannot_change_the_filter(
    configure: Configure, ada: Person, entered: str, options: dict[str, str]
) -> None:
    assert await check(configure(options=options), entered.replace("{uid}", ada.uid), ada.password) is None


async def test_special_characters_are_plain_values(configure: Configure, make_person: Make) -> None:
    uid = f"a*(b)\\c {secrets.token_hex(4)}"
    encoded = f": {base64.b64encode(uid.encode()).decode()}"
    someone = make_person(employeeNumber=encoded)
    upstream = configure(options={"login_attributes": "employeeNumber"})
    found = await check(upstream, uid, someone.password)
    assert found is not None
    assert found.person.claims["preferred_username"] == uid


async def test_nobody_if_there_are_two(configure: Configure, make_person: Make) -> None:
    shared = f"shared-{secrets.token_hex(4)}@example.com"
    for someone in (make_person(mail=shared), make_person(mail=shared)):
        assert await check(configure(), shared, someone.password) is None
        assert await check(configure(), someone.uid, someone.password) is not None


async def test_addresses(configure: Configure, make_person: Make) -> None:
    """Only those of the named domains are trusted. Of several, always the same."""
    other = make_person(mail="ada@elsewhere.example")
    found = await check(configure(), other.uid, other.password)
    assert found is not None
    assert (found.person.email, found.person.email_verified) == ("ada@elsewhere.example", False)
    several = make_person(mail=("a@elsewhere.example", "z@example.com", "b@example.com"))
    found = await check(configure(), several.uid, several.password)
    assert found is not None
    assert (found.person.email, found.person.email_verified) == ("b@example.com", True)
    none = make_person(mail=())
    found = await check(configure(), none.uid, none.password)
    assert found is not None
    assert (found.person.email, found.person.email_verified) == (None, False)
    found = await check(configure(trust_email=False), several.uid, several.password)
    assert found is not None
    assert not found.person.email_verified


GROUP_OPTIONS: list[tuple[dict[str, str], bool]] = [
    ({}, True),
    ({"group_name": "cn"}, False),
    ({"groups": "member"}, True),
    ({"groups": "member", "group_name": "cn"}, False),
]


@pytest.mark.parametrize(("options", "by_dn"), GROUP_OPTIONS)
async def test_groups(configure: Configure, slapd: Slapd, ada: Person, options: dict[str, str], by_dn: bool) -> None:
    names = {f"g{secrets.token_hex(4)}", f"g, {secrets.token_hex(4)}"}
    slapd.modify("".join(group(name, ada.uid) for name in names))
    upstream = configure(options=options | {"group_base_dn": GROUPS}, rules=[{"claim": "groups", "each": True}])
    found = await check(upstream, ada.uid, ada.password)
    assert found is not None
    given = set(found.person.proved["groups"])
    assert given == ({group_dn(name) for name in names} if by_dn else names)


async def test_posix_groups(configure: Configure, slapd: Slapd, ada: Person) -> None:
    name = f"p{secrets.token_hex(4)}"
    slapd.modify(f"dn: cn={name},{GROUPS}\nobjectClass: posixGroup\ncn: {name}\ngidNumber: 7\nmemberUid: {ada.uid}\n")
    options = {"groups": "memberUid", "group_base_dn": GROUPS, "group_name": "cn"}
    found = await check(configure(options=options, rules=[{"claim": "groups", "each": True}]), ada.uid, ada.password)
    assert found is not None
    assert found.person.proved == {"groups": (name,)}


async def test_required_claims(configure: Configure, slapd: Slapd, ada: Person) -> None:
    name = f"g{secrets.token_hex(4)}"
    upstream = configure(required_claims={"groups": (name,)}, options={"group_name": "cn"})
    with pytest.raises(FailedError) as refused:
        await check(upstream, ada.uid, ada.password)
    assert isinstance(refused.value.cause, NotInAllowedOrganizationError)
    assert await check(upstream, ada.uid, "wrong") is None
    slapd.modify(group(name, ada.uid))
    assert await check(upstream, ada.uid, ada.password) is not None


async def test_too_many_groups_are_unknown(configure: Configure, slapd: Slapd, ada: Person) -> None:
    prefix = secrets.token_hex(4)
    slapd.modify("".join(group(f"{prefix}-{number}", ada.uid) for number in range(501)))
    for options in ({}, {"groups": "member", "group_base_dn": GROUPS}):
        found = await check(
            configure(options=options, rules=[{"claim": "groups", "each": True}]), ada.uid, ada.password
        )
        assert found is not None
        assert "groups" not in found.person.proved


async def test_referrals_are_not_followed(configure: Configure, slapd: Slapd, ada: Person) -> None:
    name = secrets.token_hex(4)
    slapd.modify(
        f"dn: ou={name},{PEOPLE}\nobjectClass: referral\nobjectClass: extensibleObject\nou: {name}\n"
        f"ref: ldap://127.0.0.1:1/ou=elsewhere\n"
    )
    assert await check(configure(), ada.uid, ada.password) is not None
    assert await check(configure(), "u" + secrets.token_hex(9), ada.password) is None
    with pytest.raises(FailedError) as refused:
        await check(configure(options={"base_dn": f"ou={name},{PEOPLE}"}), ada.uid, ada.password)
    assert isinstance(refused.value.cause, UpstreamUnavailableError)


async def test_huge_entries(configure: Configure, make_person: Make) -> None:
    """Attributes that nobody asked for are not sent. Those that were are limited, and the others still sign in."""
    huge = make_person(description="x" * 3_000_000, title=["y" * 1000 + str(number) for number in range(5000)])
    assert await check(configure(), huge.uid, huge.password) is not None
    upstream = configure(rules=[{"claim": "title", "attribute": "job"}])
    for _ in range(3):
        with pytest.raises(FailedError) as refused:
            await check(upstream, huge.uid, huge.password)
        assert "bytes" in str(refused.value)
    other = make_person()
    assert await check(upstream, other.uid, other.password) is not None


async def test_a_wrong_bind_password_is_not_a_wrong_user_password(configure: Configure, ada: Person) -> None:
    with pytest.raises(FailedError) as refused:
        await check(configure(client_secret="wrong"), ada.uid, ada.password)
    assert isinstance(refused.value.cause, UpstreamUnavailableError)


async def test_locked_for_good(configure: Configure, ada: Person) -> None:
    """Of a server that lets the bind succeed all the same."""
    directory = read(configure())
    for name, value in (("nsaccountlock", b"TRUE"), ("pwdaccountlockedtime", b"000001010000Z")):
        entry = entries.Entry(ada.dn, {name: (value,)})
        assert entries.problem_of(directory, entry) is not None
