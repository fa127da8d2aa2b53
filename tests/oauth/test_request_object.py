"""Request objects (RFC 9101, OpenID Connect Core section 6): by value, by reference and pushed."""

import asyncio
import json
import re
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from idp.accounts.tables import User
from idp.errors import OAuthError, OverloadedError
from idp.keys import jose
from idp.keys.algorithms import VERIFICATION_ALGORITHMS
from idp.oauth.authorize import request_object as request_objects
from idp.oauth.authorize.checks import registration_is_not_used
from idp.oauth.authorize.request import KNOWN, read
from idp.oauth.authorize.request_object import resolve
from idp.oauth.ciba.hints import HINTS
from idp.oauth.clients import client_keys
from idp.oauth.clients.models import Client
from idp.settings import settings
from tests.conftest import MakeClient
from tests.support.browser import Browser, Page, Redirect, as_page
from tests.support.conformance import check_error_redirect
from tests.support.elsewhere import Serve, answer, serving
from tests.support.oauth import PASSWORD, RelyingParty
from tests.support.request_objects import header, jwks, request_object
from tests.support.tokens import claims_of, key, signed

CLIENT = Client(client_id="c", client_name="C", jwks=jwks("ES256"), redirect_uris=("https://app.example.com/callback",))
OUTSIDE = {"client_id": "c"}


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    values = {
        "iss": "c", "aud": settings().issuer, "client_id": "c", "exp": now + 60, "nbf": now, "iat": now,
        "response_type": "code", "scope": "openid", "state": "inside", "redirect_uri": CLIENT.redirect_uris[0],
    }  # fmt: skip
    return {name: value for name, value in (values | changes).items() if value is not None}


def made(alg: str = "ES256", typ: str | None = "oauth-authz-req+jwt", **changes: Any) -> str:
    return signed(key(alg), header(key(alg), typ=typ), claims(**changes))


async def refused(token: str, error: str = "invalid_request_object", client: Client = CLIENT, **outside: str) -> str:
    with pytest.raises(OAuthError) as caught:
        await resolve(OUTSIDE | outside | {"request": token}, client)
    assert caught.value.code == error
    return caught.value.description


# What counts


async def test_only_the_parameters_inside_count() -> None:
    """RFC 9101 section 6.3. fapi2-…-state-only-outside-request-object-not-used."""
    outside = OUTSIDE | {"state": "outside", "nonce": "outside", "prompt": "none", "scope": "profile", "x": "y"}
    inside = await resolve(outside | {"request": made(state=None)}, CLIENT)
    assert inside == {
        "client_id": "c", "response_type": "code", "scope": "openid", "redirect_uri": CLIENT.redirect_uris[0],
    }  # fmt: skip
    assert await resolve(outside, CLIENT) == outside


async def test_values_that_are_not_text() -> None:
    """RFC 9101 section 4: numbers and objects as JSON."""
    requested = {"id_token": {"acr": {"essential": True, "value": "é"}}}
    resource = ["https://a.example.com", "https://b.example.com"]
    inside = await resolve(
        OUTSIDE | {"request": made(max_age=300, claims=requested, resource=resource, nonce="", prompt=None)}, CLIENT
    )
    assert inside["max_age"] == "300"
    assert json.loads(inside["claims"]) == requested
    assert inside["resource"] == " ".join(resource)
    assert "nonce" not in inside
    # OpenID Connect Core section 7.2.1: an object, which must not be ignored.
    inside = await resolve(OUTSIDE | {"request": made(registration={"client_name": "C"})}, CLIENT)
    with pytest.raises(OAuthError, match=r"^registration_not_supported: "):
        registration_is_not_used(inside, CLIENT)


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": ["openid"]}, {"state": {"a": 1}}, {"prompt": True}, {"max_age": 1.5}, {"resource": [1]},
        {"resource": {}}, {"nonce": "a\0b"}, {"nonce": "\ud800"}, {"registration": True}, {"request": "a.b.c"},
        {"request_uri": "https://app.example.com/object"},
    ],
    ids=str,
)  # fmt: skip
async def test_values_of_a_wrong_type(changes: dict[str, Any]) -> None:
    await refused(made(**changes))


