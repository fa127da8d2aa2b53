"""The keys of the tables of a person begin with the user, so that these tables can be spread over partitions or servers
(docs/decisions/0048-keys-by-person.md).

The proof is a server on the first schema, with each of these tables partitioned by the hash of the user.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import httpx
import msgspec
import pytest

from idp import clock, housekeeping, ids
from idp.accounts.tables import User
from idp.accounts.users import create_user
from idp.infra.db import migrate
from idp.infra.db.connections import HeldConnection
from idp.infra.db.distribution import Placement
from idp.infra.db.engine import execute, fetch, transaction
from idp.infra.db.migrations import m0001_first_schema
from idp.keys import root_key
from idp.oauth import codes
from idp.oauth.clients.registration import register_client
from idp.oauth.repository import live_tokens
from idp.oauth.repository.live_tokens import TokenOfUser
from idp.oauth.token import refresh_jwt
from idp.oauth.token.repository import refresh_tokens
from idp.oauth.token.repository.codes import CodeRedemption, redeem_code
from idp.oauth.token.repository.refresh_tokens import Rotation
from idp.piccolo_app import BY_USER, REFERENCE
from idp.settings import settings
from idp.signin import sessions
from idp.signin.browser import Browser as SignInBrowser
from idp.signin.factors import passkeys
from idp.signin.repository.subjects import subject_by_id
from idp.signin.transitions import Step
from tests.conftest import MASTER_KEY, until_known
from tests.support.browser import Browser, Page, as_page, open_browser
from tests.support.isolated import isolated
from tests.support.lookups import LOOKUPS, differences
from tests.support.oauth import PASSWORD, REDIRECT_URI, RelyingParty, pkce
from tests.support.person import equip
from tests.support.postgres import Cluster
from tests.support.server import Server

#: The tables of a person, and the column that names the person.
OF_PERSON = Placement(BY_USER, REFERENCE).by_user | {"provisioned_member": "user_id"}
#: Tables that name a user and have keys of their own, and why.
BY_OWN_ID = dict.fromkeys(LOOKUPS, "found before the user is known") | {
    "audit_event": "read in the order of time, and outlives the user",
    "bulk_item": "the work of a job, in its order; what it says of a user outlives the user",
    "delivery": "an outbox, sent by receiver; what it says of a user outlives the user",
    "event_stream_subject": "stays until the stream has got the event that its user was deleted",
    "device_authorization": "begins before the user is known, and lives for minutes",
    "email_proof": "begins before the user is known, and lives for minutes",
    "provisioned_user": "an id at a target belongs to one user",
    "provisioning_drift": "the report of a check, read by target; it is replaced by the next one",
    "organization_invitation": "made for an address, before the user is known",
    "signin_flow": "begins before the user is known, and lives for an hour",
    "trace": "read by the id of a request or of a flow, which begins before the user is known; it lives for days",
}
PARTITIONS = 4

_NAMES_A_USER = """
SELECT c.relname AS name FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'user_id'
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
"""
_UNIQUE = """
SELECT indrelid::regclass::text AS table, indexrelid::regclass::text AS name, array_agg(attname::text) AS columns
FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
WHERE indisunique AND indrelid::regclass::text = ANY ($1) GROUP BY 1, 2
"""
_REFERENCES = """
SELECT conrelid::regclass::text AS table, confrelid::regclass::text AS target, pg_get_constraintdef(oid) AS definition,
       ARRAY(SELECT a.attname || ' ' || b.attname
             FROM unnest(conkey, confkey) AS k (mine, theirs)
             JOIN pg_attribute AS a ON a.attrelid = conrelid AND a.attnum = k.mine
             JOIN pg_attribute AS b ON b.attrelid = confrelid AND b.attnum = k.theirs) AS pairs
