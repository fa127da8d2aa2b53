"""The statement that issues codes: it uses up pushed requests, and serves several requests at a time."""

import asyncio
from collections import Counter
from contextvars import Context
from uuid import UUID

import msgspec
import pytest

from idp import clock, ids
from idp.accounts.tables import User
from idp.errors import FlowFinishedError, SessionEndedError
from idp.infra.db.engine import execute, fetch, transaction
from idp.oauth.authorize import pushed
from idp.oauth.authorize.code import issue_code
from idp.oauth.authorize.request import AuthorizationRequest
from idp.oauth.clients.models import Client
from idp.oauth.clients.registry import registry
from idp.signin import sessions
from idp.signin.browser import Browser
from idp.signin.sessions import SignedIn
from idp.signin.transitions import CompletedStep, Step
from tests.conftest import MakeClient, MakeUser

END = "UPDATE session SET ended_at = now() WHERE user_id = $1 AND id = $2"


@pytest.fixture
async def client(make_client: MakeClient) -> Client:
    party = await make_client()
    await registry.load()
    found = registry.client(party.client_id)
    assert found is not None
    return found


async def _session(user: User) -> SignedIn:
    done = (CompletedStep(Step.PASSWORD, ("pwd",)), CompletedStep(Step.TOTP, ("otp",)))
    return (await sessions.start(Browser(), user.id, done)).session


async def _asked(client: Client, *, is_pushed: bool = True) -> AuthorizationRequest:
    asked = AuthorizationRequest(
        client.client_id,
        client.redirect_uris[0],
        "code",
        scope=("openid", "email"),
        resource=("https://one.example", "https://two.example"),
        dpop_jkt="k",
    )
    if not is_pushed:
        return asked
    uri = await pushed.store(asked)
    return await pushed.load({"request_uri": uri}, client)


async def _is_used(asked: AuthorizationRequest) -> bool:
    (row,) = await fetch("SELECT used_at FROM pushed_request WHERE request_uri_hash = $1", asked.pushed)
    return row["used_at"] is not None


async def _issued(user_id: UUID) -> int:
    (row,) = await fetch("SELECT count(*) AS n FROM authorization_code WHERE user_id = $1", user_id)
    return int(row["n"])


@pytest.mark.parametrize("resource", [(), ("https://one.example", "https://two.example")])
async def test_the_row(client: Client, alice: User, resource: tuple[str, ...]) -> None:
    asked = msgspec.structs.replace(await _asked(client), resource=resource)
    session = await _session(alice)
    code = await issue_code(asked, client, session)
    (row,) = await fetch("SELECT * FROM authorization_code WHERE code_hash = $1", ids.digest(code))
    assert (row["user_id"], row["session_id"], row["client_id"]) == (alice.id, session.id, client.client_id)
    assert (row["resource"], row["amr"], row["scope"]) == (list(resource), ["pwd", "otp", "mfa"], "openid email")
    assert row["confirmation"] == '{"jkt": "k"}'
    assert row["claims"] is row["authorization_details"] is row["consumed_at"] is None
    assert 0 < (row["expires_at"] - clock.now()).total_seconds() <= 60


@pytest.mark.parametrize("change", [END, "UPDATE users SET disabled_at = now() WHERE id = $1 AND $2::uuid IS NOT NULL"])
async def test_without_a_live_session_the_pushed_request_stays_unused(
    client: Client, make_user: MakeUser, change: str
) -> None:
    user = await make_user()
    asked, session = await _asked(client), await _session(user)
    assert await execute(change, user.id, session.id) == 1
    with pytest.raises(SessionEndedError):
        await issue_code(asked, client, session)
    assert not await _is_used(asked)
    assert await _issued(user.id) == 0


async def test_a_used_request_gives_no_second_code(client: Client, make_user: MakeUser) -> None:
    user = await make_user()
    asked, session = await _asked(client), await _session(user)
    await issue_code(asked, client, session)
    with pytest.raises(FlowFinishedError):
        await issue_code(asked, client, session)
    assert await _is_used(asked)
    assert await _issued(user.id) == 1


async def test_many_at_once(client: Client, make_user: MakeUser) -> None:
    """Of those that answer one pushed request, one gets a code; an ended session affects nobody else."""
    user, other = await make_user(), await make_user()
    live, ended = await _session(user), await _session(other)
    await execute(END, other.id, ended.id)
    same = await _asked(client)
    requests = [(same, live)] * 10
    requests += [(await _asked(client), live) for _ in range(5)]
    requests += [(await _asked(client, is_pushed=False), live) for _ in range(5)]
    requests += [(same, ended), (await _asked(client), ended)]
    found = await asyncio.gather(
        *(issue_code(asked, client, session) for asked, session in requests), return_exceptions=True
    )
    assert Counter(type(one) for one in found[:10]) == {str: 1, FlowFinishedError: 9}
    assert all(isinstance(one, str) for one in found[10:20])
    assert [type(one) for one in found[20:]] == [SessionEndedError] * 2
    assert not await _is_used(requests[-1][0])
    assert (await _issued(user.id), await _issued(other.id)) == (11, 0)


async def test_it_waits_for_a_sign_out(client: Client, make_user: MakeUser) -> None:
    user = await make_user()
    asked, session = await _asked(client), await _session(user)
    async with transaction():
        await execute(END, user.id, session.id)
        # An empty context, so that it does not join this transaction.
        issue = asyncio.create_task(issue_code(asked, client, session), context=Context())
        done, _ = await asyncio.wait({issue}, timeout=0.3)
        assert not done
    with pytest.raises(SessionEndedError):
        await issue
    assert not await _is_used(asked)
