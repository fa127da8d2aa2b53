"""Row 76: administrators of one organization who read or change another one, by the admin API or by their pages.

The operations come from its OpenAPI document. What an answer may be follows from a model of a few lines: an
administrator of an enabled organization, with a token for it, at an operation that says so, in the path of that
organization.
"""

import random
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import httpx
import pytest

from idp.admin.api.openapi import DELEGATED, document
from idp.admin.roles import Permission
from idp.infra.db.engine import execute, fetch
from idp.oauth.clients.registration import register_client
from idp.selfservice.organization.page import PREFIX
from idp.signin.csrf import form_token
from tests.admin.api.conftest import API
from tests.conftest import MakeClient, until_known
from tests.support.oauth import REDIRECT_URI, RelyingParty
from tests.support.routes import Route, routes
from tests.support.server import TLS, Server
from tests.support.tenants import (
    Someone,
    Tenant,
    answer_of,
    contents,
    known_by,
    make_tenant,
    restore,
    shuffle,
    sign_in,
    some_ids,
    standing,
    unknown,
)

STEPS = 150
SCHEMAS = document()["components"]["schemas"]


class Op(NamedTuple):
    """An operation of the document."""

    method: str
    path: str
    delegated: bool
    any_admin: bool
    body: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def names(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)

    def url(self, values: dict[str, str]) -> str:
        return API + re.sub(r"{(\w+)}", lambda found: values[found[1]], self.path)


def _operations() -> Iterator[Op]:
    for path, methods in document()["paths"].items():
        for method, declared in methods.items():
            content = declared.get("requestBody", {}).get("content", {}).get("application/json", {})
            reference = content.get("schema", {}).get("$ref", "")
            yield Op(
                method.upper(), path, declared.get(DELEGATED, False), not declared["security"][0]["oauth2"],
                SCHEMAS.get(reference.rpartition("/")[2], {}),
            )  # fmt: skip


OPERATIONS = list(_operations())
DELEGATED_OPS = [op for op in OPERATIONS if op.delegated]
#: Those with an id of something inside of the organization, in the path or the body.
INSIDE = [
    op
    for op in DELEGATED_OPS
    if len(op.names) > 1 or {"user_ids", "role_id", "role_ids"} & op.body.get("properties", {}).keys()
]


#: Ids of things inside of an organization, as paths and bodies name them.
NAMED = ("user_id", "role_id", "contained_id", "domain_id", "invitation_id", "token_id")


#: Removal ends what was issued, also for someone who is added again.
LIVE = "SELECT FROM token_family WHERE user_id = $1 AND organization_id = $2 AND revoked_at IS NULL"


class World(NamedTuple):
    tenants: list[Tenant]
    people: list[Someone]
    places: list[dict[Tenant, bool]]

    async def restore(self) -> None:
        """Let everyone be where they were at first."""
        for tenant in self.tenants:
            of = {who.user.id: places[tenant] for who, places in self.of() if tenant in places}
            await restore(tenant, of)
        # The tokens of those who were removed meanwhile had ended.
        statement = "UPDATE token_family SET revoked_at = NULL, revoked_reason = NULL WHERE organization_id = ANY ($1)"
        await execute(statement, [tenant.id for tenant in self.tenants])

    def of(self) -> Iterator[tuple[Someone, dict[Tenant, bool]]]:
        yield from zip(self.people, self.places, strict=True)


@pytest.fixture(scope="module")
async def made(server: Server) -> AsyncIterator[World]:
    one, two, three = [await make_tenant() for _ in range(3)]
    places = [{one: True}, {two: True}, {one: True, two: True}, {one: False, three: True}, {two: False}, {three: True}]
    # With every scope, so that it is not the scope that refuses.
    scope = " ".join(["openid", "organization", *Permission])
    registered, secret = await register_client(client_name="Tenants", redirect_uris=[REDIRECT_URI], scope=scope)
    async with AsyncExitStack() as stack, httpx.AsyncClient(timeout=30, verify=TLS) as http:
        client = RelyingParty(server.issuer, http, registered.client_id, secret, scope=scope)
        await until_known(client)
        people = [await sign_in(server, stack, client, place, next(iter(place)).domain.domain) for place in places]
        yield World([one, two, three], people, places)


@pytest.fixture
async def world(made: World) -> World:
    await made.restore()
    return made


