"""Row 60: a request whose body is held until what allowed it has ended.

A thief of a session or a token sends the head of a request and waits with the body. Meanwhile the owner signs out
everywhere, changes the password, contains the account or takes the role. The request is then refused and changes
nothing, at every route that changes something. The same holds for what is taken away while the request is answered.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from datetime import timedelta
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit
from uuid import UUID

import asyncpg
import pytest

from idp import clock, ids
from idp.accounts.tables import User
from idp.accounts.users import change_password_hash
from idp.admin.access import Caller, check_client, check_user
from idp.admin.incidents import contain_user
from idp.admin.roles import Permission, Role, grant, revoke
from idp.directory import organizations
from idp.directory.deletions import delete_memberships
from idp.errors import PermissionDeniedError
from idp.http import cookies
from idp.http.access import Access
from idp.infra.db.engine import execute, fetch, fetchrow, transaction
from idp.oauth.clients.service import set_admin_role
from idp.oauth.sign_out import end_session, sign_out_everywhere, sign_out_user
from idp.signin import flow as flows
from idp.signin import session_tokens
from idp.signin.browser import BrowserKey
from idp.signin.csrf import form_token
from idp.signin.sessions import SignedIn
from idp.signin.transitions import CompletedStep, Step
from tests.admin.console.conftest import sign_in_admin
from tests.conftest import MakeClient, MakeUser
from tests.support.browser import Browser, as_page, open_browser
from tests.support.devices import enter, start_device
from tests.support.directory import an_organization
from tests.support.routes import Route, routes
from tests.support.server import Server

pytestmark = pytest.mark.fault(2)

NOWHERE = "00000000-0000-7000-8000-000000000000"
CHANGING = [route for route in routes() if route.method in ("POST", "PUT", "PATCH", "DELETE")]
ACCOUNT = [
    route for route in CHANGING if route.access == Access.PAGE and route.path.startswith(("/account", "/organization/"))
]
CONSOLE = [
    route
    for route in CHANGING
    if route.access == Access.PAGE and route.path.startswith("/admin") and route.path != "/admin/setup"
]
API = [route for route in CHANGING if route.path.startswith("/admin/api/")]

#: Routes of pages where the change is not authorized by a session, each with what authorizes it.
WITHOUT_SESSION = {
    "/access/{request_id:str}": "nothing changes: it leads to a sign-in, or back to the client",
    "/admin/setup": "the token of the link, used up by the statement of the change",
    "/authorize/{request_id:str}/organization": "see below",
    "/consent/{request_id:str}": "see below",
    "/device": "a code is looked up; nothing changes",
    "/device/confirm": "see below",
    "/invitation": "the token; the account is made at the end of the sign-in that this starts",
    "/invitation/organization": "the token; that of a signed-in user is in the transaction, with the session",
    "/login/{flow_id:str}": "the turn of the flow",
    "/login/{flow_id:str}/address": "the turn of the flow",
    "/login/{flow_id:str}/forgot": "the code, used up by the statement of the change",
    "/login/{flow_id:str}/way": "the secret of the flow; only the address that its pages show changes",
    "/login/{flow_id:str}/{step:str}": "the turn of the flow; see below for those that carry on a session",
    "/logout/confirm": "to sign out ends a session, if it has not ended",
    "/password/strength": "nothing changes: a password is judged",
    "/reset": "the token, used up by the statement of the change",
    "/unlock": "the token, used up",
    "/not-me": "the token, used up",
}
#: Tables that a change could modify. Of mails, only a new one counts: their state changes in the background.
TABLES = (
    *("users", "session", "token_family", "authorization_code", "passkey", "totp", "recovery_code", "email_proof"),
    *("device", "consent", "identity", "admin_role", "client", "client_logo", "resource_server", "upstream"),
    *("signing_key", "invitation", "initial_access_token", "not_before", "idempotent_answer"),
    *("organization", "organization_member", "organization_invitation", "role", "user_role"),
    *("workload_identity", "claim_mapping", "trusted_issuer", "token_exchange_policy", "id_jag_policy"),
    *("backchannel_request", "access_policy", "groups", "group_member", "role_contained", "group_role"),
)
FIELDS = {"csrf_token": "", "password": "seven tired otters nap", "email": "thief@example.com", "action": "remove",
          "two_step": "on", "code": "000000", "role": "owner", "name": "Thief"}  # fmt: skip


#: Columns that the server writes in the background: when a session was seen, what a key signed.
BACKGROUND = "'{last_seen_at,announced_at,signed,last_token_expires_at}'::text[]"
Contents = Callable[[], Awaitable[dict[str, object]]]


@pytest.fixture
async def contents(db: str) -> Contents:
    """Return fingerprints of everything that a change could affect, except rows that the clean-up may delete."""
    while await delete_memberships():
        pass  # of what earlier tests deleted, which the server would delete meanwhile
    lasting = clock.now() + timedelta(minutes=5)
    expiring = "SELECT table_name FROM information_schema.columns WHERE column_name = 'expires_at'"
    with_expiry = {row["table_name"] for row in await fetch(expiring)}

    async def look() -> dict[str, object]:
        found: dict[str, object] = {}
        for table in TABLES:
            text = f"(to_jsonb(t) - {BACKGROUND})::text"
            # A client that does not expire has none.
            where = (
                "WHERE t.expires_at > $1 OR t.expires_at IS NULL"
                if table in with_expiry
                else "WHERE $1::timestamptz IS NOT NULL"
            )
            statement = f"SELECT md5(string_agg({text}, ',' ORDER BY {text})) AS md5 FROM {table} AS t {where}"
            row = await fetchrow(statement, lasting)
            assert row is not None
            found[table] = row["md5"]
        row = await fetchrow("SELECT max(id::text) AS newest FROM mail")
        assert row is not None
        return found | {"mail": row["newest"]}

    return look


class Answer(NamedTuple):
    status: int
    location: str
    body: str


class Held:
    """A request of which everything but the end of the body has been sent."""

    def __init__(self, rest: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.rest, self.reader, self.writer = rest, reader, writer

    async def finish(self) -> Answer:
        self.writer.write(self.rest)
        answer = (await asyncio.wait_for(self.reader.read(), 60)).decode()
        self.writer.close()
        head, _, body = answer.partition("\r\n\r\n")
        location = re.search(r"(?im)^location: (.*?)\r?$", head)
        return Answer(int(head.split()[1]), location[1] if location else "", body)


async def hold(server: Server, method: str, path: str, headers: dict[str, str], body: bytes) -> Held:
    url = urlsplit(server.issuer)
    reader, writer = await asyncio.open_connection("127.0.0.1", url.port)
    fields = {"Host": url.netloc, "Connection": "close", "Content-Length": str(len(body))} | headers
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body[:-1])
    await writer.drain()
    return Held(body[-1:], reader, writer)


def session_of(browser: Browser) -> str:
    return next(value for name, value in browser.cookies.items() if name.endswith("session"))


def cookie(server: Server, name: str, value: str) -> str:
    prefix = cookies.make("x", "x", max_age=1).key.removesuffix("x")
    return f"{prefix}{name}={value}"


async def hold_page(server: Server, path: str, session: str, **fields: str) -> Held:
    """A form that a page of the account or the console would send."""
    purpose = "admin" if path.startswith("/admin") else "account"
    form = FIELDS | fields | {"csrf_token": form_token(session, purpose)}
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Origin": server.issuer,
        "Cookie": cookie(server, "session", session),
    }
    return await hold(server, "POST", path, headers, urlencode(form).encode())


async def hold_call(server: Server, method: str, path: str, token: str, body: object) -> Held:
    """A call of the admin API."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}", "If-Match": "*"}
    return await hold(server, method, path, headers, json.dumps(body).encode())


