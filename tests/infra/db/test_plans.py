"""How PostgreSQL runs statements on full tables: by indexes alone, without a sort (docs/performance.md).

Every statement that is a constant is looked at, wherever it is. A few may read a table as a whole, and are listed.
"""

import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pkgutil import walk_packages
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

import idp
from bench import directory
from bench.large import Scale, fill
from idp.accounts.attributes.models import Attribute, Type
from idp.accounts.attributes.repository import search as attribute_filter
from idp.accounts.repository.invitations import INVITATIONS as OPEN_INVITATIONS
from idp.accounts.repository.users import USERS as PEOPLE
from idp.audit.repository.audit_events import EVENTS
from idp.audit.repository.own_events import OWN_EVENTS
from idp.delivery.repository import DELIVERIES
from idp.directory.repository import trail
from idp.directory.repository.domains import DOMAINS
from idp.directory.repository.groups import GROUPS, MEMBERS
from idp.directory.repository.invitations import INVITATIONS
from idp.directory.repository.organizations import MEMBERS as ORGANIZATION_MEMBERS
from idp.directory.repository.organizations import ORGANIZATIONS
from idp.directory.repository.roles import HOLDERS, OWN_ROLES, ROLES
from idp.housekeeping import EXPIRING
from idp.infra.db import partitions
from idp.infra.db.coalescing import CoalescedQuery
from idp.infra.db.engine import execute, fetch, transaction
from idp.infra.db.listing import Filter, selective_page, statement
from idp.infra.db.named_queries import NamedQuery
from idp.mail.repository import MAILS
from idp.oauth.clients.registration import register_client
from idp.oauth.repository.consents import CONSENTS
from idp.scim.filters import parse_filter, parse_path
from idp.scim.repository import search
from idp.scim.repository.groups import GROUPS as GROUPS_OF_SCIM
from idp.scim.repository.users import USERS
from idp.signin.repository.sessions import SESSIONS
from idp.trace.repository import REQUESTS
from tests.support.isolated import isolated
from tests.support.postgres import Cluster

VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
#: Modules whose statements no server runs, or not without Citus.
ELSEWHERE = (
    *("idp.cli", "idp.infra.db.migrat", "idp.dev", "idp.__main__", "idp.piccolo"),
    *("idp.infra.db.citus", "idp.infra.db.distribution"),
)
#: Tables with a few rows each. Some statements read all rows of one.
SMALL = {
    "access_policy", "access_policy_attribute", "access_policy_group", "access_policy_organization",
    "access_policy_role",
    "admin_role", "attribute", "attribute_job", "audit_export", "authorization_details_type", "client",
    "client_document", "client_logo",
    "branding_picture", "branding_version",
    "bulk_job", "claim_mapping", "client_registration", "database_mark", "delivery_stream",
    "directory_deletion", "event_feed", "event_feed_kind",
    "event_stream",
    "id_jag_policy", "initial_access_token", "jwks_fetch", "mail_template", "not_before", "resource_server", "revision",
    "provisioned_group", "provisioning_drift", "provisioning_job", "provisioning_target",
    "root_key", "scim_token",
    "setup", "signing_key", "token_exchange_policy", "token_hook", "transaction_lock", "trusted_issuer",
    "trusted_issuer_client", "upstream", "webhook", "workload_identity",
}  # fmt: skip
#: Statements that may read a whole table or sort many rows, because they run rarely, by the beginning of the name.
WHOLE = (
    # The containment of an upstream, and after a backup was restored.
    "idp.directory.repository.invitations._REVOKE_ALL",
    "idp.signin.repository.sessions._SESSIONS_OF_UPSTREAM",
    "idp.oauth.repository.families._REVOKE_FAMILIES_OF_UPSTREAM",
    "idp.oauth.device.repository._CANCEL_OF_UPSTREAM",
    "idp.oauth.ciba.repository._CANCEL_OF_UPSTREAM",
    "idp.signin.repository.signin_flows._FINISH_FLOWS_OF_UPSTREAM",
    "idp.signin.factors.repository._COUNT_WITHOUT_OTHER_METHOD",
    "idp.signin.repository.sessions._END_ALL_SESSIONS",
    "idp.signin.repository.signin_flows._FINISH_ALL_FLOWS",
    "idp.signin.repository.devices._DISTRUST_ALL_DEVICES",
    # What has not expired is nearly all that is in these tables. Families and sessions are read by an index.
    "idp.oauth.status.repository._REVOKED",
    # The overview of the console counts up to a bound.
    "idp.accounts.repository.users._COUNT_USERS",
    "idp.mail.repository._COUNTS",
    "idp.delivery.repository._COUNTS",
    "idp.federation.repository._DELETE_TOKENS",
    "idp.federation.repository._CONSUME_OF_UPSTREAM",
    "idp.federation.repository._FLOWS_OF_UPSTREAM",
    # Most of the rows, where most belong to one client.
    "idp.oauth.repository.families._CONSUME_CODES_OF_CLIENT",
    "idp.oauth.repository.families._REVOKE_FAMILIES_OF_CLIENT",
    "idp.oauth.status.repository._BURY_FAMILIES_OF_CLIENT",
    "idp.oauth.repository.consents._DELETE_CONSENTS_OF_CLIENT",
    "idp.oauth.repository.families._RESOURCES_OF_CLIENT",
    "idp.oauth.authorize.repository._FINISH_OF_CLIENT",
    "idp.oauth.authorize.repository._USE_PUSHED_OF_CLIENT",
    "idp.oauth.device.repository._CANCEL_OF_CLIENT",
    "idp.oauth.ciba.repository._CANCEL_OF_CLIENT",
    "idp.scim.repository.tokens._FORGET_",
    # The members of one group, who may be many.
    "idp.provisioning.repository.members._ALL",
    "idp.provisioning.repository.members._MISSING",
    # All of them, after a backup was restored.
    "idp.oauth.device.repository._CANCEL_ALL",
    "idp.oauth.repository.families._CONSUME_ALL_CODES",
    "idp.oauth.repository.families._REVOKE_ALL_FAMILIES",
    "idp.oauth.authorize.repository._FINISH_ALL",
    "idp.oauth.authorize.repository._USE_ALL_PUSHED",
    "idp.oauth.ciba.repository._CANCEL_ALL",
    # An export of the configuration.
    "idp.directory.repository.groups._ALL_ROLES",
    "idp.directory.repository.roles._CONTAINED_PAIRS",
    # The catalogue of PostgreSQL.
    "idp.infra.db.partitions._EXISTING",
    # The flows of a user whose password changes, among those of two hours.
    "idp.signin.repository.signin_flows._CANCEL_FLOWS",
    # The same of trips to providers.
    "idp.federation.repository._CONSUME_OF_SESSIONS",
    # Checking the trail; and a checkpoint puts all its rows in order.
    "idp.audit.repository.audit_events._PLACED",
    "idp.audit.repository.audit_events._UNCOVERED",
    "idp.audit.repository.audit_events._WAITING",
    "idp.audit.repository.audit_checkpoints._CHECKPOINTS_AFTER",
    "idp.audit.repository.audit_events._PROOF",
    "idp.audit.repository.audit_events._NEW",
    # Batches, which are much of a table here and little of a large one; that of mail is planned for its size each time.
    "idp.audit.repository.audit_events._DELETE_EVENTS",
    "idp.mail.repository._CLAIM",
    "idp.trace.repository._DELETE_BEFORE",
)
#: Statements on rows of several users, by the beginning of the name.
SEVERAL_PERSONS = (
    # The trust in an issuer ends, and with it what its tokens gave.
    "idp.oauth.token.repository.assertions._REVOKE",
    # Those who are gone from a directory, and may be in another.
    "idp.federation.ldap.repository._AMONG",
    # Administrators whose jobs a contained provider ends.
    "idp.federation.repository._USERS_AT_UPSTREAM",
    # An attribute is deleted, or becomes searchable.
    "idp.accounts.attributes.jobs.repository.",
    "idp.accounts.attributes.repository._COUNT_VALUES",
    # Imports, and lists for administrators.
    "idp.accounts.repository.users._INSERT_USERS",
    "idp.accounts.repository.users._LOCK_UNTOUCHED",
    "idp.accounts.repository.users._MARK_CHANGED",
    "idp.accounts.repository.admin_roles._ADMINISTRATORS",
    "idp.accounts.repository.users._EMAILS_BY_ID",
    "idp.accounts.repository.users._PAGE",
    "idp.accounts.attributes.repository._VALUES_OF_USERS",
    "idp.accounts.repository.users._IDS_OF_EMAILS",
    "idp.accounts.repository.users._CLAIMED_EMAILS",
    # An invitation names its inviter, and ends with the membership of several.
    "idp.directory.repository.invitations._REVOKE_OF_MEMBERS",
    "idp.directory.repository.invitations._OFFER",
    "idp.directory.repository.invitations._OF_PERSON",
    # Groups, organizations and roles are given to several users at once.
    "idp.accounts.repository.users._INCREASE_DIRECTORY_VERSION",
    "idp.accounts.repository.users._LOCK_SEVERAL",
    "idp.directory.repository.memberships._ORIGINS_OF_SEVERAL",
    "idp.directory.repository.groups._ADD_PAIRS",
    "idp.directory.repository.groups._COUNT_PAIRS",
    "idp.directory.repository.groups._REMOVE_MEMBERS",
    "idp.directory.repository.organizations._REMOVE_MEMBERS",
    "idp.directory.repository.organizations._MEMBERS_AMONG",
    # Whether other members manage an organization; who may be added to it.
    "idp.directory.repository.organizations._HAS_OTHER_ADMIN",
    "idp.directory.repository.organizations._ADMINS_AMONG",
    "idp.directory.repository.organizations._AT_DOMAINS",
    "idp.directory.repository.roles._GIVE",
    "idp.directory.repository.roles._TAKE",
    "idp.directory.repository.groups._COUNT_MEMBERS",
    "idp.directory.repository.roles._COUNT_HOLDERS",
    # SCIM: the groups of the users of a page, the members of groups, and what a deleted client called users.
    "idp.scim.repository.users._GROUPS",
    "idp.scim.repository.groups.",
    "idp.scim.repository.members._ROLES",
    "idp.scim.repository.roles.",
    # Members of groups at provisioning targets, and pages of users.
    "idp.provisioning.repository.members.",
    "idp.accounts.repository.users._BY_IDS",
    # Whether any owner, or any role, exists.
    "idp.accounts.repository.admin_roles._HAS_OTHER_OWNER",
    "idp.admin.repository._OPEN",
    "idp.admin.repository._IS_OPEN",
    "idp.admin.repository._COMPLETE",
    # The users who signed in with one browser.
    "idp.signin.repository.devices._FIND_DEVICE",
    "idp.signin.repository.devices._MOVE_DEVICE",
    # Sessions that have ended, whoever signed in.
    "idp.signin.repository.sessions._CLAIM_ENDED",
    "clean-up: ",
)
#: More rows than a statement may sort.
MANY = 100
#: Statements that sort the groups and roles of one user, of which PostgreSQL expects more than there are.
SORTED = ("idp.directory.repository.memberships.",)