def _body(op: Op, rng: random.Random, ids: dict[str, list[str]]) -> dict[str, Any]:
    """Return a body with a value for each property of the schema."""
    body: dict[str, Any] = {}
    for name, schema in op.body.get("properties", {}).items():
        if name == "user_ids":
            body[name] = [rng.choice(ids["user_id"])]
        elif name == "role_ids":
            body[name] = [rng.choice(ids["role_id"])]
        elif name == "email":
            body[name] = f"{rng.randbytes(6).hex()}@elsewhere.example"
        elif name in ids:
            body[name] = rng.choice(ids[name])
        elif name == "domain":
            body[name] = f"{rng.randbytes(6).hex()}.example"
        elif "boolean" in str(schema):
            body[name] = rng.choice([True, False])
        elif "integer" in str(schema):
            body[name] = rng.choice([3600, 86400])
        else:
            body[name] = f"named {rng.randbytes(6).hex()}"
    return body


class Attempt(NamedTuple):
    someone: Someone
    tenant: Tenant
    op: Op
    values: dict[str, str]
    body: dict[str, Any]

    async def send(self, server: Server, **changes: Any) -> httpx.Response:
        attempt = self._replace(**changes)
        return await attempt.someone.browser.client.request(
            attempt.op.method,
            server.issuer + attempt.op.url(attempt.values),
            json=attempt.body if attempt.op.method != "GET" else None,
            headers={"Authorization": f"Bearer {attempt.someone.tokens[attempt.tenant.id]}", "If-Match": "*"},
        )


async def _attempt(rng: random.Random, world: World) -> Attempt:
    someone = rng.choice(world.people)
    tenant = rng.choice([each for each in world.tenants if each.id in someone.tokens])
    op = rng.choice(DELEGATED_OPS if rng.random() < 0.85 else OPERATIONS)
    others = [await some_ids(each) for each in world.tenants]
    own = others[world.tenants.index(tenant)]

    def pick() -> dict[str, list[str]]:
        found = own if rng.random() < 0.6 else rng.choice(others)
        return {name: found.get(name) or [unknown()] for name in NAMED}

    values = {name: rng.choice(pick().get(name, [unknown()])) for name in op.names}
    if "organization_id" in values:
        values["organization_id"] = str((tenant if rng.random() < 0.7 else rng.choice(world.tenants)).id)
    return Attempt(someone, tenant, op, values, _body(op, rng, pick()))


@pytest.mark.parametrize("seed", range(4))
async def test_76_random_attempts(seed: int, server: Server, world: World) -> None:
    """After each, every other organization is what it was, and the answer holds nothing of it."""
    rng = random.Random(f"organizations {seed}")
    done: list[str] = []
    admitted = 0
    for _ in range(STEPS):
        if rng.random() < 0.3:
            done.append(await shuffle(rng, world.tenants, world.people))
        attempt = await _attempt(rng, world)
        tenant, op, user_id = attempt.tenant, attempt.op, attempt.someone.user.id
        now = await standing(tenant)
        own = attempt.values.get("organization_id") == str(tenant.id)
        may = op.delegated and own and user_id in now.admins
        # An organization that the caller does not manage is not to change at all.
        watched = [each for each in world.tenants if each is not tenant or not may]
        before = [await contents(each, now.members) for each in watched]
        foreign = [each for each in world.tenants if each is not tenant or user_id not in now.members]
        secret = set().union(*[await known_by(each, now.members | {user_id}) for each in foreign])
        live = await fetch(LIVE, user_id, tenant.id)
        answer = await attempt.send(server)
        done.append(
            f"{user_id} for {tenant.organization.slug}: {op} {attempt.values} {attempt.body} {answer.status_code}"
        )
        trail = "\n".join(done[-12:])
        if not now.enabled or user_id not in now.members or not live:
            assert answer.status_code == 401, trail
        elif may:
            assert answer.status_code not in (401, 403), trail
            assert answer.status_code < 500, trail
            admitted += answer.status_code < 300
        elif not op.any_admin:
            assert answer.status_code == 403, trail
        text = answer.text + str(answer.headers.get("link", "")) + str(answer.headers.get("location", ""))
        assert [each for each in secret if each in text] == [], trail
        assert [await contents(each, now.members) for each in watched] == before, trail
        if rng.random() < 0.05:
            await world.restore()
    assert admitted > STEPS / 20


