"""The page of the console that sends requests of the admin API."""

import html
import json
import secrets
from urllib.parse import quote

import httpx
import pytest

from idp.admin.access import Caller
from idp.admin.api.openapi import document, operation_id
from idp.admin.api.operation import OPERATIONS, PREFIX
from idp.admin.api.running import Message, run
from idp.admin.console import api_examples, api_reference
from idp.admin.console.api_request import Answer, packed, read, unpacked
from idp.admin.roles import PERMISSIONS, Permission, Role
from idp.federation import registry
from idp.infra.db.engine import fetch
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.repository import find_client
from idp.signin.csrf import form_token
from tests.admin.console.conftest import Admin
from tests.support.browser import as_page

PATH = "/admin/api_reference"
URIS = ["https://a.example/cb"]


def shown(text: str) -> str:
    return html.unescape(text.partition('id="answer-body">')[2].partition("</code>")[0])


async def test_every_operation_has_a_page(owner: Admin) -> None:
    """From the declarations that make routes and document."""
    listed = (await owner.get(PATH)).text
    for each in OPERATIONS:
        assert f'href="{PATH}/{operation_id(each)}"' in listed
    for each in OPERATIONS[::7]:
        page = await owner.get(f"{PATH}/{operation_id(each)}")
        assert page.status == 200
        assert f"{each.method} {PREFIX}{each.path}" in page.text
        assert "curl" in page.text
    assert (await owner.get(f"{PATH}/none_such")).status == 404
    found = (await owner.get(f"{PATH}?q=rotate%20secret")).text
    assert f"{PATH}/rotate_secret" in found
    assert f"{PATH}/list_users" not in found


def test_examples_have_what_is_required() -> None:
    components = document()["components"]["schemas"]
    for name, schema in components.items():
        value = api_examples.example(schema, components)
        if "properties" in schema:
            assert set(schema.get("required", ())) <= value.keys(), name


async def test_a_list_is_read(owner: Admin) -> None:
    client, _ = await register_client(client_name=secrets.token_hex(6), redirect_uris=URIS)
    page = await owner.get(f"{PATH}/list_clients?send=1&query.client_id={client.client_id}&query.limit=")
    assert "200 OK" in page.text
    assert [each["client_id"] for each in json.loads(shown(page.text))["items"]] == [client.client_id]
    page = await owner.get(f"{PATH}/list_clients?send=1&query.limit=many")
    assert "400 Bad Request" in page.text
    assert "limit must be a number" in shown(page.text)
    page = await owner.get(f"{PATH}/show_client?send=1")
    assert "Enter client_id." in page.text


async def test_a_change_is_made_once_and_recorded(owner: Admin) -> None:
    """By the same handler, with a response that is shown once. The actor is the administrator."""
    body = json.dumps({"client_name": secrets.token_hex(6), "redirect_uris": URIS})
    page = await owner.confirm(f"{PATH}/create_client", body=body)
    assert page.path == f"{PATH}/create_client"
    assert "201 Created" in page.text
    answer = json.loads(shown(page.text))
    assert answer["client_secret"]
    again = await owner.get(page.path)
    assert answer["client_secret"] not in again.text
    assert 'id="answer"' not in again.text
    rows = await fetch(
        "SELECT actor FROM audit_event WHERE client_id = $1 AND event = 'client_registered'", answer["client_id"]
    )
    assert [row["actor"] for row in rows] == [f"user:{owner.user.id}"]


async def test_a_refusal_keeps_what_was_entered(owner: Admin) -> None:
    page = await owner.confirm(f"{PATH}/create_client", body='{"client_name": ""}')
    assert "422 Unprocessable" in page.text
    assert '{"client_name": ""}' in html.unescape(page.text)
    client, _ = await register_client(client_name="Orchard", redirect_uris=URIS)
    path = {"path.client_id": client.client_id}
    page = await owner.confirm(f"{PATH}/delete_client", **path)
    assert "Enter If-Match." in page.text
    page = await owner.confirm(f"{PATH}/delete_client", **path, **{"header.If-Match": '"old"'})
    assert "412 Precondition Failed" in page.text
    page = await owner.confirm(f"{PATH}/delete_client", **path, **{"header.If-Match": "*"})
    assert "204 No Content" in page.text
    assert await find_client(client.client_id) is None


async def test_a_role_sends_what_it_may(admins: dict[Role, Admin]) -> None:
    """The page of a forbidden operation has no form, and a request that is sent anyway is refused."""
    for role, admin in admins.items():
        page = await admin.get(f"{PATH}/create_client")
        allowed = Permission.CLIENTS_WRITE in PERMISSIONS[role]
        assert ("Send request" in page.text) == allowed, role
        read = await admin.get(f"{PATH}/list_users?send=1")
        assert (read.status == 403) == (Permission.USERS_READ not in PERMISSIONS[role]), role
        if not allowed:
            token = form_token(admin.browser.cookies["__Host-session"], "admin")
            answer = await admin.browser.post(f"{PATH}/create_client", {"csrf_token": token, "body": "{}"})
            assert as_page(answer).status == 403, role


