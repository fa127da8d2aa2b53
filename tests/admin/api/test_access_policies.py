"""The admin API: who may use a client."""

import secrets

import httpx

from idp.accounts.attributes import declaration
from idp.accounts.attributes import service as attributes_of_users
from idp.accounts.attributes.models import Audience
from idp.accounts.tables import User
from idp.admin.roles import Role
from idp.directory import groups
from idp.infra.db.engine import execute, fetch
from idp.oauth.clients.registration import register_client
from tests.admin.api.conftest import Caller, make_caller
from tests.admin.api.test_operations import problem
from tests.support.server import Server

EMPTY = {
    "groups": [], "organizations": [], "roles": [], "attributes": {}, "acr": None, "networks": [], "times": [],
    "time_zone": "UTC", "updated_at": None,
}  # fmt: skip


async def a_path() -> str:
    client, _ = await register_client(client_name="Payroll", redirect_uris=["https://payroll.example/cb"])
    return f"/clients/{client.client_id}/access_policy"


async def test_from_none_to_none(owner: Caller) -> None:
    path, group = await a_path(), await groups.create(f"Staff {secrets.token_hex(6)}")
    shown = await owner("GET", path)
    assert shown.json() == EMPTY | {"client_id": path.split("/")[2]}
    policy = {
        "groups": [str(group.id)],
        "networks": ["192.0.2.0/24"],
        "times": [{"days": ["mon", "tue"], "start": "08:00", "end": "18:00"}],
        "time_zone": "Europe/Berlin",
    }
    problem(await owner("PUT", path, policy), 428, "if-match-required")
    saved = await owner("PUT", path, policy, If_Match=shown.headers["etag"])
    assert saved.status_code == 200, saved.text
    assert saved.json() | policy == saved.json()
    problem(await owner("PUT", path, {"acr": "2"}, If_Match=shown.headers["etag"]), 412, "outdated")
    current = await owner("GET", path)
    assert current.json() == saved.json()
    problem(await owner("DELETE", f"/groups/{group.id}", If_Match="*"), 409, "wrong-state")
    assert (await owner("DELETE", path, If_Match=current.headers["etag"])).status_code == 204
    assert (await owner("GET", path)).json() == shown.json()
    problem(await owner("DELETE", path, If_Match="*"), 404, "not-found")


async def test_what_is_refused(owner: Caller) -> None:
    path = await a_path()
    for wrong in (
        {}, {"groups": ["00000000-0000-0000-0000-000000000005"]}, {"acr": "3"}, {"networks": ["192.0.2.1/24"]},
        {"times": [{"days": ["mon"], "start": "18:00", "end": "08:00"}]}, {"attributes": {"none_such": ["x"]}},
        {"acr": "2", "time_zone": "Mars/Olympus"},
    ):  # fmt: skip
        problem(await owner("PUT", path, wrong, If_Match="*"), 422, "invalid-value")
    for wrong in ({"groups": ["staff"]}, {"times": [{"days": ["monday"]}]}, {"client_id": "x"}, {"networks": "all"}):
        problem(await owner("PUT", path, wrong, If_Match="*"), 422, "invalid-body")
    for method in ("GET", "PUT", "DELETE"):
        body = {"acr": "2"} if method == "PUT" else None
        problem(await owner(method, "/clients/none-such/access_policy", body, If_Match="*"), 404, "not-found")


async def test_may_this_user(owner: Caller, alice: User, server: Server, http: httpx.AsyncClient) -> None:
    path, group = await a_path(), await groups.create(f"Staff {secrets.token_hex(6)}")
    policy = {
        "groups": [str(group.id)], "networks": ["192.0.2.0/24"], "times": [{"days": ["mon"]}], "acr": "2",
        "time_zone": "Etc/GMT-5",
    }  # fmt: skip
    await owner("PUT", path, policy, If_Match="*")
    asked = {"user_id": str(alice.id), "address": "198.51.100.1", "at": "2026-12-20T18:59:59Z", "acr": "1"}
    answer = await owner("POST", f"{path}/check", asked)
    assert answer.json() == {
        "allowed": False,
        "reasons": ["not_in_group", "outside_of_network", "outside_of_time", "acr_too_low"],
        "hidden_attribute": False,
    }
    await groups.add_members(group.id, [alice.id])
    # Monday has begun there.
    asked |= {"address": "192.0.2.9", "at": "2026-12-20T19:00:00Z", "acr": "phr"}
    assert (await owner("POST", f"{path}/check", asked)).json() == {
        "allowed": True,
        "reasons": [],
        "hidden_attribute": False,
    }
    problem(await owner("POST", f"{path}/check", asked | {"at": "2026-12-20T19:00:00"}), 422, "invalid-body")
    nobody = asked | {"user_id": "00000000-0000-0000-0000-000000000005"}
    problem(await owner("POST", f"{path}/check", nobody), 404, "not-found")
    problem(await owner("POST", "/clients/none-such/access_policy/check", asked), 404, "not-found")
    # It is a question about a user too, and no refusal.
    manager = await make_caller(server, http, Role.CLIENT_ADMIN)
    problem(await manager("POST", f"{path}/check", asked), 403, "forbidden")
    query = "SELECT FROM audit_event WHERE event = 'access_denied' AND user_id = $1"
    assert await fetch(query, alice.id) == []


async def test_hidden_attributes(owner: Caller, server: Server, http: httpx.AsyncClient, alice: User) -> None:
    """Whoever does not see an attribute must not learn its values by the refusals of a policy."""
    path, name = await a_path(), f"salary_{secrets.token_hex(4)}"
    await declaration.declare(name=name, type="integer", label={"default": "Salary"}, visible_to=[], editable_by=[])
    manager = await make_caller(server, http, Role.CLIENT_ADMIN)
    policy = {"attributes": {name: [1, 2]}}
    problem(await manager("PUT", path, policy, If_Match="*"), 422, "invalid-value")
    assert (await owner("PUT", path, policy, If_Match="*")).json()["attributes"] == {name: [1, 2]}
    # Nor by asking whether a user may use the client.
    support, asked = await make_caller(server, http, Role.SUPPORT), {"user_id": str(alice.id)}
    for value, allowed in ((3, False), (1, True)):
        await attributes_of_users.change(alice.id, {name: value}, Audience.OWNER)
        assert (await owner("POST", f"{path}/check", asked)).json()["allowed"] is allowed
        answer = (await support("POST", f"{path}/check", asked)).json()
        assert answer == {"allowed": None, "reasons": [], "hidden_attribute": True}
    await owner("PUT", path, policy | {"networks": ["192.0.2.0/24"]}, If_Match="*")
    answer = (await support("POST", f"{path}/check", asked | {"address": "198.51.100.1"})).json()
    assert answer == {"allowed": False, "reasons": ["outside_of_network"], "hidden_attribute": True}
    await execute("DELETE FROM access_policy_attribute WHERE attribute = $1", name)
    await declaration.delete(name)
