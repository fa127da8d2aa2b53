"""A refusal tells the caller nothing; the audit event and the log have the reason, the user and the token family."""

import asyncio
import json
from uuid import UUID

import httpx

from idp.accounts.tables import User
from idp.infra.db.engine import execute, fetch
from idp.oauth import codes, sign_out
from idp.oauth.token.access_token import family_of
from tests.conftest import MakeClient, MakeUser
from tests.support.browser import Browser, open_browser
from tests.support.oauth import RelyingParty
from tests.support.server import Server
from tests.support.tokens import claims_of, jti_of

Recorded = tuple[str, UUID | None, str | None]

_OF_TOKEN = "(SELECT family_id FROM refresh_token WHERE jti = $1)"
_SESSION = f"(SELECT session_id FROM token_family WHERE id = {_OF_TOKEN})"

_REFUSED = "SELECT user_id, detail FROM audit_event WHERE event = 'token_refused' AND client_id = $1 ORDER BY id"
_REFUSED_ACCESS = "SELECT detail FROM audit_event WHERE event = 'access_token_refused' AND user_id = $1"


async def _recorded(client_id: str, number: int) -> list[Recorded]:
    """Reason, user and family of this many refusals, as soon as they are written."""
    async with asyncio.timeout(30):
        while True:
            rows = await fetch(_REFUSED, client_id)
            if len(rows) >= number:
                details = [(row["user_id"], json.loads(row["detail"])) for row in rows]
                return [(detail["reason"], user_id, detail.get("family_id")) for user_id, detail in details]
            await asyncio.sleep(0.05)


async def test_six_causes_of_a_refused_refresh(server: Server, client: RelyingParty, make_user: MakeUser) -> None:
    """The answers are the same byte for byte; audit and log tell them apart."""
    changes = {
        "expired": "UPDATE refresh_token SET expires_at = now() WHERE jti = $1",
        "revoked_by_incident": "UPDATE token_family SET revoked_at = now(), revoked_reason = 'user_contained'"
        f" WHERE id = {_OF_TOKEN}",
        "user_disabled": f"UPDATE users SET disabled_at = now() WHERE id = (SELECT user_id FROM token_family"
        f" WHERE id = {_OF_TOKEN})",
        "family_expired": f"UPDATE token_family SET expires_at = now() WHERE id = {_OF_TOKEN}",
        "session_ended": f"UPDATE session SET ended_at = now() WHERE id = {_SESSION}",
    }
    answers = [await client.refresh("garbage")]
    expected: list[Recorded] = [("malformed", None, None)]
    for reason, change in changes.items():
        user = await make_user()
        async with open_browser(server.issuer) as browser:
            tokens = await client.tokens(browser, user.email)
        assert await execute(change, jti_of(tokens["refresh_token"])) == 1
        answers.append(await client.refresh(tokens["refresh_token"]))
        expected.append((reason, user.id, str(family_of(claims_of(tokens["access_token"])["jti"]))))
    assert len({(answer.status_code, answer.content) for answer in answers}) == 1
    assert len({tuple(_headers(answer)) for answer in answers}) == 1
    assert await _recorded(client.client_id, len(answers)) == expected
    logged = [line for line in map(json.loads, server.log.splitlines()) if line.get("client_id") == client.client_id]
    lines = [line for line in logged if line["event"] == "request" and line.get("error") == "invalid_grant"]
    assert [(line["reason"], line.get("user_id"), line.get("family_id")) for line in lines] == [
        (reason, str(user_id) if user_id else None, family_id) for reason, user_id, family_id in expected
    ]


def _headers(answer: httpx.Response) -> list[tuple[str, str]]:
    return sorted((name, value) for name, value in answer.headers.items() if name not in ("x-request-id", "date"))