@pytest.mark.parametrize("op", INSIDE, ids=str)
async def test_76_an_id_of_another_organization_is_unknown(op: Op, server: Server, world: World) -> None:
    """In the path or the body, of an own organization: the answer is that for an id that nothing has."""
    one, two, _ = world.tenants
    own, theirs = await some_ids(one), await some_ids(two)
    first = {name: values[0] for name, values in own.items()}
    body = _body(op, random.Random(1), own)
    attempt = Attempt(world.people[0], one, op, {name: first[name] for name in op.names}, body)
    before = await contents(two)
    foreign_ids = {name: _only(theirs, own, name) for name in NAMED}
    for name in op.names[1:]:
        foreign = await attempt.send(server, values=attempt.values | {name: foreign_ids[name]})
        nobody = await attempt.send(server, values=attempt.values | {name: unknown()})
        assert (foreign.status_code, answer_of(foreign.json())) == (404, answer_of(nobody.json()))
    for name in op.body.get("properties", {}).keys() & {"user_ids", "role_id", "role_ids"}:
        values = [foreign_ids[name.removesuffix("s")]] if name.endswith("s") else foreign_ids[name]
        none: Any = [unknown()] if name.endswith("s") else unknown()
        foreign = await attempt.send(server, body=attempt.body | {name: values})
        nobody = await attempt.send(server, body=attempt.body | {name: none})
        assert foreign.status_code in (404, 409)
        assert answer_of(foreign.json()) == answer_of(nobody.json())
    assert await contents(two) == before


def _only(theirs: dict[str, list[str]], own: dict[str, list[str]], name: str) -> str:
    return next(each for each in theirs[name] if each not in own[name])


@pytest.mark.parametrize("op", DELEGATED_OPS, ids=str)
async def test_76_who_is_admitted(op: Op, server: Server, world: World) -> None:
    """Administrators of the organization in the path, with a token for it, while the organization is enabled."""
    one, two, three = world.tenants
    admin, other, of_both, member = world.people[:4]

    async def status(someone: Someone, token: Tenant, path: Tenant) -> int:
        ids = {name: values[0] for name, values in (await some_ids(path)).items()}
        # A body that changes nothing, so that the world stays as it is.
        values = {name: ids.get(name, unknown()) if name == "organization_id" else unknown() for name in op.names}
        return (await Attempt(someone, token, op, values, {}).send(server)).status_code

    assert await status(admin, one, one) not in (401, 403)
    assert await status(of_both, one, one) not in (401, 403)
    assert await status(of_both, two, one) == 403
    assert await status(admin, one, two) == 403
    assert await status(other, two, one) == 403
    assert await status(member, one, one) == 403
    assert await status(member, three, one) == 403


async def test_76_a_token_for_no_organization(server: Server, world: World, make_client: MakeClient) -> None:
    """It admits to none, whatever its user manages."""
    one = world.tenants[0]
    client = await make_client(scope=" ".join(["openid", *Permission]), skip_consent=True)
    admin = world.people[0]
    tokens = await client.tokens(admin.browser, admin.user.email, resource=f"{server.issuer}/admin/api")
    unlimited = admin._replace(tokens={one.id: tokens["access_token"]})
    for op in DELEGATED_OPS:
        values = {name: str(one.id) if name == "organization_id" else unknown() for name in op.names}
        assert (await Attempt(unlimited, one, op, values, {}).send(server)).status_code == 403, op


async def test_76_a_scope_is_needed(server: Server, world: World, make_client: MakeClient) -> None:
    one = world.tenants[0]
    client = await make_client(
        scope=f"openid {Permission.ORGANIZATIONS_READ} {Permission.SCIM_TOKENS_READ}", skip_consent=True
    )
    admin = world.people[0]
    tokens = await client.tokens(
        admin.browser, admin.user.email, resource=f"{server.issuer}/admin/api", organization=one.organization.slug
    )
    reader = admin._replace(tokens={one.id: tokens["access_token"]})
    for op in DELEGATED_OPS:
        values = {name: str(one.id) if name == "organization_id" else unknown() for name in op.names}
        answer = await Attempt(reader, one, op, values, {}).send(server)
        assert (answer.status_code == 403) == (op.method != "GET"), op


def test_76_what_is_delegated() -> None:
    """Nothing outside of one organization, and not its beginning and end."""
    assert {op.path.split("/")[1] for op in DELEGATED_OPS} == {"organizations"}
    assert all(op.names[0] == "organization_id" for op in DELEGATED_OPS)
    elsewhere = ("/invitations", "/invitations/{invitation_id}")
    left = {
        str(op)
        for op in OPERATIONS
        if op.path.startswith("/organizations") and not op.delegated and not any(each in op.path for each in elsewhere)
    }
    assert left == {
        "GET /organizations",
        "POST /organizations",
        "DELETE /organizations/{organization_id}",
        "POST /organizations/{organization_id}/disable",
        "POST /organizations/{organization_id}/enable",
        # Where people sign in, and how pages look, is decided by the operator.
        "POST /organizations/{organization_id}/domains/{domain_id}/enforce",
        "POST /organizations/{organization_id}/domains/{domain_id}/release",
        "GET /organizations/{organization_id}/branding",
        "PUT /organizations/{organization_id}/branding",
        "DELETE /organizations/{organization_id}/branding",
        "GET /organizations/{organization_id}/branding/versions",
        "POST /organizations/{organization_id}/branding/versions/{version_id}/restore",
    }


