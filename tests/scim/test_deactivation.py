"""Whoever is deactivated over SCIM has no token after the response."""

import asyncio
from typing import Any
from uuid import UUID

import httpx

from idp import clock, ids
from idp.infra.db.engine import fetch, transaction
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.registry import registry
from idp.oauth.token.families import start_offline_family
from idp.oauth.token.grant import Grant
from tests.conftest import until_known
from tests.scim.conftest import ScimClient
from tests.support.oauth import RelyingParty

PEOPLE = 100


async def _refresh_token(client_id: str, user_id: UUID) -> str:
    """Return the refresh token of a user."""
    client = registry.client(client_id)
    assert client is not None
    grant = Grant(
        family_id=ids.uuid7(), user_id=user_id, session_id=None, scope="openid offline_access", resource=[],
        claims=None, authorization_details=None, nonce=None, auth_time=clock.now(), auth_age=5, amr=["pwd"], acr="1",
    )  # fmt: skip
    async with transaction():
        token = (await start_offline_family(client, grant, None, "authorization_code")).refresh_token
    assert isinstance(token, str)
    return token


class _Person:
    """An app that refreshes, and says when each token came."""

    def __init__(self, party: RelyingParty, user_id: str, token: str) -> None:
        self.party, self.user_id, self.token = party, user_id, token
        #: The answers to requests that were sent after the deactivation was answered.
        self.late: list[int] = []
        self.access_token = ""
        self.deactivated = asyncio.Event()

    async def refresh(self) -> None:
        """Refresh until two requests were sent after the deactivation was answered."""
        while len(self.late) < 2:
            sent_late = self.deactivated.is_set()
            answer = await self.party.refresh(self.token)
            if answer.status_code == 200:
                self.token, self.access_token = answer.json()["refresh_token"], answer.json()["access_token"]
            elif not sent_late:
                # The server has deactivated the user already, and its answer is on the way.
                await self.deactivated.wait()
            if sent_late:
                self.late.append(answer.status_code)

    async def deactivate(self, scim: ScimClient) -> None:
        operation = {"op": "Replace", "path": "active", "value": "False"}
        response = await scim.patch(f"/Users/{self.user_id}", operation)
        assert response.json()["active"] is False
        self.deactivated.set()


async def test_a_hundred_people_are_deactivated_while_they_refresh(scim: ScimClient) -> None:
    values: dict[str, Any] = {"client_name": "App", "redirect_uris": ["https://app.example/cb"]}
    client, secret = await register_client(
        **values, grant_types=["authorization_code", "refresh_token"], scope="openid offline_access"
    )
    await registry.load()
    issuer = scim.url.removesuffix("/scim/v2")
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=PEOPLE)) as http:
        party = RelyingParty(issuer, http, client.client_id, secret)
        await until_known(party)
        created = await asyncio.gather(*(scim.user() for _ in range(PEOPLE)))
        people = [
            _Person(party, user["id"], await _refresh_token(client.client_id, UUID(user["id"]))) for user in created
        ]
        refreshing = [asyncio.create_task(person.refresh()) for person in people]
        await asyncio.gather(*(person.deactivate(scim) for person in people))
        async with asyncio.timeout(60):
            await asyncio.gather(*refreshing)
        assert [person.late for person in people] == [[400, 400]] * PEOPLE
        answers = await asyncio.gather(*(party.introspect(person.access_token or "x") for person in people))
        assert answers == [{"active": False}] * PEOPLE
    live = await fetch(
        "SELECT FROM token_family WHERE revoked_at IS NULL AND user_id = ANY ($1::uuid[])",
        [UUID(person.user_id) for person in people],
    )
    assert live == []