async def test_other_causes_of_a_refused_refresh(
    browser: Browser, client: RelyingParty, make_client: MakeClient, alice: User
) -> None:
    other = await make_client()
    first = await client.tokens(browser, alice.email)
    family = str(family_of(claims_of(first["access_token"])["jti"]))
    assert (await other.refresh(first["refresh_token"])).status_code == 400
    assert await _recorded(other.client_id, 1) == [("wrong_client", alice.id, family)]
    await client.refresh(first["refresh_token"])
    await execute(
        "UPDATE refresh_token SET rotated_at = rotated_at - interval '1 hour' WHERE jti = $1",
        jti_of(first["refresh_token"]),
    )
    for _ in range(2):
        assert (await client.refresh(first["refresh_token"])).status_code == 400
    second = await client.tokens(browser, alice.email)
    await sign_out.sign_out_everywhere(alice.id, "signed_out_by_admin")
    assert (await client.refresh(second["refresh_token"])).status_code == 400
    found = await _recorded(client.client_id, 3)
    assert [reason for reason, _, _ in found] == ["reused", "revoked_for_reuse", "revoked_by_admin"]
    assert {user_id for _, user_id, _ in found} == {alice.id}


async def test_causes_of_a_refused_code(
    server: Server, client: RelyingParty, make_client: MakeClient, make_user: MakeUser
) -> None:
    other, user = await make_client(), await make_user()
    verifier = "another-verifier-that-is-long-enough-for-it"
    never_stored = codes.new(user.id)
    moved = f"{never_stored.partition('.')[0]}.{codes.new(user.id).partition('.')[2]}"
    answers = [await client.redeem(code) for code in ("no-such-code", moved, never_stored)]
    async with open_browser(server.issuer) as browser:
        code = await client.sign_in(browser, user.email)
        answers.append(await client.redeem(code, code_verifier=verifier))
        answers.append(await client.redeem(code, redirect_uri="https://elsewhere.example/callback"))
        theirs = await other.redeem(code, code_verifier=client.verifier)
        assert (await client.redeem(code)).status_code == 200
        answers.append(await client.redeem(code))
        code = await client.sign_in(browser, user.email)
        await execute("UPDATE authorization_code SET expires_at = now() WHERE user_id = $1", user.id)
        answers.append(await client.redeem(code))
        code = await client.sign_in(browser, user.email)
        await sign_out.sign_out_everywhere(user.id, "signed_out_by_user")
        answers.append(await client.redeem(code))
    assert len({(answer.status_code, answer.content) for answer in [*answers, theirs]}) == 1
    found = await _recorded(client.client_id, len(answers))
    assert [(reason, user_id) for reason, user_id, _ in found] == [
        ("malformed", None),
        ("bad_signature", None),
        ("unknown", user.id),
        ("pkce_mismatch", user.id),
        ("wrong_redirect_uri", user.id),
        ("reused", user.id),
        ("expired", user.id),
        ("session_ended", user.id),
    ]
    assert [reason for reason, _, _ in await _recorded(other.client_id, 1)] == ["wrong_client"]


async def test_causes_of_a_refused_access_token(
    server: Server, browser: Browser, client: RelyingParty, alice: User
) -> None:
    """At introspection and userinfo: the answer is the same, the reason is logged."""
    tokens = await client.tokens(browser, alice.email)
    token, family = tokens["access_token"], str(family_of(claims_of(tokens["access_token"])["jti"]))
    await client.post("/revoke", token=token)
    answers = [await client.userinfo(token), await client.userinfo(token[:-4] + "AAAA")]
    assert len({(each.status_code, each.content, each.headers["www-authenticate"]) for each in answers}) == 1
    assert await client.introspect(token) == {"active": False}
    await sign_out.sign_out_everywhere(alice.id, "password_changed")
    assert await client.introspect(tokens["refresh_token"]) == {"active": False}
    lines = [line for line in map(json.loads, server.log.splitlines()) if line.get("family_id") == family]
    assert [(line["event"], line["reason"], line["user_id"]) for line in lines] == [
        ("request", "revoked_by_client", str(alice.id)),
        ("token_inactive", "revoked_by_client", str(alice.id)),
        ("token_inactive", "revoked_by_credential_change", str(alice.id)),
    ]
    async with asyncio.timeout(30):
        while not (found := await fetch(_REFUSED_ACCESS, alice.id)):
            await asyncio.sleep(0.05)
    assert [json.loads(row["detail"]) for row in found] == [
        {"endpoint": "userinfo", "reason": "revoked_by_client", "family_id": family}
    ]