@pytest.mark.parametrize("value", [True, 1.5, {"a": [1]}, ["x"], "text", "\0", "\ud800", None])
async def test_unknown_members_are_ignored(value: Any) -> None:
    """RFC 6749 section 3.1, as outside."""
    inside = await resolve(OUTSIDE | {"request": made(cnf=value, vtr=value, **{"\0": value})}, CLIENT)
    assert inside == await resolve(OUTSIDE | {"request": made()}, CLIENT)


def test_all_parameters_that_are_read_are_known() -> None:
    """A parameter that is read, and not listed, would be ignored in a request object only."""
    oauth = Path(request_objects.__file__).parents[1]
    read = re.compile(
        r'(?:parameters\.get\(|parameters\[|words\(parameters, )"([a-z_]+)"|"([a-z_]+)" (?:not )?in parameters'
    )
    files = [*oauth.glob("authorize/*.py"), *oauth.glob("ciba/*.py"), *oauth.glob("details/*.py"), *oauth.glob("*.py")]
    found = {name for file in files for names in read.findall(file.read_text()) for name in names if name}
    assert {"max_age", "claims", "binding_message", "resource", "organization"} <= found
    assert found.union(HINTS) - request_objects.PARAMETERS == set()


async def test_the_response_type_outside_must_be_the_same() -> None:
    """OpenID Connect Core section 6.1."""
    await refused(made(), "invalid_request", response_type="token")
    await resolve(OUTSIDE | {"request": made(), "response_type": "code"}, CLIENT)


async def test_both_kinds_at_once() -> None:
    await refused(made(), "invalid_request", request_uri="https://app.example.com/object")


# The object as a JWT


@pytest.mark.parametrize("alg", VERIFICATION_ALGORITHMS)
async def test_algorithms(alg: str) -> None:
    client = msgspec.structs.replace(CLIENT, jwks=jwks(alg) if alg in ("RS256", "PS256", "ES256", "EdDSA") else None)
    if client.jwks is not None:
        assert (await resolve(OUTSIDE | {"request": made(alg)}, client))["state"] == "inside"
        only = msgspec.structs.replace(client, request_object_signing_alg=alg)
        assert (await resolve(OUTSIDE | {"request": made(alg)}, only))["state"] == "inside"
        other = msgspec.structs.replace(client, request_object_signing_alg="ES384")
        await refused(made(alg), client=other)


@pytest.mark.parametrize("typ", ["oauth-authz-req+jwt", "application/oauth-authz-req+jwt", "JWT", "jwt", None])
async def test_types(typ: str | None) -> None:
    assert await resolve(OUTSIDE | {"request": made(typ=typ)}, CLIENT)


@pytest.mark.parametrize("typ", ["at+jwt", "rt+jwt", "dpop+jwt", "client-authentication+jwt", 1, ["JWT"]])
async def test_other_types(typ: Any) -> None:
    """RFC 9101 section 10.8: a JWT that was made for something else."""
    await refused(signed(key("ES256"), header(key("ES256"), typ=typ), claims()))


@pytest.mark.parametrize("aud", [None, settings().issuer, [settings().issuer, "https://other.example.com"]], ids=str)
async def test_audiences(aud: Any) -> None:
    """fapi2-…-ensure-request-object-with-multiple-aud-succeeds"""
    assert await resolve(OUTSIDE | {"request": made(aud=aud, iss=None, exp=None, nbf=None, iat=None)}, CLIENT)


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://other.example.com"}, {"aud": []}, {"aud": 1}, {"aud": {settings().issuer: 1}},
        {"aud": f"{settings().issuer}/"}, {"aud": f"{settings().issuer}/par"}, {"iss": "another"}, {"iss": ["c"]},
        {"client_id": "another"}, {"client_id": None}, {"exp": 1}, {"exp": "1"}, {"exp": 1e300}, {"exp": True},
        {"nbf": 4e9}, {"iat": 4e9}, {"exp": [1]}, {"jti": "a", "exp": None}, {"jti": 1}, {"jti": ["a"]},
    ],
    ids=str,
)  # fmt: skip
async def test_claims_that_are_wrong(changes: dict[str, Any]) -> None:
    await refused(made(**changes))