async def let_decide() -> None:
    """Time for a server that decides before the body to do so. One that does not needs none."""
    await asyncio.sleep(0.3)


class Thief(NamedTuple):
    """The stolen session and access token of an admin."""

    user: User
    session: str
    session_id: UUID
    token: str


@pytest.fixture
async def thief(server: Server, make_client: MakeClient, make_user: MakeUser) -> AsyncIterator[Thief]:
    # Not the only owner, so that the role can be taken away.
    await grant((await make_user()).id, Role.OWNER)
    async with stolen(server, make_client, Role.OWNER) as found:
        yield found


@asynccontextmanager
async def stolen(server: Server, make_client: MakeClient, role: Role) -> AsyncIterator[Thief]:
    async with open_browser(server.issuer) as browser:
        admin = await sign_in_admin(server, browser, role)
        client = await make_client(scope=" ".join(["openid", *Permission]), skip_consent=True)
        tokens = await client.tokens(browser, admin.user.email, resource=f"{server.issuer}/admin/api")
        session = session_of(browser)
        row = await fetchrow("SELECT id FROM session WHERE token_hash = $1", ids.digest(session))
        assert row is not None
        yield Thief(admin.user, session, row["id"], tokens["access_token"])


async def _sign_out(thief: Thief) -> None:
    await sign_out_everywhere(thief.user.id, "signed_out_by_user")


