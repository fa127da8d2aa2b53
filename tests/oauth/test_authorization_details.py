"""Authorization details (RFC 9396): from the request over consent to tokens and introspection."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from idp.accounts.tables import User
from idp.errors import OAuthError
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.oauth.authorize.request import read, within_registration
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.oauth.clients.service import update_client, update_resource_server
from idp.oauth.details import schemas, words
from idp.oauth.details.granted import covers, is_within
from idp.oauth.details.models import DetailsType
from idp.oauth.details.registration import delete_type, update_type
from idp.oauth.details.requested import MAX_LENGTH, MAX_OBJECTS, parse, requested
from idp.oauth.repository.consents import REMEMBERED_DETAILS
from tests.conftest import MakeClient
from tests.support.authorization_details import AMOUNT, SCHEMA, Register, detail, registering
from tests.support.browser import Browser, Page, Redirect, as_page
from tests.support.conformance import check_error_redirect
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.request_objects import jwks, request_object
from tests.support.server import Server
from tests.support.tokens import claims_of


@pytest.fixture
async def register(db: str, server: Server, http: httpx.AsyncClient) -> AsyncIterator[Register]:
    async with registering(server, http) as register:
        yield register


@pytest.fixture
async def payment(register: Register) -> DetailsType:
    return await register()


@pytest.fixture
async def paying(make_client: MakeClient, payment: DetailsType) -> RelyingParty:
    """A client that may use the type."""
    return await make_client(authorization_details_types=[payment.type], jwks=jwks("ES256"))


async def consent_page(browser: Browser, answer: Page | Redirect, user: User) -> Page:
    page = as_page(answer)
    return as_page(await browser.sign_in(page, user.email, PASSWORD)) if "login-submit" in page.ids else page


async def code_for(client: RelyingParty, browser: Browser, user: User, *details: Any, **changes: Any) -> str:
    asked = {"authorization_details": json.dumps(details)} | changes
    page = await consent_page(browser, await client.authorize(browser, **asked), user)
    found = await browser.submit(page, "consent-allow")
    assert isinstance(found, Redirect), found.text
    return found.parameters["code"]


async def tokens_for(client: RelyingParty, browser: Browser, user: User, *details: Any, **changes: Any) -> Any:
    response = await client.redeem(await code_for(client, browser, user, *details, **changes))
    assert response.status_code == 200, response.text
    return response.json()


# Tokens


async def test_the_details_are_in_all_that_is_issued(
    paying: RelyingParty, payment: DetailsType, browser: Browser, alice: User
) -> None:
    """Sections 7 and 9: token response, access token, introspection, and the same after a refresh."""
    asked = detail(payment)
    tokens = await tokens_for(paying, browser, alice, asked)
    for _ in range(2):
        assert tokens["authorization_details"] == [asked]
        claims = claims_of(tokens["access_token"])
        assert claims["authorization_details"] == [asked]
        # The audience follows from the type.
        assert claims["aud"] == [payment.resource, paying.issuer]
        assert (await paying.introspect(tokens["access_token"]))["authorization_details"] == [asked]
        tokens = (await paying.refresh(tokens["refresh_token"])).json()


async def test_a_request_without_a_scope(
    paying: RelyingParty, payment: DetailsType, browser: Browser, alice: User
) -> None:
    """Section 3: the details stand for themselves, and no default scope is added."""
    tokens = await tokens_for(paying, browser, alice, detail(payment), scope=None)
    assert tokens["scope"] == ""
    assert "id_token" not in tokens
    assert claims_of(tokens["access_token"])["aud"] == payment.resource
    assert (await paying.userinfo(tokens["access_token"])).status_code in (401, 403)


async def test_pushed_and_signed(paying: RelyingParty, payment: DetailsType, browser: Browser, alice: User) -> None:
    """Section 4"""
    asked = detail(payment)
    for form in (
        {"authorization_details": json.dumps([asked])},
        {"request": request_object(paying, authorization_details=[asked])},
        {"request": request_object(paying, authorization_details=json.dumps([asked]))},
    ):
        request_uri = await paying.push(**form)
        answer = await browser.get(
            "/authorize", client_id=paying.client_id, request_uri=request_uri, authorization_details="[]"
        )
        if isinstance(answer, Page):
            answer = await browser.submit(await consent_page(browser, answer, alice), "consent-allow")
        assert isinstance(answer, Redirect)
        tokens = (await paying.redeem(answer.parameters["code"])).json()
        assert tokens["authorization_details"] == [asked]


async def test_tokens_are_narrowed(paying: RelyingParty, payment: DetailsType, browser: Browser, alice: User) -> None:
    """Section 6: at the redemption and at each refresh, never beyond the grant, and without using anything up."""
    first, second = detail(payment), detail(payment, reference=2)
    code = await code_for(paying, browser, alice, first, second)

    async def refused(response: httpx.Response) -> None:
        assert (response.status_code, response.json()["error"]) == (400, "invalid_authorization_details")

    beyond = [
        detail(payment, amount=AMOUNT | {"value": "999"}),
        detail(payment, actions=["initiate", "cancel"]),
        detail(payment, actions=None),
        detail(payment, reference=3),
        detail(payment, actions=[]),
    ]
    for asked in beyond:
        await refused(await paying.redeem(code, authorization_details=json.dumps([asked])))
    narrow = detail(payment, actions=["status"])
    tokens = (await paying.redeem(code, authorization_details=json.dumps([narrow]))).json()
    assert tokens["authorization_details"] == claims_of(tokens["access_token"])["authorization_details"] == [narrow]
    for asked in beyond:
        await refused(await paying.refresh(tokens["refresh_token"], authorization_details=json.dumps([asked])))
    for asked in ([second], [narrow, second], None):
        text = json.dumps(asked) if asked is not None else None
        tokens = (await paying.refresh(tokens["refresh_token"], authorization_details=text)).json()
        assert tokens["authorization_details"] == (asked or [first, second])


async def test_each_resource_server_sees_its_own(
    register: Register, make_client: MakeClient, browser: Browser, alice: User
) -> None:
    """Sections 7 and 9: filtered by the audience of the token, and by who introspects."""
    api = await make_client(grant_types=["client_credentials"], redirect_uris=[], scope="")
    one, other = await register(api.client_id), await register()
    client = await make_client(authorization_details_types=[one.type, other.type])
    asked = [detail(one), detail(other)]
    tokens = await tokens_for(client, browser, alice, *asked)
    claims = claims_of(tokens["access_token"])
    assert claims["aud"] == [one.resource, other.resource, client.issuer]
    assert claims["authorization_details"] == asked
    assert (await api.introspect(tokens["access_token"]))["authorization_details"] == asked[:1]
    assert (await client.introspect(tokens["access_token"]))["authorization_details"] == asked
    for kind, its in ((one, asked[0]), (other, asked[1])):
        tokens = (await client.refresh(tokens["refresh_token"], resource=kind.resource)).json()
        assert tokens["authorization_details"] == [its]
        assert claims_of(tokens["access_token"])["authorization_details"] == [its]
    # One that names other resources than its details is refused.
    answer = await client.authorize(browser, authorization_details=json.dumps(asked), resource=one.resource)
    assert isinstance(answer, Redirect)
    assert answer.parameters["error"] == "invalid_target"


async def test_a_client_in_its_own_name(register: Register, make_client: MakeClient) -> None:
    kind, personal = await register(), await register(ask_always=True)
    service = await make_client(
        grant_types=["client_credentials"], redirect_uris=[], scope="reports",
        authorization_details_types=[kind.type, personal.type],
    )  # fmt: skip
    form = {"grant_type": "client_credentials"}
    asked = json.dumps([detail(kind)])
    tokens = (await service.post("/token", **form, authorization_details=asked)).json()
    assert tokens["authorization_details"] == [detail(kind)]
    claims = claims_of(tokens["access_token"])
    assert (claims["aud"], claims["scope"]) == (kind.resource, "")
    assert claims["authorization_details"] == [detail(kind)]
    refused = await service.post("/token", **form, authorization_details=json.dumps([detail(personal)]))
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_authorization_details")


# Consent


async def test_the_consent_page(paying: RelyingParty, payment: DetailsType, browser: Browser, alice: User) -> None:
    """In the words of the operator, with every member, and escaped."""
    hostile = '<script>alert(1)</script>"\N{RIGHT-TO-LEFT OVERRIDE}x\n'
    asked = detail(payment, creditor=hostile, reference=7)
    answer = await paying.authorize(browser, authorization_details=json.dumps([asked]))
    page = await consent_page(browser, answer, alice)
    assert "Make a payment" in page.text
    assert "123.50 EUR to &lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert "<script>alert" not in page.text
    assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in page.text
    for name, value in (("amount.currency", "EUR"), ("actions", "initiate, status"), ("reference", "7")):
        assert f"<dt>{name}</dt><dd><bdi>{value}</bdi></dd>" in page.text
    server = registry.resource_server(payment.resource)
    assert server is not None
    assert server.name in page.text


async def test_consent_is_remembered(paying: RelyingParty, payment: DetailsType, browser: Browser, alice: User) -> None:
    """What was allowed, and less; the user is asked for more."""
    await code_for(paying, browser, alice, detail(payment))

    async def silent(*details: Any) -> bool:
        answer = await paying.authorize(browser, authorization_details=json.dumps(details), prompt="none")
        assert isinstance(answer, Redirect)
        assert answer.parameters.get("error", "consent_required") == "consent_required"
        return "code" in answer.parameters

    other = detail(payment, amount=AMOUNT | {"value": "5"})
    assert await silent(detail(payment))
    assert await silent(detail(payment, actions=["status"]))
    assert not await silent(detail(payment), other)
    assert not await silent(detail(payment, actions=["cancel"]))
    assert not await silent(detail(payment, actions=None))
    await code_for(paying, browser, alice, other)
    assert await silent(detail(payment), other)
    row = await fetchrow("SELECT authorization_details FROM consent WHERE user_id = $1", alice.id)
    assert row is not None
    assert json.loads(row["authorization_details"]) == [other, detail(payment)]


async def test_the_oldest_are_forgotten(
    paying: RelyingParty, payment: DetailsType, browser: Browser, alice: User
) -> None:
    await code_for(paying, browser, alice, detail(payment))
    many = json.dumps([detail(payment, reference=at) for at in range(REMEMBERED_DETAILS + 10)])
    await execute("UPDATE consent SET authorization_details = $2 WHERE user_id = $1", alice.id, many)
    await code_for(paying, browser, alice, detail(payment, reference=1000))
    row = await fetchrow("SELECT authorization_details FROM consent WHERE user_id = $1", alice.id)
    assert row is not None
    kept = json.loads(row["authorization_details"])
    assert len(kept) == REMEMBERED_DETAILS
    assert kept[0]["reference"] == 1000


async def test_some_are_asked_for_each_time(
    register: Register, make_client: MakeClient, browser: Browser, alice: User
) -> None:
    kind = await register(ask_always=True)
    client = await make_client(authorization_details_types=[kind.type])
    for _ in range(2):
        await code_for(client, browser, alice, detail(kind))
    answer = await client.authorize(browser, authorization_details=json.dumps([detail(kind)]), prompt="none")
    assert isinstance(answer, Redirect)
    check_error_redirect(answer.parameters, error="consent_required", state="the-state", issuer=client.issuer)


async def test_what_the_account_shows(
    paying: RelyingParty, payment: DetailsType, browser: Browser, alice: User
) -> None:
    await code_for(paying, browser, alice, detail(payment))
    page = as_page(await browser.get("/account/apps"))
    assert "123.50 EUR to Dr Müller" in page.text


# What is refused


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "{}", "null", "1", '"a"', "[]", "[1]", "[[]]", "[null]", "[{}]", '[{"type": 1}]', '[{"type": null}]',
        '[{"type": "a", "type": "a"}]', '[{"type": "a", "x": {"y": 1, "y": 2}}]', '[{"type": "a", "x": NaN}]',
        '[{"type": "a", "x": 1e999}]', '[{"type": "a", "x": 1e16}]', '[{"type": "a", "x": 9007199254740992}]',
        f'[{{"type": "a", "x": {"9" * 500}}}]',
        '[{"type": "a", "x": "\\ud800"}]', '[{"type": "a", "x": "\\u0000"}]', '[{"type": "a"}', "[" * 4000,
        '[{"type": "' + "a" * MAX_LENGTH + '"}]', '[{"type": "' + "\u0431" * (MAX_LENGTH // 2) + '"}]',
        '[{"type": "a", "x": ' + "[" * 17 + "]" * 17 + "}]",
        '[{"type": "a", "x": ' + '{"x":' * 300 + "1" + "}" * 301 + "]",
    ],
    ids=range(28),
)  # fmt: skip
def test_what_is_malformed(text: str) -> None:
    with pytest.raises(OAuthError, match=r"^invalid_authorization_details: "):
        parse(text)


def test_how_many() -> None:
    assert len(parse(json.dumps([{"type": str(at)} for at in range(MAX_OBJECTS)]))) == MAX_OBJECTS
    with pytest.raises(OAuthError):
        parse(json.dumps([{"type": str(at)} for at in range(MAX_OBJECTS + 1)]))
    assert parse('[{"type": "a", "x": ' + "[" * 14 + "]" * 14 + "}]")
    # Each once; but 1, 1.0 and true are not the same.
    assert len(parse('[{"type": "a", "b": 1}, {"b": 1, "type": "a"}]')) == 1
    assert len(parse('[{"type": "a", "b": 1}, {"type": "a", "b": 1.0}, {"type": "a", "b": true}]')) == 3


async def test_numbers_are_stored_as_they_are(db: str) -> None:
    """They are compared with those of a later request; a member that changed would be refused."""
    numbers = "-0.0, -0, 0.0, 1.0, 1E+2, 1e-7, 5e-324, 0.1, 9007199254740991.0, -9007199254740991"
    details = parse(f'[{{"type": "a", "x": [{numbers}]}}]')
    stored = await fetchrow("SELECT $1::jsonb::text AS details", json.dumps(details))
    assert stored is not None
    assert repr(json.loads(stored["details"])[0]["x"]) == repr(details[0]["x"])


async def test_what_the_schema_refuses(payment: DetailsType) -> None:
    """Section 5"""
    client = Client(client_id="c", client_name="C", authorization_details_types=(payment.type,))

    def check(**changes: Any) -> None:
        requested({"authorization_details": json.dumps([detail(payment, **changes)])}, client)

    check()
    check(locations=[payment.resource, f"{payment.resource}/accounts"])
    for changes in (
        {"amount": None}, {"amount": {"currency": "EUR"}}, {"amount": AMOUNT | {"currency": "eur"}}, {"unknown": 1},
        {"amount": AMOUNT | {"x": 1}}, {"creditor": 1}, {"reference": "1"}, {"actions": "initiate"},
        {"actions": ["steal"]}, {"creditor": "x" * 201}, {"locations": ["https://evil.example"]},
        {"locations": [f"{payment.resource}.evil.example"]}, {"locations": [1]}, {"type": "unknown"},
        {"locations": [f"{payment.resource}/.."]}, {"locations": [f"{payment.resource}/a/%2E%2e/%2e./other"]},
    ):  # fmt: skip
        with pytest.raises(OAuthError, match=r"^invalid_authorization_details: "):
            check(**changes)
    client = msgspec.structs.replace(client, authorization_details_types=())
    with pytest.raises(OAuthError, match="not allowed to this client"):
        check()


@pytest.mark.parametrize("asked", ["x", "[]", '[{"type": "unknown"}]'])
async def test_where_refusals_go(paying: RelyingParty, browser: Browser, asked: str) -> None:
    answer = await paying.authorize(browser, authorization_details=asked)
    assert isinstance(answer, Redirect)
    error = "invalid_authorization_details"
    check_error_redirect(answer.parameters, error=error, state="the-state", issuer=paying.issuer)
    for path, form in (
        ("/par", paying.parameters()), ("/token", {"grant_type": "authorization_code", "code": "x"}),
    ):  # fmt: skip
        response = await paying.post(path, **form, authorization_details=asked)
        assert response.status_code == 400
        assert response.json()["error"] in (error, "invalid_request", "invalid_grant")
    assert not await fetch("SELECT FROM pushed_request WHERE client_id = $1", paying.client_id)


async def test_what_changes_meanwhile(
    paying: RelyingParty, payment: DetailsType, browser: Browser, alice: User
) -> None:
    """A type that is taken away from the client is not granted any more, and one that is deleted not issued."""
    page = await consent_page(
        browser, await paying.authorize(browser, authorization_details=json.dumps([detail(payment)]), scope=None), alice
    )
    await update_client(paying.client_id, authorization_details_types=())
    async with asyncio.timeout(30):
        while isinstance(answer := await browser.get(page.path), Page) and "Make a payment" in answer.text:
            await asyncio.sleep(0.02)
    assert isinstance(answer, Page)
    answer = await browser.submit(answer, "consent-allow")
    assert isinstance(answer, Redirect)
    assert answer.parameters["error"] == "invalid_scope"


async def test_a_resource_server_that_is_closed_to_a_client(payment: DetailsType) -> None:
    """Whatever a client that registered itself writes into its metadata."""
    await update_resource_server(payment.resource, self_registered_clients=False)
    await registry.load()
    text = json.dumps([detail(payment)])
    client = Client(client_id="c", client_name="C", authorization_details_types=(payment.type,))
    assert requested({"authorization_details": text}, client)
    with pytest.raises(OAuthError, match="not allowed to this client"):
        requested({"authorization_details": text}, msgspec.structs.replace(client, origin="dynamic"))
    # A request that waits loses what its client may not have any more.
    asked = read({"response_type": "code", "authorization_details": text}, client, "")
    assert within_registration(asked, client).authorization_details
    for other in ({"origin": "dynamic"}, {"authorization_details_types": ()}):
        assert not within_registration(asked, msgspec.structs.replace(client, **other)).authorization_details
    await delete_type(payment.id)
    await registry.load()
    assert not within_registration(asked, client).authorization_details


async def test_a_stricter_schema(paying: RelyingParty, payment: DetailsType, browser: Browser, alice: User) -> None:
    """What was granted stays; a new request must fit."""
    tokens = await tokens_for(paying, browser, alice, detail(payment, reference=1))
    properties = {name: value for name, value in SCHEMA["properties"].items() if name != "reference"}
    await update_type(payment.id, schema=json.dumps(SCHEMA | {"properties": properties}))
    async with asyncio.timeout(30):
        while True:
            answer = await paying.authorize(browser, authorization_details=json.dumps([detail(payment, reference=1)]))
            if isinstance(answer, Redirect) and "error" in answer.parameters:
                break
            await asyncio.sleep(0.02)
    assert answer.parameters["error"] == "invalid_authorization_details"
    refreshed = (await paying.refresh(tokens["refresh_token"])).json()
    assert refreshed["authorization_details"] == [detail(payment, reference=1)]


# Comparing


@pytest.mark.parametrize(
    ("asked", "granted", "within"),
    [
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": 1.0}, False),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 2, "b": 1}}, True),
        ({}, {"a": 1}, False),
        ({"a": 1}, {}, False),
        ({"actions": ["x"]}, {"actions": ["x", "y"]}, True),
        ({"actions": ["x", "z"]}, {"actions": ["x", "y"]}, False),
        ({"actions": []}, {"actions": ["x"]}, False),
        ({"actions": "x"}, {"actions": ["x"]}, False),
        ({"other": ["x"]}, {"other": ["x", "y"]}, False),
        ({"privileges": [{"a": 1}]}, {"privileges": [{"a": 1}, {"a": 2}]}, True),
        ({"privileges": [1]}, {"privileges": [True]}, False),
    ],
)
def test_what_is_within_what(asked: dict[str, Any], granted: dict[str, Any], within: bool) -> None:
    assert is_within(asked | {"type": "t"}, granted | {"type": "t"}) is within
    assert not is_within(asked | {"type": "t"}, granted | {"type": "u"})
    assert covers([{"type": "x"}, granted], [asked]) is within


# The documents


async def test_the_example_in_the_documents() -> None:
    """The schema is accepted, and accepts the request; `tests/cli/test_clients.py` runs the commands."""
    text = (Path(__file__).parents[2] / "docs" / "authorization-requests.md").read_text(encoding="utf-8")
    section = text.partition("## Authorization details")[2]
    schema = schemas.check(re.findall(r"```json\n(.*?)```", section, re.DOTALL)[0])
    (asked,) = parse(re.findall(r"```\nauthorization_details=(.*?)```", section, re.DOTALL)[0])
    assert schemas.accepts(schema, asked)
    amount = {"currency": "EUR", "value": "123.5"}
    assert not schemas.accepts(schema, asked | {"amount": amount})


DOUBLING = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)} | {"d40": {"type": "integer"}}
OBJECT = {"type": "object", "additionalProperties": False}


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"type": {"$ref": "#/$defs/d0"}}, "$defs": DOUBLING},
        {"properties": {"type": {}, "default": {"$ref": "#/$defs/d0"}}, "$defs": DOUBLING},
        {"properties": {"type": {}}, "allOf": [{"$ref": "#"}]},
        {"properties": {"type": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}},
        {"properties": {"type": {"$dynamicRef": "#a"}}, "$defs": {"a": {"$dynamicAnchor": "a"}}},
        {"properties": {"type": {}, "x": {"$ref": "#/$defs/a/b"}}, "$defs": {"a": {"b": {"$ref": "#/$defs/a/b"}}}},
    ],
)
def test_a_schema_whose_work_has_no_bound(schema: dict[str, Any]) -> None:
    """One small request would keep the event loop busy for hours."""
    with pytest.raises(schemas.InvalidSchemaError):
        schemas.check(json.dumps(OBJECT | schema))


def test_a_schema_with_references() -> None:
    amount = {"type": "object", "properties": {"value": {"type": "string"}}, "additionalProperties": False}
    both = {"type": {"const": "a"}, "low": {"$ref": "#/$defs/amount"}, "high": {"$ref": "#/$defs/amount"}}
    schema = schemas.check(json.dumps(OBJECT | {"properties": both, "$defs": {"amount": amount}}))
    assert schemas.accepts(schema, {"type": "a", "low": {"value": "1"}})
    assert not schemas.accepts(schema, {"type": "a", "high": {"value": 1}})


def test_words_of_the_client_stay_in_their_place() -> None:
    """Letters from right to left do not exchange the amounts around them, and nothing is hidden."""
    kind = DetailsType(
        type="a", resource="https://a.example", title="Pay", summary="{low} to {who}, {high}", schema="{}"
    )
    shown = words.in_words(kind, {"type": "a", "low": 1, "who": "\u05d0 9 \u05d1", "high": 2})
    assert shown.sentence == "1 to \u2068\u05d0 9 \u05d1\u2069, 2"
    hidden = words.in_words(kind, {"type": "a", "low": 1, "who": "A\u3164\u202eB\u2764\ufe0f", "high": 2})
    assert hidden.sentence == "1 to A\ufffd\ufffdB\u2764\ufe0f, 2"
