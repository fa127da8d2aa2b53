"""Row 30: a client cannot find out by the answers to backchannel requests who has an account."""

import secrets

import pytest

from idp.accounts.users import disable_user
from idp.infra.db.engine import execute, fetch
from idp.oauth.sign_out import sign_out_user
from tests.conftest import MakeClient, MakeUser
from tests.support.ciba import CIBA, ask, poll


async def _email(kind: str, make_user: MakeUser) -> str:
    if kind == "unknown":
        return f"{secrets.token_hex(8)}@example.com"
    user = await make_user()
    if kind == "disabled":
        await disable_user(user.id, sign_out_user)
    return str(user.email)


@pytest.mark.parametrize("kind", ["unknown", "disabled"])
async def test_30_the_answers_are_those_for_a_user(make_client: MakeClient, make_user: MakeUser, kind: str) -> None:
    """Of the endpoint, of polls until the request expires, and of too many requests."""
    client = await make_client(**CIBA)
    found = []
    for email in (await _email("known", make_user), await _email(kind, make_user)):
        first = await ask(client, email)
        auth_req_id = first.json()["auth_req_id"]
        polls = [await poll(client, auth_req_id) for _ in range(2)]
        more = [await ask(client, email) for _ in range(6)]
        await execute("UPDATE backchannel_request SET expires_at = now() WHERE client_id = $1", client.client_id)
        polls.append(await poll(client, auth_req_id))
        answers = [first, *polls, *more]
        found.append(
            [
                (answer.status_code, {**answer.json(), "auth_req_id": len(answer.json().get("auth_req_id", ""))})
                for answer in answers
            ]
        )
    assert found[0] == found[1]
    assert [status for status, _ in found[0]] == [200, 400, 400, 400, 200, 200, 200, 200, 429, 429]


async def test_30_nobody_is_mailed(make_client: MakeClient) -> None:
    client = await make_client(**CIBA)
    email = f"{secrets.token_hex(8)}@example.com"
    assert (await ask(client, email)).status_code == 200
    rows = await fetch("SELECT state FROM mail WHERE recipient = $1 AND next_attempt_at IS NOT NULL", email)
    assert rows == []