async def _end_session(thief: Thief) -> None:
    await end_session(thief.user.id, thief.session_id, "signed_out_by_user")


async def _change_password(thief: Thief) -> None:
    async with transaction():
        await change_password_hash(thief.user.id, "not a hash", sign_out_user)


async def _contain(thief: Thief) -> None:
    await contain_user(thief.user.id)


async def _take_role(thief: Thief) -> None:
    assert await revoke(thief.user.id, Role.OWNER)


def test_60_every_route_is_known() -> None:
    """A new route of pages is held by the tests below, or names what else allows its change."""
    pages = {route.path for route in CHANGING if route.access == Access.PAGE}
    assert pages - {route.path for route in (*ACCOUNT, *CONSOLE)} == WITHOUT_SESSION.keys()
    assert min(len(ACCOUNT), len(CONSOLE), len(API)) > 10


@pytest.mark.parametrize("event", [_sign_out, _end_session, _change_password, _contain, _take_role])
async def test_60_a_held_body_outlives_nothing(
    event: Callable[[Thief], Awaitable[None]], server: Server, thief: Thief, contents: Contents
) -> None:
    """At every route that a session or a token of an admin allows."""
    pages: Sequence[Route] = CONSOLE if event is _take_role else (*ACCOUNT, *CONSOLE)
    values = dict.fromkeys(("user_id", "session_id", "passkey_id", "identity_id", "request_id"), str(thief.user.id))
    organization = await an_organization(thief.user)
    await organizations.set_admin(organization.id, thief.user.id, admin=True)
    values["slug"] = organization.slug
    held = [(route, await hold_page(server, route.url(**values), thief.session)) for route in pages]
    held += [
        (route, await hold_call(server, route.method, route.url(**values), thief.token, {"disable": False}))
        for route in API
    ]
    await let_decide()
    await event(thief)
    before = await contents()
    for route, request in held:
        answer = await request.finish()
        if event is _take_role:
            assert answer.status == 403, (route, answer)
        elif route.access == Access.BEARER:
            assert answer.status == 401, (route, answer)
        else:
            assert (answer.status, answer.location[:7]) == (303, "/login/"), (route, answer)
    assert await contents() == before


# Authority that is taken away while the request is answered: after its session was looked up, before it changes
# something.


async def another_session(thief: Thief) -> str:
    """One more session of the same kind. Returns the value of its cookie."""
    token = session_tokens.new(thief.user.id)
    await execute(
        "INSERT INTO session (id, token_hash, user_id, auth_time, steps, amr, acr, expires_at, last_seen_at,"
        " created_at, user_agent, ip_address)"
        " SELECT $1, $2, user_id, auth_time, steps, amr, acr, expires_at, now(), now(), '', '' FROM session"
        " WHERE id = $3",
        ids.uuid7(), ids.digest(token), thief.session_id,
    )  # fmt: skip
    return token