async def test_clocks_that_differ() -> None:
    """fapi2-…-ensure-request-object-with-nbf-8-seconds-in-the-future-is-accepted"""
    await resolve(OUTSIDE | {"request": made(nbf=int(time.time()) + 8)}, CLIENT)
    await refused(made(nbf=int(time.time()) + 60))


@pytest.mark.parametrize(
    "token",
    ["", "x", "a.b", "a.b.c.d.e", "..", "é.é.é", "x" * 20_000, made() + "x", made()[:-4], made().replace(".", ".A", 1)],
    ids=range(10),
)
async def test_malformed_objects(token: str) -> None:
    await refused(token)


@pytest.mark.parametrize(
    "extra", [{"crit": ["exp"]}, {"crit": []}, {"b64": False, "crit": ["b64"]}, {"kid": "another"}, {"kid": 1}], ids=str
)
async def test_headers(extra: dict[str, Any]) -> None:
    await refused(signed(key("ES256"), header(key("ES256")) | extra, claims()))


@pytest.mark.parametrize("member", ["jwk", "jku", "x5u", "x5c"])
async def test_keys_in_the_header_are_ignored(member: str) -> None:
    """The attacker's own key, with the kid of the client's."""
    value = {"jwk": key("EdDSA").public_jwk, "x5c": ["AAAA"]}.get(member, "https://evil.example/keys")
    forged = signed(key("EdDSA"), {"alg": "EdDSA", "kid": key("ES256").kid, member: value}, claims())
    await refused(forged)


async def test_repeated_members() -> None:
    part = json.dumps(claims())[:-1] + ', "state": "again"}'
    await refused(signed(key("ES256"), header(key("ES256")), part.encode()))


async def test_a_client_without_keys() -> None:
    await refused(made(), client=msgspec.structs.replace(CLIENT, jwks=None))


async def test_a_key_without_a_kid() -> None:
    """oidcc-request-uri-signed-rs256 registers such a key, and its objects name none."""
    client = msgspec.structs.replace(CLIENT, jwks=jwks("RS256", kid=False))
    token = signed(key("RS256"), {"alg": "RS256"}, claims())
    assert (await resolve(OUTSIDE | {"request": token}, client))["state"] == "inside"


async def test_several_keys_without_a_kid() -> None:
    """The one that signed is found. A key of another client is not."""
    others = [jose.generate("ES256") for _ in range(3)]
    keys = [{name: value for name, value in one.public_jwk.items() if name not in ("kid", "alg")} for one in others]
    client = msgspec.structs.replace(CLIENT, jwks={"keys": [*keys, *jwks("ES256", kid=False)["keys"]]})
    token = signed(key("ES256"), {"alg": "ES256"}, claims())
    assert (await resolve(OUTSIDE | {"request": token}, client))["state"] == "inside"
    await refused(token, client=msgspec.structs.replace(CLIENT, jwks={"keys": keys}))


