"""Logout tokens and their delivery: what they say, to whom, and what each response means."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import jwt
import msgspec
import pytest
from joserfc import jwe
from joserfc.jwk import RSAKey

from idp import clock
from idp.infra.db.engine import execute, fetch
from idp.keys.key_set import key_set
from idp.oauth import subjects
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import disable_client
from idp.oauth.clients.registry import registry
from idp.oauth.clients.service import delete_client, update_client
from idp.oauth.logout import announce
from idp.settings import settings
from idp.signin.repository import sessions
from tests.oauth.logout.conftest import Participate, Participation, make_due, send
from tests.support.receivers import Received, Receivers


def token_of(request: Received) -> str:
    (token,) = parse_qs(request.body.decode(), strict_parsing=True)["logout_token"]
    return token


def verified(token: str, client: Client, alg: str = "RS256") -> dict[str, Any]:
    """Return the claims, after PyJWT has verified them with the published keys."""
    published = jwt.PyJWKSet.from_dict(json.loads(key_set.jwks().body))
    header = jwt.get_unverified_header(token)
    assert header["typ"] == "logout+jwt"
    claims: dict[str, Any] = jwt.decode(
        token, published[header["kid"]], algorithms=[alg], audience=client.client_id, issuer=settings().issuer,
        options={"require": ["exp", "iat", "jti", "events", "sid", "sub"]},
    )  # fmt: skip
    assert claims["events"] == {"http://schemas.openid.net/event/backchannel-logout": {}}
    assert "nonce" not in claims
    return claims


async def end(given: Participation) -> None:
    assert await sessions.end_session(given.user.id, given.session_id, "x")


async def delivery() -> Any:
    rows = await fetch("SELECT id, state, attempts, response FROM delivery")
    assert len(rows) == 1
    return rows[0]


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
async def test_the_token_is_signed_as_id_tokens(receivers: Receivers, participate: Participate, alg: str) -> None:
    given = await participate({"id_token_signed_response_alg": alg})
    await end(given)
    await send()
    claims = verified(token_of(receivers.received[0]), given.clients[0], alg)
    assert (claims["sub"], claims["sid"]) == (str(given.user.id), str(given.session_id))
    assert claims["exp"] - claims["iat"] <= 120
    assert receivers.received[0].headers["content-type"] == "application/x-www-form-urlencoded"


async def test_names_are_pairwise_as_in_id_tokens(receivers: Receivers, participate: Participate) -> None:
    told = {"subject_type": "pairwise", "backchannel_logout_uri": receivers.url("other")}
    elsewhere = {**told, "redirect_uris": ["https://other.example/cb"]}
    given = await participate({"subject_type": "pairwise"}, elsewhere)
    await end(given)
    await send()
    by_path = {request.path: token_of(request) for request in receivers.received}
    found = []
    for client, path in zip(given.clients, ("shop", "other"), strict=True):
        claims = verified(by_path[path], client)
        assert claims["sub"] == subjects.subject(client, given.user.id)
        assert claims["sid"] == subjects.sid(client, given.session_id)
        found += [claims["sub"], claims["sid"]]
    assert len(set(found)) == 4
    assert str(given.user.id) not in "".join(found)


async def test_the_token_is_encrypted_as_id_tokens(receivers: Receivers, participate: Participate) -> None:
    key = RSAKey.generate_key(2048, {"use": "enc", "alg": "RSA-OAEP-256"})
    given = await participate(
        {"id_token_encrypted_response_alg": "RSA-OAEP-256", "jwks": {"keys": [key.as_dict(private=False)]}}
    )
    await end(given)
    await send()
    nested = jwe.decrypt_compact(
        token_of(receivers.received[0]), key, algorithms=["RSA-OAEP-256", "A128CBC-HS256"]
    ).plaintext
    assert nested is not None
    assert verified(nested.decode(), given.clients[0])["sid"] == str(given.session_id)


@pytest.mark.parametrize("status", ["200", "204", "202"])
async def test_an_acknowledged_token_is_not_sent_again(
    receivers: Receivers, participate: Participate, status: str
) -> None:
    receivers.behaviours["shop"] = status
    await end(await participate())
    await send()
    await make_due()
    await send()
    assert (await delivery())["state"] == "delivered"
    assert len(receivers.received) == 1


async def test_a_refused_token_is_not_sent_again(receivers: Receivers, participate: Participate) -> None:
    receivers.behaviours["shop"] = "400 |invalid_request"
    await end(await participate())
    await send()
    await make_due()
    await send()
    row = await delivery()
    assert (row["state"], row["attempts"], row["response"]) == ("dead", 1, "400 invalid_request")
    assert len(receivers.received) == 1


@pytest.mark.parametrize("behaviour", ["500", "503 Retry-After: 1", "404", "429", "redirect", "drop"])
async def test_failures_are_tried_again_with_the_same_jti(
    receivers: Receivers, participate: Participate, behaviour: str
) -> None:
    given = await participate()
    receivers.behaviours["shop"] = behaviour
    await end(given)
    await send()
    assert (await delivery())["state"] == "deferred"
    # Each attempt has a new token, or it would have expired.
    clock.offset = timedelta(minutes=5)
    try:
        receivers.behaviours.clear()
        await make_due()
        await send()
        row = await delivery()
        assert (row["state"], row["attempts"]) == ("delivered", 2)
        first, second = (jwt.decode(token_of(each), options={"verify_signature": False}) for each in receivers.received)
        assert first["jti"] == second["jti"] == str(row["id"])
        assert second["iat"] - first["iat"] >= 300
        assert second["exp"] > second["iat"]
    finally:
        clock.offset = timedelta()
    assert {request.path for request in receivers.received} == {"shop"}


async def test_a_receiver_that_hangs_delays_no_other(receivers: Receivers, participate: Participate) -> None:
    receivers.behaviours["shop"] = "hang"
    given = await participate({}, {"backchannel_logout_uri": receivers.url("other")})
    await end(given)
    sending = asyncio.create_task(send())
    async with asyncio.timeout(30):
        while not receivers.accepted["other"]:
            await asyncio.sleep(0.01)
    assert not sending.done()
    receivers.go_on.set()
    await sending


@pytest.mark.parametrize("gone", ["no uri", "disabled", "deleted"])
async def test_a_client_that_is_gone_is_not_called(receivers: Receivers, participate: Participate, gone: str) -> None:
    given = await participate()
    await end(given)
    assert await announce.announce() == 1
    client_id = given.clients[0].client_id
    if gone == "no uri":
        await update_client(client_id, backchannel_logout_uri=None)
    elif gone == "disabled":
        await disable_client(client_id)
    else:
        await delete_client(client_id)
    await registry.load()
    await send()
    assert receivers.received == []
    assert (await delivery())["state"] == "dead"


@pytest.mark.parametrize("known", [True, False])
async def test_a_uri_that_this_process_does_not_know_yet(
    receivers: Receivers, participate: Participate, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """Another process has just registered the client, or given it a URI."""
    given = await participate()
    old = msgspec.structs.replace(given.clients[0], backchannel_logout_uri=None) if known else None
    monkeypatch.setattr(registry, "client", lambda _: old)
    await end(given)
    await send()
    assert (await delivery())["state"] == "delivered"


async def test_tokens_need_not_live(receivers: Receivers, participate: Participate) -> None:
    """The client is told though its code and everything else has expired."""
    given = await participate()
    await execute("UPDATE authorization_code SET expires_at = now() - interval '1 day'")
    await end(given)
    await send()
    assert (await delivery())["state"] == "delivered"
