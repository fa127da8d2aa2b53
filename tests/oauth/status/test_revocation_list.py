"""The revocation list, as the resource server of docs/revocation-list.md reads it."""

import asyncio
import re
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import pytest

from idp import clock
from idp.accounts.profile import delete_user
from idp.accounts.tables import User
from idp.accounts.users import disable_user
from idp.infra.db.engine import execute, fetchrow
from idp.keys.key_set import key_set
from idp.oauth import consent
from idp.oauth.clients import service
from idp.oauth.clients.registration import disable_client, register_resource_server
from idp.oauth.credentials import credentials_changed
from idp.oauth.sign_out import end_session, sign_out_everywhere, sign_out_for_deletion
from idp.oauth.status import repository
from idp.oauth.status.revocation_list import RevocationList, digest
from idp.oauth.token.access_token import exchanged_jti
from idp.settings import settings
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.oauth import RelyingParty
from tests.support.tokens import decode

PAGE = Path(__file__).parents[3] / "docs" / "revocation-list.md"
PATH = "/.well-known/revoked-access-tokens"


def resource_server(issuer: str, audience: str, max_age: int | None = None) -> dict[str, Any]:
    """Run the example of the page, for the server under test."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    code = code.replace("https://id.example.com", issuer).replace("https://api.example.com", audience)
    names: dict[str, Any] = {}
    exec(code, names)
    return names


class Signed(NamedTuple):
    """A token of a user with all that a test ends."""

    party: RelyingParty
    user: User
    tokens: dict[str, Any]

    @property
    def claims(self) -> dict[str, Any]:
        return decode(self.tokens["access_token"].split(".")[1])

    async def session(self) -> Any:
        row = await fetchrow("SELECT id FROM session WHERE user_id = $1 ORDER BY created_at DESC LIMIT 1", self.user.id)
        assert row is not None
        return row["id"]


@pytest.fixture
async def signed(browser: Browser, make_client: MakeClient, alice: User) -> Signed:
    party = await make_client()
    return Signed(party, alice, await party.tokens(browser, alice.email))


async def listed(claims: dict[str, Any]) -> bool:
    """Return whether a list that is made now refuses a token."""
    token = await RevocationList().current()
    found = jwt.decode(
        token, jwt.PyJWK(key_set.signing("RS256").public_jwk), algorithms=["RS256"], issuer=settings().issuer
    )
    digests = urlsafe_b64decode(found["revoked"] + "==")
    parts = {digests[i : i + 8] for i in range(0, len(digests), 8)}
    assert len(parts) * 8 == len(digests)
    assert [digests[i : i + 8] for i in range(0, len(digests), 8)] == sorted(parts)
    jti = claims["jti"]
    names = [claims["client_id"], jti, *(jti[:at] for at, character in enumerate(jti) if character in ".~")]
    return any(digest(name) in parts for name in names)


async def _sign_out_here(signed: Signed) -> None:
    assert await end_session(signed.user.id, await signed.session(), "signed_out_by_user")


async def _session_expires(signed: Signed) -> None:
    await execute("UPDATE session SET expires_at = now() - interval '1 second' WHERE user_id = $1", signed.user.id)


async def _family_expires(signed: Signed) -> None:
    await execute("UPDATE token_family SET expires_at = now() - interval '1 second' WHERE user_id = $1", signed.user.id)


async def _revoke(signed: Signed, kind: str) -> None:
    assert (await signed.party.post("/revoke", token=signed.tokens[kind])).status_code == 200


async def _disable_client(signed: Signed) -> None:
    assert await disable_client(signed.party.client_id)


ENDS: dict[str, Callable[[Signed], Awaitable[object]]] = {
    "sign-out": _sign_out_here,
    "sign-out everywhere": lambda s: sign_out_everywhere(s.user.id, "signed_out_by_user"),
    "the session expires": _session_expires,
    "the family expires": _family_expires,
    "an access token is revoked": lambda s: _revoke(s, "access_token"),
    "a refresh token is revoked": lambda s: _revoke(s, "refresh_token"),
    "a consent is withdrawn": lambda s: consent.withdraw(s.user.id, s.party.client_id),
    "the user is disabled": lambda s: disable_user(s.user.id, credentials_changed),
    "the user is deleted": lambda s: delete_user(s.user.id, sign_out_for_deletion),
    "the client is disabled": _disable_client,
    "the client is deleted": lambda s: service.delete_client(s.party.client_id),
}


@pytest.mark.parametrize("end", ENDS)
async def test_what_is_refused_here_is_in_the_list(signed: Signed, end: str) -> None:
    assert not await listed(signed.claims)
    await ENDS[end](signed)
    assert await listed(signed.claims)


async def test_an_exchanged_token_ends_with_its_subject_token(signed: Signed) -> None:
    """Its ``jti`` begins with that of the subject token, which its client revokes alone."""
    exchanged = signed.claims | {"jti": exchanged_jti(exchanged_jti(signed.claims["jti"])), "client_id": "another"}
    assert not await listed(exchanged)
    await _revoke(signed, "access_token")
    assert await listed(exchanged)


@pytest.mark.parametrize("end", ["the client is deleted", "the user is deleted"])
async def test_exchanged_tokens_of_what_was_deleted(signed: Signed, end: str) -> None:
    """Another client has the token, and the rows of its family are gone."""
    exchanged = signed.claims | {"jti": exchanged_jti(signed.claims["jti"]), "client_id": "another"}
    await ENDS[end](signed)
    assert await listed(exchanged)


async def test_not_before_of_a_client(signed: Signed) -> None:
    """A time in the future of the token refuses it: there is no entry for each token."""
    await service.set_not_before(signed.party.client_id, clock.now())
    token = await RevocationList().current()
    claims = jwt.decode(token, options={"verify_signature": False})
    refused_before = claims["not_before_of_clients"]
    mine = [moment for name, moment in refused_before.items()
            if urlsafe_b64decode(name + "=") == digest(signed.party.client_id)]  # fmt: skip
    assert len(mine) == 1
    assert signed.claims["iat"] < mine[0] <= signed.claims["iat"] + 120


async def test_an_entry_ends_with_the_tokens(signed: Signed) -> None:
    """Later than the lifetime of an access token, nothing is left to refuse."""
    await sign_out_everywhere(signed.user.id, "signed_out_by_user")
    await service.delete_client(signed.party.client_id)
    lifetime = settings().access_token_lifetime + 61
    for table, column in (("token_family", "revoked_at"), ("session", "ended_at")):
        await execute(
            f"UPDATE {table} SET {column} = now() - make_interval(secs => $2) WHERE user_id = $1",
            signed.user.id, float(lifetime),
        )  # fmt: skip
    ids = [signed.party.client_id, signed.claims["jti"].partition(".")[0]]
    await execute("UPDATE tombstone SET expires_at = now() WHERE id = ANY($1)", ids)
    assert not await listed(signed.claims)


async def test_families_from_before_the_time_of_all_are_left_out(signed: Signed) -> None:
    """Their tokens are refused by the time, so that ending everything does not make a list of everything."""
    await sign_out_everywhere(signed.user.id, "signed_out_by_user")
    lifetime = float(settings().access_token_lifetime)
    with_it = await repository.revoked(lifetime, None)
    without = await repository.revoked(lifetime, clock.now() + timedelta(minutes=1))
    name = digest(signed.claims["jti"].partition(".")[0])
    assert name in {with_it[i : i + 8] for i in range(0, len(with_it), 8)}
    assert name not in {without[i : i + 8] for i in range(0, len(without), 8)}


async def test_the_example_of_the_page(browser: Browser, make_client: MakeClient, alice: User) -> None:
    """A token is accepted, its user signs out, and the next list refuses it. Other tokens stay."""
    audience = f"https://{alice.id}.example.com"
    await register_resource_server(audience, "Orders")
    party = await make_client()
    token = (await party.tokens(browser, alice.email, resource=audience))["access_token"]
    other = (await party.tokens(browser, alice.email, resource=audience))["access_token"]
    api = resource_server(party.issuer, audience)
    assert (await asyncio.to_thread(api["claims_of"], token))["client_id"] == party.client_id
    assert (await party.post("/revoke", token=token)).status_code == 200
    api["fetched_at"] = float("-inf")
    async with asyncio.timeout(30):
        while True:
            try:
                await asyncio.to_thread(api["claims_of"], token)
            except PermissionError:
                break
            api["fetched_at"] = float("-inf")
            await asyncio.sleep(0.05)
    assert (await asyncio.to_thread(api["claims_of"], other))["client_id"] == party.client_id


async def test_the_response(client: RelyingParty) -> None:
    response = await client.http.get(f"{client.issuer}{PATH}", headers={"Origin": "https://somewhere.example"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/jwt"
    assert response.headers["cache-control"] == "public, max-age=5"
    assert response.headers["access-control-allow-origin"] in {"*", "https://somewhere.example"}
    header, claims = jwt.get_unverified_header(response.text), jwt.decode(
        response.text, options={"verify_signature": False}
    )  # fmt: skip
    assert (header["typ"], header["alg"]) == ("revoked-access-tokens+jwt", "RS256")
    assert set(claims) == {"iss", "iat", "exp", "ttl", "revoked", "not_before", "not_before_of_clients"}
    assert claims["ttl"] == 5
    # It is neither an access token nor an ID token.
    assert (await client.userinfo(response.text)).status_code == 401
    assert (await client.introspect(response.text)) == {"active": False}


async def test_it_is_made_once_for_many(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests at the same moment share one statement and one signature."""
    calls = 0
    made = repository.revoked

    async def counted(*about: Any) -> bytes:
        nonlocal calls
        calls += 1
        return await made(*about)

    monkeypatch.setattr(repository, "revoked", counted)
    own = RevocationList()
    tokens = await asyncio.gather(*(own.current() for _ in range(50)))
    assert len(set(tokens)) == 1
    assert calls == 1