async def test_keys_at_a_uri(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """oidcc-registration-jwks-uri; a key that is new there is found, and a server that is down is no crash."""
    monkeypatch.setattr(client_keys, "FETCH_INTERVAL", 0)
    served = [jwks("EdDSA")]

    async def keys(head: bytes, writer: asyncio.StreamWriter) -> None:
        await answer(json.dumps(served[-1]).encode())(head, writer)

    url = f"http://127.0.0.1:{await serve(keys)}/jwks.json"
    client = msgspec.structs.replace(CLIENT, jwks=None, jwks_uri=url)
    await refused(made(), client=client)
    served.append(jwks("ES256"))
    assert (await resolve(OUTSIDE | {"request": made()}, client))["state"] == "inside"
    down = msgspec.structs.replace(CLIENT, jwks=None, jwks_uri=f"{url}/none")
    served.append({})
    await refused(made(), client=down)
    gone = f"http://127.0.0.1:{await serve(answer(status='404 Not Found'))}/jwks.json"
    await refused(made(), client=msgspec.structs.replace(CLIENT, jwks=None, jwks_uri=gone))


# FAPI 2.0 Message Signing


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None}, {"nbf": None}, {"aud": None}, {"nbf": -3700, "exp": 60}, {"nbf": -10, "exp": 3600},
        {"nbf": 0, "exp": 3700}, {"nbf": 70, "exp": 300},
    ],
    ids=str,
)  # fmt: skip
async def test_fapi_refuses(changes: dict[str, Any]) -> None:
    """fapi2-…-ensure-request-object-without-exp-fails, -without-nbf-fails, -with-exp-over-60-fails,
    -with-nbf-over-60-fails; section 5.3.1.
    """
    client = msgspec.structs.replace(CLIENT, profile="fapi2-message-signing")
    now = int(time.time())
    values = {name: value if value is None else now + value for name, value in changes.items()}
    await refused(made(**values), client=client)
    if None in changes.values():
        assert await resolve(OUTSIDE | {"request": made(**values)}, CLIENT)


async def test_fapi_accepts() -> None:
    client = msgspec.structs.replace(CLIENT, profile="fapi2-message-signing", jwks=jwks("ES256", "RS256", "PS256"))
    now = int(time.time())
    for changes in ({}, {"nbf": now + 8}, {"nbf": now - 1800, "exp": now + 1700}):
        assert await resolve(OUTSIDE | {"request": made(**changes)}, client)
    assert await resolve(OUTSIDE | {"request": made("PS256")}, client)
    # fapi2-…-ensure-signed-request-object-with-RS256-fails
    await refused(made("RS256"), client=client)
    only = msgspec.structs.replace(client, request_object_signing_alg="RS256")
    await refused(made("RS256"), client=only)


async def test_one_with_a_jti_is_used_once(db: str) -> None:
    token = made(jti=secrets.token_hex())
    results = await asyncio.gather(
        *(resolve(OUTSIDE | {"request": token}, CLIENT) for _ in range(10)), return_exceptions=True
    )
    assert len([result for result in results if isinstance(result, dict)]) == 1
    assert "used before" in await refused(token)
    # Another client may choose the same jti.
    other = msgspec.structs.replace(CLIENT, client_id="d")
    changes = {"jti": claims_of(token)["jti"], "client_id": "d", "iss": "d"}
    assert await resolve({"client_id": "d", "request": made(**changes)}, other)
    # It must be possible to remember it until it expires.
    await refused(made(jti=secrets.token_hex(), exp=int(time.time()) + 2 * 3600))


async def test_a_refused_object_is_not_used_up(db: str) -> None:
    changes = {"jti": secrets.token_hex()}
    await refused(made(**changes, request="a.b.c"))
    assert await resolve(OUTSIDE | {"request": made(**changes)}, CLIENT)


async def test_a_client_that_must_sign() -> None:
    """RFC 9101 section 10.5"""
    client = msgspec.structs.replace(CLIENT, require_signed_request_object=True)
    with pytest.raises(OAuthError, match="invalid_request: This client must send"):
        await resolve(OUTSIDE | {"response_type": "code"}, client)
    assert await resolve(OUTSIDE | {"request": made()}, client)


# By reference


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with serving() as start:
        yield start


async def _by_reference(request_uri: str, *registered: str) -> Any:
    client = msgspec.structs.replace(CLIENT, request_uris=registered)
    return await resolve(OUTSIDE | {"request_uri": request_uri}, client)