PAGES = [route for route in routes() if route.path.startswith(PREFIX)]


@pytest.mark.parametrize("seed", range(3))
async def test_76_random_visits(seed: int, world: World) -> None:
    """The same for the pages: who does not manage an organization finds nothing there."""
    rng = random.Random(f"pages {seed}")
    done: list[str] = []
    changed = 0
    for _ in range(STEPS):
        if rng.random() < 0.3:
            done.append(await shuffle(rng, world.tenants, world.people))
        someone, tenant, route = rng.choice(world.people), rng.choice(world.tenants), rng.choice(PAGES)
        now, user_id = await standing(tenant), someone.user.id
        ids = [await some_ids(each) for each in world.tenants]

        def pick(name: str, ids: list[dict[str, list[str]]] = ids, tenant: Tenant = tenant) -> str:
            found = ids[world.tenants.index(tenant)] if rng.random() < 0.7 else rng.choice(ids)
            return rng.choice(found[name] or [unknown()])

        values = {name: pick(name) for name in NAMED}
        form = {
            "csrf_token": form_token(someone.session, "account"), "name": f"named {rng.randbytes(6).hex()}",
            "email": rng.choice(world.people).user.email, "role": pick("role_id"), "admin": rng.choice(["on", "off"]),
            "domain": f"{rng.randbytes(6).hex()}.example", "emails": f"{rng.randbytes(6).hex()}@elsewhere.example",
            f"role_{pick('role_id')}": "on",
        }  # fmt: skip
        may = now.enabled and user_id in now.admins
        watched = [each for each in world.tenants if each is not tenant or not may]
        before = [await contents(each, now.members) for each in watched]
        known = [await known_by(each, now.members | {user_id}) for each in watched]
        # A form is shown again with what was entered.
        entered = " ".join([*values.values(), *form.values()])
        secret = {each for each in set().union(*known) if each not in entered}
        client, issuer = someone.browser.client, someone.browser.issuer
        answer = await client.request(
            route.method, issuer + route.url(slug=tenant.organization.slug, **values),
            data=form if route.method == "POST" else None, headers={"Origin": issuer},
        )  # fmt: skip
        done.append(f"{user_id} at {tenant.organization.slug}: {route} {values} {form} {answer.status_code}")
        trail = "\n".join(done[-12:])
        assert answer.status_code < 500, trail
        assert may or answer.status_code == 404, trail
        changed += may and answer.has_redirect_location
        text = answer.text + str(answer.headers.get("location", ""))
        own = {tenant.organization.slug}
        assert [each for each in secret - own if each in text] == [], trail
        assert [await contents(each, now.members) for each in watched] == before, trail
        if rng.random() < 0.05:
            await world.restore()
    assert changed > STEPS / 50


@pytest.mark.parametrize("route", [each for each in PAGES if "_id:" in each.path], ids=str)
async def test_76_an_id_of_another_organization_is_nowhere(route: Route, world: World) -> None:
    """On every page with an id in its path: the answer is that for an id that nothing has."""
    one, two, _ = world.tenants
    own, theirs = await some_ids(one), await some_ids(two)
    someone = world.people[0]
    client, issuer = someone.browser.client, someone.browser.issuer
    form = {"csrf_token": form_token(someone.session, "account"), "admin": "on", "role": str(one.contained.id)}

    async def answer(**ids: str) -> tuple[int, str]:
        url = issuer + route.url(slug=one.organization.slug, **ids)
        found = await client.request(
            route.method, url, data=form if route.method == "POST" else None, headers={"Origin": issuer}
        )
        # Without the id of the request.
        return found.status_code, re.sub(r"<code[^>]*>[^<]*</code>", "", found.text)

    names = re.findall(r"{(\w+_id):", route.path)
    first = {name: own[name][0] for name in names}
    before = await contents(two)
    for name in names:
        foreign = await answer(**first | {name: _only(theirs, own, name)})
        assert foreign[0] == 404
        assert foreign == await answer(**first | {name: unknown()})
    assert await contents(two) == before
