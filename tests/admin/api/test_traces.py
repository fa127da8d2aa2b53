"""The recorded requests of sign-ins in the API, for those who may read the audit trail. Readings are recorded."""

import httpx

from idp import ids
from idp.admin.roles import Role
from idp.infra.db.engine import fetch
from tests.admin.api.conftest import Caller, make_caller
from tests.admin.api.test_operations import problem
from tests.support.browser import Browser, as_page
from tests.support.oauth import RelyingParty
from tests.support.server import Server
from tests.support.traces import recorded

ID = "x-request-id"


async def test_a_refused_request_is_found_and_shown(owner: Caller, browser: Browser, client: RelyingParty) -> None:
    page = as_page(await client.authorize(browser, redirect_uri="https://app.example.com/other"))
    request_id = page.response.headers[ID]
    await recorded(request_id)
    query = f"client_id={client.client_id}&reason=wrong_redirect_uri&outcome=refused"
    (found,) = (await owner("GET", f"/traces?{query}")).json()["items"]
    assert (found["request_id"], found["reason"]) == (request_id, "wrong_redirect_uri")
    shown = (await owner("GET", f"/traces/{request_id}")).json()
    assert shown["id"] == request_id
    assert shown["requests"] == [found]
    steps = {step["kind"]: step for step in found["steps"]}
    assert steps["redirect_uri_mismatch"]["fields"]["nearest_registered"] == client.redirect_uri
    assert steps["redirect_uri_mismatch"]["sentence"].endswith(".")
    assert found["mend"]
    problem(await owner("GET", f"/traces/{ids.uuid7()}"), 404, "not-found")
    problem(await owner("GET", "/traces?outcome=strange"), 400, "invalid-query")


async def test_readings_are_recorded(owner: Caller, browser: Browser, client: RelyingParty) -> None:
    """Showing a flow, and listing the requests of a user."""
    page = as_page(await client.authorize(browser, redirect_uri="https://app.example.com/other"))
    await recorded(page.response.headers[ID])
    user_id = ids.uuid7()
    await owner("GET", f"/traces/{page.response.headers[ID]}")
    await owner("GET", f"/traces?user_id={user_id}")
    await owner("GET", f"/traces?client_id={client.client_id}")
    rows = await fetch(
        "SELECT detail ->> 'id' AS id, detail ->> 'user_id' AS user_id, actor FROM audit_event"
        " WHERE event = 'trace_read' AND (detail ->> 'id' = $1 OR detail ->> 'user_id' = $2) ORDER BY audit_event.id",
        page.response.headers[ID],
        str(user_id),
    )
    assert {(row["id"], row["user_id"]) for row in rows} == {
        (page.response.headers[ID], None),
        (None, str(user_id)),
    }
    assert all(row["actor"] for row in rows)


async def test_a_role_that_may_not_read_the_trail_sees_nothing(server: Server, http: httpx.AsyncClient) -> None:
    support = await make_caller(server, http, Role.SUPPORT)
    for path in ("/traces", f"/traces/{ids.uuid7()}"):
        problem(await support("GET", path), 403, "forbidden")
    auditor = await make_caller(server, http, Role.AUDITOR)
    assert (await auditor("GET", "/traces")).status_code == 200
