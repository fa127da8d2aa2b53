"""The Shared Signals transmitter, on a real server: streams, subjects, push, poll, and what others may not do."""

import asyncio
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
import pytest

from idp import ids
from idp.accounts import email_change, email_proofs
from idp.accounts.attributes import declaration
from idp.accounts.attributes import service as attributes_of_users
from idp.accounts.attributes.models import Audience
from idp.accounts.email_proofs import Purpose
from idp.accounts.tables import User
from idp.accounts.users import create_user
from idp.admin.incidents import contain_client
from idp.audit.events import record
from idp.directory import groups, roles
from idp.events.ssf import streams, types
from idp.federation.linking import release_email
from idp.infra.db.engine import execute, fetch, transaction
from idp.oauth.claims import registration
from idp.oauth.clients.registration import enable_client, register_client
from idp.oauth.clients.service import update_client
from idp.oauth.credentials import credentials_changed
from idp.oauth.repository.consents import StoredConsent, save_consent
from idp.signin.factors.repository import delete_factors
from tests.conftest import MASTER_KEY
from tests.support.isolated import isolated
from tests.support.postgres import Cluster
from tests.support.receivers import Receivers
from tests.support.server import TLS, Server

PUSH, POLL = "urn:ietf:rfc:8935", "urn:ietf:rfc:8936"


@pytest.fixture(scope="module")
async def transmitter(
    db: str, cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    async with isolated(await cluster.create_database(template)) as dsn:
        settings = {"IDP_DATABASE_URL": dsn, "IDP_MASTER_KEY": MASTER_KEY, "IDP_ADDRESS_LIMITS": "false"}
        folder = tmp_path_factory.mktemp("transmitter")
        server = await asyncio.to_thread(lambda: Server(folder, **settings, IDP_SHARED_SIGNALS="true"))
        yield server
        server.kill()


@pytest.fixture
async def receiver_http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=40, verify=TLS) as http:
        yield http


class Party:
    """A receiver: a client with an access token for the transmitter."""

    def __init__(self, server: Server, http: httpx.AsyncClient, client_id: str, secret: str) -> None:
        self.server, self.http, self.client_id, self.secret, self.token = server, http, client_id, secret, ""

    async def authenticate(self, scope: str = "ssf.read ssf.manage") -> "Party":
        form = {"grant_type": "client_credentials", "scope": scope, "resource": f"{self.server.issuer}/ssf"}
        form |= {"client_id": self.client_id, "client_secret": self.secret}
        async with asyncio.timeout(30):
            while (answer := await self.http.post(f"{self.server.issuer}/token", data=form)).status_code == 401:
                await asyncio.sleep(0.02)
        assert answer.status_code == 200, answer.text
        self.token = answer.json()["access_token"]
        return self

    async def __call__(self, method: str, path: str, json: Any = None, **options: Any) -> httpx.Response:
        url = path if path.startswith("http") else f"{self.server.issuer}/ssf{path}"
        headers = {"Authorization": f"Bearer {self.token}"}
        return await self.http.request(method, url, json=json, headers=headers, **options)

    async def stream(self, delivery: dict[str, str], **more: Any) -> dict[str, Any]:
        asked = {"delivery": delivery, "events_requested": list(types.SUPPORTED)} | more
        answer = await self("POST", "/streams", asked)
        assert answer.status_code == 201, answer.text
        created: dict[str, Any] = answer.json()
        return created

    async def poll(self, stream: dict[str, Any], **asked: Any) -> dict[str, Any]:
        answer = await self("POST", stream["delivery"]["endpoint_url"], {"returnImmediately": True} | asked)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def fetch_sets(self, stream: dict[str, Any], count: int, **asked: Any) -> dict[str, str]:
        """Poll until there are so many."""
        async with asyncio.timeout(20):
            while len(sets := (await self.poll(stream, **asked))["sets"]) < count:
                await asyncio.sleep(0.1)
        return dict(sets)


async def _party(server: Server, http: httpx.AsyncClient, **metadata: Any) -> Party:
    values: dict[str, Any] = {
        "client_name": "Receiver",
        "grant_types": ["client_credentials"],
        "scope": "ssf.read ssf.manage",
        "token_endpoint_auth_method": "client_secret_post",
    }
    client, secret = await register_client(**(values | metadata))
    return await Party(server, http, client.client_id, str(secret)).authenticate()


@pytest.fixture
async def party(transmitter: Server, receiver_http: httpx.AsyncClient) -> Party:
    return await _party(transmitter, receiver_http)


@pytest.fixture
async def other(transmitter: Server, receiver_http: httpx.AsyncClient) -> Party:
    return await _party(transmitter, receiver_http)