async def test_only_an_owner_acts_on_admin_clients(admins: dict[Role, Admin]) -> None:
    """The checks of the handlers hold here too."""
    body = json.dumps({"client_name": "x", "redirect_uris": URIS, "scope": "admin:keys:write"})
    page = await admins[Role.CLIENT_ADMIN].confirm(f"{PATH}/create_client", body=body)
    assert "403 Forbidden" in page.text


async def test_forms_of_other_sites_are_refused(owner: Admin) -> None:
    name = secrets.token_hex(6)
    body = json.dumps({"client_name": name, "redirect_uris": URIS})
    for token in dict[str, str](), {"csrf_token": "x"}:
        assert as_page(await owner.browser.post(f"{PATH}/create_client", token | {"body": body})).status == 400
    # A change is not sent by GET.
    assert 'id="answer"' not in (await owner.get(f"{PATH}/create_client?send=1&body={quote(body)}")).text
    assert not await fetch("SELECT FROM client WHERE metadata ->> 'client_name' = $1", name)


async def test_a_link_enters_no_change(owner: Admin) -> None:
    """It may name the record, and nothing of what is sent."""
    page = await owner.get(
        f"{PATH}/update_client?path.client_id=ours&path.other=FOREIGN&header.If-Match=FOREIGN&body=FOREIGN"
    )
    assert 'value="ours"' in page.text
    assert "FOREIGN" not in page.text


async def test_parameters_are_those_of_the_path(owner: Admin) -> None:
    """One that the operation does not declare takes no other's place, in whatever order they come."""
    client, _ = await register_client(client_name="Orchard", redirect_uris=URIS)
    data = {"path.other": "x", "path.client_id": client.client_id, "path.last": "y"}
    operation = next(each for each in OPERATIONS if operation_id(each) == "rotate_secret")
    assert read(operation, data).path == {"client_id": client.client_id}
    page = await owner.get(f"{PATH}/rotate_secret")
    answer = as_page(await owner.browser.submit(page, "confirm", **data))
    assert "path.other" not in answer.url
    assert "200 OK" in answer.text
    stored = await find_client(client.client_id)
    assert stored is not None
    assert stored.secrets != client.secrets


async def test_an_idempotency_key_is_the_same_however_the_path_is_written(owner: Admin) -> None:
    """The API has it decoded, the console encoded. Undeclared parameters change nothing."""
    client, _ = await register_client(client_name="Orchard", redirect_uris=URIS)
    operation = next(each for each in OPERATIONS if operation_id(each) == "rotate_secret")
    caller = Caller(owner.user.id, None, frozenset({Role.OWNER}), PERMISSIONS[Role.OWNER])

    async def body() -> bytes:
        return b"{}"

    headers = {"content-type": "application/json", "idempotency-key": secrets.token_hex(8)}
    params = {"client_id": client.client_id}
    first, second = [
        await run(operation, caller, Message(path, sent, {}, headers, body))
        for path, sent in (("/a:b", params), ("/a%3Ab", {"other": "x"} | params))
    ]
    assert first == second


async def test_a_long_response_is_shown_at_once(owner: Admin) -> None:
    """A response may have a secret that nothing shows again."""
    name, values = f"u{secrets.token_hex(4)}", [secrets.token_hex(200) for _ in range(20)]
    body = {"id": name, "name": "x", "issuer": "https://op.example", "client_id": "x", "client_secret": "y"}
    page = await owner.confirm(f"{PATH}/add_upstream", body=json.dumps(body | {"required_claims": {"groups": values}}))
    await registry.delete(name)
    assert "201 Created" in page.text
    assert json.loads(shown(page.text))["config"]["required_claims"] == {"groups": values}
    assert "would be sent again" in page.text


def test_a_short_response_fits_into_a_cookie() -> None:
    small = Answer(200, {"ETag": "x"}, '{"a": 1}', 1.5)
    assert (content := packed(small)) is not None
    assert unpacked(content) == small
    assert packed(Answer(200, {}, "".join(secrets.token_hex(8) for _ in range(2000)), 1.5)) is None


def test_operations_that_take_a_secret() -> None:
    """What their bodies had is not shown again after a sign-in."""
    assert {operation_id(each) for each in OPERATIONS if api_reference.takes_secret(each)} == {
        "create_provisioning_target", "update_provisioning_target", "set_provisioning_token", "add_upstream",
        "update_upstream",
    }  # fmt: skip


def test_the_program_sends_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a value contains."""
    body = json.dumps({"client_name": 'O\'Brien "x" {y}'})
    program = api_examples.python("POST", "https://id.example/admin/api/v1/clients", {"If-Match": '"a"'}, body)
    sent: list[httpx.Request] = []

    def request(method: str, url: str, **more: object) -> httpx.Response:
        sent.append(httpx.Request(method, url, **more))  # type: ignore[arg-type]
        return httpx.Response(201)

    monkeypatch.setattr(httpx, "request", request)
    monkeypatch.setenv("TOKEN", "t")
    exec(program, {})
    assert sent[0].content.decode() == body
    assert (sent[0].headers["authorization"], sent[0].headers["if-match"]) == ("Bearer t", '"a"')
