"""Who reads and writes which table: only the repository of the package that declares it.

docs/decisions/0045-repositories.md has the reasons and the exceptions.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module

import pytest

from idp.housekeeping import EXPIRING
from idp.infra.db.coalescing import CoalescedQuery
from idp.infra.db.expiring import Expiring
from idp.infra.db.named_queries import NamedQuery
from tests.test_architecture import modules, package

#: Tables of packages below that a repository reads in a join, because one round trip needs both.
READ_ACROSS: frozenset[tuple[str, str]] = frozenset(
    {
        # A new key waits until each resource server has fetched it: one statement, as the list of servers may change.
        ("idp.keys.repository.jwks_fetches", "resource_server"),
        # An attribute names the clients that require it.
        ("idp.accounts.attributes.repository", "client"),
        # The list of resource servers shows when each has fetched the JWKS.
        ("idp.oauth.clients.repository", "jwks_fetch"),
        # The set-up is closed as soon as any user has a role.
        ("idp.admin.repository", "admin_role"),
        # What follows for a user is read with the version of what they were given; lists name the users.
        ("idp.directory.repository.groups", "users"),
        ("idp.directory.repository.invitations", "users"),
        ("idp.directory.repository.memberships", "users"),
        ("idp.directory.repository.organizations", "users"),
        ("idp.directory.repository.roles", "users"),
        # Administrators of an organization see its audit events, and nobody in them who is not a member.
        ("idp.directory.repository.trail", "users"),
        # What access policies name cannot be deleted; the error names the clients.
        ("idp.accounts.attributes.repository", "access_policy_attribute"),
        ("idp.directory.repository.groups", "access_policy_group"),
        ("idp.directory.repository.groups", "client"),
        ("idp.directory.repository.organizations", "access_policy_organization"),
        ("idp.directory.repository.organizations", "client"),
        ("idp.directory.repository.roles", "access_policy_role"),
        ("idp.directory.repository.roles", "client"),
        # The user of an identity must be enabled; an import names the users who have an identity.
        ("idp.federation.ldap.repository", "users"),
        ("idp.federation.repository", "users"),
        # A code is issued only for an enabled user and a live session, in the statement that stores it.
        ("idp.oauth.authorize.repository", "session"),
        ("idp.oauth.authorize.repository", "users"),
        # A user approves a device in a live session, and a device gets tokens only of an enabled user.
        ("idp.oauth.device.repository", "session"),
        ("idp.oauth.device.repository", "users"),
        # A target gets users by what they are given, and those members of groups who are there.
        ("idp.provisioning.repository.members", "group_member"),
        ("idp.provisioning.repository.members", "groups"),
        ("idp.provisioning.repository.members", "organization_member"),
        ("idp.provisioning.repository.members", "users"),
        # SCIM searches users and groups by what its clients call them, and never changes one that is an administrator.
        ("idp.scim.repository.groups", "admin_role"),
        ("idp.scim.repository.groups", "group_member"),
        ("idp.scim.repository.groups", "groups"),
        ("idp.scim.repository.groups", "users"),
        # One of an organization searches its members and roles, by its verified domains, and cannot be used while it is
        # disabled.
        ("idp.scim.repository.members", "organization_member"),
        ("idp.scim.repository.members", "role"),
        ("idp.scim.repository.members", "user_role"),
        ("idp.scim.repository.members", "users"),
        ("idp.scim.repository.roles", "admin_role"),
        ("idp.scim.repository.roles", "organization_member"),
        ("idp.scim.repository.roles", "role"),
        ("idp.scim.repository.roles", "user_role"),
        ("idp.scim.repository.tokens", "organization"),
        ("idp.scim.repository.search", "groups"),
        ("idp.scim.repository.users", "group_member"),
        ("idp.scim.repository.users", "user_attribute"),
        ("idp.scim.repository.users", "groups"),
        ("idp.scim.repository.users", "users"),
        # A family without offline access ends with its session, and every family ends while its user is disabled.
        # A token of an administrator is not exchanged by impersonation.
        ("idp.oauth.repository.consents", "users"),
        ("idp.oauth.repository.families", "session"),
        ("idp.oauth.repository.live_tokens", "admin_role"),
        ("idp.oauth.repository.live_tokens", "session"),
        ("idp.oauth.repository.live_tokens", "users"),
        ("idp.oauth.repository.states", "session"),
        ("idp.oauth.repository.states", "users"),
        ("idp.oauth.token.repository.assertions", "users"),
        ("idp.oauth.token.repository.codes", "session"),
        ("idp.oauth.token.repository.codes", "users"),
        ("idp.oauth.token.repository.families", "session"),
        ("idp.oauth.token.repository.families", "users"),
        ("idp.oauth.token.repository.refresh_tokens", "users"),
        # In single-session mode an approval ends with its session.
        ("idp.oauth.ciba.repository", "session"),
        # The revocation list names the families that ended with their session.
        ("idp.oauth.status.repository", "session"),
        # A session, a device and the factors are valid only while their user is enabled.
        ("idp.signin.repository.devices", "users"),
        ("idp.signin.repository.sessions", "users"),
        ("idp.signin.repository.subjects", "users"),
        ("idp.signin.factors.repository", "users"),
        # The containment of an upstream ends what its users have.
        ("idp.oauth.repository.families", "identity"),
        ("idp.oauth.device.repository", "identity"),
        ("idp.oauth.ciba.repository", "identity"),
        ("idp.signin.repository.sessions", "identity"),
        ("idp.signin.repository.signin_flows", "identity"),
        ("idp.signin.factors.repository", "identity"),
    }
)

_VERB = re.compile(
    r"\s*(?:SELECT|INSERT\s+INTO|UPDATE|DELETE\s+FROM|WITH)\s+\S|.*\((?:SELECT|INSERT|UPDATE|DELETE)\s", re.DOTALL
)
_WRITTEN = re.compile(r"(?:INSERT\s+INTO|\bUPDATE|DELETE\s+FROM)\s+(\w+)")
_READ = re.compile(r"(?:\bFROM|\bJOIN|\bUSING)\s+(\w+)|,\s*(\w+)\s+AS\s+\w")
_QUERIES = {"select", "insert", "update", "delete", "objects", "raw", "exists", "count"}
_WRITES = {"insert", "update", "delete", "raw"}


@cache
def tables() -> dict[str, tuple[str, str]]:
    """Return the package and the SQL name of each table, by the name of its class."""
    found = {}
    for module, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and ".migrations" not in module:
                for keyword in node.keywords:
                    if keyword.arg == "tablename" and isinstance(keyword.value, ast.Constant):
                        found[node.name] = (package(module), keyword.value.value)
    return found


@cache
def owners() -> dict[str, str]:
    """Return the package of each table, by its SQL name."""
    return {name: owner for owner, name in tables().values()}


def _docstrings(tree: ast.Module) -> set[int]:
    return {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }


def texts(tree: ast.Module) -> Iterator[str]:
    """The string constants of a module, f-strings with their fields left out, without docstrings.

    The ``source`` of a ``Listing`` is what stands after FROM in its statement.
    """
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    skipped = inside | _docstrings(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield " ".join(str(part.value) for part in node.values if isinstance(part, ast.Constant))
        elif isinstance(node, ast.keyword) and node.arg == "source" and isinstance(node.value, ast.Constant):
            yield f"SELECT FROM {node.value.value}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.value


def queries(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Return the queries by Piccolo's builder in a module: the class of the table, and the method."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in tables():
            yield node.value.id, node.attr


def has_statements(tree: ast.Module) -> bool:
    return any(_VERB.match(text) for text in texts(tree)) or any(name in _QUERIES for _, name in queries(tree))


def written(tree: ast.Module) -> set[str]:
    """Return the SQL names of the tables that a module writes."""
    found = {name for text in texts(tree) for name in _WRITTEN.findall(text)} & owners().keys()
    return found | {tables()[table][1] for table, method in queries(tree) if method in _WRITES}


def read(tree: ast.Module) -> set[str]:
    """Return the SQL names of the tables that a module reads."""
    found = {name for text in texts(tree) for names in _READ.findall(text) for name in names} & owners().keys()
    return found | {tables()[table][1] for table, method in queries(tree) if method in _QUERIES - _WRITES}


def repositories() -> list[str]:
    """The modules ``repository``, and the modules in a package of this name."""
    return sorted(name for name in modules() if "repository" in name.split("."))


def test_statements_are_in_repositories() -> None:
    """So the code that touches a table is in one place. `idp.infra` contains the building blocks of repositories."""
    found = {
        name
        for name, tree in modules().items()
        if package(name) != "infra" and name not in repositories() and has_statements(tree)
    }
    assert found == set()


@pytest.mark.parametrize("name", repositories())
def test_a_repository_writes_the_tables_of_its_package(name: str) -> None:
    assert {table for table in written(modules()[name]) if owners()[table] != package(name)} == set()


def test_reads_across_packages_are_listed() -> None:
    found = {
        (name, table) for name in repositories() for table in read(modules()[name]) if owners()[table] != package(name)
    }
    assert found == READ_ACROSS


@pytest.mark.parametrize(
    ("source", "statement"),
    [
        ('x = "SELECT 1"', True),
        ('x = f"""\n  UPDATE users SET {y}"""', True),
        ('x = f"EXISTS (SELECT FROM users WHERE {y})"', True),
        ("User.select(User.id)", True),
        ('Listing(source="users AS u", columns="u.id")', True),
        ('"""SELECT is a word."""', False),
        ('x = {}; x.update(a=1); y = "Select a person"', False),
    ],
)
def test_statements_are_recognised(source: str, statement: bool) -> None:
    assert has_statements(ast.parse(source)) == statement


def test_tables_are_recognised() -> None:
    tree = ast.parse('a = "WITH x AS (UPDATE consent SET a = 1) SELECT FROM client AS c, users AS u JOIN session ON 1"')
    assert written(tree) == {"consent"}
    assert read(tree) == {"client", "users", "session"}


#: Statements on memberships that do not compare ``disabled_at``, each with the reason why a disabled one counts there.
#: By module, the beginning of the text after the table.
WHATEVER_THE_STATE: frozenset[tuple[str, str]] = frozenset(
    {
        # Who may have a role: one that is given meanwhile counts when the membership does.
        ("idp.directory.repository.organizations", "WHERE user_id = ANY ($1::uuid[]) AND"),
        ("idp.directory.repository.roles", "AS m WHERE m.user_id = ANY"),
        # Who may get another address from whom: the membership can be enabled again.
        ("idp.directory.repository.organizations", "WHERE user_id = $1 AND admin"),
        # The lists and changes of administrators, who see both.
        ("idp.directory.repository.organizations", "AS m JOIN users AS u"),
        ("idp.directory.repository.organizations", "AS old WHERE m.user_id = $1"),
        ("idp.directory.repository.organizations", "WHERE user_id = {})"),
        # Administrators of an organization see its audit events, also of members whose membership is disabled.
        ("idp.directory.repository.trail", "AS m ON m.user_id = a.user_id"),
        # What is left of a deleted organization.
        ("idp.directory.repository.deletions", "WHERE organization_id = $1 LIMIT 1"),
        # A SCIM client sees both.
        ("idp.scim.repository.members", "AS m JOIN users AS u"),
        ("idp.scim.repository.roles", "WHERE organization_id = $1 AND user_id"),
    }
)
_MEMBERSHIP = re.compile(r"(?:FROM|JOIN) organization_member\b(?!\.)([^;]*)")


def test_statements_on_memberships_compare_their_state() -> None:
    """So no statement forgets that a disabled membership does not count, as one that has ended."""
    found = {
        (name, " ".join(rest.split()[:6]))
        for name in repositories()
        for text in texts(modules()[name])
        for rest in _MEMBERSHIP.findall(text)
        if "disabled_at IS NULL" not in rest and "m.disabled_at" not in rest
    }
    assert found == WHATEVER_THE_STATE


_CHANGE = re.compile(r"\bUPDATE\s+\w+(?:\s+AS\s+\w+)?\s+SET\b|\bDELETE\s+FROM\b")
_LIMITED = re.compile(r"\bLIMIT\b|\bFOR\s+(?:NO\s+KEY\s+)?(?:UPDATE|SHARE|KEY\s+SHARE)\b")
_MATERIALIZED = re.compile(r"\bAS\s+MATERIALIZED\s*$")


def read_again(statement: str) -> list[str]:
    """Return the subqueries of an UPDATE or DELETE with a limit or a lock that PostgreSQL may run more than once."""
    if not _CHANGE.search(statement):
        return []
    found, opened = [], [(0, "")]
    for at, character in enumerate(statement):
        if character == "(":
            opened.append((at, ""))
        elif character == ")" and len(opened) > 1:
            start, own = opened.pop()
            if _LIMITED.search(own) and not _MATERIALIZED.search(statement[:start]):
                found.append(" ".join(statement[start : at + 1].split()))
        else:
            start, own = opened.pop()
            opened.append((start, own + character))
    return found


def _constants(value: object) -> Iterator[str]:
    """The texts of a constant: of a statement, of a container of some, and of an object of ours that has some."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, NamedQuery | CoalescedQuery):
        yield value.text
    elif isinstance(value, dict):
        yield from (text for one in value.values() for text in _constants(one))
    elif isinstance(value, list | tuple | set | frozenset):
        yield from (text for one in value for text in _constants(one))
    elif type(value).__module__ in modules() and "repository" in type(value).__module__.split("."):
        yield from _constants(getattr(value, "__dict__", {}))