@pytest.fixture
async def user(transmitter: Server) -> User:
    return await create_user(f"{ids.uuid7()}@example.com", None, name="Alice")


async def _record(event: str, user_id: UUID, **about: Any) -> None:
    async with transaction():
        await record(event, user_id=user_id, **about)


async def _published() -> None:
    """Wait until the server has published all events."""
    async with asyncio.timeout(20):
        while await fetch("SELECT FROM event_feed"):
            await asyncio.sleep(0.05)


def _subject(server: Server, user: User) -> dict[str, Any]:
    return {"format": "iss_sub", "iss": server.issuer, "sub": str(user.id)}


async def _verified(server: Server, token: str, audience: str) -> dict[str, Any]:
    keys = jwt.PyJWKClient(f"{server.issuer}/.well-known/jwks.json")
    assert jwt.get_unverified_header(token)["typ"] == "secevent+jwt"
    key = await asyncio.to_thread(keys.get_signing_key_from_jwt, token)
    claims: dict[str, Any] = jwt.decode(token, key, algorithms=["RS256"], audience=audience, issuer=server.issuer)
    assert "exp" not in claims
    assert "sub" not in claims
    return claims


async def test_the_configuration_of_the_transmitter(transmitter: Server, receiver_http: httpx.AsyncClient) -> None:
    found = (await receiver_http.get(f"{transmitter.issuer}/.well-known/ssf-configuration")).json()
    assert found["issuer"] == transmitter.issuer
    assert found["delivery_methods_supported"] == [PUSH, POLL]
    assert found["spec_version"] == "1_0"
    assert found["default_subjects"] == "NONE"
    for name in ("configuration", "status", "add_subject", "remove_subject", "verification"):
        assert found[f"{name}_endpoint"].startswith(f"{transmitter.issuer}/ssf/")


async def test_the_life_of_a_stream(party: Party) -> None:
    created = await party.stream(
        {"method": POLL}, description="Mine", events_requested=[types.SESSION_REVOKED, "urn:x"]
    )
    assert created["events_delivered"] == [types.SESSION_REVOKED]
    assert created["aud"] == party.client_id
    name = {"stream_id": created["stream_id"]}
    assert (await party("GET", "/streams", params=name)).json() == created
    assert (await party("GET", "/streams")).json() == [created]
    patched = (await party("PATCH", "/streams", name | {"events_requested": [types.ACCOUNT_DISABLED]})).json()
    assert patched == created | {
        "events_requested": [types.ACCOUNT_DISABLED], "events_delivered": [types.ACCOUNT_DISABLED],
    }  # fmt: skip
    replaced = (await party("PUT", "/streams", name | {"delivery": {"method": POLL}})).json()
    assert (replaced["events_requested"], "description" in replaced) == ([], False)
    paused = await party("POST", "/status", name | {"status": "paused", "reason": "Maintenance"})
    assert paused.json() == name | {"status": "paused", "reason": "Maintenance"}
    assert (await party("GET", "/status", params=name)).json() == paused.json()
    assert (await party("DELETE", "/streams", params=name)).status_code == 204
    assert (await party("GET", "/streams", params=name)).status_code == 404
    assert (await party("GET", "/streams")).json() == []


async def test_polling(party: Party, transmitter: Server, user: User) -> None:
    stream = await party.stream({"method": POLL})
    name = {"stream_id": stream["stream_id"]}
    assert (await party.poll(stream)) == {"sets": {}}
    await _record("user_disabled", user.id)
    await _published()
    added = await party("POST", "/subjects/add", name | {"subject": _subject(transmitter, user)})
    assert added.status_code == 200
    session = ids.uuid7()
    await _record("session_ended", user.id, session_id=session)
    await _record("password_changed", user.id)
    await _record("user_disabled", user.id)
    await _record("user_disabled", (await create_user(f"{ids.uuid7()}@example.com", None)).id)
    sets = await party.fetch_sets(stream, 3)
    claims = [await _verified(transmitter, token, party.client_id) for token in sets.values()]
    assert [one["jti"] for one in claims] == list(sets)
    (revoked,), (changed,), (disabled,) = [list(one["events"].items()) for one in claims]
    assert revoked[0] == types.SESSION_REVOKED
    assert revoked[1]["initiating_entity"] == "user"
    assert claims[0]["sub_id"]["session"] == {"format": "opaque", "id": str(session)}
    assert claims[0]["sub_id"]["user"] == _subject(transmitter, user)
    assert changed[0] == types.CREDENTIAL_CHANGE
    assert (changed[1]["credential_type"], changed[1]["change_type"]) == ("password", "update")
    assert (disabled[0], claims[2]["sub_id"]) == (types.ACCOUNT_DISABLED, _subject(transmitter, user))
    # Not acknowledged: they come again. One at a time, the rest is announced.
    first, second, third = sets
    page = await party.poll(stream, maxEvents=1)
    assert (list(page["sets"]), page["moreAvailable"]) == ([first], True)
    assert await party.poll(stream, maxEvents=0, ack=[first]) == {"sets": {}}
    refused = {second: {"err": "invalid_key", "description": "No"}}
    assert list((await party.poll(stream, setErrs=refused))["sets"]) == [third]
    assert (await party.poll(stream, ack=[third, third, "nonsense", str(uuid4())])) == {"sets": {}}
    rows = await fetch(
        "SELECT id, state, response FROM delivery WHERE stream = $1 ORDER BY id", f"ssf:{stream['stream_id']}"
    )
    assert [(str(row["id"]), row["state"]) for row in rows] == [
        (first, "delivered"),
        (second, "dead"),
        (third, "delivered"),
    ]
    assert rows[1]["response"] == "invalid_key No"