def _statements() -> dict[str, str]:
    """Every statement that is a constant of a module."""
    found: dict[str, str] = {}
    for module in walk_packages(idp.__path__, "idp."):
        if not module.name.startswith(ELSEWHERE):
            for name, value in vars(import_module(module.name)).items():
                statement = value.text if isinstance(value, NamedQuery | CoalescedQuery) else value
                if name.isupper() and isinstance(statement, str) and _is_whole(statement):
                    # A module that imports the statement has the same object.
                    found.setdefault(statement, f"{module.name}.{name}")
    return {name: statement for statement, name in found.items()}


def _is_whole(text: str) -> bool:
    """Return whether the text is a statement, and not a part of a :class:`NamedQuery`."""
    return text.lstrip().startswith(VERBS) and not NamedQuery(text).names


STATEMENTS = _statements() | {
    "passkeys of a user": "SELECT * FROM passkey WHERE user_id = $1 ORDER BY created_at",
}
STATEMENTS |= {f"clean-up: {table.name}: found": table.find for table in EXPIRING}
STATEMENTS |= {f"clean-up: {table.name}: deleted": table.delete for table in EXPIRING}

#: A value for a column that must have one, by its name or else its type.
BY_NAME = {"user_id": "s.user_id", "session_id": "s.id", "client_id": "$1", "slot": "row_number() OVER () % 11"}
BY_NAME |= {"stream_id": "(SELECT id FROM event_stream)"}
BY_TYPE = {
    "uuid": "uuidv7()",
    "text": "s.id::text",
    "bytea": "s.token_hash",
    "boolean": "false",
    "ARRAY": "'{}'",
    "jsonb": "'{}'",
    "timestamp with time zone": "now() + interval '1 hour'",
}