async def test_a_failure_is_shared_by_all_who_wait(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing statement may take long, and is not repeated for each of them. One that gave up ends no other."""
    calls, failing = 0, asyncio.Event()

    async def down(*_about: Any) -> bytes:
        nonlocal calls
        calls += 1
        await failing.wait()
        raise ConnectionError

    own = RevocationList()
    with monkeypatch.context() as broken:
        broken.setattr(repository, "revoked", down)
        waiting = [asyncio.create_task(own.current()) for _ in range(10)]
        while not calls:
            await asyncio.sleep(0)
        waiting[0].cancel()
        failing.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError, *[ConnectionError] * 9]
    assert calls == 1
    assert await own.current()


async def test_an_outage_leaves_the_last_list(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the database is down nothing is revoked. After its expiry the list is not served any more."""

    async def down(*_about: Any) -> bytes:
        raise ConnectionError

    own = RevocationList()
    with monkeypatch.context() as broken:
        broken.setattr(repository, "revoked", down)
        with pytest.raises(ConnectionError):
            await own.current()
    last = await own.current()
    with monkeypatch.context() as broken:
        broken.setattr(repository, "revoked", down)
        monkeypatch.setattr(own, "_made_at", float("-inf"))
        assert await own.current() == last
        broken.setattr(clock, "offset", timedelta(seconds=settings().access_token_lifetime + 1))
        with pytest.raises(ConnectionError):
            await own.current()
