"""The differences of Active Directory.

A slapd with its attributes shows objectGUID, flags, expiry and the primary group. A stand-in with the messages of a
real server shows error codes, ranges and the rule for nested groups, which slapd does not have. What no test here shows
is a real domain: its referrals to others, its password policies, and what it does with names such as EXAMPLE\\ada.
"""

import base64
import secrets
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest

from idp.federation.ldap import active_directory
from idp.federation.ldap.authentication import FailedError, Verified, Wanted, verify
from idp.federation.ldap.connection import Entry
from idp.federation.ldap.logins import normalise
from idp.federation.ldap.problems import AccountProblemError, Problem
from idp.federation.models import Upstream
from tests.federation.ldap.conftest import Configure, Make, Person
from tests.support.domain import NAME, PASSWORD, domain
from tests.support.slapd import GROUPS, Slapd, needs_slapd

TYPE = {"type": "active_directory"}


def encoded(value: bytes) -> str:
    return f": {base64.b64encode(value).decode()}"


def sid(*parts: int) -> bytes:
    """A security identifier of a domain or, with a last part, of an object in it."""
    return bytes([1, len(parts), 0, 0, 0, 0, 0, 5]) + b"".join(struct.pack("<I", part) for part in parts)


def filetime(at: datetime) -> str:
    return str(int((at - datetime(1601, 1, 1, tzinfo=UTC)).total_seconds()) * 10_000_000)


@pytest.fixture
def in_domain(make_person: Make) -> Callable[..., tuple[Person, UUID]]:
    """Create users with the attributes of a domain."""

    def make(**values: object) -> tuple[Person, UUID]:
        guid = uuid4()
        name = f"s{secrets.token_hex(5)}"
        given = {
            "objectGUID": encoded(guid.bytes_le), "sAMAccountName": name, "objectCategory": "person",
            "userPrincipalName": f"{name}@ad.example.com", "userAccountControl": "512", "accountExpires": "0",
        }  # fmt: skip
        someone = make_person(**(given | values))
        return Person(str((given | values)["sAMAccountName"]), someone.password), guid

    return make


async def check(upstream: Upstream, login: str, password: str) -> Verified | None:
    return await verify([upstream], Wanted(login), password)


@needs_slapd
async def test_names_and_the_id(configure: Configure, in_domain: Callable[..., tuple[Person, UUID]]) -> None:
    """The id is written as Microsoft's tools write it, and finds the user again."""
    someone, guid = in_domain()
    upstream = configure(options=TYPE)
    assert upstream.issuer.endswith(":objectguid")
    for login in (someone.uid, f"{someone.uid}@ad.example.com"):
        found = await check(upstream, login, someone.password)
        assert found is not None
        assert found.person.subject == str(guid)
        assert found.person.claims["preferred_username"] == someone.uid
    wanted = Wanted(subjects={upstream.issuer: str(guid)})
    assert await verify([upstream], wanted, someone.password) is not None
    assert await verify([upstream], Wanted(subjects={upstream.issuer: str(uuid4())}), someone.password) is None


@needs_slapd
@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"userAccountControl": "514"}, Problem.DISABLED),
        ({"userAccountControl": "66050"}, Problem.DISABLED),
        ({"accountExpires": filetime(datetime.now(UTC) - timedelta(minutes=1))}, Problem.EXPIRED),
        ({"accountExpires": filetime(datetime.now(UTC) + timedelta(days=1))}, None),
        ({"accountExpires": "9223372036854775807"}, None),
        ({"accountExpires": "9223372036854775806"}, None),
        ({"userAccountControl": "66048"}, None),
    ],
)
async def test_flags_and_expiry(
    configure: Configure, in_domain: Callable[..., tuple[Person, UUID]], values: dict[str, str], problem: Problem | None
) -> None:
    """Only the right password learns of it."""
    someone, _ = in_domain(**values)
    upstream = configure(options=TYPE)
    assert await check(upstream, someone.uid, "wrong") is None
    if problem is None:
        assert await check(upstream, someone.uid, someone.password) is not None
        return
    with pytest.raises(FailedError) as refused:
        await check(upstream, someone.uid, someone.password)
    assert isinstance(refused.value.cause, AccountProblemError)
    assert refused.value.cause.problem is problem