async def _fill_others(client_id: str) -> None:
    """Insert as many rows as there are sessions into every table that is empty and not small.

    The rows that they refer to need not exist: foreign keys are not checked.
    """
    async with transaction():
        await execute("SET LOCAL session_replication_role = 'replica'")
        await _insert_others(client_id)


async def _insert_others(client_id: str) -> None:
    for name in [row["table_name"] for row in await fetch(_TABLES)]:
        if name in SMALL or await fetch(f"SELECT FROM {name} LIMIT 1"):
            continue
        columns = {row["column_name"]: row["data_type"] for row in await fetch(_COLUMNS, name)}
        values = [BY_NAME.get(column) or BY_TYPE.get(kind, "row_number() OVER ()") for column, kind in columns.items()]
        await execute(
            f"INSERT INTO {name} ({', '.join(columns)}) SELECT {', '.join(values)} FROM session AS s"
            " WHERE $1::text IS NOT NULL",
            client_id,
        )


_A_STREAM = """
INSERT INTO event_stream (id, client_id, description, events_requested, format, status, status_reason)
VALUES (uuidv7(), $1, '', '[]', 'iss_sub', 'enabled', '')
"""
#: A few families of each of many issuers.
_ISSUERS = """
INSERT INTO trusted_issuer (id, issuer, config) SELECT n::text, n::text, '{}' FROM generate_series(0, 999) AS n
"""
_ASSERTED = """
INSERT INTO asserted_family (user_id, family_id, issuer_id)
SELECT user_id, id, (row_number() OVER () % 1000)::text FROM token_family
"""
#: A few values of each of many attributes.
_ATTRIBUTES = """
INSERT INTO attribute (name, config) SELECT 'a' || n, '{"searchable": true}' FROM generate_series(0, 999) AS n
"""
_VALUES = """
INSERT INTO user_attribute (user_id, attribute, position, text_value, search_key)
SELECT id, 'a' || row_number() OVER () % 1000, 0, email, email FROM users
"""
_TABLES = """
SELECT relname AS table_name FROM pg_class WHERE relnamespace = current_schema()::regnamespace
AND relkind IN ('r', 'p') AND NOT relispartition AND relname <> 'migration'
"""
_COLUMNS = """
SELECT column_name, data_type FROM information_schema.columns
WHERE table_schema = current_schema() AND table_name = $1 AND is_nullable = 'NO'
"""