async def test_by_reference(serve: Serve) -> None:
    """oidcc-request-uri-signed-rs256: the fragment is no hash of the content, and is not sent."""
    heads: list[bytes] = []
    port = await serve(answer(made().encode() + b"\n", "Content-Type: application/jwt", heads=heads))
    url = f"http://127.0.0.1:{port}/object?a=b"
    for asked, registered in ((url, url), (f"{url}#x", url), (f"{url}#x", f"{url}#y"), (url, f"{url}#y")):
        assert (await _by_reference(asked, registered))["state"] == "inside"
    assert len(heads) == 4
    assert all(head.startswith(b"get /object?a=b http") for head in heads)


async def test_references_that_are_not_registered(serve: Serve) -> None:
    heads: list[bytes] = []
    port = await serve(answer(made().encode(), heads=heads))
    url = f"http://127.0.0.1:{port}/object"
    for asked in (f"{url}/", f"{url}?", f"{url}?a", url.upper(), url.replace("127", "user@127"), "urn:x", "#", " "):
        with pytest.raises(OAuthError, match=r"^invalid_request_uri: request_uri is none of those"):
            await _by_reference(asked, url)
    assert heads == []


async def test_references_that_cannot_be_fetched(serve: Serve) -> None:
    for handler, cause in (
        (answer(made().encode(), status="404 Not Found"), "The response has status 404."),
        (answer(made().encode(), status="302 Found"), "The response has status 302."),
        (answer(b"x" * 20_000), "The response is too long."),
        (answer(b"\xff"), "The response is no text."),
    ):
        url = f"http://127.0.0.1:{await serve(handler)}/object"
        with pytest.raises(OAuthError, match=r"^invalid_request_uri: .* cannot be fetched") as refused:
            await _by_reference(url, url)
        # Only the operator is told why.
        assert refused.value.hint.endswith(f" cannot be fetched. {cause}")
        assert cause not in refused.value.description
    for content in (b"", b"<html>", made(iss="another").encode()):
        url = f"http://127.0.0.1:{await serve(answer(content))}/object"
        with pytest.raises(OAuthError, match=r"^invalid_request_object"):
            await _by_reference(url, url)


async def test_references_that_do_not_answer(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_objects, "FETCH_SECONDS", 0.5)
    hanging = asyncio.Event()

    async def hang(_head: bytes, _writer: asyncio.StreamWriter) -> None:
        await hanging.wait()

    url = f"http://127.0.0.1:{await serve(hang)}/object"
    with pytest.raises(OAuthError, match=r"^invalid_request_uri: .* cannot be fetched"):
        await _by_reference(url, url)
    hanging.set()


