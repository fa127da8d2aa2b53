"""The screens of the flow recorder: search by id, user, client and outcome; a flow as a timeline."""

import httpx

from idp import ids
from idp.accounts.tables import User
from idp.infra.db.engine import fetch
from tests.admin.console.conftest import Admin
from tests.support.browser import Browser, as_page
from tests.support.oauth import RelyingParty
from tests.support.traces import recorded

ID = "x-request-id"


async def test_a_flow_is_found_by_user_client_and_id(
    owner: Admin, browser: Browser, client: RelyingParty, alice: User
) -> None:
    code = await client.sign_in(browser, alice.email)
    refused: httpx.Response = await client.redeem(code, code_verifier="another-verifier-that-is-long-enough-for-it")
    request_id = refused.headers[ID]
    first = (await recorded(request_id)).trace_id
    for query in (
        f"user={alice.email}",
        f"user={alice.id}",
        f"client_id={client.client_id}&outcome=refused",
        f"client_id={client.client_id}&reason=pkce_mismatch",
    ):
        assert f"/admin/traces/{request_id}" in (await owner.get(f"/admin/traces?{query}")).text, query
    for query in ("user=nobody@example.com", "user=@", f"client_id={client.client_id}&outcome=failed"):
        assert request_id not in (await owner.get(f"/admin/traces?{query}")).text, query
    for named in (request_id, first):
        page = await owner.get(f"/admin/traces?id={named}")
        for text in (
            first, "The client asked for an authorization.", "The sign-in is complete.", "The user consented.",
            "does not belong to the code_challenge", "pkce_mismatch", "unchanged",
        ):  # fmt: skip
            assert text in page.text, text
    assert f"/admin/traces?user={alice.id}" in (await owner.get(f"/admin/users/{alice.id}")).text
    assert await fetch("SELECT FROM audit_event WHERE event = 'trace_read' AND detail ->> 'id' = $1", request_id)
    assert as_page(await owner.browser.get(f"/admin/traces/{ids.uuid7()}")).status == 404


async def test_every_way_to_name_a_user_or_a_flow_is_recorded(owner: Admin) -> None:
    """Also by the filters of the list that the form does not offer."""
    for name in ("user_id", "trace_id", "request_id"):
        value = str(ids.uuid7())
        await owner.get(f"/admin/traces?{name}={value}")
        assert await fetch("SELECT FROM audit_event WHERE event = 'trace_read' AND detail ->> $1 = $2", name, value)


async def test_hostile_values_are_text(owner: Admin, browser: Browser, client: RelyingParty) -> None:
    """What anyone sends is shown as text."""
    uri = "https://app.example.com/<script>alert(1)</script>"
    page = as_page(await client.authorize(browser, redirect_uri=uri, scope="<b>bold</b>"))
    await recorded(page.response.headers[ID])
    shown = (await owner.get(f"/admin/traces/{page.response.headers[ID]}")).text
    assert "<script>alert" not in shown
    assert "<b>bold" not in shown
    assert "&lt;script&gt;alert(1)" in shown
