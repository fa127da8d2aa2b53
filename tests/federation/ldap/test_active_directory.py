"""What Active Directory does differently.

A slapd with its attributes shows objectGUID, flags, expiry and the primary group. A stand-in with the messages of a
real server shows error codes, ranges and the rule for nested groups, which slapd does not have. What no test here shows
is a real domain: its referrals to others, its password policies, and what it does with names such as EXAMPLE\\ada.
"""

import asyncio
import base64
import secrets
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import sansldap

from idp.federation import registry
from idp.federation.ldap import active_directory, entries
from idp.federation.ldap.authentication import FailedError, Verified, Wanted, verify
from idp.federation.ldap.connection import Entry
from idp.federation.ldap.problems import AccountProblemError, Problem
from idp.federation.models import Upstream
from tests.federation.ldap.conftest import Configure, Make, Person
from tests.support.server import free_port
from tests.support.slapd import GROUPS, Slapd, needs_slapd

NAME = "of idp"
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


# A stand-in


@asynccontextmanager
async def domain(
    *, code: str = "", attributes: dict[str, list[bytes]] | None = None
) -> AsyncIterator[tuple[Upstream, list[str]]]:
    """A server with one user, ``ada``. A bind as her is refused with a code, if there is one.

    Yields an upstream for it, and the filters that it was asked for.
    """
    filters: list[str] = []
    own = {"sAMAccountName": [b"ada"], "objectGUID": [uuid4().bytes_le], "userAccountControl": [b"512"]}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = sansldap.LDAPServer()
        while data := await reader.read(65536):
            for message in session.receive(data):
                if isinstance(message, sansldap.BindRequest):
                    _bind(session, message, code)
                elif isinstance(message, sansldap.SearchRequest):
                    filters.append(str(message.filter))
                    _search(session, message, own | (attributes or {}))
            writer.write(session.data_to_send())
            await writer.drain()
        writer.close()

    port = free_port()
    async with await asyncio.start_server(serve, "127.0.0.1", port):
        options = TYPE | {
            "url": f"ldap://localhost:{port}",
            "start_tls": "no",
            "base_dn": "dc=example",
            "groups": "nested",
        }
        rules = ({"claim": "groups", "each": True},)
        yield (
            registry.configure(
                kind="ldap",
                id=f"ad-{secrets.token_hex(4)}",
                client_id="cn=idp",
                client_secret=NAME,
                options=options,
                rules=rules,
            ),
            filters,
        )


def _bind(session: sansldap.LDAPServer, message: sansldap.BindRequest, code: str) -> None:
    if message.name == "cn=idp" or not code:
        session.bind_response(message.message_id)
        return
    session.bind_response(
        message.message_id,
        result_code=sansldap.LDAPResultCode.INVALID_CREDENTIALS,
        diagnostics_message=f"80090308: LdapErr: DSID-0C090439, AcceptSecurityContext error, data {code}, v1\0",
    )


def _search(session: sansldap.LDAPServer, message: sansldap.SearchRequest, own: dict[str, list[bytes]]) -> None:
    if "1.2.840.113556.1.4.1941" in str(message.filter):
        for name in ("cn=Staff,dc=example", "cn=All,dc=example"):
            session.search_result_entry(message.message_id, name, [])
    elif "ada" in str(message.filter) or "objectGUID" in str(message.filter):
        given = [sansldap.PartialAttribute(name=name, values=values) for name, values in own.items()]
        session.search_result_entry(message.message_id, "cn=Ada (x),dc=example", given)
    session.search_result_reference(message.message_id, ["ldap://ForestDnsZones.example/DC=ForestDnsZones,dc=example"])
    session.search_result_done(message.message_id)


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
    async with domain(code=code) as (upstream, _):
        if problem is None:
            assert await check(upstream, "ada", "x") is None
            return
        with pytest.raises(FailedError) as refused:
            await check(upstream, "ada", "x")
        assert isinstance(refused.value.cause, AccountProblemError)
        assert refused.value.cause.problem is problem


async def test_nested_groups() -> None:
    """The name of the user is a value of the filter. References to other domains are ignored."""
    async with domain() as (upstream, filters):
        found = await check(upstream, "ada", "x")
        assert found is not None
        assert found.person.proved == {"groups": ("cn=Staff,dc=example", "cn=All,dc=example")}
    assert r"(member:1.2.840.113556.1.4.1941:=cn=Ada \28x\29,dc=example)" in filters[-1]


async def test_a_range_of_groups_is_unknown() -> None:
    """Of more than 1500 values Active Directory sends the first ones only."""
    async with domain(attributes={"memberOf;range=0-1499": [b"cn=Staff,dc=example"]}) as (upstream, _):
        options = upstream.options | {"groups": "memberOf"}
        changed = registry.configure(
            kind="ldap", id=upstream.id, client_id="cn=idp", client_secret=NAME, options=options, rules=upstream.rules
        )
        found = await check(changed, "ada", "x")
        assert found is not None
        assert "groups" not in found.person.proved


@pytest.mark.parametrize("value", [b"", b"x" * 15, b"x" * 17])
async def test_a_malformed_guid(value: bytes) -> None:
    async with domain(attributes={"objectGUID": [value]}) as (upstream, _):
        assert await check(upstream, "ada", "x") is None
    async with domain(attributes={"objectGUID": [uuid4().bytes, uuid4().bytes]}) as (upstream, _):
        assert await check(upstream, "ada", "x") is None


def test_the_spelling_of_a_name() -> None:
    assert entries.login("  \uff21DA ") == "ada"
    assert entries.login("a\0") is None
    assert entries.login("x" * 300) is None