class Watch:
    """Watches on a separate connection which statements wait for a lock."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def until_waiting(self, number: int) -> None:
        """Wait until so many requests wait for a lock, after they have read their authority."""
        statement = """
            SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
        """
        for _ in range(600):
            if await self.connection.fetchval(statement) >= number:
                return
            await asyncio.sleep(0.05)
        raise AssertionError("The requests do not wait for what allows them.")


@pytest.fixture
async def watch(db: str) -> AsyncIterator[Watch]:
    connection = await asyncpg.connect(db)
    yield Watch(connection)
    await connection.close()


ACCOUNT_CHANGES: list[tuple[str, dict[str, str]]] = [
    ("/account/password", {}),
    ("/account/recovery-codes", {}),
    ("/account/totp/remove", {}),
    ("/account/two-step", {}),
    ("/account", {"name": "Thief"}),
    ("/account/attributes", {}),
    ("/account/sessions/end", {}),
    ("/account/data/download", {}),
    ("/account/email", {"action": "send", "email": "thief@example.com"}),
]
CONSOLE_CHANGES: list[tuple[str, dict[str, str]]] = [
    ("/admin/users/{bob}/disable", {}),
    ("/admin/users/{bob}/role", {"role": "owner"}),
    ("/admin/users/{bob}/reset_password", {}),
    ("/admin/users/{bob}/contain", {}),
    ("/admin/users/{bob}/delete", {"typed": "{email}"}),
    ("/admin/users/invite", {"email": "accomplice@example.com", "name": ""}),
    ("/admin/users/new", {"email": "accomplice@example.com"}),
    ("/admin/users/{bob}/unlock", {}),
]
API_CHANGES: list[tuple[str, str, object]] = [
    ("POST", "/users/{bob}/disable", {}),
    ("POST", "/users/{bob}/reset_factors", {}),
    ("DELETE", "/users/{bob}", {}),
    ("POST", "/attributes", {"name": "stolen", "type": "string", "label": {"default": "Stolen"}}),
    ("POST", "/invitations", {"email": "accomplice@example.com"}),
]
#: This many requests wait at a time; the server has more connections.
AT_A_TIME = 4


@pytest.mark.parametrize("fields", [ACCOUNT_CHANGES, CONSOLE_CHANGES], ids=["account", "console"])
async def test_60_a_session_ends_while_it_is_used(
    fields: list[tuple[str, dict[str, str]]],
    server: Server,
    thief: Thief,
    make_user: MakeUser,
    watch: Watch,
    contents: Contents,
) -> None:
    bob = await make_user(name="Bob")
    for number in range(0, len(fields), AT_A_TIME):
        some = fields[number : number + AT_A_TIME]
        sessions = [await another_session(thief) for _ in some]
        async with transaction():
            ended = "UPDATE session SET ended_at = now() WHERE token_hash = ANY($1)"
            assert await execute(ended, [ids.digest(session) for session in sessions]) == len(some)
            requests = []
            for (path, form), session in zip(some, sessions, strict=True):
                typed = {name: value.format(email=bob.email) for name, value in form.items()}
                page = await hold_page(server, path.format(bob=bob.id), session, **typed)
                requests.append(asyncio.create_task(page.finish()))
            await watch.until_waiting(len(some))
            before = await contents()
        for change, request in zip(some, requests, strict=True):
            answer = await request
            assert (answer.status, "have been signed out" in answer.body) == (403, True), (change, answer)
        assert await contents() == before


async def test_60_a_role_is_taken_while_it_is_used(
    server: Server, thief: Thief, make_user: MakeUser, watch: Watch, contents: Contents
) -> None:
    bob = await make_user(name="Bob")
    async with transaction():
        assert await execute("DELETE FROM admin_role WHERE user_id = $1", thief.user.id)
        before = await contents()
        requests = [
            asyncio.create_task((await hold_page(server, f"/admin/users/{bob.id}/disable", thief.session)).finish()),
            asyncio.create_task((await hold_page(server, f"/admin/users/{bob.id}/role", thief.session)).finish()),
            asyncio.create_task(
                (
                    await hold_call(
                        server, "POST", "/admin/api/v1/admins", thief.token, {"user_id": str(bob.id), "role": "owner"}
                    )
                ).finish()
            ),
        ]
        await watch.until_waiting(len(requests))
    for request in requests:
        answer = await request
        assert (answer.status, "has been revoked" in answer.body) == (403, True), answer
    assert await contents() == before


# The target becomes an admin in between.


#: What groups, roles and organisations a user has is a matter of other roles of administrators, whoever the user is.
_MEMBERSHIPS = re.compile(r"/(groups|roles|organizations)/{|/(add_to_group|give_role)$")


def _acts_on(name: str) -> list[Route]:
    """The routes that act on a user or client, but those that give it a role, which only an owner may use."""
    return [
        route
        for route in (*API, *CONSOLE)
        if f"{{{name}" in route.path
        # A question about access changes nothing.
        and not route.path.endswith(("/role", "/admin_role", "/end", "/access_policy/check"))
        and not _MEMBERSHIPS.search(route.path)
    ]


async def _refused_while_it_waits(
    server: Server, thief: Thief, watch: Watch, name: str, value: str, give_role: Callable[[], Awaitable[object]],
    contents: Contents,
) -> None:  # fmt: skip
    routes_ = _acts_on(name)
    assert len(routes_) > 10
    async with transaction():
        await give_role()
        requests = []
        for route in routes_:
            url, body = route.url(**{name: value}), {"name": "x"} if name == "user_id" else {"client_name": "x"}
            if route.path.endswith("/attributes"):
                body = {"values": {}}
            if route.access == Access.PAGE:
                held = await hold_page(server, url, thief.session)
            else:
                body = body if route.method == "PATCH" else {}
                body = {"values": {}} if route.path.endswith("/attributes") else body
                held = await hold_call(server, route.method, url, thief.token, body)
            requests.append((route, asyncio.create_task(held.finish())))
        await watch.until_waiting(AT_A_TIME)
        before = await contents()
    for route, request in requests:
        answer = await request
        assert (answer.status, "Only an owner" in answer.body) == (403, True), (route, answer)
    assert await contents() == before


async def test_60_a_user_is_given_a_role_while_they_are_acted_on(
    server: Server, make_client: MakeClient, make_user: MakeUser, watch: Watch, contents: Contents
) -> None:
    bob = await make_user(name="Bob")
    async with stolen(server, make_client, Role.SUPPORT) as thief:
        await _refused_while_it_waits(
            server, thief, watch, "user_id", str(bob.id), lambda: grant(bob.id, Role.OWNER), contents
        )


async def test_60_a_client_is_given_a_role_while_it_is_acted_on(
    server: Server, make_client: MakeClient, watch: Watch, contents: Contents
) -> None:
    client = (await make_client()).client_id
    async with stolen(server, make_client, Role.CLIENT_ADMIN) as thief:
        await _refused_while_it_waits(
            server, thief, watch, "client_id", client, lambda: set_admin_role(client, Role.OWNER), contents
        )


@pytest.mark.parametrize("kind", ["user", "client"])
async def test_60_the_role_of_a_target_is_part_of_the_change(
    kind: str, make_client: MakeClient, make_user: MakeUser
) -> None:
    """It is given after the check and before the change: the transaction of the change looks again."""
    bob, client = await make_user(), (await make_client()).client_id
    caller = Caller(None, "helper", frozenset({Role.SUPPORT}), frozenset())

    async def act() -> None:
        if kind == "user":
            await check_user(caller, bob.id)
            given = grant(bob.id, Role.OWNER)
        else:
            await check_client(caller, client)
            given = set_admin_role(client, Role.OWNER)
        await asyncio.create_task(given, context=Context())
        with pytest.raises(PermissionDeniedError):
            await execute("UPDATE users SET name = 'changed' WHERE id = $1", bob.id)

    await asyncio.create_task(act())
    row = await fetchrow("SELECT name FROM users WHERE id = $1", bob.id)
    assert row is not None
    assert row["name"] != "changed"


async def test_60_a_token_is_revoked_while_it_is_used(
    server: Server, thief: Thief, make_user: MakeUser, watch: Watch, contents: Contents
) -> None:
    bob = await make_user(name="Bob")
    async with transaction():
        assert await execute("UPDATE token_family SET revoked_at = now() WHERE user_id = $1", thief.user.id)
        before = await contents()
        requests = [
            asyncio.create_task(
                (await hold_call(server, method, f"/admin/api/v1{path.format(bob=bob.id)}", thief.token, body)).finish()
            )
            for method, path, body in API_CHANGES
        ]
        await watch.until_waiting(len(requests))
    for request in requests:
        answer = await request
        assert (answer.status, "invalid_token" in answer.body) == (401, True), answer
    assert await contents() == before


async def test_60_consent_and_code(
    server: Server, browser: Browser, alice: User, make_client: MakeClient, watch: Watch
) -> None:
    """No code is issued for a session that ended before the body arrived or during the response."""
    client = await make_client()
    page = as_page(await client.authorize(browser))
    page = as_page(await browser.sign_in(page, alice.email, "correct horse battery staple"))
    (form,) = [form for form in page.forms if "consent-allow" in form.buttons]
    body = urlencode(form.fields | {"action": "allow"}).encode()
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Origin": server.issuer,
        "Cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items()),
    }
    held = await hold(server, "POST", form.action, headers, body)
    await let_decide()
    async with transaction():
        await sign_out_user(alice.id, "signed_out_by_user")
        # Not committed: the session still looks valid.
        during = asyncio.create_task((await hold(server, "POST", form.action, headers, body)).finish())
        await watch.until_waiting(1)
    assert (await during).status == 403
    answer = await held.finish()
    # The page that navigates there, because the next page may leave our origin.
    assert (answer.status, answer.location) == (200, "")
    assert f'/authorize/{form.action.rpartition("/")[2]}"' in answer.body, answer.body
    for table in ("consent", "authorization_code"):
        assert await fetch(f"SELECT FROM {table} WHERE user_id = $1", alice.id) == []


async def test_60_the_choice_of_an_organization(
    server: Server, browser: Browser, alice: User, make_client: MakeClient, watch: Watch
) -> None:
    """Nothing is chosen in a session that ended before the body arrived or during the response."""
    client = await make_client(scope="openid organization")
    organizations = [await an_organization(alice) for _ in range(2)]
    page = as_page(await client.authorize(browser))
    page = as_page(await browser.sign_in(page, alice.email, "correct horse battery staple"))
    (form,) = page.forms
    body = urlencode(form.fields | {"organization": str(organizations[0].id)}).encode()
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Origin": server.issuer,
        "Cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items()),
    }
    held = await hold(server, "POST", form.action, headers, body)
    await let_decide()
    async with transaction():
        await sign_out_user(alice.id, "signed_out_by_user")
        during = asyncio.create_task((await hold(server, "POST", form.action, headers, body)).finish())
        await watch.until_waiting(1)
    assert (await during).status == 403
    assert (await held.finish()).status == 200
    assert await fetch("SELECT FROM authorization_request WHERE chosen_by = $1", alice.id) == []


async def test_60_the_denial_of_a_device(
    server: Server, browser: Browser, alice: User, make_client: MakeClient, watch: Watch
) -> None:
    """Nothing is denied, nor begun, in a session that ended before the body arrived or during the response."""
    device = await start_device(make_client)
    (form,) = (await enter(browser, alice.email, device)).forms
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Origin": server.issuer,
        "Cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items()),
    }
    bodies = [urlencode(form.fields | {"action": action}).encode() for action in ("deny", "confirm")]
    held = [await hold(server, "POST", form.action, headers, body) for body in bodies]
    await let_decide()
    async with transaction():
        await sign_out_user(alice.id, "signed_out_by_user")
        during = asyncio.create_task((await hold(server, "POST", form.action, headers, bodies[0])).finish())
        await watch.until_waiting(1)
    assert (await during).status == 403
    for request in held:
        answer = await request.finish()
        assert (answer.status, "/login/" in answer.location) == (303, True), answer
    assert (await device.poll()).json()["error"] == "authorization_pending"


async def test_60_a_code_for_a_session_that_ends(
    server: Server, browser: Browser, alice: User, make_client: MakeClient, watch: Watch
) -> None:
    client = await make_client(skip_consent=True)
    await client.sign_in(browser, alice.email)
    codes = await fetch("SELECT FROM authorization_code WHERE user_id = $1", alice.id)
    async with transaction():
        await execute("UPDATE session SET ended_at = now() WHERE user_id = $1", alice.id)
        asked = asyncio.create_task(client.authorize(browser))
        await watch.until_waiting(1)
    assert as_page(await asked).status == 403
    assert await fetch("SELECT FROM authorization_code WHERE user_id = $1", alice.id) == codes


async def test_60_a_step_up_from_a_session_that_ended(server: Server, thief: Thief, contents: Contents) -> None:
    """It neither creates a session nor adds a factor to the account."""
    row = await fetchrow("SELECT * FROM session WHERE id = $1", thief.session_id)
    assert row is not None
    one_factor = (CompletedStep(Step.PASSWORD, ("pwd",)),)
    session = SignedIn(row["id"], row["user_id"], row["auth_time"], one_factor, ("pwd",), "1")
    await execute("DELETE FROM totp WHERE user_id = $1", thief.user.id)
    held = []
    for action in ("skip", "totp"):
        key = BrowserKey.new()
        binding = await flows.start(key, "/account", acr="2", step_up=session)
        form = {"csrf_token": form_token(binding.secret, "login"), "action": action, "code": "000000"}
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Origin": server.issuer,
            "Cookie": cookie(server, f"flow.{key.tag}", key.secret),
        }
        path = f"{flows.path(binding)}/enrol"
        held.append(await hold(server, "POST", path, headers, urlencode(form).encode()))
    await let_decide()
    # Only this one: signing out everywhere would end the flows too.
    await end_session(thief.user.id, thief.session_id, "signed_out_by_user")
    before = await contents()
    for request in held:
        assert (await request.finish()).status == 400
    assert await contents() == before