async def test_a_long_poll_ends_with_an_event(party: Party, transmitter: Server, user: User) -> None:
    stream = await party.stream({"method": POLL})
    await party("POST", "/subjects/add", {"stream_id": stream["stream_id"], "subject": _subject(transmitter, user)})
    waiting = asyncio.create_task(party.poll(stream, returnImmediately=False))
    await asyncio.sleep(0.5)
    assert not waiting.done()
    started = time.monotonic()
    await _record("user_enabled", user.id)
    assert len((await waiting)["sets"]) == 1
    assert time.monotonic() - started < 15


async def test_acknowledgements_of_another_stream_have_no_effect(
    party: Party, other: Party, transmitter: Server, user: User
) -> None:
    mine, theirs = await party.stream({"method": POLL}), await other.stream({"method": POLL})
    for each, stream in ((party, mine), (other, theirs)):
        await each("POST", "/subjects/add", {"stream_id": stream["stream_id"], "subject": _subject(transmitter, user)})
    await _record("user_disabled", user.id)
    (jti,) = await party.fetch_sets(mine, 1)
    (their_jti,) = await other.fetch_sets(theirs, 1)
    assert jti != their_jti
    await other.poll(theirs, ack=[jti], setErrs={jti: {"err": "x"}})
    assert list((await party.poll(mine))["sets"]) == [jti]


async def test_streams_of_another_client_are_unknown(
    party: Party, other: Party, transmitter: Server, user: User
) -> None:
    stream = await party.stream({"method": POLL})
    name = {"stream_id": stream["stream_id"]}
    attempts = [
        await other("GET", "/streams", params=name),
        await other("PATCH", "/streams", name | {"description": "Theirs"}),
        await other("PUT", "/streams", name | {"delivery": {"method": POLL}}),
        await other("DELETE", "/streams", params=name),
        await other("GET", "/status", params=name),
        await other("POST", "/status", name | {"status": "disabled"}),
        await other("POST", "/verify", name),
        await other("POST", "/subjects/add", name | {"subject": _subject(transmitter, user)}),
        await other("POST", "/subjects/remove", name | {"subject": _subject(transmitter, user)}),
        await other("POST", stream["delivery"]["endpoint_url"], {"returnImmediately": True}),
    ]
    assert [answer.status_code for answer in attempts] == [404] * len(attempts)
    assert (await other("GET", "/streams")).json() == []
    assert (await party("GET", "/streams", params=name)).json() == stream


async def test_tokens_that_are_not_for_the_transmitter(party: Party, transmitter: Server) -> None:
    token = party.token
    for wrong, status in (("x", 401), ("x.y.z", 401), (token[:-4] + "AAAA", 401)):
        party.token = wrong
        assert (await party("GET", "/streams")).status_code == status
    await party.authenticate("ssf.read")
    assert (await party("GET", "/streams")).status_code == 200
    assert (await party("POST", "/streams", {"delivery": {"method": POLL}})).status_code == 403
    form = {"grant_type": "client_credentials", "client_id": party.client_id, "client_secret": party.secret}
    plain = await party.http.post(f"{transmitter.issuer}/token", data=form | {"scope": ""})
    if plain.status_code == 200:
        party.token = plain.json()["access_token"]
        assert (await party("GET", "/streams")).status_code in (401, 403)
    party.token = token
    revoked = await party.http.post(
        f"{transmitter.issuer}/revoke",
        data={"token": token, "client_id": party.client_id, "client_secret": party.secret},
    )
    assert revoked.status_code == 200
    assert (await party("GET", "/streams")).status_code == 401


