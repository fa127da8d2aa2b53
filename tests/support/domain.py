"""A stand-in for an Active Directory: what it answers, by the messages of a real one, and what it was asked."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple
from uuid import uuid4

import sansldap

from idp.federation import registry
from idp.federation.models import Upstream
from tests.support.server import free_port

BIND_DN, BIND_PASSWORD = "cn=idp", "of idp"
#: The name of its one user, and the password.
NAME, PASSWORD = "ada", "of Ada"
DN = "cn=Ada (x),dc=example"


class Domain(NamedTuple):
    """A running stand-in.

    Attributes:
        upstream: its configuration, which is not stored.
        filters: those of the searches.
        binds: the names and the passwords of the binds.
        kinds: ``search`` and ``bind``, in their order.
    """

    upstream: Upstream
    filters: list[str]
    binds: list[tuple[str, str]]
    kinds: list[str]


@asynccontextmanager
async def domain(*, code: str = "", attributes: dict[str, list[bytes]] | None = None) -> AsyncIterator[Domain]:
    """Run a server.

    Args:
        code: of the error with which a bind as the user is refused. Empty: it is accepted with the password.
        attributes: of the user, in place of the usual ones.
    """
    own = {"sAMAccountName": [NAME.encode()], "objectGUID": [uuid4().bytes_le], "userAccountControl": [b"512"]}
    options = {
        "type": "active_directory", "url": f"ldap://localhost:{(port := free_port())}", "start_tls": "no",
        "base_dn": "dc=example", "groups": "nested",
    }  # fmt: skip
    upstream = registry.configure(
        kind="ldap", id=f"ad-{secrets.token_hex(4)}", client_id=BIND_DN, client_secret=BIND_PASSWORD, options=options,
        rules=({"claim": "groups", "each": True},),
    )  # fmt: skip
    running = Domain(upstream, [], [], [])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = sansldap.LDAPServer()
        while data := await reader.read(65536):
            try:
                messages = session.receive(data)
            except sansldap.ProtocolError:
                # An unbind.
                break
            for message in messages:
                if isinstance(message, sansldap.BindRequest):
                    _bind(running, session, message, code)
                elif isinstance(message, sansldap.SearchRequest):
                    running.kinds.append("search")
                    running.filters.append(str(message.filter))
                    _search(session, message, own | (attributes or {}))
            writer.write(session.data_to_send())
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", port):
        yield running


def _bind(running: Domain, session: sansldap.LDAPServer, message: sansldap.BindRequest, code: str) -> None:
    assert isinstance(message.authentication, sansldap.SimpleCredential)
    given = (message.name, message.authentication.password)
    running.kinds.append("bind")
    running.binds.append(given)
    # Like a real one, it accepts a bind without a password.
    if given == (BIND_DN, BIND_PASSWORD) or not given[1] or (given == (DN, PASSWORD) and not code):
        session.bind_response(message.message_id)
        return
    session.bind_response(
        message.message_id,
        result_code=sansldap.LDAPResultCode.INVALID_CREDENTIALS,
        diagnostics_message=f"80090308: LdapErr: DSID-0C090439, AcceptSecurityContext error, data {code or '52e'}\0",
    )


def _search(session: sansldap.LDAPServer, message: sansldap.SearchRequest, own: dict[str, list[bytes]]) -> None:
    asked = str(message.filter)
    if "1.2.840.113556.1.4.1941" in asked:
        for name in ("cn=Staff,dc=example", "cn=All,dc=example"):
            session.search_result_entry(message.message_id, name, [])
    elif f"={NAME})" in asked or "objectGUID=" in asked:
        given = [sansldap.PartialAttribute(name=name, values=values) for name, values in own.items()]
        session.search_result_entry(message.message_id, DN, given)
    session.search_result_reference(message.message_id, ["ldap://ForestDnsZones.example/DC=ForestDnsZones,dc=example"])
    session.search_result_done(message.message_id)