@needs_slapd
async def test_the_primary_group(
    configure: Configure, in_domain: Callable[..., tuple[Person, UUID]], slapd: Slapd
) -> None:
    domain = (21, secrets.randbits(32), secrets.randbits(32), secrets.randbits(32))
    name = f"Domain Users {secrets.token_hex(3)}"
    slapd.modify(
        f"dn: cn={name},{GROUPS}\nobjectClass: organizationalRole\nobjectClass: group\ncn: {name}\n"
        f"objectSid:{encoded(sid(*domain, 513))}\n"
    )
    someone, _ = in_domain(objectSid=encoded(sid(*domain, 1107)), primaryGroupID="513")
    upstream = configure(options=TYPE | {"group_base_dn": GROUPS}, rules=[{"claim": "groups", "each": True}])
    found = await check(upstream, someone.uid, someone.password)
    assert found is not None
    assert found.person.proved == {"groups": (f"cn={name},{GROUPS}",)}


@pytest.mark.parametrize(
    ("sids", "number"),
    [((), "513"), ((b"",), "513"), ((sid(21, 5)[:-1],), "513"), ((sid(21, 5),), "x"), ((sid(21, 5),), "4294967296")],
)
def test_a_malformed_primary_group(sids: tuple[bytes, ...], number: str) -> None:
    entry = Entry("cn=x", {"objectsid": sids, "primarygroupid": (number.encode(),)})
    assert active_directory.primary_group(entry) is None


# By the stand-in


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("532", Problem.PASSWORD_EXPIRED),
        ("773", Problem.PASSWORD_EXPIRED),
        ("533", Problem.DISABLED),
        ("701", Problem.EXPIRED),
        ("530", Problem.NOT_NOW),
        ("531", Problem.NOT_HERE),
        # A wrong password, an unknown user, and a locked account, which a wrong password finds out as well.
        ("52e", None),
        ("525", None),
        ("775", None),
        ("zzz", None),
    ],
)
async def test_codes(code: str, problem: Problem | None) -> None:
    async with domain(code=code) as running:
        if problem is None:
            assert await check(running.upstream, NAME, PASSWORD) is None
            return
        with pytest.raises(FailedError) as refused:
            await check(running.upstream, NAME, PASSWORD)
        assert isinstance(refused.value.cause, AccountProblemError)
        assert refused.value.cause.problem is problem


async def test_nested_groups() -> None:
    """The name of the user is a value of the filter. References to other domains are ignored."""
    async with domain() as running:
        found = await check(running.upstream, NAME, PASSWORD)
        assert found is not None
        assert found.person.proved == {"groups": ("cn=Staff,dc=example", "cn=All,dc=example")}
    assert r"(member:1.2.840.113556.1.4.1941:=cn=Ada \28x\29,dc=example)" in running.filters[-1]


async def test_a_range_of_groups_is_unknown() -> None:
    """Of more than 1500 values Active Directory sends the first ones only."""
    async with domain(attributes={"memberOf;range=0-1499": [b"cn=Staff,dc=example"]}) as running:
        upstream = running.upstream
        upstream = msgspec.structs.replace(upstream, options=upstream.options | {"groups": "memberOf"})
        found = await check(upstream, NAME, PASSWORD)
        assert found is not None
        assert "groups" not in found.person.proved


@pytest.mark.parametrize("value", [b"", b"x" * 15, b"x" * 17])
async def test_a_malformed_guid(value: bytes) -> None:
    async with domain(attributes={"objectGUID": [value]}) as running:
        assert await check(running.upstream, NAME, PASSWORD) is None
    async with domain(attributes={"objectGUID": [uuid4().bytes, uuid4().bytes]}) as running:
        assert await check(running.upstream, NAME, PASSWORD) is None


def test_the_spelling_of_a_name() -> None:
    assert normalise("  \uff21DA ") == "ada"
    assert normalise("a\0") is None
    assert normalise("x" * 300) is None