@pytest.mark.parametrize("name", sorted({*repositories(), *(name for name in modules() if package(name) == "infra")}))
def test_rows_to_change_are_chosen_once(name: str) -> None:
    """A nested loop runs its inner side for each outer row, each time up to the limit: more rows are locked and changed
    than it allows. Only a common table expression that is materialized runs once.
    """
    statements = [*texts(modules()[name]), *_constants(vars(import_module(name)))]
    assert [again for statement in statements for again in read_again(statement)] == []


@pytest.mark.parametrize("table", EXPIRING, ids=lambda table: table.name)
def test_expired_rows_to_delete_are_chosen_once(table: Expiring) -> None:
    assert _CHANGE.search(table.delete)
    assert read_again(table.delete) == []


@pytest.mark.parametrize(
    ("statement", "again"),
    [
        ("DELETE FROM t WHERE id IN (SELECT id FROM t LIMIT $1)", True),
        ("UPDATE t SET a = 1 WHERE id IN (SELECT id FROM t WHERE b = (1) FOR UPDATE SKIP LOCKED)", True),
        ("WITH x AS (SELECT id FROM t LIMIT 1) UPDATE t AS o SET a = 1 FROM x WHERE o.id = x.id", True),
        ("UPDATE t SET a = 1 FROM (SELECT id FROM t FOR NO KEY UPDATE) AS x WHERE t.id = x.id", True),
        ("WITH x AS MATERIALIZED (SELECT id FROM t LIMIT 1 FOR UPDATE) DELETE FROM t USING x WHERE t.id = x.id", False),
        ("SELECT count(*) FROM (SELECT FROM t LIMIT 100) AS x", False),
        ("DELETE FROM t WHERE id IN (SELECT id FROM u)", False),
    ],
)
def test_limited_subqueries_are_recognised(statement: str, again: bool) -> None:
    assert bool(read_again(statement)) == again
