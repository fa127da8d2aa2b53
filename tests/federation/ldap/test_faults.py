"""A directory that is down, slow, or not what it should be."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idp.errors import OverloadedError
from idp.federation.errors import UpstreamUnavailableError
from idp.federation.ldap import census, pool
from idp.federation.ldap import connection as connections
from idp.federation.ldap.authentication import FailedError, Wanted, verify
from idp.federation.ldap.connection import Connection
from idp.federation.ldap.options import Server, read
from idp.federation.ldap.pool import pool_of
from tests.federation.ldap.conftest import Configure, Make, Person
from tests.support.server import free_port
from tests.support.slapd import Slapd, certificates, context, needs_slapd

pytestmark = needs_slapd

Patch = pytest.MonkeyPatch


@pytest.fixture
def own(tmp_path: Path) -> "AsyncIterator[Slapd]":
    """A directory that the test may stop."""
    slapd = Slapd(tmp_path / "slapd")
    yield slapd  # type: ignore[misc]
    slapd.stop()


def refused(error: pytest.ExceptionInfo[FailedError]) -> str:
    assert isinstance(error.value.cause, UpstreamUnavailableError)
    return str(error.value)


async def test_another_authority(configure: Configure, ada: Person) -> None:
    with pytest.raises(FailedError) as error:
        await verify([configure(options={"ca": certificates()[0]})], Wanted(ada.uid), ada.password)
    assert "certificate" in refused(error)


async def test_without_an_authority(configure: Configure, ada: Person) -> None:
    """Those of the system do not know this one."""
    with pytest.raises(FailedError) as error:
        await verify([configure(options={"ca": ""})], Wanted(ada.uid), ada.password)
    assert "certificate" in refused(error)


@pytest.mark.parametrize("start_tls", [False, True])
async def test_the_certificate_of_another_host(configure: Configure, slapd: Slapd, start_tls: bool) -> None:
    """The address is in the certificate, this name of it is not."""
    port = slapd.port if start_tls else slapd.tls_port
    server = Server("ldap://127.0.0.2", "127.0.0.2", port, not start_tls, start_tls)
    relay = await asyncio.start_server(_to(port), "127.0.0.2", port)
    async with relay:
        with pytest.raises(UpstreamUnavailableError, match="certificate"):
            await Connection.open(server, slapd.ca)


def _to(port: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], "asyncio.Future[None]"]:
    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, back), copy(there, writer), return_exceptions=True)

    return relay  # type: ignore[return-value]


async def test_start_tls_that_is_refused(configure: Configure, tmp_path: Path) -> None:
    """As by a server without TLS, or by who removes it on the way. Nothing else is sent then."""
    plain = Slapd(tmp_path / "plain", tls=False)
    try:
        with pytest.raises(FailedError) as error:
            await verify([configure(plain, options={"url": plain.url})], Wanted("x"), "y")
        assert "StartTLS" in refused(error)
    finally:
        plain.stop()


@asynccontextmanager
async def stand_in(*answers: bytes, tls: Path | None = None) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that sends one answer for each read, and keeps what it read."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            data = await reader.read(65536)
            if not data:
                break
            heard.append(data)
            writer.write(answer)
            await writer.drain()
        heard.append(await reader.read(65536))
        writer.close()

    port = free_port()
    async with await asyncio.start_server(serve, "127.0.0.1", port, ssl=context(tls) if tls else None):
        yield port, heard


#: An ExtendedResponse of success to the first message, and a BindResponse of success to the second.
STARTED = bytes.fromhex("300c02010178070a010004000400")
BOUND = bytes.fromhex("300c02010261070a010004000400")


async def test_plain_text_behind_the_response_to_start_tls(slapd: Slapd) -> None:
    """It is dropped, so that it is not taken for a part of the protected connection."""
    async with stand_in(STARTED + BOUND, b"no TLS") as (port, heard):
        server = Server(f"ldap://localhost:{port}", "localhost", port, False, True)
        with pytest.raises(UpstreamUnavailableError):
            await Connection.open(server, slapd.ca)
    assert b"password" not in b"".join(heard)


async def test_plain_text_only_on_this_machine(configure: Configure, monkeypatch: Patch, slapd: Slapd) -> None:
    """By the address that the connection has, whatever its name is."""
    directory = read(configure(options={"url": slapd.url, "start_tls": "no"}))
    monkeypatch.setattr("idp.infra.outbound_streams.Stream.is_loopback", False)
    with pytest.raises(UpstreamUnavailableError, match="must use TLS"):
        await Connection.open(directory.servers[0], None)


async def test_an_address_that_the_guard_forbids(configure: Configure, monkeypatch: Patch) -> None:
    from idp.settings import settings

    monkeypatch.setenv("IDP_OUTBOUND_ALLOWED_HOSTS", "example.com")
    settings.cache_clear()
    try:
        directory = read(configure())
        with pytest.raises(UpstreamUnavailableError, match="no public address"):
            await Connection.open(directory.servers[0], directory.ca)
    finally:
        monkeypatch.undo()
        settings.cache_clear()


async def test_down_and_up_again(configure: Configure, make_person: Make, own: Slapd, monkeypatch: Patch) -> None:
    """While it is known to be down, nobody waits for it. Later one attempt finds out that it is up."""
    someone, upstream = make_person(own), configure(own)
    assert await verify([upstream], Wanted(someone.uid), someone.password)
    own.stop()
    with pytest.raises(FailedError):
        await verify([upstream], Wanted(someone.uid), someone.password)
    with pytest.raises(FailedError) as error:
        await verify([upstream], Wanted(someone.uid), someone.password)
    assert "a moment ago" in refused(error)
    own.start()
    monkeypatch.setattr(pool_of(read(upstream)), "_closed_until", 0.0)
    assert await verify([upstream], Wanted(someone.uid), someone.password)


async def test_a_directory_that_does_not_answer(
    configure: Configure, make_person: Make, own: Slapd, monkeypatch: Patch
) -> None:
    """The first sign-in waits for the limits; then the directory counts as down."""
    someone, upstream = make_person(own), configure(own)
    assert await verify([upstream], Wanted(someone.uid), someone.password)
    own.pause()
    monkeypatch.setattr(connections, "OPERATION_SECONDS", 0.3)
    monkeypatch.setattr(connections, "CONNECT_SECONDS", 0.3)
    for expected in ("within", "a moment ago"):
        with pytest.raises(FailedError) as error:
            await verify([upstream], Wanted(someone.uid), someone.password)
        assert expected in refused(error)
    own.go_on()


async def test_killed_during_a_sign_in(configure: Configure, make_person: Make, own: Slapd, monkeypatch: Patch) -> None:
    someone, upstream = make_person(own), configure(own)
    bind = Connection.bind

    async def killing(self: Connection, dn: str, password: str) -> object:
        if dn == someone.dn:
            own.stop()
        return await bind(self, dn, password)

    monkeypatch.setattr(Connection, "bind", killing)
    with pytest.raises(FailedError) as error:
        await verify([upstream], Wanted(someone.uid), someone.password)
    refused(error)


async def test_another_server_takes_over(configure: Configure, make_person: Make, own: Slapd, slapd: Slapd) -> None:
    """Also while a connection to the first one is open. The user is the same by what both servers store."""
    uid = make_person(own, employeeNumber="17").uid
    options = {"url": f"{own.ldaps} {slapd.ldaps}", "ca": own.ca + slapd.ca, "id_attribute": "employeeNumber"}
    there = make_person(employeeNumber="17")
    upstream = configure(options=options)
    assert await verify([upstream], Wanted(uid), "wrong") is None
    own.stop()
    found = await verify([upstream], Wanted(there.uid), there.password)
    assert found is not None
    assert found.person.subject == "17"


async def test_one_of_two_directories_is_down(configure: Configure, ada: Person, own: Slapd) -> None:
    """Users of the other one sign in. Whether the rest exists is unknown."""
    here, down = configure(), configure(own)
    own.stop()
    for order in ([here, down], [down, here]):
        assert await verify(order, Wanted(ada.uid), ada.password)
        assert await verify(order, Wanted(ada.uid), "wrong") is None
        with pytest.raises(FailedError) as error:
            await verify(order, Wanted("u" + secrets.token_hex(9)), ada.password)
        assert error.value.upstream == down


async def test_few_connections(configure: Configure, ada: Person, monkeypatch: Patch) -> None:
    monkeypatch.setattr(pool, "WAIT_SECONDS", 0.05)
    upstream = configure()
    lent = [pool_of(read(upstream)).connection() for _ in range(pool.MAX_CONNECTIONS)]
    for one in lent:
        await one.__aenter__()
    with pytest.raises(OverloadedError):
        await verify([upstream], Wanted(ada.uid), ada.password)
    for one in lent:
        await one.__aexit__(None, None, None)
    assert await verify([upstream], Wanted(ada.uid), ada.password)


async def test_a_connection_that_is_lent_when_its_pool_closes(configure: Configure, monkeypatch: Patch) -> None:
    """As after a change of the configuration: it is closed when it comes back."""
    closed, close = [], Connection.close

    async def noted(connection: Connection) -> None:
        closed.append(connection)
        await close(connection)

    monkeypatch.setattr(Connection, "close", noted)
    old = pool_of(read(configure()))
    async with old.connection() as lent:
        await old.close()
        assert closed == []
    assert closed == [lent]


async def test_many_at_once(configure: Configure, ada: Person) -> None:
    """A connection is not left bound as the user that it verified."""
    upstream = configure()
    passwords = [ada.password, "wrong"] * 20
    found = await asyncio.gather(*(verify([upstream], Wanted(ada.uid), one) for one in passwords))
    assert [one is not None for one in found] == [True, False] * 20


async def test_every_page(configure: Configure, tmp_path: Path, monkeypatch: Patch) -> None:
    from tests.support.slapd import person

    many = Slapd(tmp_path / "many", "".join(person(f"m{number}") for number in range(1500)))
    try:
        directory = read(configure(many))
        async with pool_of(directory).connection() as connection:
            started = time.monotonic()
            sizes = [
                len(page)
                async for page in connection.pages(directory.option("base_dn"), directory.anybody, ["entryUUID"])
            ]
            assert time.monotonic() - started < 60
        assert (len(sizes), sum(sizes)) == (3, 1500)
        # A directory whose pages do not end.
        for name, limit in (("MAX_PAGES", 2), ("MAX_ENTRIES", 1200)):
            with monkeypatch.context() as patch:
                patch.setattr(connections, name, limit)
                with pytest.raises(UpstreamUnavailableError, match=f"more than {limit}"):
                    await census.take(directory.upstream)
    finally:
        many.stop()


@given(
    answer=st.one_of(
        st.binary(min_size=1, max_size=200), st.builds(lambda tail: BOUND[:8] + tail, st.binary(max_size=80))
    )
)
@settings(max_examples=60)
async def test_what_is_not_ldap(monkeypatch: Patch, answer: bytes) -> None:
    monkeypatch.setattr(connections, "OPERATION_SECONDS", 0.2)
    async with stand_in(answer) as (port, _):
        server = Server(f"ldap://localhost:{port}", "localhost", port, False, False)
        connection = await Connection.open(server, None)
        with pytest.raises(UpstreamUnavailableError):
            await connection.bind("cn=x", "y")
        await connection.close()