@pytest.mark.parametrize(
    "asked",
    [
        {"delivery": {"method": "urn:x"}},
        {"delivery": {"method": PUSH}},
        {"delivery": {"method": PUSH, "endpoint_url": "ftp://a.example"}},
        {"delivery": {"method": PUSH, "endpoint_url": "https://a.example", "authorization_header": "a\r\nb"}},
        {"delivery": "push"},
        {"events_requested": "all"},
        {"events_requested": [1]},
        {"format": "phone"},
        {"format": "email"},
        {"description": "x" * 201},
        {"stream_id": "x"},
        [],
        "text",
    ],
    ids=range(13),
)
async def test_malformed_configurations_are_refused(party: Party, asked: Any) -> None:
    assert (await party("POST", "/streams", asked)).status_code == 400


async def test_what_the_transmitter_supplies_cannot_be_changed(party: Party) -> None:
    stream = await party.stream({"method": POLL})
    for changes in ({"iss": "https://evil.example"}, {"aud": "x"}, {"events_supported": []}):
        answer = await party("PATCH", "/streams", {"stream_id": stream["stream_id"]} | changes)
        assert answer.status_code == 400
    assert (await party("PATCH", "/streams", stream | {"description": "new"})).status_code == 200
    for body in ({}, {"stream_id": 1}):
        assert (await party("PATCH", "/streams", body)).status_code == 400
    assert (await party("PATCH", "/streams", {"stream_id": "x"})).status_code == 404
    for _ in range(3):
        await party.stream({"method": POLL})
    assert (await party("POST", "/streams", {"delivery": {"method": POLL}})).status_code == 409


@pytest.mark.parametrize(
    "asked",
    [{"maxEvents": -1}, {"maxEvents": "1"}, {"ack": "x"}, {"ack": [1]}, {"setErrs": []}, {"ack": ["a"] * 1001}],
    ids=range(6),
)
async def test_malformed_polls_are_refused(party: Party, asked: Any) -> None:
    stream = await party.stream({"method": POLL})
    answer = await party("POST", stream["delivery"]["endpoint_url"], {"returnImmediately": True} | asked)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "subject",
    [None, "x", {}, {"format": "iss_sub"}, {"format": "iss_sub", "iss": 1, "sub": "x"}, {"format": "did", "url": "x"},
     {"format": "email", "email": "a@example.com"}],
    ids=range(7),
)  # fmt: skip
async def test_malformed_subjects_are_refused(party: Party, subject: Any) -> None:
    """An address too, from a client without the scope email."""
    stream = await party.stream({"method": POLL})
    asked = {"stream_id": stream["stream_id"], "subject": subject}
    assert (await party("POST", "/subjects/add", asked)).status_code == 400


async def test_unknown_subjects_are_accepted_and_ignored(party: Party, transmitter: Server) -> None:
    """The response does not say who has an account."""
    stream = await party.stream({"method": POLL})
    for sub, issuer in (
        (str(ids.uuid7()), transmitter.issuer),
        ("nobody", transmitter.issuer),
        ("x", "https://a.example"),
    ):
        subject = {"format": "iss_sub", "iss": issuer, "sub": sub}
        answer = await party("POST", "/subjects/add", {"stream_id": stream["stream_id"], "subject": subject})
        assert answer.status_code == 200
    assert await fetch("SELECT FROM event_stream_subject WHERE stream_id = $1", UUID(stream["stream_id"])) == []


async def test_a_removed_subject_gets_no_events(party: Party, transmitter: Server, user: User) -> None:
    stream = await party.stream({"method": POLL})
    asked = {"stream_id": stream["stream_id"], "subject": _subject(transmitter, user)}
    await party("POST", "/subjects/add", asked)
    await _record("user_disabled", user.id)
    await party.fetch_sets(stream, 1)
    assert (await party("POST", "/subjects/remove", asked)).status_code == 204
    await _record("user_enabled", user.id)
    await _record("user_deleted", user.id)
    await _published()
    assert len((await party.poll(stream))["sets"]) == 1