@pytest.fixture(scope="module")
async def full(cluster: Cluster, template: str) -> AsyncIterator[asyncpg.Connection]:
    """A database in which a scan of a table costs more than a look into an index."""
    async with isolated(await cluster.create_database(template)) as dsn:
        if not await fetch("SELECT FROM pg_proc WHERE proname = 'uuidv7'"):
            pytest.skip("Filling the database needs uuidv7() of PostgreSQL 18.")
        client, _ = await register_client(client_name="Large", redirect_uris=["https://client.example/callback"])
        await partitions.create_ahead("audit_event", datetime.now(UTC))
        await fill(dsn, client.client_id, Scale().of(0.005))
        await execute(_A_STREAM, client.client_id)
        await execute(_ISSUERS)
        await execute(_ASSERTED)
        await execute(_ATTRIBUTES)
        await execute(_VALUES)
        await directory.fill(
            dsn, client.client_id, directory.Scale(groups=1_000_000, roles=200_000, organizations=200_000).of(0.005)
        )
        await _fill_others(client.client_id)
        await execute("ANALYZE")
        connection = await asyncpg.connect(dsn, statement_cache_size=0)
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        yield connection
        await connection.close()


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)


async def _plan(connection: asyncpg.Connection, statement: str) -> list[dict[str, Any]]:
    """Return the plan of a statement as a server that runs it often gets it."""
    number = max(map(int, re.findall(r"\$([0-9]+)", statement)), default=0)
    await connection.execute(f"DEALLOCATE ALL; PREPARE hot AS {statement}")
    arguments = f"({', '.join(['NULL'] * number)})" if number else ""
    text = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE hot{arguments}")
    return list(_nodes(msgspec.json.decode(text)[0]["Plan"]))