async def test_fetches_are_bounded(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_objects, "FETCH_SECONDS", 120)
    arrived, go_on = asyncio.Semaphore(0), asyncio.Event()

    async def wait(head: bytes, writer: asyncio.StreamWriter) -> None:
        arrived.release()
        await go_on.wait()
        await answer(made().encode())(head, writer)

    url = f"http://127.0.0.1:{await serve(wait)}/object"
    clients = [
        msgspec.structs.replace(CLIENT, client_id=f"c{at}", request_uris=(url,))
        for at in range(request_objects.MAX_FETCHES // request_objects.MAX_FETCHES_OF_CLIENT)
    ]

    async def begin(client: Client) -> None:
        running.append(asyncio.create_task(resolve({"client_id": client.client_id, "request_uri": url}, client)))
        await arrived.acquire()

    running: list[asyncio.Task[Any]] = []
    for client in clients:
        # One client does not take the fetches of the others.
        for _ in range(request_objects.MAX_FETCHES_OF_CLIENT):
            await begin(client)
        with pytest.raises(OverloadedError):
            await resolve({"client_id": client.client_id, "request_uri": url}, client)
    with pytest.raises(OverloadedError):
        await _by_reference(url, url)
    go_on.set()
    # They are objects of another client than these.
    assert {type(found) for found in await asyncio.gather(*running, return_exceptions=True)} == {OAuthError}
    assert (await _by_reference(url, url))["state"] == "inside"
    assert not request_objects._fetches


# Whole sign-ins


@pytest.fixture
async def signing(make_client: MakeClient) -> RelyingParty:
    """A client with a key."""
    return await make_client(jwks=jwks("ES256"))


async def _allow(browser: Browser, page: Page | Redirect, user: User) -> Redirect:
    page = await browser.sign_in(as_page(page), user.email, PASSWORD)
    found = await browser.submit(as_page(page), "consent-allow")
    assert isinstance(found, Redirect), found.text
    return found


async def test_a_sign_in(signing: RelyingParty, browser: Browser, alice: User) -> None:
    """oidcc-ensure-request-object-with-redirect-uri: the one outside does not count."""
    outside = {"client_id": signing.client_id, "redirect_uri": "https://evil.example/cb", "state": "outside"}
    page = await browser.get("/authorize", **outside, request=request_object(signing, nonce="in-the-object"))
    found = await _allow(browser, page, alice)
    assert found.location.startswith(signing.redirect_uri)
    assert found.parameters["state"] == "the-state"
    tokens = (await signing.redeem(found.parameters["code"])).json()
    assert claims_of(tokens["id_token"])["nonce"] == "in-the-object"


async def test_a_sign_in_by_reference(make_client: MakeClient, serve: Serve, browser: Browser, alice: User) -> None:
    """oidcc-request-uri-signed-rs256, with the keys at a jwks_uri (oidcc-registration-jwks-uri)."""
    served: dict[bytes, str] = {b"/jwks": json.dumps(jwks("RS256"))}

    async def file(head: bytes, writer: asyncio.StreamWriter) -> None:
        await answer(served[head.split()[1]].encode())(head, writer)

    url = f"http://127.0.0.1:{await serve(file)}"
    client = await make_client(jwks_uri=f"{url}/jwks", request_uris=[f"{url}/request#{secrets.token_urlsafe(32)}"])
    served[b"/request"] = request_object(client, "RS256")
    asked = {"client_id": client.client_id, "response_type": "code", "scope": "openid", "request_uri": f"{url}/request"}
    found = await _allow(browser, await browser.get("/authorize", **asked), alice)
    assert found.parameters["state"] == "the-state"
    assert (await client.redeem(found.parameters["code"])).status_code == 200
    page = as_page(await browser.get("/authorize", **asked | {"request_uri": f"{url}/another"}))
    assert (page.status, page.error) == (400, "invalid_request_uri")


async def test_a_pushed_one(signing: RelyingParty, browser: Browser, alice: User) -> None:
    """RFC 9126 section 3. fapi2-…-ensure-different-nonce-inside-and-outside, long state and nonce."""
    long = secrets.token_urlsafe(288)
    response = await signing.post("/par", request=request_object(signing, state=long, nonce=long), state="outside")
    assert response.status_code == 201, response.text
    page = await browser.get("/authorize", client_id=signing.client_id, request_uri=response.json()["request_uri"])
    assert (await _allow(browser, page, alice)).parameters["state"] == long


async def test_errors_of_pushed_ones(signing: RelyingParty, make_client: MakeClient) -> None:
    """fapi2-…: as JSON, and never with the parameters outside."""
    other = await make_client(jwks=jwks("ES256"))
    for token, error in (
        (request_object(signing) + "x", "invalid_request_object"),
        (request_object(other), "invalid_request_object"),
        (request_object(signing, redirect_uri="https://evil.example/cb"), "invalid_request"),
        (request_object(signing, redirect_uri=None), "invalid_request"),
        (request_object(signing, scope="nothing"), "invalid_scope"),
        (request_object(signing, code_challenge=None), "invalid_request"),
    ):
        response = await signing.post("/par", **signing.parameters(request=token))
        assert (response.status_code, response.json()["error"]) == (400, error)


async def test_a_refused_proof_does_not_use_up_the_object(signing: RelyingParty) -> None:
    """RFC 9449 section 8: a client that lacks the nonce sends the same request again."""
    form = {"request": request_object(signing, jti=secrets.token_hex())}
    refused = await signing.post("/par", headers={"DPoP": "x"}, **form)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_dpop_proof")
    assert (await signing.post("/par", **form)).status_code == 201
    again = await signing.post("/par", **form)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_request_object")


async def test_where_errors_go(signing: RelyingParty, browser: Browser) -> None:
    """To the redirect URI outside, if it is registered; an unverified one inside counts for nothing."""
    bad = request_object(signing, "EdDSA", redirect_uri="https://evil.example/cb")
    found = await signing.authorize(browser, request=bad)
    assert isinstance(found, Redirect)
    assert found.location.startswith(signing.redirect_uri)
    error = "invalid_request_object"
    check_error_redirect(found.parameters, error=error, state="the-state", issuer=signing.issuer)
    for uri in (None, "https://evil.example/cb"):
        page = as_page(await signing.authorize(browser, request=bad, redirect_uri=uri))
        assert (page.status, page.error) == (400, "invalid_request_object")
    # A good signature, but a redirect URI that is not registered.
    token = request_object(signing, redirect_uri="https://evil.example/cb")
    page = as_page(await signing.authorize(browser, request=token))
    assert (page.status, page.error) == (400, "invalid_request")
    # And a good redirect URI inside: errors go there, with the state inside.
    token = request_object(signing, scope="nothing", state="inside", response_mode="fragment")
    found = await browser.get("/authorize", client_id=signing.client_id, request=token)
    assert isinstance(found, Redirect)
    assert found.location.startswith(f"{signing.redirect_uri}#error=invalid_scope")
    assert "state=inside" in found.location


async def test_required_by_the_client(make_client: MakeClient, browser: Browser) -> None:
    client = await make_client(jwks=jwks("ES256"), require_pushed_authorization_requests=True)
    for extra in ({}, {"request": request_object(client)}, {"request_uri": "https://app.example.com/object"}):
        found = await client.authorize(browser, **extra)
        assert isinstance(found, Redirect)
        check_error_redirect(found.parameters, error="invalid_request", state="the-state", issuer=client.issuer)
    assert await client.push()
    client = await make_client(jwks=jwks("ES256"), require_signed_request_object=True)
    response = await client.post("/par", **client.parameters())
    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")
    assert await client.push(request=request_object(client))


async def test_a_first_party_app_may_sign(make_client: MakeClient, alice: User) -> None:
    app = await make_client(jwks=jwks("ES256"), authorization_challenge=True, skip_consent=True)
    form = {"username": alice.email, "password": PASSWORD}
    answered = await app.post("/challenge", request=request_object(app, redirect_uri=None), **form)
    assert "authorization_code" in answered.json()
    refused = await app.post("/challenge", request_uri="https://app.example.com/object", **form)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")


# What the client registers for all requests


def test_the_default_maximum_age() -> None:
    """OpenID Connect Registration section 2: default_max_age, require_auth_time."""

    def max_age(parameters: dict[str, str], **metadata: Any) -> int | None:
        client = msgspec.structs.replace(CLIENT, scope="openid", **metadata)
        return read({"response_type": "code", "scope": "openid"} | parameters, client, "").max_age

    assert max_age({}) is None
    assert max_age({}, default_max_age=60) == 60
    assert max_age({"max_age": "30"}, default_max_age=60) == 30
    assert max_age({}, default_max_age=0) == 0
    assert max_age({}, require_auth_time=True) == KNOWN
    assert max_age({}, require_auth_time=True, default_max_age=60) == 60
    assert max_age({"max_age": "30"}, require_auth_time=True) == 30