async def test_push(party: Party, transmitter: Server, user: User) -> None:
    async with Receivers() as receivers:
        url = receivers.url("push")
        delivery = {"method": PUSH, "endpoint_url": url, "authorization_header": "Bearer push-secret"}
        stream = await party.stream(delivery)
        assert stream["delivery"] == {"method": PUSH, "endpoint_url": url}
        stored = await fetch("SELECT authorization_header FROM event_stream WHERE id = $1", UUID(stream["stream_id"]))
        assert b"push-secret" not in stored[0]["authorization_header"]
        name = {"stream_id": stream["stream_id"]}
        await party("POST", "/subjects/add", name | {"subject": _subject(transmitter, user)})
        assert (await party("POST", "/verify", name | {"state": "VGhpcyBpcw"})).status_code == 204
        assert (await party("POST", "/verify", name)).status_code == 429
        await _record("user_disabled", user.id)
        async with asyncio.timeout(20):
            while len(receivers.received) < 2:
                await asyncio.sleep(0.05)
        verification, disabled = receivers.received
        assert verification.headers["content-type"] == "application/secevent+jwt"
        assert verification.headers["authorization"] == "Bearer push-secret"
        claims = await _verified(transmitter, verification.body.decode(), party.client_id)
        assert claims["events"] == {types.VERIFICATION: {"state": "VGhpcyBpcw"}}
        assert claims["sub_id"] == {"format": "opaque", "id": stream["stream_id"]}
        claims = await _verified(transmitter, disabled.body.decode(), party.client_id)
        assert list(claims["events"]) == [types.ACCOUNT_DISABLED]


async def test_a_paused_stream_keeps_its_events(party: Party, transmitter: Server, user: User) -> None:
    async with Receivers() as receivers:
        stream = await party.stream({"method": PUSH, "endpoint_url": receivers.url("push")})
        name = {"stream_id": stream["stream_id"]}
        await party("POST", "/subjects/add", name | {"subject": _subject(transmitter, user)})
        await party("POST", "/status", name | {"status": "paused"})
        await _record("user_disabled", user.id)
        async with asyncio.timeout(20):
            while not await fetch("SELECT FROM delivery WHERE kind = 'security_event_held' AND user_id = $1", user.id):
                await asyncio.sleep(0.05)
        # To polling, and enabled again.
        polled = (await party("PATCH", "/streams", name | {"delivery": {"method": POLL}})).json()
        assert (await party.poll(polled))["sets"] == {}
        await party("POST", "/status", name | {"status": "enabled"})
        assert len((await party.poll(polled))["sets"]) == 1
        await party("POST", "/status", name | {"status": "disabled"})
        assert (await party("POST", polled["delivery"]["endpoint_url"], {"returnImmediately": True})).status_code == 404
        await party("POST", "/status", name | {"status": "enabled"})
        assert (await party.poll(polled))["sets"] == {}
        assert receivers.received == []


async def test_an_administrator_pauses_a_stream(party: Party, transmitter: Server, user: User) -> None:
    """The receiver is told, and gets what was held when it enables the stream."""
    async with Receivers() as receivers:
        stream = await party.stream({"method": PUSH, "endpoint_url": receivers.url("push")})
        name = {"stream_id": stream["stream_id"]}
        await party("POST", "/subjects/add", name | {"subject": _subject(transmitter, user)})
        await streams.set_status_of_any(UUID(stream["stream_id"]), "paused", "Maintenance")
        await _record("user_disabled", user.id)
        async with asyncio.timeout(20):
            while not receivers.received or not await fetch(
                "SELECT FROM delivery WHERE kind = 'security_event_held' AND user_id = $1", user.id
            ):
                await asyncio.sleep(0.05)
        (told,) = receivers.received
        claims = await _verified(transmitter, told.body.decode(), party.client_id)
        assert claims["events"] == {types.STREAM_UPDATED: {"status": "paused", "reason": "Maintenance"}}
        assert (await party("GET", "/status", params=name)).json()["status"] == "paused"
        await party("POST", "/status", name | {"status": "enabled"})
        async with asyncio.timeout(20):
            while len(receivers.received) < 2:
                await asyncio.sleep(0.05)
        await streams.set_status_of_any(UUID(stream["stream_id"]), "disabled", "")
        async with asyncio.timeout(20):
            while len(receivers.received) < 3:
                await asyncio.sleep(0.05)
        last = await _verified(transmitter, receivers.received[2].body.decode(), party.client_id)
        assert last["events"] == {types.STREAM_UPDATED: {"status": "disabled"}}
    with pytest.raises(streams.UnknownStreamError):
        await streams.set_status_of_any(uuid4(), "paused", "")


async def test_a_final_answer_to_a_push(party: Party, transmitter: Server, user: User) -> None:
    """RFC 8935 section 2.3: the next token is not held up by one that the receiver refuses."""
    async with Receivers() as receivers:
        receivers.behaviours["push"] = '400 Content-Type: application/json|{"err": "invalid_request"}'
        stream = await party.stream({"method": PUSH, "endpoint_url": receivers.url("push")})
        await party("POST", "/subjects/add", {"stream_id": stream["stream_id"], "subject": _subject(transmitter, user)})
        await _record("user_disabled", user.id)
        await _record("user_enabled", user.id)
        async with asyncio.timeout(20):
            while len(await fetch("SELECT FROM delivery WHERE state = 'dead' AND user_id = $1", user.id)) < 2:
                await asyncio.sleep(0.05)