@pytest.mark.parametrize("name", [name for name in STATEMENTS if not name.startswith(WHOLE)])
async def test_statements_use_indexes(full: asyncpg.Connection, name: str) -> None:
    nodes = await _plan(full, STATEMENTS[name])
    empty = {row["relname"] for row in await full.fetch(_EMPTY_PARTITIONS)}
    read = {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"}
    # Catalogs of PostgreSQL do not grow with the number of users.
    assert {name for name in read if not name.startswith("pg_")} <= SMALL | empty
    if not name.startswith(SORTED):
        assert [node for node in nodes if "Sort" in node["Node Type"] and node["Plan Rows"] > MANY] == []


_SKEWED = """
INSERT INTO user_attribute (user_id, attribute, position, text_value, search_key)
SELECT id, 'a0', 1, value, value
FROM (SELECT id, CASE row_number() OVER () % 1000 WHEN 0 THEN 'rare' ELSE 'common' END AS value FROM users) AS valued
"""


@pytest.mark.parametrize("sort", ["-created_at", "email"])
@pytest.mark.parametrize("value", ["common", "rare", "absent"])
async def test_searches_by_a_value_use_its_index(full: asyncpg.Connection, value: str, sort: str) -> None:
    """The users with a value are found by it, or met in the order of the list: never in a whole table, or by a sort."""
    attribute = Attribute(name="a0", type=Type.STRING, label={"default": "A"}, searchable=True)
    listing = msgspec.structs.replace(PEOPLE, filters={"a0": attribute_filter(attribute)})
    filling = full.transaction()
    await filling.start()
    try:
        await full.execute(_SKEWED)
        await full.execute("ANALYZE user_attribute")
        await full.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        for after in (False, True):
            page = selective_page(listing, ["a0"], sort, after=after, limit=50)
            for text in (page.near(), *([page.few(page.keys)] if value != "common" else [])):
                last = ", '2026-01-01', '00000000-0000-7000-8000-000000000000'" if after else ""
                await full.execute(f"DEALLOCATE ALL; PREPARE search AS {text}")
                plan = await full.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE search('{value}'{last})")
                nodes = list(_nodes(msgspec.json.decode(plan)[0]["Plan"]))
                assert {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"} <= SMALL
                assert "user_attribute_search_key" in {node.get("Index Name") for node in nodes}
                assert [node for node in nodes if node["Node Type"] == "Sort" and node["Plan Rows"] > MANY] == []
    finally:
        await filling.rollback()


LISTINGS = {"groups": GROUPS, "members": MEMBERS, "roles": ROLES, "own_roles": OWN_ROLES, "holders": HOLDERS}
LISTINGS |= {"organizations": ORGANIZATIONS, "organization_members": ORGANIZATION_MEMBERS, "domains": DOMAINS}
LISTINGS |= {"invitations": INVITATIONS}


@pytest.mark.parametrize(
    ("name", "filters"),
    [
        (name, filters)
        for name, listing in LISTINGS.items()
        for filters in ((), *((each,) for each in listing.filters))
        # Of one organization only.
        if (name, filters) != ("organization_members", ("q",))
    ],
)
async def test_lists_use_indexes(full: asyncpg.Connection, name: str, filters: tuple[str, ...]) -> None:
    """The first page, and one after a cursor. What an index has put in order already is no sort."""
    for after in (False, True):
        nodes = await _plan(full, statement(LISTINGS[name], filters, after=after))
        assert [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"] == []
        assert [node for node in nodes if node["Node Type"] == "Sort" and node["Plan Rows"] > MANY] == []


@pytest.mark.parametrize("filters", [(), ("since",), ("until",), ("event",), ("user_id",)])
async def test_events_of_an_organization_use_indexes(full: asyncpg.Connection, filters: tuple[str, ...]) -> None:
    empty = {row["relname"] for row in await full.fetch(_EMPTY_PARTITIONS)}
    for after in (False, True):
        nodes = await _plan(full, statement(trail.EVENTS, ("organization_id", *filters), after=after))
        assert {node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"} <= empty
        assert [node for node in nodes if node["Node Type"] == "Sort" and node["Plan Rows"] > MANY] == []


_BUSY_USER = """
INSERT INTO audit_event (id, at, event, outcome, actor, user_id, ip_address, request_id, detail)
SELECT uuidv7(), now() - n * interval '1 second', CASE n % 10 WHEN 0 THEN 'sign_in' ELSE 'token_issued' END,
    'success', '', $1::uuid, '', '', '{}'
FROM generate_series(1, 20000) AS n
"""


async def test_events_of_a_user_are_read_in_order(full: asyncpg.Connection) -> None:
    """Even of one who has many, and most of them not shown: a page reads its rows alone, by the index."""
    user_id = UUID(int=7)
    filling = full.transaction()
    await filling.start()
    try:
        await full.execute(_BUSY_USER, user_id)
        await full.execute("ANALYZE audit_event")
        await full.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        for after in (False, True):
            text = statement(OWN_EVENTS, ("user_id", "events"), after=after, limit=20)
            last = [str(datetime.now(UTC) - timedelta(hours=1)), str(UUID(int=0))] if after else []
            plan = await full.fetchval(
                f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", str(user_id), "{sign_in,sign_out}", *last
            )
            nodes = list(_nodes(msgspec.json.decode(plan)[0]["Plan"]))
            (scan,) = [node for node in nodes if "Scan" in node["Node Type"] and node["Actual Rows"]]
            assert scan["Index Name"].endswith("_user_id_at_id_idx")
            assert ("ROW(" in scan["Index Cond"]) is after
            assert scan["Actual Rows"] + scan["Rows Removed by Filter"] < 300
            assert [node for node in nodes if node["Node Type"] == "Sort"] == []
    finally:
        await filling.rollback()


ONE_GROUP = "00000000-0000-7000-8000-000000000000"
#: The lists of the console of what grows with the number of users.
LARGE = {"users": PEOPLE, "sessions": SESSIONS, "consents": CONSENTS, "open invitations": OPEN_INVITATIONS}
LARGE |= {"events": EVENTS, "mails": MAILS, "deliveries": DELIVERIES, "requests": REQUESTS}
#: Values that most rows of a table have, so that a page of them is full at once.
COMMON = {"success", "sent", "delivered"}
#: Filters that only the admin API has, and that read the rows of a list in its order.
UNINDEXED = [("deliveries", "session_id")]


def _filtered() -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield each large list in each order: without a filter, and with each value of a filter that few rows have."""
    for name, listing in LARGE.items():
        for sort in [f"{sign}{each}" for each in listing.sorts for sign in ("", "-")]:
            yield name, sort, {}
            for key, known in listing.filters.items():
                # One by keys has a plan of its own.
                if not known.keys and (name, key) not in UNINDEXED:
                    yield from ((name, sort, {key: value}) for value in _rare(key, known) if value not in COMMON)


def _rare(key: str, known: Filter) -> tuple[str, ...]:
    if known.type == "boolean":
        # Most accounts are enabled, and most sessions live.
        return ("true",) if key == "disabled" else ("false",)
    if known.type == "timestamptz":
        return ("2100-01-01",) if key == "since" else ("2000-01-01",)
    return known.choices or ((ONE_GROUP,) if known.type == "uuid" else ("none",))


@pytest.mark.parametrize(("name", "sort", "filters"), list(_filtered()))
async def test_pages_of_large_lists_read_few_rows(
    full: asyncpg.Connection, name: str, sort: str, filters: dict[str, str]
) -> None:
    """The first page, and one after a cursor, planned for their values: neither reads a list to drop most of it."""
    order = LARGE[name].sorts[sort.removeprefix("-")]
    last = {"uuid": ONE_GROUP, "timestamptz": "2026-01-01", "text": "none"}
    for after in ((), (last[order.type], ONE_GROUP)):
        page = statement(LARGE[name], filters, sort=sort, after=bool(after))
        assert await _wasteful(full, page, *filters.values(), *after) == []


@pytest.mark.parametrize(("name", "key"), UNINDEXED)
async def test_a_page_that_drops_most_rows_would_be_seen(full: asyncpg.Connection, name: str, key: str) -> None:
    assert await _wasteful(full, statement(LARGE[name], [key]), ONE_GROUP)


async def _wasteful(connection: asyncpg.Connection, statement: str, *values: str) -> list[dict[str, Any]]:
    """Run a statement. Returns the nodes that dropped or sorted many rows."""
    plan = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *values)
    return [
        node
        for node in _nodes(msgspec.json.decode(plan)[0]["Plan"])
        if node.get("Rows Removed by Filter", 0) * node["Actual Loops"] > MANY
        or (node["Node Type"] == "Sort" and node["Actual Rows"] > MANY)
    ]


#: Filters of SCIM that use an index, with the order of the list.
SEARCHES = {
    "users": (USERS, None, None),
    "users by name": (USERS, None, "userName"),
    "users by family name": (USERS, None, "name.familyName"),
    "new users": (USERS, None, "meta.created"),
    "userName eq": (USERS, 'userName eq "a@example.com"', None),
    "emails": (USERS, 'emails[type eq "work"].value eq "a@example.com"', None),
    "externalId eq": (USERS, 'externalId eq "x"', None),
    "id eq": (USERS, 'id eq "00000000-0000-7000-8000-000000000000"', None),
    "userName sw": (USERS, 'userName sw "a@"', None),
    "displayName eq": (USERS, 'displayName eq "Ann"', None),
    "name.familyName sw": (USERS, 'name.familyName sw "ann"', None),
    "changed": (USERS, 'meta.lastModified gt "2100-01-01T00:00:00Z"', "meta.lastModified"),
    "disabled": (USERS, "active eq false", None),
    "a group": (USERS, f'groups.value eq "{ONE_GROUP}"', None),
    "groups": (GROUPS_OF_SCIM, None, None),
    "groups by name": (GROUPS_OF_SCIM, None, "displayName"),
    "group displayName eq": (GROUPS_OF_SCIM, 'displayName eq "a"', None),
    "group externalId eq": (GROUPS_OF_SCIM, 'externalId eq "a"', None),
    "a member": (
        GROUPS_OF_SCIM,
        'id eq "00000000-0000-7000-8000-000000000000" and members eq "00000000-0000-7000-8000-000000000000"',
        None,
    ),
}


@pytest.mark.parametrize("name", SEARCHES)
async def test_searches_of_scim_use_indexes(full: asyncpg.Connection, name: str) -> None:
    """The first page, and one after a cursor. Each is planned for its values."""
    searched, text, sort_by = SEARCHES[name]
    order = search.Order() if sort_by is None else search.order_by(searched, parse_path(sort_by), descending=False)
    for after in (None, search.Position("2026-01-01", "00000000-0000-7000-8000-000000000000")):
        parameters: list[Any] = ["scim:x"]
        trees = {ONE_GROUP: [UUID(ONE_GROUP)]}
        where = search.condition(searched, parse_filter(text) if text else None, parameters, trees=trees)
        page = search.page_statement(searched, where, order, after, parameters, limit=100)
        nodes = list(
            _nodes(msgspec.json.decode(await full.fetchval(f"EXPLAIN (FORMAT JSON) {page}", *parameters))[0]["Plan"])
        )
        assert [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"] == []
        assert [node for node in nodes if node["Node Type"] == "Sort" and node["Plan Rows"] > MANY] == []


_OF_A_PERSON = """
SELECT conrelid::regclass::text AS name, attname AS person FROM pg_constraint
JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1]
WHERE contype = 'p' AND (attname = 'user_id' OR conrelid = 'users'::regclass)
"""


@pytest.mark.parametrize("name", [name for name in STATEMENTS if not name.startswith((*WHOLE, *SEVERAL_PERSONS))])
async def test_each_table_of_a_person_is_read_by_the_person(full: asyncpg.Connection, name: str) -> None:
    """An engine that spreads persons over servers then asks one server (docs/decisions/0048-keys-by-person.md).

    PostgreSQL shows the given id as a parameter, or as the column of the table before. That is the id of the user ``u``
    where it reads users first, which depends on the statistics.
    """
    await _check_persons(full, STATEMENTS[name])


async def _check_persons(connection: asyncpg.Connection, statement: str) -> None:
    of_a_person = {row["name"]: row["person"] for row in await connection.fetch(_OF_A_PERSON)}
    assert {"users", "session", "token_family", "refresh_token", "authorization_code", "consent"} <= of_a_person.keys()
    for node in await _plan(connection, statement):
        person = of_a_person.get(node.get("Relation Name", ""))
        if person is not None and "Scan" in node["Node Type"]:
            condition = " ".join(node.get(name, "") for name in ("Index Cond", "Recheck Cond", "Filter"))
            given = r"(\w+\.user_id|u\.id)"
            assert re.search(rf"\b{person} = (\$[0-9]|{given})|{given} = {person}\b", condition), node


# Those of months to come, and the default one. To read them as a whole is to read nothing; once there is something,
# PostgreSQL analyses them and plans again.
_EMPTY_PARTITIONS = "SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r' AND reltuples = 0"


@pytest.mark.parametrize("start", [*WHOLE, *SORTED, *SEVERAL_PERSONS])
def test_the_exceptions_still_exist(start: str) -> None:
    assert [name for name in STATEMENTS if name.startswith(start)]


async def test_foreign_keys_of_expiring_tables_have_an_index(full: asyncpg.Connection) -> None:
    """PostgreSQL looks for it once for every row that the clean-up deletes."""
    rows = await full.fetch(_WITHOUT_INDEX, [table.name for table in EXPIRING])
    assert [tuple(row) for row in rows] == []


_WITHOUT_INDEX = """
SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
WHERE contype = 'f' AND confrelid::regclass::text = ANY ($1)
  AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = conrelid AND indkey[0] = ANY (conkey))
"""


async def test_a_table_read_without_the_person_would_be_seen(full: asyncpg.Connection) -> None:
    with pytest.raises(AssertionError, match=r"id = \$2"):
        await _check_persons(full, "SELECT FROM users AS u, session AS s WHERE u.id = $1 AND s.id = $2")
    await _check_persons(
        full, "SELECT FROM users AS u, session AS s WHERE u.id = $1 AND s.user_id = u.id AND s.id = $2"
    )


async def test_a_scan_would_be_seen(full: asyncpg.Connection) -> None:
    nodes = await _plan(full, "SELECT FROM users WHERE name = $1 ORDER BY created_at")
    assert {"Seq Scan", "Sort"} <= {node["Node Type"] for node in nodes}