FROM pg_constraint
WHERE contype = 'f' AND conrelid::regclass::text = ANY ($1) AND confrelid::regclass::text = ANY ($1)
"""


async def test_every_table_that_names_a_user_is_listed(db: str) -> None:
    assert {row["name"] for row in await fetch(_NAMES_A_USER)} | {"users"} == OF_PERSON.keys() | BY_OWN_ID.keys()
    assert not OF_PERSON.keys() & BY_OWN_ID.keys()


async def test_what_is_unique_is_so_within_a_person(db: str) -> None:
    found = await fetch(_UNIQUE, list(OF_PERSON))
    assert {row["table"] for row in found} == OF_PERSON.keys()
    assert [row["name"] for row in found if OF_PERSON[row["table"]] not in row["columns"]] == []


async def test_references_stay_within_a_person(db: str) -> None:
    found = await fetch(_REFERENCES, list(OF_PERSON))
    assert len(found) >= len(OF_PERSON) - 1
    assert [
        (row["table"], row["definition"])
        for row in found
        if f"{OF_PERSON[row['table']]} {OF_PERSON[row['target']]}" not in row["pairs"]
    ] == []


def partitioned(schema: str) -> str:
    """The schema with every table of a person partitioned by the hash of the user.

    PostgreSQL accepts storage parameters only on the partitions, and the tests do not need them.
    """

    def partition(match: re.Match[str]) -> str:
        name, body = match[1], match[2]
        if name not in OF_PERSON:
            return match[0]
        parts = (
            f"CREATE TABLE {name}_p{number} PARTITION OF {name}"
            f" FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {number});\n"
            for number in range(PARTITIONS)
        )
        return f"CREATE TABLE {name} ({body}\n) PARTITION BY HASH ({OF_PERSON[name]});\n" + "".join(parts)

    return re.sub(r"^CREATE TABLE (\w+) \((.*?)\n\)[^;]*;\n", partition, schema, flags=re.DOTALL | re.MULTILINE)


class Spread(NamedTuple):
    """A server on the partitioned schema, and a client of it."""

    server: Server
    client_id: str
    client_secret: str


@pytest.fixture(scope="module")
async def spread(db: str, cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Spread]:
    folder = tmp_path_factory.mktemp("partitioned")
    schema = folder / "schema.sql"
    schema.write_text(partitioned(m0001_first_schema.SQL.read_text(encoding="utf-8")), encoding="utf-8")
    async with isolated(await cluster.create_database(template=None), migrated=False) as dsn:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(m0001_first_schema, "SQL", schema)
            await migrate.upgrade()
        await root_key.unlock()
        client, secret = await register_client(
            client_name="Orchard",
            redirect_uris=[REDIRECT_URI],
            grant_types=["authorization_code", "refresh_token"],
            scope="openid profile email offline_access",
        )
        assert secret is not None
        server = Server(
            folder,
            IDP_DATABASE_URL=dsn,
            IDP_MASTER_KEY=MASTER_KEY,
            IDP_ADDRESS_LIMITS="false",
            IDP_REFRESH_TOKEN_GRACE="0",
        )
        try:
            yield Spread(server, client.client_id, secret)
        finally:
            server.stop()


@pytest.fixture
async def party(spread: Spread, http: httpx.AsyncClient) -> RelyingParty:
    found = RelyingParty(spread.server.issuer, http, spread.client_id, spread.client_secret)
    found.scope = "openid profile email offline_access"
    await until_known(found)
    return found


@pytest.fixture
async def person(spread: Spread) -> User:
    return await create_user(f"{ids.random_token()[:12].lower()}@example.com", PASSWORD, name="Alice Example")


@pytest.fixture
async def home(spread: Spread) -> AsyncIterator[Browser]:
    async with open_browser(spread.server.issuer) as browser:
        yield browser


async def test_the_tables_are_partitioned(spread: Spread) -> None:
    rows = await fetch("SELECT inhparent::regclass::text AS name, count(*) AS number FROM pg_inherits GROUP BY 1")
    tables = {row["name"]: row["number"] for row in rows}
    assert {name: tables.get(name) for name in OF_PERSON} == dict.fromkeys(OF_PERSON, PARTITIONS)


async def test_tokens(party: RelyingParty, person: User, home: Browser) -> None:
    """A sign-in by password, a code, rotation, its repetition, reuse, introspection, userinfo and revocation."""
    first = await party.tokens(home, person.email, prompt="consent")
    assert (await party.userinfo(first["access_token"])).json()["email"] == person.email
    assert (await party.introspect(first["access_token"]))["active"]
    second = (await party.refresh(first["refresh_token"])).json()
    assert (await party.refresh(first["refresh_token"])).json()["refresh_token"] == second["refresh_token"]
    third = (await party.refresh(second["refresh_token"])).json()
    assert (await party.introspect(third["refresh_token"]))["active"]
    # The successor was used, so this is a reuse, which ends all.
    assert (await party.refresh(first["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await party.refresh(third["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await party.userinfo(third["access_token"])).status_code == 401
    code = await party.sign_in(home, person.email)
    other = (await party.redeem(code)).json()
    assert (await party.userinfo(other["access_token"])).status_code == 200
    assert (await party.redeem(code)).json()["error"] == "invalid_grant"
    assert (await party.userinfo(other["access_token"])).status_code == 401
    last = await party.tokens(home, person.email)
    assert (await party.post("/revoke", token=last["refresh_token"])).status_code == 200
    assert not (await party.introspect(last["access_token"]))["active"]


async def test_the_account(spread: Spread, party: RelyingParty, person: User, home: Browser) -> None:
    """Passkeys, the device, consent, signing out, the clean-up, and the deletion of the account."""
    given = await party.tokens(home, person.email, prompt="consent")
    equipped = await equip(person, settings().origin, [Step.PASSKEY, Step.TOTP, Step.RECOVERY_CODE], two_step=False)
    assert equipped.device is not None
    assert "Test" in as_page(await home.get("/account/security")).text
    challenge = b"another challenge of 32 bytes..."
    options = passkeys.authentication_options(challenge)
    async with transaction():
        verified = await passkeys.verify(challenge, equipped.device.get(options), user_id=None)
    assert verified.user_id == person.id
    revoke = f"/account/apps/{party.client_id}/revoke"
    assert revoke in as_page(await home.get("/account/apps")).text
    await home.submit(as_page(await home.get(revoke)), "ask-confirm")
    assert revoke not in as_page(await home.get("/account/apps")).text
    assert (await party.refresh(given["refresh_token"])).json()["error"] == "invalid_grant"
    await home.submit(as_page(await home.get("/logout")), "logout-confirm")
    assert not home.signed_in
    await home.sign_in(as_page(await home.get("/login")), person.email, PASSWORD)
    assert home.signed_in
    # The same browser, under a new cookie.
    for table in ("device", "device_token"):
        assert len(await fetch(f"SELECT FROM {table} WHERE user_id = $1", person.id)) == 1
    # The clean-up keeps a session until the server has announced that it ended.
    await execute(
        "UPDATE session SET expires_at = now() - interval '2 days', announced_at = now() WHERE ended_at IS NOT NULL"
    )
    await housekeeping.round_of_deletions()
    assert len(await fetch("SELECT FROM session WHERE user_id = $1", person.id)) == 1
    assert await differences() == []
    # The deletion needs the second factor.
    page = as_page(await home.get("/account/password"))
    page = as_page(await home.get(f"/login/{page.path.split('/')[2]}/totp"))
    await home.submit(page, "totp-submit", code=await equipped.otp())
    page = as_page(await home.get("/account/data"))
    assert isinstance(await home.submit(page, "account-delete", email=person.email), Page)
    for table, column in OF_PERSON.items():
        assert await fetch(f"SELECT FROM {table} WHERE {column} = $1", person.id) == []
    assert await differences() == []


# Plans


class RollBackError(Exception):
    """Rolls the transaction back."""


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


async def scanned(work: Callable[[], Awaitable[object]]) -> dict[str, set[str]]:
    """The partitions that the one statement of this work reads, by their tables.

    Joins are nested loops over indexes, as on large tables: other joins of small tables read all of them.
    """
    plans: list[dict[str, Any]] = []
    run = HeldConnection.fetch

    async def explain(
        line: HeldConnection, statement: str, arguments: tuple[object, ...]
    ) -> tuple[Sequence[asyncpg.Record], str]:
        rows, _ = await run(line, f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", arguments)
        plans.append(msgspec.json.decode(rows[0][0])[0]["Plan"])
        return [], "SELECT 0"

    with suppress(RollBackError):
        async with transaction():
            for kind in ("hashjoin", "mergejoin", "seqscan", "bitmapscan"):
                await execute(f"SET LOCAL enable_{kind} = off")
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(HeldConnection, "fetch", explain)
                await work()
            raise RollBackError
    (plan,) = plans
    found: dict[str, set[str]] = {}
    for node in _nodes(plan):
        if "Scan" in node["Node Type"] and node["Actual Loops"] and "Relation Name" in node:
            name = node["Relation Name"]
            found.setdefault(re.sub(r"_p[0-9]$", "", name), set()).add(name)
    return found


async def _redeem(party: RelyingParty, person: User, home: Browser) -> Callable[[], Awaitable[object]]:
    party.verifier, challenge = pkce()
    code = codes.read(await party.sign_in(home, person.email))
    assert isinstance(code, codes.PresentedCode)
    family_id = ids.uuid7()
    redemption = CodeRedemption(
        user_id=code.user_id,
        code_hash=code.hash,
        client_id=party.client_id,
        redirect_uri=party.redirect_uri,
        code_challenge=challenge,
        registered=party.scope,
        resource=(),
        not_before=clock.now() - timedelta(days=1),
        family_id=family_id,
        family_expires_at=clock.now() + timedelta(days=1),
        refresh_token=refresh_jwt.new_refresh_token(code.user_id, family_id, 60),
    )
    return lambda: redeem_code(redemption)


async def _rotate(party: RelyingParty, person: User, home: Browser) -> Callable[[], Awaitable[object]]:
    given = await party.tokens(home, person.email, scope="openid")
    token = refresh_jwt.decode(given["refresh_token"])
    assert isinstance(token, refresh_jwt.PresentedRefreshToken)
    rotation = Rotation(
        token=token,
        client_id=party.client_id,
        scope=(),
        registered=party.scope,
        resource=(),
        not_before=clock.now() - timedelta(days=1),
    )
    return lambda: refresh_tokens.rotate(rotation, refresh_jwt.new_refresh_token(token.user_id, token.family_id, 60))


async def _find_session(party: RelyingParty, person: User, home: Browser) -> Callable[[], Awaitable[object]]:
    await party.sign_in(home, person.email)
    cookie = next(value for name, value in home.cookies.items() if name.endswith("session"))
    return lambda: sessions.find(cookie)


async def _live_access_token(party: RelyingParty, person: User, home: Browser) -> Callable[[], Awaitable[object]]:
    await party.tokens(home, person.email, scope="openid")
    (family,) = await fetch("SELECT id FROM token_family WHERE user_id = $1", person.id)
    return lambda: live_tokens.user_of_live_access_token(TokenOfUser(person.id, UUID(str(family["id"])), "a"))


async def _subject_by_id(party: RelyingParty, person: User, home: Browser) -> Callable[[], Awaitable[object]]:
    await party.sign_in(home, person.email)
    await equip(person, settings().origin, [Step.PASSKEY, Step.TOTP, Step.RECOVERY_CODE], two_step=False)
    cookies = {name.rpartition("-")[2]: value for name, value in home.cookies.items()}
    browser = SignInBrowser(session_token=cookies["session"], device_token=cookies["device"])
    return lambda: subject_by_id(person.id, browser)


HOT = {
    "redemption of a code": (_redeem, {"authorization_code", "users", "session"}),
    "rotation of a refresh token": (_rotate, {"refresh_token", "token_family", "users", "session"}),
    "session of a cookie": (_find_session, {"session", "users"}),
    "live access token": (_live_access_token, {"token_family", "users", "session"}),
    "user at a browser": (
        _subject_by_id,
        {"users", "device", "session", "passkey", "totp", "recovery_code"},
    ),
}


@pytest.mark.parametrize("name", HOT)
async def test_a_hot_statement_reads_one_partition_of_each_table(
    party: RelyingParty, person: User, home: Browser, name: str
) -> None:
    prepare, tables = HOT[name]
    found = await scanned(await prepare(party, person, home))
    assert {table: len(found.get(table, ())) for table in OF_PERSON if table in tables | found.keys()} == dict.fromkeys(
        tables, 1
    )