async def _consents(user: User, *parties: Party, scope: str) -> None:
    for party in parties:
        await save_consent(user.id, party.client_id, StoredConsent(scope.split(), [], None), b"", None)


async def test_claims_that_the_client_may_know(
    transmitter: Server, receiver_http: httpx.AsyncClient, user: User
) -> None:
    """Of users that it knows: whoever names one as a subject learns nothing by that."""
    stranger = await create_user(f"{ids.uuid7()}@example.com", None)
    party = await _party(transmitter, receiver_http, scope="ssf.read ssf.manage email")
    stream = await party.stream({"method": POLL}, format="email")
    subject = {"format": "email", "email": user.email}
    for named in (_subject(transmitter, user), _subject(transmitter, stranger)):
        await party("POST", "/subjects/add", {"stream_id": stream["stream_id"], "subject": named})
    await registration.add(
        party.client_id, claim="tenant", source={"kind": "constant", "value": "acme"}, places=["userinfo"]
    )
    await _consents(user, party, scope="email")
    await _record("email_changed", stranger.id)
    await _record("profile_changed", user.id)
    await _record("email_changed", user.id)
    (token,) = (await party.fetch_sets(stream, 1)).values()
    claims = await _verified(transmitter, token, party.client_id)
    assert claims["events"][types.TOKEN_CLAIMS_CHANGE]["claims"] == {"email": user.email, "email_verified": False}
    assert claims["sub_id"] == subject


async def test_an_address_is_a_subject_once_it_was_granted(
    transmitter: Server, receiver_http: httpx.AsyncClient, user: User
) -> None:
    """The answer is the same before, and no event tells that the address has an account."""
    party = await _party(transmitter, receiver_http, scope="ssf.read ssf.manage openid email")
    stream = await party.stream({"method": POLL})

    async def ask(action: str, email: str) -> None:
        asked = {"stream_id": stream["stream_id"], "subject": {"format": "email", "email": email}}
        answer = await party("POST", f"/subjects/{action}", asked)
        assert (answer.status_code, answer.content) == ((200, b"") if action == "add" else (204, b""))

    async def of_stream() -> list[UUID]:
        rows = await fetch("SELECT user_id FROM event_stream_subject WHERE stream_id = $1", UUID(stream["stream_id"]))
        return [row["user_id"] for row in rows]

    await ask("add", user.email)
    await ask("add", f"{ids.uuid7()}@example.com")
    await _consents(user, party, scope="openid")
    await ask("add", user.email)
    assert await of_stream() == []
    await _record("password_changed", user.id)
    await _published()
    assert (await party.poll(stream))["sets"] == {}
    await _consents(user, party, scope="openid email")
    await ask("add", user.email)
    assert await of_stream() == [user.id]
    await execute("DELETE FROM consent WHERE user_id = $1", user.id)
    await ask("remove", user.email)
    assert await of_stream() == []


async def test_the_streams_of_a_contained_client(
    transmitter: Server, receiver_http: httpx.AsyncClient, user: User
) -> None:
    """A thief of the secret may have made them. They stay disabled when the client is enabled again."""
    party = await _party(transmitter, receiver_http)
    async with Receivers() as receivers:
        stream = await party.stream({"method": PUSH, "endpoint_url": receivers.url("thief")})
        await party("POST", "/subjects/add", {"stream_id": stream["stream_id"], "subject": _subject(transmitter, user)})
        report = await contain_client(party.client_id)
        assert report.ended["event_streams"] == 1
        await enable_client(party.client_id)
        await _record("user_disabled", user.id)
        await _published()
        rows = await fetch("SELECT status FROM event_stream WHERE client_id = $1", party.client_id)
        assert [row["status"] for row in rows] == ["disabled"]
        assert await fetch("SELECT FROM delivery WHERE stream = $1", f"ssf:{stream['stream_id']}") == []
    assert (await contain_client(party.client_id)).ended["event_streams"] == 0


async def test_no_claims_beyond_what_the_user_granted(
    transmitter: Server, receiver_http: httpx.AsyncClient, user: User
) -> None:
    """The client has more scopes than the user granted."""
    party = await _party(transmitter, receiver_http, scope="ssf.read ssf.manage openid email profile groups")
    stream = await party.stream({"method": POLL}, format="email")
    subject = _subject(transmitter, user)
    await party("POST", "/subjects/add", {"stream_id": stream["stream_id"], "subject": subject})
    await _consents(user, party, scope="openid profile")
    group = await groups.create(f"group {user.id}")
    await groups.add_members(group.id, [user.id])
    await execute("UPDATE users SET name = 'Alice' WHERE id = $1", user.id)
    await _record("email_changed", user.id)
    await _record("profile_changed", user.id)
    (token,) = (await party.fetch_sets(stream, 1)).values()
    claims = await _verified(transmitter, token, party.client_id)
    told = claims["events"][types.TOKEN_CLAIMS_CHANGE]["claims"]
    assert told["name"] == "Alice"
    assert not told.keys() & {"email", "email_verified", "groups"}
    assert claims["sub_id"] == subject


async def test_groups_and_roles_that_changed(transmitter: Server, receiver_http: httpx.AsyncClient, user: User) -> None:
    """As they are when the event is sent, for the scopes of the client; without one of these there is no event."""
    clients = [
        await _party(transmitter, receiver_http, scope=f"ssf.read ssf.manage {scope}")
        for scope in ("groups", "roles", "email")
    ]
    streams = [await party.stream({"method": POLL}) for party in clients]
    for party, stream in zip(clients, streams, strict=True):
        subject = _subject(transmitter, user)
        await party("POST", "/subjects/add", {"stream_id": stream["stream_id"], "subject": subject})
    await _consents(user, *clients, scope="groups roles email")
    group, role = await groups.create(f"group {user.id}"), await roles.create(f"role {user.id}")
    await groups.add_members(group.id, [user.id])
    await roles.give(role.id, [user.id])
    await _record("user_enabled", user.id)

    async def changes(number: int, count: int) -> list[Any]:
        tokens = (await clients[number].fetch_sets(streams[number], count)).values()
        found = [(await _verified(transmitter, token, clients[number].client_id))["events"] for token in tokens]
        return [event[types.TOKEN_CLAIMS_CHANGE]["claims"] for event in found if types.TOKEN_CLAIMS_CHANGE in event]

    assert await changes(0, 2) == [{"groups": [group.name]}]
    assert await changes(1, 3) == [{"roles": [role.name]}] * 2
    assert await changes(2, 1) == []


async def test_claims_that_are_gone(transmitter: Server, receiver_http: httpx.AsyncClient, user: User) -> None:
    """The last value that a scope releases is told of, too."""
    scope = f"s{uuid4().hex[:12]}"
    attribute = await declaration.declare(name=scope, type="string", label={"default": "Desk"}, scope=scope)
    # The server has read the declaration when it knows a client that was registered after it knew one.
    await _party(transmitter, receiver_http)
    party = await _party(transmitter, receiver_http, scope=f"ssf.read ssf.manage groups {scope}")
    stream = await party.stream({"method": POLL})
    subject = _subject(transmitter, user)
    await party("POST", "/subjects/add", {"stream_id": stream["stream_id"], "subject": subject})
    await _consents(user, party, scope=f"groups {scope}")
    group = await groups.create(f"group {user.id}")
    await groups.add_members(group.id, [user.id])
    await groups.remove_members(group.id, [user.id])
    for value in ("4b", None):
        await attributes_of_users.change(user.id, {scope: value}, Audience.OWNER)
    tokens = (await party.fetch_sets(stream, 4)).values()
    found = [(await _verified(transmitter, token, party.client_id))["events"] for token in tokens]
    changes = [event[types.TOKEN_CLAIMS_CHANGE]["claims"] for event in found]
    assert sorted(changes, key=str) == sorted([{"groups": []}, {scope: None}] * 2, key=str)
    await declaration.delete(attribute.name)


async def _change_address(user: User, email: str) -> None:
    session_id = ids.uuid7()
    sent = await email_proofs.create(Purpose.EMAIL_CHANGE, email, lifetime=60, flow_id=str(session_id), user_id=user.id)
    async with transaction():
        release = partial(release_email, delete_factors=delete_factors)
        changed = await email_change.confirm(user, session_id, credentials_changed, release, code=sent.code)
        assert changed == "email_changed"


async def test_an_address_that_changed(transmitter: Server, receiver_http: httpx.AsyncClient, user: User) -> None:
    """RISC section 2.5: the subject is the address before, whatever the format of the stream."""
    party = await _party(transmitter, receiver_http, scope="ssf.read ssf.manage email")
    stream = await party.stream({"method": POLL})
    await party("POST", "/subjects/add", {"stream_id": stream["stream_id"], "subject": _subject(transmitter, user)})
    await _consents(user, party, scope="email")
    new = f"{ids.uuid7()}@example.com"
    await _change_address(user, new)
    found = [
        claims
        for token in (await party.fetch_sets(stream, 3)).values()
        if types.IDENTIFIER_CHANGED in (claims := await _verified(transmitter, token, party.client_id))["events"]
    ]
    assert [claims["events"] for claims in found] == [{types.IDENTIFIER_CHANGED: {"new-value": new}}]
    assert found[0]["sub_id"] == {"format": "email", "email": user.email}
    # Neither the trail nor the feed has an address.
    rows = await fetch("SELECT e::text AS text FROM audit_event AS e WHERE user_id = $1", user.id)
    assert len(rows) > 2
    assert not any("@" in row["text"] for row in rows)
    assert await fetch("SELECT FROM event_feed") == []


async def test_an_address_is_for_clients_that_may_know_it(party: Party, transmitter: Server, user: User) -> None:
    """Also after the client has lost the scope."""
    stream = await party.stream({"method": POLL})
    assert types.IDENTIFIER_CHANGED not in stream["events_delivered"]
    assert types.TOKEN_CLAIMS_CHANGE in stream["events_delivered"]
    await party("POST", "/subjects/add", {"stream_id": stream["stream_id"], "subject": _subject(transmitter, user)})
    await execute(
        "UPDATE event_stream SET events_requested = events_requested || jsonb_build_array($2::text) WHERE id = $1",
        UUID(stream["stream_id"]), types.IDENTIFIER_CHANGED,
    )  # fmt: skip
    await _change_address(user, f"{ids.uuid7()}@example.com")
    (token,) = (await party.fetch_sets(stream, 1)).values()
    assert types.SESSION_REVOKED in (await _verified(transmitter, token, party.client_id))["events"]


async def test_users_are_named_by_an_address_that_the_client_may_know(
    transmitter: Server, receiver_http: httpx.AsyncClient, user: User
) -> None:
    """Whoever names a user as a subject does not learn their address; nor does a client without the scope any more."""
    party = await _party(transmitter, receiver_http, scope="ssf.read ssf.manage email")
    stream = await party.stream({"method": POLL}, format="email")
    subject = _subject(transmitter, user)
    await party("POST", "/subjects/add", {"stream_id": stream["stream_id"], "subject": subject})

    async def named() -> Any:
        await _record("password_changed", user.id)
        ((jti, token),) = (await party.fetch_sets(stream, 1)).items()
        await party.poll(stream, maxEvents=0, ack=[jti])
        return (await _verified(transmitter, token, party.client_id))["sub_id"]

    assert await named() == subject
    await _consents(user, party, scope="email")
    assert await named() == {"format": "email", "email": user.email}
    await update_client(party.client_id, scope="ssf.read ssf.manage")
    # The server has read the change when it knows a client that was registered after it.
    await _party(transmitter, receiver_http)
    assert await named() == subject


async def test_pairwise_subjects(transmitter: Server, receiver_http: httpx.AsyncClient, user: User) -> None:
    """The receiver names and learns the user by the subject that the client has."""
    from idp.oauth import subjects
    from idp.oauth.clients.registry import registry

    party = await _party(
        transmitter, receiver_http, subject_type="pairwise", redirect_uris=["https://pairwise.example/cb"],
        grant_types=["client_credentials", "authorization_code"], scope="openid ssf.read ssf.manage",
    )  # fmt: skip
    await registry.load()
    client = registry.client(party.client_id)
    assert client is not None
    stream = await party.stream({"method": POLL})
    sub = subjects.subject(client, user.id)
    assert sub != str(user.id)
    subject = {"format": "iss_sub", "iss": transmitter.issuer, "sub": sub}
    await party("POST", "/subjects/add", {"stream_id": stream["stream_id"], "subject": subject})
    await _record("session_ended", user.id, session_id=(session := ids.uuid7()))
    (token,) = (await party.fetch_sets(stream, 1)).values()
    claims = await _verified(transmitter, token, party.client_id)
    assert claims["sub_id"]["user"] == subject
    assert claims["sub_id"]["session"]["id"] == subjects.sid(client, session)
    assert str(user.id) not in str(claims)
    assert str(session) not in str(claims)


async def test_a_deleted_client_loses_its_streams(party: Party, user: User, tmp_path: Path) -> None:
    stream = await party.stream({"method": POLL})
    await execute("DELETE FROM client WHERE client_id = $1", party.client_id)
    assert await fetch("SELECT FROM event_stream WHERE id = $1", UUID(stream["stream_id"])) == []
